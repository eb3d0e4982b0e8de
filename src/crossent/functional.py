"""The losses and maps as functions, with the names, arguments and edge cases of `torch.nn.functional`.

Each function hands its arguments to the fast lane, which answers for plain contiguous arrays, and else to the slow lane
at the end of this file: validate, run, reduce.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import _kernels, _reduction, _threading
from . import _validation as check

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from numpy.typing import ArrayLike, NDArray

    Reduction = Literal["none", "mean", "sum"]

F = TypeVar("F", bound="Callable[..., Any]")

_SOFTMAX = _kernels.kernel_id("softmax", "row_map")
_LOG_SOFTMAX = _kernels.kernel_id("log_softmax", "row_map")
_LOGSUMEXP = _kernels.kernel_id("logsumexp", "row_map")
_SOFTMAX_BACKWARD = _kernels.kernel_id("softmax_backward", "row_map_backward")
_LOG_SOFTMAX_BACKWARD = _kernels.kernel_id("log_softmax_backward", "row_map_backward")
_CROSS_ENTROPY = _kernels.kernel_id("cross_entropy", "row_loss")
_CROSS_ENTROPY_SOFT = _kernels.kernel_id("cross_entropy_soft", "row_loss")
_NLL_LOSS = _kernels.kernel_id("nll_loss", "row_loss")
_SIGMOID = _kernels.kernel_id("sigmoid", "element_map")
_LOG_SIGMOID = _kernels.kernel_id("log_sigmoid", "element_map")
_BINARY_CROSS_ENTROPY = _kernels.kernel_id("binary_cross_entropy", "element_loss")
_BINARY_CROSS_ENTROPY_WITH_LOGITS = _kernels.kernel_id("binary_cross_entropy_with_logits", "element_loss")
_KL_DIV = _kernels.kernel_id("kl_div", "element_loss")
_MSE_LOSS = _kernels.kernel_id("mse_loss", "element_loss")
_NO_KERNEL = -1


def _derivatives(order: int) -> Callable[[F], F]:
    """Mark a loss: 1 has a gradient, 2 a diagonal Hessian too. value_and_grad looks for the mark."""

    def mark(loss: F) -> F:
        loss.derivatives = order  # type: ignore[attr-defined]
        return loss

    return mark


# ---- maps ------------------------------------------------------------------------------------------------------------


def softmax(
    input: ArrayLike, axis: int = -1, *, out: NDArray[Any] | None = None, num_threads: int | None = None
) -> NDArray[Any]:
    """Exponentials that sum to one along an axis: ``exp(x_c) / sum_j exp(x_j)``.

    Parameters
    ----------
    input : array_like
        Logits of any shape with at least one dimension. float32 and float64 are computed as they are, float16 as
        float32, integers and booleans as float64.
    axis : int, default -1
        The class axis.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype. It may be `input` itself.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Of the shape of `input`.

    Notes
    -----
    A logit of -inf has probability 0. A row with NaN, with +inf, or of -inf only is NaN.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.softmax([[0.0, 0.0], [-float("inf"), 3.0]])
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    fast = _kernels.fast_row_map(_SOFTMAX, input, axis, True, True, out, num_threads)
    return fast if fast is not None else _row_map(_SOFTMAX, input, axis, out, num_threads)


def log_softmax(
    input: ArrayLike, axis: int = -1, *, out: NDArray[Any] | None = None, num_threads: int | None = None
) -> NDArray[Any]:
    """Logarithms of the softmax along an axis: ``x_c - log(sum_j exp(x_j))``.

    The largest element of a row keeps its full relative accuracy where it is close to 0: the sum leaves it out, and
    `log1p` brings it back.

    Parameters
    ----------
    input : array_like
        Logits of any shape with at least one dimension. float32 and float64 are computed as they are, float16 as
        float32, integers and booleans as float64.
    axis : int, default -1
        The class axis.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype. It may be `input` itself.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Of the shape of `input`.

    Notes
    -----
    A logit of -inf gives -inf. A row with NaN, with +inf, or of -inf only is NaN.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.log_softmax([4.0, 8.0, 3.0]).round(4)
    array([-4.0247, -0.0247, -5.0247])
    """
    fast = _kernels.fast_row_map(_LOG_SOFTMAX, input, axis, True, True, out, num_threads)
    return fast if fast is not None else _row_map(_LOG_SOFTMAX, input, axis, out, num_threads)


