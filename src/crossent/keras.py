"""The losses of Keras 3 for NumPy arrays: its names, argument order, defaults and reductions. Keras is not needed.

A function returns one loss per sample, as in ``keras.losses``; an object reduces them and takes ``sample_weight``. The
default ``epsilon=1e-7`` is what Keras does to probabilities: they are divided by their sum over the class axis
(categorical losses only) and clipped to [epsilon, 1 - epsilon]. ``epsilon=0`` does not clip: the loss is exact, and
infinite where the target has probability 0.

Differences from Keras 3, each of them on purpose:

- The dtype is that of ``y_pred`` (float16 gives float32; integers and lists of Python floats give float64) unless
  ``dtype=`` says otherwise; Keras casts to ``floatx()``. Reductions add up in float64 and return a Python float.
- Logits are never clipped, and the loss of a confident row is not rounded to 0: with the class 17 ahead of the others
  it is 4.14e-08. What Keras returns there depends on its backend.
- The categorical losses of probabilities compute in float64, and the bounds of their clip are not rounded to float32:
  the least loss is 1.0e-07, not 1.19e-07. The binary loss clips in the dtype of ``y_pred``, as Keras does.
- A class that is out of range is an IndexError, and -1 does not mean the last class; a fractional class, a probability
  below 0 (binary: or above 1) and a ``label_smoothing`` outside [0, 1] are a ValueError. Keras wraps, truncates or
  clips them silently.
- ``label_smoothing`` of the categorical losses divides by the length of ``axis``; Keras always uses the last one.
- A sample of weight 0 and a row of ``ignore_class`` contribute 0, also where their loss is infinite or NaN.
- The mean of an empty batch is 0.0, as it is in both when every row is ignored; Keras returns an empty array.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _validation
from .functional import binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, nll_loss

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
]

# What NumPy gives for an array that may have no dimensions left: an array or a scalar of its dtype.
Losses = Any
Reduction = Literal["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none"] | None

_MEANS = ("sum_over_batch_size", "mean")
_REDUCTIONS = (*_MEANS, "mean_with_sample_weight", "sum", "none", None)

# An ignore_index that no class can have: without ignore_class every class counts, -100 is out of range like any other.
_IGNORE_NOTHING = -(2**63)


def binary_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    epsilon: float = 1e-7,
) -> Losses:
    """Mean over ``axis`` of -(y log p + (1 - y) log(1 - p)), one loss per sample.

    Parameters
    ----------
    y_true : array_like
        Targets in [0, 1], of the shape of `y_pred`.
    y_pred : array_like
        Probabilities, or logits with `from_logits`, of shape (..., D).
    from_logits : bool, default False
        `y_pred` holds logits.
    label_smoothing : float, default 0.0
        From 0 to 1: y becomes y (1 - s) + s / 2.
    axis : int, default -1
        The axis that the mean is taken over.
    epsilon : float, default 1e-7
        Probabilities are clipped to [epsilon, 1 - epsilon]; 0 is exact. Logits are not clipped.

    Returns
    -------
    numpy.ndarray
        Of the shape of `y_pred` without `axis`, in its dtype.

    Examples
    --------
    >>> from crossent.keras import binary_crossentropy
    >>> binary_crossentropy([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]]).round(3).tolist()
    [0.916, 0.714]
    """
    y_pred = _validation.as_floating(y_pred, "y_pred")
    target = _soft_targets(y_true, y_pred)
    label_smoothing = _validation.smoothing(label_smoothing)
    if from_logits:
        losses = binary_cross_entropy_with_logits(y_pred, target, label_smoothing=label_smoothing, reduction="none")
    else:
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / 2
        _check_epsilon(epsilon)
        losses = binary_cross_entropy(y_pred, target, eps=epsilon, log_floor=-np.inf, reduction="none")
    return np.mean(losses, axis=axis, dtype=np.float64).astype(y_pred.dtype)


def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
    epsilon: float = 1e-7,
) -> Losses:
    """-sum over ``axis`` of y log p, one loss per sample; y is one-hot or any other distribution.

    Parameters
    ----------
    y_true : array_like
        Class probabilities, of the shape of `y_pred`.
    y_pred : array_like
        Probabilities, or logits with `from_logits`, of shape (..., C).
    from_logits : bool, default False
        `y_pred` holds logits.
    label_smoothing : float, default 0.0
        From 0 to 1: y becomes y (1 - s) + s / C.
    axis : int, default -1
        The class axis.
    epsilon : float, default 1e-7
        Probabilities are divided by their sum and clipped to [epsilon, 1 - epsilon]; 0 does not clip.

    Returns
    -------
    numpy.ndarray
        Of the shape of `y_pred` without `axis`, in its dtype.

    Examples
    --------
    >>> from crossent.keras import categorical_crossentropy
    >>> categorical_crossentropy([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]).round(4).tolist()
    [0.0513, 2.3026]
    """
    y_pred = _validation.as_floating(y_pred, "y_pred")
    target = _soft_targets(y_true, y_pred)
    label_smoothing = _validation.smoothing(label_smoothing)
    axis = _validation.map_axis(axis, y_pred.ndim)
    if y_pred.shape[axis] == 1:
        warnings.warn(
            f"categorical_crossentropy of a single class is always 0: y_pred has shape {y_pred.shape} and axis={axis}. "
            "For two classes told apart by one number use binary_crossentropy.",
            SyntaxWarning,
            stacklevel=2,
        )
    if from_logits:
        return cross_entropy(y_pred, target, label_smoothing=label_smoothing, axis=axis, reduction="none")
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / y_pred.shape[axis]
    surprise = _surprise(y_pred, axis, epsilon)
    with np.errstate(invalid="ignore"):  # 0 * inf, replaced by 0 at once
        terms = np.where(target == 0, 0, target * surprise)
    return terms.sum(axis=axis).astype(y_pred.dtype)


def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    epsilon: float = 1e-7,
) -> Losses:
    """-log p of the true class, one loss per sample.

    Parameters
    ----------
    y_true : array_like
        Classes from 0 to C - 1, of the shape of `y_pred` without `axis` or with length 1 there: integers of any width,
        or whole numbers in floating point.
    y_pred : array_like
        Probabilities, or logits with `from_logits`, of shape (..., C).
    from_logits : bool, default False
        `y_pred` holds logits.
    ignore_class : int, optional
        Rows of this class have loss 0 and are not read.
    axis : int, default -1
        The class axis.
    epsilon : float, default 1e-7
        Probabilities are divided by their sum and clipped to [epsilon, 1 - epsilon]; 0 does not clip.

    Returns
    -------
    numpy.ndarray
        Of the shape of `y_pred` without `axis`, in its dtype.

    Examples
    --------
    >>> from crossent.keras import sparse_categorical_crossentropy
    >>> sparse_categorical_crossentropy([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]).round(4).tolist()
    [0.0513, 2.3026]
    """
    y_pred = _validation.as_floating(y_pred, "y_pred")
    axis = _validation.map_axis(axis, y_pred.ndim)
    target = _classes(y_true, y_pred.ndim, axis)
    ignore_index = _IGNORE_NOTHING if ignore_class is None else operator.index(ignore_class)
    if from_logits:
        return cross_entropy(y_pred, target, ignore_index=ignore_index, axis=axis, reduction="none")
    if ignore_class is not None and target.shape == y_pred.shape[:axis] + y_pred.shape[axis + 1 :]:
        ignored = np.expand_dims(target == ignore_class, axis)
        y_pred = np.where(ignored, y_pred.dtype.type(1), y_pred)  # what an ignored row holds is no reason to complain
    log_prob = -_surprise(y_pred, axis, epsilon)
    losses = nll_loss(log_prob, target, ignore_index=ignore_index, axis=axis, reduction="none")
    return losses.astype(y_pred.dtype)


class _Loss:
    """A function of this file with its parameters bound, and a reduction of what it returns."""

    def __init__(
        self,
        function: Callable[..., Losses],
        reduction: Reduction,
        name: str | None,
        dtype: DTypeLike | None,
        **parameters: Any,
    ) -> None:
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction must be one of {_REDUCTIONS}, got {reduction!r}")
        self.reduction = reduction
        self.name = name
        self.dtype = None if dtype is None else np.dtype(dtype)
        self._function = function
        self._parameters = parameters

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> Losses:
        y_pred = _validation.as_floating(y_pred, "y_pred")
        if self.dtype is not None:
            y_pred = _validation.cast(y_pred, self.dtype)
        y_true, y_pred = _same_rank(_validation.as_array(y_true, "y_true"), y_pred)
        losses = np.asarray(self._function(y_true, y_pred, **self._parameters))
        return _reduce(losses, sample_weight, self._mask(y_true, losses), self.reduction)

    def _mask(self, y_true: NDArray[Any], losses: NDArray[Any]) -> NDArray[np.bool_] | None:
        return None

    def __repr__(self) -> str:
        parameters = {**self._parameters, "reduction": self.reduction, "name": self.name, "dtype": self.dtype}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"


class BinaryCrossentropy(_Loss):
    """`binary_crossentropy` reduced over the samples: ``loss(y_true, y_pred, sample_weight=None)``.

    ``reduction`` is "sum_over_batch_size" or "mean" (divided by the number of losses), "mean_with_sample_weight"
    (divided by the sum of the weights), "sum", "none" or None.

    >>> from crossent.keras import BinaryCrossentropy
    >>> round(BinaryCrossentropy(from_logits=True)([0, 1, 0, 0], [-18.6, 0.51, 2.94, -12.8]), 3)
    0.865
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: DTypeLike | None = None,
        *,
        epsilon: float = 1e-7,
    ) -> None:
        parameters = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis, "epsilon": epsilon}
        super().__init__(binary_crossentropy, reduction, name, dtype, **parameters)


