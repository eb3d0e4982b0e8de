"""The functions of `torch.nn.functional` that crossent has, with their arguments in their order."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ._autograd import run_loss, run_map

Reduction = Literal["none", "mean", "sum"]


def refuse_deprecated(size_average: Any, reduce: Any) -> None:
    """They have been deprecated in PyTorch since 2018."""
    if size_average is not None or reduce is not None:
        given = "size_average" if size_average is not None else "reduce"
        raise TypeError(f'{given} is deprecated in PyTorch and not supported: say reduction="none", "mean" or "sum"')


# ---- losses ----------------------------------------------------------------------------------------------------------


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Cross-entropy between logits and class indices or class probabilities: `torch.nn.functional.cross_entropy`.

    Parameters
    ----------
    input : Tensor
        Logits of shape (C,), (N, C) or (N, C, d1, ..., dK).
    target : Tensor
        Class indices of any integer type, of the shape of `input` without the class axis; or class probabilities of the
        shape of `input`.
    weight : Tensor, optional
        A weight for each class.
    size_average, reduce : None
        Deprecated in PyTorch, and refused.
    ignore_index : int, default -100
        Rows with this index count for nothing; their gradient is 0, whatever they hold.
    reduction : {"none", "mean", "sum"}, default "mean"
        "mean" divides by the sum of the weights of the rows' classes.
    label_smoothing : float, default 0.0
        From 0 to 1: how much of each target is spread evenly over the classes.
    num_threads : int, optional
        At most so many threads; None is the smaller one of PyTorch's number and crossent's.

    Returns
    -------
    Tensor
        In the dtype of `input`.

    See Also
    --------
    crossent.cross_entropy : The same for NumPy arrays, with the formulas and the limits.

    Examples
    --------
    >>> import torch
    >>> import crossent.torch
    >>> logits = torch.tensor([[4.0, 8.0, 3.0]], requires_grad=True)
    >>> loss = crossent.torch.cross_entropy(logits, torch.tensor([1]))
    >>> loss.backward()
    >>> print(f"{loss:.4f}", logits.grad)
    0.0247 tensor([[ 0.0179, -0.0244,  0.0066]])
    """
    refuse_deprecated(size_average, reduce)
    return run_loss(
        "cross_entropy", input, target, reduction, weight=weight, ignore_index=ignore_index,
        label_smoothing=label_smoothing, num_threads=num_threads,
    )  # fmt: skip


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: Reduction = "mean",
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Negative log-likelihood of class indices under log-probabilities: `torch.nn.functional.nll_loss`.

    Parameters
    ----------
    input : Tensor
        Log-probabilities of shape (C,), (N, C) or (N, C, d1, ..., dK).
    target : Tensor
        Class indices of any integer type, of the shape of `input` without the class axis.
    weight, size_average, ignore_index, reduce, reduction, num_threads
        See `cross_entropy`.

    Returns
    -------
    Tensor
        In the dtype of `input`.
    """
    refuse_deprecated(size_average, reduce)
    return run_loss(
        "nll_loss", input, target, reduction, weight=weight, ignore_index=ignore_index, num_threads=num_threads
    )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: Reduction = "mean",
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Binary cross-entropy of probabilities: `torch.nn.functional.binary_cross_entropy`.

    Parameters
    ----------
    input : Tensor
        Probabilities of any shape. Logarithms are not taken below -100, as in PyTorch.
    target : Tensor
        Targets from 0 to 1 of the shape of `input`, of any dtype.
    weight : Tensor, optional
        A weight that broadcasts to the shape of `input`.
    size_average, reduce, reduction, num_threads
        See `cross_entropy`; "mean" divides by the number of elements.

    Returns
    -------
    Tensor
        In the dtype of `input`.
    """
    refuse_deprecated(size_average, reduce)
    return run_loss("binary_cross_entropy", input, target, reduction, weight=weight, num_threads=num_threads)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: Reduction = "mean",
    pos_weight: Tensor | None = None,
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Binary cross-entropy of logits: `torch.nn.functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    input : Tensor
        Logits of any shape.
    target : Tensor
        Targets of the shape of `input`, of any dtype.
    weight : Tensor, optional
        A weight that broadcasts to the shape of `input`.
    size_average, reduce, reduction, num_threads
        See `cross_entropy`; "mean" divides by the number of elements.
    pos_weight : Tensor, optional
        A weight of the positive part that broadcasts to the shape of `input`.

    Returns
    -------
    Tensor
        In the dtype of `input`.
    """
    refuse_deprecated(size_average, reduce)
    return run_loss(
        "binary_cross_entropy_with_logits", input, target, reduction, weight=weight, pos_weight=pos_weight,
        num_threads=num_threads,
    )  # fmt: skip


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
    log_target: bool = False,
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Kullback-Leibler divergence of log-probabilities from a target: `torch.nn.functional.kl_div`.

    Parameters
    ----------
    input : Tensor
        Log-probabilities of any shape.
    target : Tensor
        Probabilities of the shape of `input`, or their logarithms.
    size_average, reduce, num_threads
        See `cross_entropy`.
    reduction : {"none", "mean", "sum", "batchmean"}, default "mean"
        "mean" divides by the number of elements, "batchmean" by the length of the first axis.
    log_target : bool, default False
        `target` is given as its logarithm.

    Returns
    -------
    Tensor
        In the dtype of `input`.
    """
    refuse_deprecated(size_average, reduce)
    return run_loss("kl_div", input, target, reduction, log_target=bool(log_target), num_threads=num_threads)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: Reduction = "mean",
    weight: Tensor | None = None,
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Squared error of each element: `torch.nn.functional.mse_loss`.

    Parameters
    ----------
    input : Tensor
        Predictions of any shape.
    target : Tensor
        Targets of the shape of `input`. It may require a gradient too.
    size_average, reduce, reduction, num_threads
        See `cross_entropy`; "mean" divides by the sum of the weights, without them by the number of elements.
    weight : Tensor, optional
        A weight that broadcasts to the shape of `input`.

    Returns
    -------
    Tensor
        In the dtype of `input`.
    """
    refuse_deprecated(size_average, reduce)
    if isinstance(input, Tensor) and isinstance(target, Tensor) and target.requires_grad and torch.is_grad_enabled():
        if input.shape != target.shape:
            raise ValueError(f"target must have the shape of input, {tuple(input.shape)}, got {tuple(target.shape)}")
        input, target = input - target, torch.zeros_like(target, requires_grad=False)
    return run_loss("mse_loss", input, target, reduction, weight=weight, num_threads=num_threads)


# ---- maps ------------------------------------------------------------------------------------------------------------


def softmax(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Exponentials that sum to one along a dimension: `torch.nn.functional.softmax`.

    Parameters
    ----------
    input : Tensor
        Logits of any shape with at least one dimension.
    dim : int
        The class axis. It has to be given.
    _stacklevel : int
        Not used; PyTorch has it.
    dtype : torch.dtype, optional
        `input` is converted to it first.
    num_threads : int, optional
        At most so many threads; None is the smaller one of PyTorch's number and crossent's.

    Returns
    -------
    Tensor
        Of the shape of `input`.
    """
    return run_map("softmax", _converted(input, dtype), dim, num_threads=num_threads)


def log_softmax(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
    *,
    num_threads: int | None = None,
) -> Tensor:
    """Logarithms of the softmax along a dimension: `torch.nn.functional.log_softmax`.

    Parameters
    ----------
    input, dim, _stacklevel, dtype, num_threads
        See `softmax`.

    Returns
    -------
    Tensor
        Of the shape of `input`.
    """
    return run_map("log_softmax", _converted(input, dtype), dim, num_threads=num_threads)


def _converted(input: Tensor, dtype: torch.dtype | None) -> Tensor:
    return input if dtype is None else input.to(dtype)


def logsumexp(input: Tensor, dim: int, keepdim: bool = False, *, num_threads: int | None = None) -> Tensor:
    """Logarithm of the sum of exponentials along one dimension: `torch.logsumexp`.

    Parameters
    ----------
    input : Tensor
        Numbers of any shape with at least one dimension.
    dim : int
        The dimension to sum over; one only.
    keepdim : bool, default False
        Keep that dimension, with length one.
    num_threads : int, optional
        At most so many threads; None is the smaller one of PyTorch's number and crossent's.

    Returns
    -------
    Tensor
        In the dtype of `input`.
    """
    return run_map("logsumexp", input, dim, bool(keepdim), num_threads)


def sigmoid(input: Tensor, *, num_threads: int | None = None) -> Tensor:
    """The logistic function of each element: `torch.nn.functional.sigmoid`.

    Parameters
    ----------
    input : Tensor
        Numbers of any shape.
    num_threads : int, optional
        At most so many threads; None is the smaller one of PyTorch's number and crossent's.

    Returns
    -------
    Tensor
        Of the shape of `input`.
    """
    return run_map("sigmoid", input, num_threads=num_threads)


def logsigmoid(input: Tensor, *, num_threads: int | None = None) -> Tensor:
    """The logarithm of the logistic function of each element: `torch.nn.functional.logsigmoid`.

    Parameters
    ----------
    input : Tensor
        Numbers of any shape.
    num_threads : int, optional
        At most so many threads; None is the smaller one of PyTorch's number and crossent's.

    Returns
    -------
    Tensor
        Of the shape of `input`.
    """
    return run_map("logsigmoid", input, num_threads=num_threads)
