"""The losses as objects with their parameters bound, named as in `torch.nn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import _validation as check
from . import functional
from ._kernels import Derivatives

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from numpy.typing import ArrayLike, NDArray

    Reduction = Literal["none", "mean", "sum"]


class Loss:
    """A loss function of `crossent.functional` and values for its parameters, which are the object's attributes."""

    function: ClassVar[Callable[..., Any]]
    reductions: ClassVar[tuple[str, ...]] = ()  # besides none, mean and sum
    derivatives: ClassVar[int]

    if TYPE_CHECKING:

        def __getattr__(self, parameter: str) -> Any: ...

    def __init_subclass__(cls) -> None:
        cls.derivatives = cls.function.derivatives  # type: ignore[attr-defined]

    def __init__(self, **parameters: Any) -> None:
        check.check_reduction(parameters["reduction"], *self.reductions)
        for name, value in parameters.items():
            is_weight = name in ("weight", "pos_weight") and value is not None
            setattr(self, name, check.as_floating(value, name) if is_weight else value)

    # Each class hands its parameters over by name: unpacking vars(self) takes longer than a small call.
    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        """The loss; see the function of the same name."""
        raise NotImplementedError

    def value_and_grad(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
        grad_output: Any = None,
        num_threads: int | None = None,
    ) -> Any:
        """(loss, gradient with respect to input); see `crossent.value_and_grad`."""
        request: Any = Derivatives(1, out, None, grad_output)
        return self.__call__(input, target, out=request, num_threads=num_threads)

    def value_grad_and_hess(
        self,
        input: ArrayLike,
        target: ArrayLike,
        *,
        out: NDArray[Any] | None = None,
        hess_out: NDArray[Any] | None = None,
        grad_output: Any = None,
        num_threads: int | None = None,
    ) -> Any:
        """(loss, gradient, diagonal Hessian with respect to input); see `crossent.value_grad_and_hess`."""
        check.check_derivatives(self, 2)
        request: Any = Derivatives(2, out, hess_out, grad_output)
        return self.__call__(input, target, out=request, num_threads=num_threads)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return mine.keys() == theirs.keys() and all(_equal(mine[name], theirs[name]) for name in mine)

    __hash__ = None  # type: ignore[assignment]  # the parameters may be changed


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is not None and b is not None and np.array_equal(a, b)
    return bool(a == b)


class CrossEntropyLoss(Loss):
    """`crossent.cross_entropy` with its parameters bound.

    Examples
    --------
    >>> import crossent as ce
    >>> criterion = ce.CrossEntropyLoss(label_smoothing=0.1)
    >>> round(criterion([[4.0, 8.0, 3.0]], [1]), 4)
    0.3247
    """

    function = staticmethod(functional.cross_entropy)

    def __init__(
        self,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        axis: int | None = None,
    ) -> None:
        super().__init__(
            weight=weight,
            ignore_index=check.ignored_index(ignore_index),
            reduction=reduction,
            label_smoothing=check.smoothing(label_smoothing),
            axis=axis,
        )

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        return functional.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            axis=self.axis,
            out=out,
            num_threads=num_threads,
        )


class NLLLoss(Loss):
    """`crossent.nll_loss` with its parameters bound."""

    function = staticmethod(functional.nll_loss)

    def __init__(
        self,
        *,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        axis: int | None = None,
    ) -> None:
        super().__init__(weight=weight, ignore_index=check.ignored_index(ignore_index), reduction=reduction, axis=axis)

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        return functional.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            axis=self.axis,
            out=out,
            num_threads=num_threads,
        )


class BCELoss(Loss):
    """`crossent.binary_cross_entropy` with its parameters bound."""

    function = staticmethod(functional.binary_cross_entropy)

    def __init__(
        self,
        *,
        weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        log_floor: float = -100.0,
        eps: float = 0.0,
    ) -> None:
        super().__init__(
            weight=weight, reduction=reduction, log_floor=check.floor_of_log(log_floor), eps=check.clip_eps(eps)
        )

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        return functional.binary_cross_entropy(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,
            log_floor=self.log_floor,
            eps=self.eps,
            out=out,
            num_threads=num_threads,
        )


class BCEWithLogitsLoss(Loss):
    """`crossent.binary_cross_entropy_with_logits` with its parameters bound."""

    function = staticmethod(functional.binary_cross_entropy_with_logits)

    def __init__(
        self,
        *,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(
            weight=weight, pos_weight=pos_weight, reduction=reduction, label_smoothing=check.smoothing(label_smoothing)
        )

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        return functional.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            out=out,
            num_threads=num_threads,
        )


class KLDivLoss(Loss):
    """`crossent.kl_div` with its parameters bound."""

    function = staticmethod(functional.kl_div)
    reductions = ("batchmean",)

    def __init__(
        self, *, reduction: Literal["none", "mean", "sum", "batchmean"] = "mean", log_target: bool = False
    ) -> None:
        super().__init__(reduction=reduction, log_target=log_target)

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        return functional.kl_div(
            input, target, reduction=self.reduction, log_target=self.log_target, out=out, num_threads=num_threads
        )


class MSELoss(Loss):
    """`crossent.mse_loss` with its parameters bound."""

    function = staticmethod(functional.mse_loss)

    def __init__(self, *, weight: ArrayLike | None = None, reduction: Reduction = "mean") -> None:
        super().__init__(weight=weight, reduction=reduction)

    def __call__(
        self, input: ArrayLike, target: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None
    ) -> Any:
        return functional.mse_loss(
            input, target, weight=self.weight, reduction=self.reduction, out=out, num_threads=num_threads
        )