class CategoricalCrossentropy(_Loss):
    """`categorical_crossentropy` reduced over the samples: ``loss(y_true, y_pred, sample_weight=None)``.

    The reductions are those of `BinaryCrossentropy`.

    >>> from crossent.keras import CategoricalCrossentropy
    >>> round(CategoricalCrossentropy()([[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]), 3)
    1.177
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: Reduction = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: DTypeLike | None = None,
        *,
        epsilon: float = 1e-7,
    ) -> None:
        parameters = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis, "epsilon": epsilon}
        super().__init__(categorical_crossentropy, reduction, name, dtype, **parameters)


class SparseCategoricalCrossentropy(_Loss):
    """`sparse_categorical_crossentropy` reduced over the samples: ``loss(y_true, y_pred, sample_weight=None)``.

    The reductions are those of `BinaryCrossentropy`; rows of ``ignore_class`` do not count in the means.

    >>> from crossent.keras import SparseCategoricalCrossentropy
    >>> loss = SparseCategoricalCrossentropy()
    >>> round(loss([1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], sample_weight=[0.3, 0.7]), 3)
    0.814
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: Reduction = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: DTypeLike | None = None,
        *,
        epsilon: float = 1e-7,
    ) -> None:
        parameters = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis, "epsilon": epsilon}
        super().__init__(sparse_categorical_crossentropy, reduction, name, dtype, **parameters)

    def _mask(self, y_true: NDArray[Any], losses: NDArray[Any]) -> NDArray[np.bool_] | None:
        ignore_class = self._parameters["ignore_class"]
        return None if ignore_class is None else (y_true != ignore_class).reshape(losses.shape)


