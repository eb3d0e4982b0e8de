"""none, mean and sum: what a loss returns, what a mean divides by, and what that makes of the gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _validation
from ._kernels import Derivatives

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import DTypeLike, NDArray


def mean_factor(denominator: float) -> float:
    """The factor of a mean on the gradient. Where there is nothing to average the mean is NaN, the gradient 0."""
    return 1.0 / denominator if denominator else 0.0


def element_denominator(shape: tuple[int, ...], reduction: str, weight: NDArray[Any] | None) -> float:
    """What the mean of an element-wise loss divides by; weight: its sum, broadcast to the shape, else the elements."""
    size = math.prod(shape)
    if reduction == "batchmean":
        return float(shape[0]) if shape else 1.0
    if weight is None:
        return float(size)
    # Pairwise, in float64, once over the weights as they came: each counts for size / weight.size elements.
    # In the order of the indices, where NumPy would take that of memory.
    total = float(np.sum(np.ascontiguousarray(weight), dtype=np.float64)) if weight.size else 0.0
    return total * (size / weight.size) if weight.size else 0.0


class Outputs:
    """Where one call of a loss writes, and what it returns.

    loss: the array of the losses with reduction "none", else None (the kernel returns their sum).
    grad, hess: arrays of the input's shape, or None if value_and_grad did not ask.
    grad_scale, grad_output: a factor on all of grad and hess, and one for each loss (or None).
    of_caller: whether any of it is the caller's memory, which an error must find as it was.
    """

    def __init__(
        self,
        out: Any,
        reduction: str,
        denominator: float,
        input: NDArray[Any],
        operands: Iterable[NDArray[Any] | None],
        axis: int | None,
        grad_output_dtype: DTypeLike,
    ) -> None:
        """operands: what the kernel reads besides input. axis: the class axis, None for element-wise losses."""
        self.reduction = reduction
        self.denominator = denominator
        self.loss: NDArray[Any] | None = None
        self.grad: NDArray[Any] | None = None
        self.hess: NDArray[Any] | None = None
        self.grad_output: NDArray[Any] | None = None
        self.grad_scale = 1.0
        operands = [input, *operands]
        loss_shape = input.shape if axis is None else input.shape[:axis] + input.shape[axis + 1 :]
        wanted = out if type(out) is Derivatives else None
        self.out = (None, wanted.out, wanted.hess_out) if wanted else (out, None, None)
        self.of_caller = any(a is not None for a in self.out)
        self._check(input, loss_shape)
        if wanted:
            scale, self.grad_output = _validation.grad_output(
                wanted.grad_output, reduction, loss_shape, grad_output_dtype
            )
            self.grad_scale = scale * (1.0 if reduction in ("none", "sum") else mean_factor(denominator))
            operands.append(self.grad_output)
            self.grad = _validation.target_buffer(
                wanted.out, input.shape, input.dtype, axis=axis, operands=operands, overwritable=input
            )
        if wanted and wanted.order > 1:
            self.hess = _validation.target_buffer(
                wanted.hess_out, input.shape, input.dtype, axis=axis, operands=operands
            )
        if reduction == "none":
            self.loss = _validation.target_buffer(self.out[0], loss_shape, input.dtype, axis=None, operands=operands)

    def _check(self, input: NDArray[Any], loss_shape: tuple[int, ...]) -> None:
        loss_out, grad_out, hess_out = self.out
        _validation.check_loss_out(loss_out, self.reduction)
        if loss_out is not None:
            _validation.check_out(loss_out, loss_shape, input.dtype)
        if grad_out is not None:
            _validation.check_out(grad_out, input.shape, input.dtype)
        if hess_out is not None:
            _validation.check_out(hess_out, input.shape, input.dtype, "hess_out")
        _validation.check_apart(grad_out, hess_out)

    def derivative_rows(self, axis: int) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """grad and hess as a row kernel takes them."""
        grad = None if self.grad is None else _validation.rows(self.grad, axis)
        hess = None if self.hess is None else _validation.rows(self.hess, axis)
        return grad, hess

    def result(self, total: float) -> Any:
        """What the public function returns: loss, (loss, grad) or (loss, grad, hess)."""
        loss_out, grad_out, hess_out = self.out
        if self.loss is not None:
            loss = _validation.deliver(self.loss, loss_out)
        elif self.reduction == "sum":
            loss = total
        else:
            loss = total / self.denominator if self.denominator else math.nan
        if self.grad is None:
            return loss
        grad = _validation.deliver(self.grad, grad_out)
        if self.hess is None:
            return loss, grad
        return loss, grad, _validation.deliver(self.hess, hess_out)
