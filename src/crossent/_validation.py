"""What comes in, checked: the only file that raises about dtypes, shapes, targets, parameters and out=.

Every message names the argument, what it got and what it wanted. A function here either returns something that the
kernels can take as it is, or raises; nothing is written before all of them have passed.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import _kernels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    Shape = tuple[int, ...]

INT64 = np.iinfo(np.int64)


# ---- arrays ----------------------------------------------------------------------------------------------------------


def as_array(value: ArrayLike, name: str) -> NDArray[Any]:
    """A base-class array of a real dtype, aligned and of native byte order, over the same memory where possible."""
    array = value if type(value) is np.ndarray else _convert(value, name)
    dtype = array.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(f"{name} must hold float16, float32, float64, integers or booleans, got dtype {dtype}")
    if not dtype.isnative:
        return array.astype(dtype.newbyteorder("="))
    # The kernels count strides in elements: a field of a packed record may lie between two of them.
    if not array.flags.aligned or any(stride % dtype.itemsize for stride in array.strides):
        return array.copy()
    return array


def _convert(value: Any, name: str) -> NDArray[Any]:
    if _is_masked(value):
        raise TypeError(f"{name} must be a plain array, got a masked array: fill or drop its masked values first")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        message = f"{name} must be convertible to a NumPy array, got {type(value).__name__}: {error}"
        raise TypeError(message) from error


def _is_masked(value: Any) -> bool:
    masked = sys.modules.get("numpy.ma")  # not imported: then there is no masked array
    return masked is not None and isinstance(value, masked.MaskedArray)


def as_floating(value: ArrayLike, name: str) -> NDArray[Any]:
    """float32 and float64 as they are, float16 widened to float32, integers and booleans to float64."""
    array = as_array(value, name)
    if array.dtype.kind != "f":
        return array.astype(np.float64)
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def as_operand(value: ArrayLike, name: str, dtype: DTypeLike, shape: Shape) -> NDArray[Any]:
    """An array of the input's shape, in the dtype that the input is computed in."""
    array = as_array(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape of input, {shape}, got {array.shape}")
    return cast(array, dtype)


def cast(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # float64 beyond the range of float32 is infinity, without a warning
        return array.astype(dtype, copy=False)


def contiguous(array: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(array, order="C")


def rows(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """The array as (outer, n_classes, inner): a view wherever the strides allow one, else a copy."""
    shape = array.shape
    return array.reshape(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


# ---- outputs ---------------------------------------------------------------------------------------------------------


def check_out(out: Any, shape: Shape, dtype: DTypeLike, name: str = "out") -> None:
    if not isinstance(out, np.ndarray) or _is_masked(out):
        raise TypeError(f"{name} must be a numpy.ndarray or None, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} must have the dtype of the result, {np.dtype(dtype)}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} must have the shape of the result, {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def check_apart(out: NDArray[Any] | None, hess_out: NDArray[Any] | None) -> None:
    if out is not None and hess_out is not None and np.may_share_memory(out, hess_out):
        raise ValueError("hess_out must not share memory with out")


def check_loss_out(out: Any, reduction: str) -> None:
    if out is not None and reduction != "none":
        raise ValueError(f'out is only for reduction="none", got reduction={reduction!r}, which returns a float')


def target_buffer(
    out: NDArray[Any] | None,
    shape: Shape,
    dtype: DTypeLike,
    *,
    axis: int | None,
    operands: Iterable[NDArray[Any] | None],
    overwritable: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The array that a kernel writes: `out` itself if it can be written while the operands are read, else a new one.

    axis: the class axis of a row kernel, None for contiguous memory. overwritable: the operand that `out` may be.
    """
    if out is not None and _is_direct(out, axis):
        clashes = [a for a in operands if a is not None and np.may_share_memory(a, out)]
        if all(a is overwritable and _is_same_memory(a, out) for a in clashes):
            return out
    return np.empty(shape, dtype)


def _is_direct(out: NDArray[Any], axis: int | None) -> bool:
    if axis is None:
        return out.flags.carray
    whole = out.flags.aligned and not any(stride % out.itemsize for stride in out.strides)
    return whole and np.may_share_memory(rows(out, axis), out)


def _is_same_memory(a: NDArray[Any], b: NDArray[Any]) -> bool:
    same = a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    return same and (a.shape, a.strides, a.dtype) == (b.shape, b.strides, b.dtype)


def deliver(buffer: NDArray[Any], out: NDArray[Any] | None) -> Any:
    """What the caller gets: `out` with the result in it, or the result itself (a scalar if it has no dimension)."""
    if out is None:
        return buffer if buffer.ndim else buffer[()]
    if out is not buffer:
        out[...] = buffer
    return out


# ---- axes and parameters ---------------------------------------------------------------------------------------------


def class_axis(axis: Any, ndim: int) -> int:
    """The class axis, counted from the front; None is torch's rule: 1, or 0 for a one-dimensional input."""
    return map_axis(min(1, ndim - 1) if axis is None else axis, ndim)


def map_axis(axis: Any, ndim: int) -> int:
    if ndim == 0:
        raise ValueError("input must have at least one dimension, the class axis, got a zero-dimensional input")
    index = _integer(axis, "axis")
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(f"axis must be from {-ndim} to {ndim - 1} for {ndim} dimensions, got {axis}")
    return index % ndim


def check_reduction(reduction: Any, *more: str) -> None:
    wanted = ("none", "mean", "sum", *more)
    if not isinstance(reduction, str) or reduction not in wanted:
        raise ValueError(f"reduction must be one of {', '.join(map(repr, wanted))}, got {reduction!r}")


def _integer(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None


def _real(value: Any, name: str) -> float:
    if isinstance(value, (float, int, np.floating, np.integer)):
        return float(value)
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf":
        return float(value)
    raise TypeError(f"{name} must be a real number, got {value!r} of type {type(value).__name__}")


def ignored_index(value: Any) -> int:
    index = _integer(value, "ignore_index")
    if not INT64.min <= index <= INT64.max:
        raise ValueError(f"ignore_index must fit 64 bits, got {index}")
    return index


def smoothing(value: Any) -> float:
    s = _real(value, "label_smoothing")
    if not 0 <= s <= 1:
        raise ValueError(f"label_smoothing must be from 0 to 1, got {value!r}")
    return s


def floor_of_log(value: Any) -> float:
    floor = _real(value, "log_floor")
    if not floor <= 0:
        raise ValueError(f"log_floor must be negative or 0 (-inf for none), got {value!r}")
    return floor


def clip_eps(value: Any) -> float:
    eps = _real(value, "eps")
    if not 0 <= eps < 0.5:
        raise ValueError(f"eps must be at least 0 and below 0.5, got {value!r}")
    return eps


# ---- weights ---------------------------------------------------------------------------------------------------------


def class_weight(weight: ArrayLike | None, n_classes: int) -> NDArray[Any] | None:
    """One float64 for each class."""
    if weight is None:
        return None
    array = as_array(weight, "weight")
    if array.shape != (n_classes,):
        raise ValueError(f"weight must have one value for each class, shape ({n_classes},), got {array.shape}")
    return np.ascontiguousarray(array, np.float64)


def element_weight(weight: ArrayLike | None, name: str, dtype: DTypeLike, shape: Shape) -> NDArray[Any] | None:
    """A weight that can be broadcast to the input's shape, in the input's dtype."""
    if weight is None:
        return None
    array = as_array(weight, name)
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} must broadcast to the shape of input, {shape}, got {array.shape}")
    return cast(array, dtype)


def repeated(weight: NDArray[Any] | None, shape: Shape) -> tuple[NDArray[Any] | None, int]:
    """A broadcast weight as (memory, period): element i takes memory[i % period], and a block more is in memory.

    A weight over the trailing dimensions (a pos_weight for each class, a number) repeats; it is not blown up to the
    size of the input. Any other broadcast is.
    """
    if weight is None:
        return None, 1
    size = math.prod(shape)
    tail = weight.shape
    while tail and tail[0] == 1:
        tail = tail[1:]
    if tail == shape[len(shape) - len(tail) :] and weight.size + _kernels.ELEMENT_BLOCK_SIZE < size:
        return np.resize(weight, weight.size + _kernels.ELEMENT_BLOCK_SIZE), weight.size
    return contiguous(np.broadcast_to(weight, shape)), max(size, 1)


# ---- targets ---------------------------------------------------------------------------------------------------------


def class_target(target: ArrayLike, input: NDArray[Any], axis: int, *, indices_only: bool = False) -> NDArray[Any]:
    """Class indices (integers, the shape without the class axis) or probabilities (floating, of the input's shape)."""
    array = as_array(target, "target")
    index_shape = input.shape[:axis] + input.shape[axis + 1 :]
    if array.size == 0 and array.shape == index_shape and not isinstance(target, np.ndarray):
        return array.astype(np.int64)  # [] is no float
    if array.dtype.kind in "biu":
        if array.shape != index_shape:
            raise _index_shape_error(array, input, index_shape)
        return array
    if indices_only or array.shape == index_shape != input.shape:
        raise TypeError(f"target must hold integers as class indices of shape {index_shape}, got dtype {array.dtype}")
    if array.shape != input.shape:
        wanted = f"the shape of input, {input.shape}, as class probabilities, or be integers of shape {index_shape}"
        raise ValueError(f"target must have {wanted}; got dtype {array.dtype} with shape {array.shape}")
    return cast(array, input.dtype)


def _index_shape_error(array: NDArray[Any], input: NDArray[Any], index_shape: Shape) -> Exception:
    message = f"target must have shape {index_shape} as class indices for input of shape {input.shape}"
    if array.shape == input.shape:
        return TypeError(f"{message}, or be floating as class probabilities; got dtype {array.dtype}")
    hint = " (drop the axis of length 1)" if array.size == math.prod(index_shape) else ""
    return ValueError(f"{message}, got {array.shape}{hint}")


def check_no_ignoring(ignore_index: int) -> None:
    if ignore_index >= 0:
        raise ValueError(f"ignore_index must be negative where target holds probabilities, got {ignore_index}")


def count_targets(
    target: NDArray[Any], n_classes: int, ignore_index: int, weight: NDArray[Any] | None, num_threads: int
) -> float:
    """The sum of the weights of the targets that are not ignored; an IndexError if one of them is not a class."""
    first_bad, denominator = _kernels.check_targets(target.reshape(-1), n_classes, ignore_index, weight, num_threads)
    if first_bad >= 0:
        classes = f"from 0 to {n_classes - 1}" if n_classes else "absent: input has no classes"
        where = _item("target", target, first_bad)
        raise IndexError(f"{where}, but a class index must be {classes} (or ignore_index={ignore_index})")
    return denominator


def raise_outside_unit(**arrays: NDArray[Any]) -> NoReturn:
    """Name the first value outside [0, 1]; the kernel found that there is one."""
    for name, array in arrays.items():
        outside = (array < 0) | (array > 1)
        if outside.any():
            raise ValueError(f"{_item(name, array, int(outside.argmax()))}, but {name} must be from 0 to 1")
    raise ValueError(f"{' and '.join(arrays)} must be from 0 to 1")  # changed by somebody in the meantime


def _item(name: str, array: NDArray[Any], flat_index: int) -> str:
    """Such as "target[3, 1] is -5"."""
    position = tuple(int(i) for i in np.unravel_index(flat_index, array.shape))
    where = f"[{', '.join(map(str, position))}]" if position else ""
    return f"{name}{where} is {array[position]}"


# ---- gradients -------------------------------------------------------------------------------------------------------


def check_derivatives(loss: Any, order: int) -> None:
    """Whether `loss` is one of ours, or a functools.partial of one, with derivatives of that order."""
    inner = loss
    while hasattr(inner, "func"):
        inner = inner.func
    available = getattr(inner, "derivatives", 0)
    if not callable(loss) or not available:
        raise TypeError(f"loss must be a loss of crossent that has a gradient, got {loss!r}")
    if available < order:
        wanted = "cross_entropy, binary_cross_entropy_with_logits or mse_loss"
        raise TypeError(f"loss must have a diagonal Hessian ({wanted}), got {getattr(loss, '__name__', loss)}")


def grad_output(value: Any, reduction: str, shape: Shape, dtype: DTypeLike) -> tuple[float, NDArray[Any] | None]:
    """(a factor on every gradient, a further one for each loss or None)."""
    if value is None:
        return 1.0, None
    if np.ndim(value) == 0 and not hasattr(value, "__array__"):
        return _real(value, "grad_output"), None
    array = as_array(value, "grad_output")
    if array.ndim == 0:
        return float(array), None
    if reduction != "none":
        raise ValueError(f"grad_output must be a number with {reduction=}, got shape {array.shape}")
    if array.shape != shape:
        raise ValueError(f"grad_output must be a number or have the shape of the losses, {shape}, got {array.shape}")
    return 1.0, contiguous(cast(array, dtype))