def logsumexp(
    input: ArrayLike,
    axis: int = -1,
    *,
    keepdims: bool = False,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Logarithm of the sum of exponentials along an axis: ``log(sum_j exp(x_j))``.

    Parameters
    ----------
    input : array_like
        Numbers of any shape with at least one dimension. float32 and float64 are computed as they are, float16 as
        float32, integers and booleans as float64.
    axis : int, default -1
        The axis to sum over.
    keepdims : bool, default False
        Keep that axis, with length one.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Without the axis; a NumPy scalar for a one-dimensional input.

    Notes
    -----
    An empty row, or one of -inf only, gives -inf; +inf gives +inf; NaN gives NaN.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.logsumexp([[0.0, 0.0], [100.0, 100.0]]).round(4)
    array([  0.6931, 100.6931])
    """
    fast = _kernels.fast_row_map(_LOGSUMEXP, input, axis, keepdims, False, out, num_threads)
    return fast if fast is not None else _logsumexp(input, axis, keepdims, out, num_threads)


def sigmoid(input: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None) -> Any:
    """The logistic function of each element: ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    input : array_like
        Logits of any shape. float32 and float64 are computed as they are, float16 as float32, integers and booleans as
        float64.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype. It may be `input` itself.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Of the shape of `input`.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.sigmoid([-float("inf"), 0.0, float("inf")])
    array([0. , 0.5, 1. ])
    """
    fast = _kernels.fast_element_map(_SIGMOID, input, out, num_threads)
    return fast if fast is not None else _element_map(_SIGMOID, input, out, num_threads)


def log_sigmoid(input: ArrayLike, *, out: NDArray[Any] | None = None, num_threads: int | None = None) -> Any:
    """The logarithm of the logistic function of each element: ``-log1p(exp(-x))``, without overflow.

    Parameters
    ----------
    input : array_like
        Logits of any shape. float32 and float64 are computed as they are, float16 as float32, integers and booleans as
        float64.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype. It may be `input` itself.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        Of the shape of `input`.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.log_sigmoid([-100.0, 0.0, 1.0]).round(4)
    array([-100.    ,   -0.6931,   -0.3133])
    """
    fast = _kernels.fast_element_map(_LOG_SIGMOID, input, out, num_threads)
    return fast if fast is not None else _element_map(_LOG_SIGMOID, input, out, num_threads)


def softmax_backward(
    grad_output: ArrayLike,
    output: ArrayLike,
    axis: int = -1,
    *,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> NDArray[Any]:
    """The gradient that goes back through `softmax`: ``p_c * (g_c - sum_j g_j p_j)``.

    Parameters
    ----------
    grad_output : array_like
        The gradient g with respect to the softmax, of the shape of `output`.
    output : array_like
        What `softmax` returned.
    axis : int, default -1
        The class axis.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype. It may be `grad_output` itself.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        The gradient with respect to the softmax's input, in the dtype of `output`.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.softmax_backward([1.0, 0.0], ce.softmax([0.0, 0.0]))
    array([ 0.25, -0.25])
    """
    return _row_map_backward(_SOFTMAX_BACKWARD, grad_output, output, axis, out, num_threads)


def log_softmax_backward(
    grad_output: ArrayLike,
    output: ArrayLike,
    axis: int = -1,
    *,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> NDArray[Any]:
    """The gradient that goes back through `log_softmax`: ``g_c - exp(y_c) * sum_j g_j``.

    Parameters
    ----------
    grad_output : array_like
        The gradient g with respect to the log-softmax, of the shape of `output`.
    output : array_like
        What `log_softmax` returned (y).
    axis : int, default -1
        The class axis.
    out : numpy.ndarray, optional
        Where the result goes: writeable, of the result's shape and dtype. It may be `grad_output` itself.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    numpy.ndarray
        The gradient with respect to the log-softmax's input, in the dtype of `output`.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.log_softmax_backward([1.0, 0.0], ce.log_softmax([0.0, 0.0])).round(4)
    array([ 0.5, -0.5])
    """
    return _row_map_backward(_LOG_SOFTMAX_BACKWARD, grad_output, output, axis, out, num_threads)


# ---- losses over classes ---------------------------------------------------------------------------------------------


@_derivatives(2)
def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    axis: int | None = None,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Cross-entropy between logits and class indices or class probabilities.

    With class indices y, weights w, smoothing s and C classes the loss of a row is::

        (1 - s) * w_y * nll_y + s / C * sum_c w_c * nll_c        nll_c = log(sum_j exp(x_j)) - x_c

    and with probabilities q it is ``sum_c w_c * (q_c * (1 - s) + s / C) * nll_c``.

    Parameters
    ----------
    input : array_like
        Logits of shape (C,), (N, C) or (N, C, d1, ..., dK). float32 and float64 are computed as they are, float16 as
        float32, integers and booleans as float64.
    target : array_like
        Class indices: integers of any width, of the shape of `input` without the class axis. Or class probabilities:
        floating, of the shape of `input`; they are used as they are, whatever their sum.
    weight : array_like, optional
        A weight for each class, shape (C,).
    ignore_index : int, default -100
        Rows with this index count for nothing and are never read. Only with class indices.
    reduction : {"none", "mean", "sum"}, default "mean"
        "mean" divides by the sum of the weights of the rows' classes (their number without `weight`), ignored rows left
        out; with probabilities by the number of rows.
    label_smoothing : float, default 0.0
        From 0 to 1: how much of each target is spread evenly over the classes.
    axis : int, optional
        The class axis. None is 1, or 0 for a one-dimensional input.
    out : numpy.ndarray, optional
        Where the losses go, with reduction "none" only: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    float or numpy.ndarray
        A float, accumulated in float64; an array in the dtype of the computation with reduction "none", where ignored
        rows are 0.

    Raises
    ------
    IndexError
        A class index is neither a class nor `ignore_index`; the message has its position and value.
    ValueError, TypeError
        A shape, a dtype or a parameter does not fit.

    Notes
    -----
    A logit of -inf is a class of probability 0, and 0 * log(0) is 0. The mean over no row is NaN, the sum 0.

    The confident tail keeps its accuracy: where the target's logit leads by 17 the float32 loss is 4.14e-08, not 0.

    Examples
    --------
    >>> import crossent as ce
    >>> round(ce.cross_entropy([[4.0, 8.0, 3.0]], [1]), 4)
    0.0247
    >>> ce.cross_entropy([[4.0, 8.0, 3.0]] * 3, [0, 1, -100], reduction="none").round(4)
    array([4.0247, 0.0247, 0.    ])
    >>> round(ce.cross_entropy([[4.0, 8.0, 3.0]], [[0.0, 0.5, 0.5]]), 4)
    2.5247
    """
    fast = _kernels.fast_row_loss(
        _CROSS_ENTROPY, _CROSS_ENTROPY_SOFT, input, target, weight, ignore_index, reduction, label_smoothing, axis, out,
        num_threads,
    )  # fmt: skip
    if fast is not None:
        return fast
    return _row_loss(
        _CROSS_ENTROPY, _CROSS_ENTROPY_SOFT, input, target, weight, ignore_index, reduction, label_smoothing, axis, out,
        num_threads,
    )  # fmt: skip


@_derivatives(1)
def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    axis: int | None = None,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Negative log-likelihood of class indices under log-probabilities: ``-w_y * x_y`` for a row of class y.

    Parameters
    ----------
    input : array_like
        Log-probabilities, as `log_softmax` returns them, of shape (C,), (N, C) or (N, C, d1, ..., dK). float32 and
        float64 are computed as they are, float16 as float32, integers and booleans as float64.
    target : array_like
        Class indices: integers of any width, of the shape of `input` without the class axis.
    weight : array_like, optional
        A weight for each class, shape (C,).
    ignore_index : int, default -100
        Rows with this index count for nothing and are never read.
    reduction : {"none", "mean", "sum"}, default "mean"
        "mean" divides by the sum of the weights of the rows' classes (their number without `weight`), ignored rows left
        out.
    axis : int, optional
        The class axis. None is 1, or 0 for a one-dimensional input.
    out : numpy.ndarray, optional
        Where the losses go, with reduction "none" only: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    float or numpy.ndarray
        A float, accumulated in float64; an array in the dtype of the computation with reduction "none", where ignored
        rows are 0.

    Raises
    ------
    IndexError
        A class index is neither a class nor `ignore_index`; the message has its position and value.
    ValueError, TypeError
        A shape, a dtype or a parameter does not fit.

    Notes
    -----
    The mean over no row is NaN, the sum 0.

    Examples
    --------
    >>> import crossent as ce
    >>> round(ce.nll_loss(ce.log_softmax([[4.0, 8.0, 3.0]]), [0]), 4)
    4.0247
    """
    fast = _kernels.fast_row_loss(
        _NLL_LOSS, _NO_KERNEL, input, target, weight, ignore_index, reduction, 0.0, axis, out, num_threads
    )
    if fast is not None:
        return fast
    return _row_loss(_NLL_LOSS, _NO_KERNEL, input, target, weight, ignore_index, reduction, 0.0, axis, out, num_threads)


# ---- losses of elements ----------------------------------------------------------------------------------------------


@_derivatives(1)
def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    log_floor: float = -100.0,
    eps: float = 0.0,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Binary cross-entropy of probabilities: ``-w * (t * log(p) + (1 - t) * log(1 - p))`` for each element.

    Parameters
    ----------
    input : array_like
        Probabilities p, from 0 to 1, of any shape. float32 and float64 are computed as they are, float16 as float32,
        integers and booleans as float64.
    target : array_like
        Targets t, from 0 to 1, of the shape of `input`; computed in its dtype.
    weight : array_like, optional
        A weight that broadcasts to the shape of `input`.
    reduction : {"none", "mean", "sum"}, default "mean"
        "mean" divides by the number of elements, with `weight` too.
    log_floor : float, default -100.0
        Logarithms are not taken below this, as PyTorch does it: an impossible target costs 100. -inf is exact.
    eps : float, default 0.0
        Probabilities are clipped to [eps, 1 - eps], as Keras does it with 1e-7; 0 is exact.
    out : numpy.ndarray, optional
        Where the losses go, with reduction "none" only: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    float or numpy.ndarray
        A float, accumulated in float64; an array in the dtype of the computation with reduction "none".

    Raises
    ------
    ValueError
        A value of `input` or `target` lies outside [0, 1] (NaN is let through), or a shape or a parameter does not fit.
    TypeError
        A dtype does not fit.

    Notes
    -----
    0 * log(0) is 0. The mean of no element is NaN, the sum 0.

    Examples
    --------
    >>> import crossent as ce
    >>> round(ce.binary_cross_entropy([[0.1], [0.9], [0.8], [0.4]], [[0], [1], [1], [0]]), 4)
    0.2362
    """
    if weight is None:
        fast = _kernels.fast_element_loss(
            _BINARY_CROSS_ENTROPY, input, target, reduction, 0.0, log_floor, eps, False, True, out, num_threads
        )
        if fast is not None:
            return fast
    return _element_loss(
        _BINARY_CROSS_ENTROPY, input, target, weight, reduction, out, num_threads,
        log_floor=check.floor_of_log(log_floor), eps=check.clip_eps(eps), check_unit=True,
    )  # fmt: skip


@_derivatives(2)
def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Binary cross-entropy of logits, one decision for each element.

    With the sigmoid p of a logit, a target t and a pos_weight v the loss of an element is
    ``-w * (v * t * log(p) + (1 - t) * log(1 - p))``, computed from the logit without overflow.

    Parameters
    ----------
    input : array_like
        Logits of any shape. float32 and float64 are computed as they are, float16 as float32, integers and booleans as
        float64.
    target : array_like
        Targets t of the shape of `input`; computed in its dtype.
    weight : array_like, optional
        A weight that broadcasts to the shape of `input`.
    pos_weight : array_like, optional
        A weight of the positive part that broadcasts to the shape of `input`: for (N, C) multi-label logits a value for
        each class, shape (C,).
    reduction : {"none", "mean", "sum"}, default "mean"
        "mean" divides by the number of elements, with weights too.
    label_smoothing : float, default 0.0
        From 0 to 1: the target is ``t * (1 - s) + s / 2``.
    out : numpy.ndarray, optional
        Where the losses go, with reduction "none" only: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    float or numpy.ndarray
        A float, accumulated in float64; an array in the dtype of the computation with reduction "none".

    Raises
    ------
    ValueError, TypeError
        A shape, a dtype or a parameter does not fit.

    Notes
    -----
    At (+inf, 1) and (-inf, 0) the loss is 0. The mean of no element is NaN, the sum 0.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.binary_cross_entropy_with_logits([0.0, 2.0], [0, 1], reduction="none").round(4)
    array([0.6931, 0.1269])
    """
    if weight is None and pos_weight is None:
        fast = _kernels.fast_element_loss(
            _BINARY_CROSS_ENTROPY_WITH_LOGITS, input, target, reduction, label_smoothing, -100.0, 0.0, False, False,
            out, num_threads,
        )  # fmt: skip
        if fast is not None:
            return fast
    return _element_loss(
        _BINARY_CROSS_ENTROPY_WITH_LOGITS, input, target, weight, reduction, out, num_threads,
        pos_weight=pos_weight, label_smoothing=check.smoothing(label_smoothing),
    )  # fmt: skip


@_derivatives(1)
def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    log_target: bool = False,
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Kullback-Leibler divergence of log-probabilities from a target: ``t * (log(t) - x)`` for each element.

    Parameters
    ----------
    input : array_like
        Log-probabilities x of any shape. float32 and float64 are computed as they are, float16 as float32, integers and
        booleans as float64.
    target : array_like
        Probabilities t of the shape of `input`, or their logarithms; computed in its dtype.
    reduction : {"none", "mean", "sum", "batchmean"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis, which is the divergence
        of distributions over the classes, averaged.
    log_target : bool, default False
        `target` is given as its logarithm.
    out : numpy.ndarray, optional
        Where the losses go, with reduction "none" only: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    float or numpy.ndarray
        A float, accumulated in float64; an array in the dtype of the computation with reduction "none".

    Raises
    ------
    ValueError, TypeError
        A shape, a dtype or a parameter does not fit.

    Notes
    -----
    A target of 0 gives 0, whatever the input. The mean of no element is NaN, the sum 0.

    In float64, where x is near log(t), an element is right to 1 ulp of a quarter of the larger term, t log(t) or t x.

    Examples
    --------
    >>> import crossent as ce
    >>> round(ce.kl_div(ce.log_softmax([[0.0, 0.0]]), [[1.0, 0.0]], reduction="batchmean"), 4)
    0.6931
    """
    fast = _kernels.fast_element_loss(
        _KL_DIV, input, target, reduction, 0.0, -100.0, 0.0, bool(log_target), False, out, num_threads
    )
    if fast is not None:
        return fast
    return _element_loss(
        _KL_DIV, input, target, None, reduction, out, num_threads, log_target=bool(log_target), batchmean=True
    )


@_derivatives(2)
def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    out: NDArray[Any] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Squared error of each element: ``w * (x - t)**2``.

    Parameters
    ----------
    input : array_like
        Predictions x of any shape. float32 and float64 are computed as they are, float16 as float32, integers and
        booleans as float64.
    target : array_like
        Targets t of the shape of `input`; computed in its dtype.
    weight : array_like, optional
        A weight that broadcasts to the shape of `input`.
    reduction : {"none", "mean", "sum"}, default "mean"
        "mean" divides by the sum of the weights, without `weight` by the number of elements.
    out : numpy.ndarray, optional
        Where the losses go, with reduction "none" only: writeable, of the result's shape and dtype.
    num_threads : int, optional
        At most so many threads; None is `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    float or numpy.ndarray
        A float, accumulated in float64; an array in the dtype of the computation with reduction "none".

    Raises
    ------
    ValueError, TypeError
        A shape, a dtype or a parameter does not fit.

    Notes
    -----
    The mean of no element is NaN, the sum 0.

    Examples
    --------
    >>> import crossent as ce
    >>> ce.mse_loss([0.0, 1.0, 4.0], [0.0, 2.0, 2.0], weight=[1.0, 1.0, 2.0])
    2.25
    """
    if weight is None:
        fast = _kernels.fast_element_loss(
            _MSE_LOSS, input, target, reduction, 0.0, -100.0, 0.0, False, False, out, num_threads
        )
        if fast is not None:
            return fast
    return _element_loss(_MSE_LOSS, input, target, weight, reduction, out, num_threads, weighted_mean=True)


# ---- the slow lane: one function for each kernel signature -----------------------------------------------------------


def _row_map(kernel: int, input: Any, axis: Any, out: Any, num_threads: Any) -> NDArray[Any]:
    x = check.as_floating(input, "input")
    axis = check.map_axis(axis, x.ndim)
    n_threads = _threading.resolve(num_threads)
    if out is not None:
        check.check_out(out, x.shape, x.dtype)
    buffer = check.target_buffer(out, x.shape, x.dtype, axis=axis, operands=[x], overwritable=x)
    _kernels.row_map(kernel, check.rows(x, axis), check.rows(buffer, axis), n_threads)
    result: NDArray[Any] = check.deliver(buffer, out)
    return result


def _logsumexp(input: Any, axis: Any, keepdims: bool, out: Any, num_threads: Any) -> Any:
    x = check.as_floating(input, "input")
    axis = check.map_axis(axis, x.ndim)
    n_threads = _threading.resolve(num_threads)
    kept_shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    shape = kept_shape if keepdims else x.shape[:axis] + x.shape[axis + 1 :]
    if out is not None:
        check.check_out(out, shape, x.dtype)
    buffer = check.target_buffer(out, shape, x.dtype, axis=None, operands=[x])
    if x.shape[axis]:
        _kernels.row_map(_LOGSUMEXP, check.rows(x, axis), check.rows(buffer.reshape(kept_shape), axis), n_threads)
    else:
        buffer.fill(-math.inf)  # the logarithm of an empty sum
    return check.deliver(buffer, out)


def _row_map_backward(
    kernel: int, grad_output: Any, output: Any, axis: Any, out: Any, num_threads: Any
) -> NDArray[Any]:
    y = check.as_floating(output, "output")
    g = check.as_operand(grad_output, "grad_output", y.dtype, y.shape)
    axis = check.map_axis(axis, y.ndim)
    n_threads = _threading.resolve(num_threads)
    if out is not None:
        check.check_out(out, y.shape, y.dtype)
    buffer = check.target_buffer(out, y.shape, y.dtype, axis=axis, operands=[g, y], overwritable=g)
    _kernels.row_map_backward(kernel, check.rows(g, axis), check.rows(y, axis), check.rows(buffer, axis), n_threads)
    result: NDArray[Any] = check.deliver(buffer, out)
    return result


def _row_loss(
    kernel: int,
    prob_kernel: int,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    reduction: Any,
    label_smoothing: Any,
    axis: Any,
    out: Any,
    num_threads: Any,
) -> Any:
    x = check.as_floating(input, "input")
    axis = check.class_axis(axis, x.ndim)
    n_classes = x.shape[axis]
    t = check.class_target(target, x, axis, indices_only=prob_kernel == _NO_KERNEL)
    class_weight = check.class_weight(weight, n_classes)
    check.check_reduction(reduction)
    ignore_index = check.ignored_index(ignore_index)
    label_smoothing = check.smoothing(label_smoothing)
    n_threads = _threading.resolve(num_threads)
    if t.dtype.kind == "f":
        check.check_no_ignoring(ignore_index)
        kernel, indices, prob = prob_kernel, None, check.rows(t, axis)
        denominator = float(math.prod(x.shape[:axis] + x.shape[axis + 1 :]))
    else:
        indices, prob = t.reshape(-1), None
        denominator = check.count_targets(t, n_classes, ignore_index, class_weight, n_threads)
    outputs = _reduction.Outputs(out, reduction, denominator, x, [t, class_weight], axis, np.float64)
    total = _kernels.row_loss(
        kernel, check.rows(x, axis), indices, prob, class_weight, ignore_index, label_smoothing, outputs.loss,
        outputs.grad_scale, outputs.grad_output, *outputs.derivative_rows(axis), n_threads,
    )  # fmt: skip
    return outputs.result(total)


def _element_map(kernel: int, input: Any, out: Any, num_threads: Any) -> Any:
    x = check.contiguous(check.as_floating(input, "input"))
    n_threads = _threading.resolve(num_threads)
    if out is not None:
        check.check_out(out, x.shape, x.dtype)
    buffer = check.target_buffer(out, x.shape, x.dtype, axis=None, operands=[x], overwritable=x)
    _kernels.element_map(kernel, x, buffer, n_threads)
    return check.deliver(buffer, out)


def _element_loss(
    kernel: int,
    input: Any,
    target: Any,
    weight: Any,
    reduction: Any,
    out: Any,
    num_threads: Any,
    *,
    pos_weight: Any = None,
    label_smoothing: float = 0.0,
    log_floor: float = -100.0,
    eps: float = 0.0,
    log_target: bool = False,
    check_unit: bool = False,
    batchmean: bool = False,
    weighted_mean: bool = False,
) -> Any:
    """batchmean: that reduction is allowed. weighted_mean: a mean divides by the sum of the weights."""
    x = check.contiguous(check.as_floating(input, "input"))
    t = check.contiguous(check.as_operand(target, "target", x.dtype, x.shape))
    w = check.element_weight(weight, "weight", x.dtype, x.shape)
    check.check_reduction(reduction, *["batchmean"] * batchmean)
    n_threads = _threading.resolve(num_threads)
    denominator = _reduction.element_denominator(x.shape, reduction, w if weighted_mean else None)
    w, w_period = check.repeated(w, x.shape)
    v, v_period = check.repeated(check.element_weight(pos_weight, "pos_weight", x.dtype, x.shape), x.shape)
    outputs = _reduction.Outputs(out, reduction, denominator, x, [t, w, v], None, x.dtype)
    total = _kernels.element_loss(
        kernel, x, t, w, w_period, v, v_period, label_smoothing, log_floor, eps, log_target, check_unit,
        outputs.of_caller, outputs.loss, outputs.grad_scale, outputs.grad_output, outputs.grad, outputs.hess, n_threads,
    )  # fmt: skip
    if total is None:
        check.raise_outside_unit(input=x, target=t)
    return outputs.result(total)
