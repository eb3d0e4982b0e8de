"""Gradients and Hessians of the losses: a transform of the loss, as in JAX, that runs one kernel pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _validation as check
from ._kernels import Derivatives
from .losses import Loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


def value_and_grad(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns a loss and its gradient with respect to `input`, from one pass over the data.

    Parameters
    ----------
    loss : callable
        A loss of this library: a function such as `cross_entropy`, or an object such as `CrossEntropyLoss()`.

    Returns
    -------
    callable
        ``f(input, target, *, out=None, grad_output=None, **options)`` returns ``(loss, grad)``. The options are those
        of the loss, and the first result is what it returns.

        out : numpy.ndarray, optional
            Where the gradient goes: writeable, of the shape and the dtype that `input` is computed in. It may be
            `input` itself; then nothing of that size is allocated.
        grad_output : float or array_like, optional
            The gradient is multiplied with it: a number, or with reduction "none" an array of the shape of the losses.

    Notes
    -----
    Ignored rows have gradient 0, and so has everything where the mean has nothing to average. The gradient of the
    target's logit is minus the sum of the others, which is accurate where ``p - 1`` would cancel.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as ce
    >>> loss, grad = ce.value_and_grad(ce.cross_entropy)(np.array([[0.0, 0.0]]), [1])
    >>> round(loss, 4), grad
    (0.6931, array([[ 0.5, -0.5]]))
    """
    check.check_derivatives(loss, 1)
    call = _bound(loss)

    def evaluate(
        input: ArrayLike,
        target: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
        grad_output: Any = None,
        **options: Any,
    ) -> Any:
        request = Derivatives(1, out, None, grad_output)
        if options:  # unpacking none would take as long as a small call
            return call(input, target, out=request, **options)
        return call(input, target, out=request)

    return _named(evaluate, loss, "value and gradient")


def value_grad_and_hess(loss: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns a loss, its gradient and its diagonal Hessian with respect to `input`, from one pass.

    Parameters
    ----------
    loss : callable
        `cross_entropy`, `binary_cross_entropy_with_logits`, `mse_loss`, or an object of one of them.

    Returns
    -------
    callable
        ``f(input, target, *, out=None, hess_out=None, grad_output=None, **options)`` returns ``(loss, grad, hess)``;
        see `value_and_grad`. hess_out is where the Hessian goes, as `out` for the gradient; it is multiplied with
        grad_output too.

    Examples
    --------
    >>> import numpy as np
    >>> import crossent as ce
    >>> ce.value_grad_and_hess(ce.mse_loss)(np.array([3.0]), [1.0])
    (4.0, array([4.]), array([2.]))
    """
    check.check_derivatives(loss, 2)
    call = _bound(loss)

    def evaluate(
        input: ArrayLike,
        target: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
        hess_out: NDArray[Any] | None = None,
        grad_output: Any = None,
        **options: Any,
    ) -> Any:
        request = Derivatives(2, out, hess_out, grad_output)
        if options:
            return call(input, target, out=request, **options)
        return call(input, target, out=request)

    return _named(evaluate, loss, "value, gradient and diagonal Hessian")


def _bound(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The method of an object itself, which is quicker to call than the object."""
    return loss.__call__ if isinstance(loss, Loss) else loss


def _named(evaluate: Callable[..., Any], loss: Any, what: str) -> Callable[..., Any]:
    name = getattr(loss, "__name__", type(loss).__name__)
    evaluate.__name__ = name
    evaluate.__qualname__ = f"{what} of {name}"
    evaluate.__doc__ = f"The {what} of `{name}`, whose documentation follows.\n\n{loss.__doc__ or ''}"
    return evaluate