def _surprise(y_pred: NDArray[Any], axis: int, epsilon: float) -> NDArray[np.float64]:
    """-log of y_pred divided by its sum over axis and clipped to [epsilon, 1 - epsilon], in float64.

    The largest of a row may be so near to 1 that its distance is lost in dividing: its logarithm comes from the sum of
    the others. The logarithm is monotone, so that clipping after it is the same as clipping before.
    """
    _check_epsilon(epsilon)
    if np.any(y_pred < 0):
        position = tuple(map(int, np.argwhere(y_pred < 0)[0]))
        where = f"y_pred[{', '.join(map(str, position))}]"
        raise ValueError(f"{where} is {y_pred[position]}; a probability must not be negative")
    others: NDArray[np.float64] = y_pred.astype(np.float64)
    largest = np.expand_dims(others.argmax(axis), axis)
    top = np.take_along_axis(others, largest, axis)
    np.put_along_axis(others, largest, 0, axis)
    rest = others.sum(axis=axis, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0, and rows of zeros, which are NaN
        surprise: NDArray[np.float64] = -np.log(others / (top + rest))
        np.put_along_axis(surprise, largest, np.log1p(rest / top), axis)
    if epsilon > 0:
        np.clip(surprise, -np.log1p(-epsilon), -np.log(epsilon), out=surprise)
    return surprise


def _reduce(
    losses: NDArray[Any], sample_weight: ArrayLike | None, mask: NDArray[np.bool_] | None, reduction: Reduction
) -> Losses:
    """Keras's rules: the mask and the sample weights multiply, the means divide by one count or another."""
    weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if mask is not None:
        # In a plain mean the rows that are left share the weight of those that are not.
        share = mask.size / max(1, int(mask.sum())) if reduction in _MEANS else 1.0
        mask_weight, weight = _same_rank(mask * share, np.ones(mask.shape) if weight is None else weight)
        weight = mask_weight * weight
    values = losses.astype(np.float64)
    if weight is not None:
        values, weight = _same_rank(values, weight)
        with np.errstate(invalid="ignore"):  # 0 * inf, replaced by 0 at once
            values = np.where(weight == 0, 0, values * weight)
    if reduction in ("none", None):
        return values.astype(losses.dtype)
    total = float(values.sum())
    if reduction == "sum":
        return total
    count = float(values.size)
    if reduction == "mean_with_sample_weight" and weight is not None:
        count = float(weight.sum())
    return total / count if count else 0.0


def _same_rank(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keras's rule for ranks that differ by one: (N,) with (N, 1) becomes (N, 1), else a last axis of 1 is dropped."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[:, np.newaxis]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[:, np.newaxis], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def _soft_targets(y_true: ArrayLike, y_pred: NDArray[Any]) -> NDArray[Any]:
    target = _validation.as_array(y_true, "y_true")
    if target.shape != y_pred.shape:
        raise ValueError(f"y_true must have the shape of y_pred, {y_pred.shape}, got {target.shape}")
    return _validation.cast(target, y_pred.dtype)


def _classes(y_true: ArrayLike, ndim: int, axis: int) -> NDArray[Any]:
    """The classes as integers without the class axis; their range and shape are checked by the loss."""
    target = _validation.as_array(y_true, "y_true")
    if target.ndim == ndim and target.shape[axis] == 1:
        target = target.squeeze(axis)
    if target.dtype.kind != "f":
        return target
    if not np.all((target == np.floor(target)) & (np.abs(target) < 2.0**63)):
        raise ValueError("y_true must hold classes, got floating-point values that are not whole numbers of 64 bits")
    return target.astype(np.int64)


def _check_epsilon(epsilon: float) -> None:
    if not 0 <= epsilon < 0.5:
        raise ValueError(f"epsilon must be at least 0 and below 0.5, got {epsilon!r}")
