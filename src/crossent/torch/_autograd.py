"""Between tensors and kernels: zero-copy views, autograd, torch.func and torch.compile.

`run_loss` and `run_map` are the two doors. Each of them picks one of three ways to the same computation: a plain call
where nobody asks for a gradient, an autograd function, or a custom operator while torch.compile traces.

A loss computes its gradient together with its value, in one pass, and returns both: `(loss, grad)`. The caller sees the
loss alone. Both are outputs that can be differentiated, which costs nothing and makes a second derivative reach
`backward` with a gradient for `grad`, where it is refused; if `grad` were a constant it would silently be zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.autograd import forward_ad

import crossent

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The options that each loss takes, of those that `run_loss` has.
LOSS_OPTIONS = {
    "cross_entropy": ("weight", "ignore_index", "label_smoothing"),
    "nll_loss": ("weight", "ignore_index"),
    "binary_cross_entropy": ("weight",),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight"),
    "kl_div": ("log_target",),
    "mse_loss": ("weight",),
}
LOSSES = {name: getattr(crossent, name) for name in LOSS_OPTIONS}
LOSSES_AND_GRADS = {name: crossent.value_and_grad(loss) for name, loss in LOSSES.items()}
ROW_WISE = ("cross_entropy", "nll_loss")
HALF_TYPES = (torch.float16, torch.bfloat16)
BIG = 2**22  # bytes from which NumPy asks the system for huge pages

# Without these (they are no public names) the answer that is always right, if slower.
_functorch_is_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
_graph_is_kept = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)
_is_batched = getattr(torch._C._functorch, "is_legacy_batchedtensor", lambda tensor: True)


def _in_transform() -> bool:
    """Whether torch.func or forward mode may be at work: then an input that requires no gradient may have one."""
    return _functorch_is_active() or getattr(forward_ad, "_current_level", 0) >= 0


# ---- tensors in, arrays out ------------------------------------------------------------------------------------------


def check_tensor(value: Any, name: str) -> None:
    if not isinstance(value, torch.Tensor):
        wanted = f"{name} must be a torch.Tensor, got {type(value).__name__}"
        raise TypeError(f"{wanted}; for NumPy arrays there are the functions of crossent itself")
    if not value.is_cpu:
        raise TypeError(f"{name} must be a CPU tensor, got one on device {value.device}")


def check_constant(value: Any, name: str) -> None:
    """A tensor that no gradient is taken of."""
    check_tensor(value, name)
    if value.requires_grad and torch.is_grad_enabled():
        raise NotImplementedError(
            f"crossent.torch has no gradient with respect to {name}, which requires one: pass {name}.detach(), "
            "or use torch.nn.functional"
        )


def check_input(input: Any) -> None:
    check_tensor(input, "input")
    if not input.is_floating_point():
        raise TypeError(f"input must be a floating-point tensor, got {input.dtype}")


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in HALF_TYPES else dtype


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """The tensor's memory; half precision is widened to float32."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype in HALF_TYPES else tensor).numpy()


def new_like(input: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As torch.empty_like. Big ones are NumPy's: without huge pages the first touch costs more than the arithmetic."""
    if input.numel() * dtype.itemsize < BIG or not input.is_contiguous():
        return torch.empty_like(input, dtype=dtype)
    return torch.from_numpy(np.empty(tuple(input.shape), np.float64 if dtype == torch.float64 else np.float32))


def rounded(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What came out, in a half precision again if that is what went in."""
    return tensor.to(dtype) if dtype in HALF_TYPES else tensor


def threads(num_threads: int | None) -> int:
    """PyTorch's and our own limit both hold, so that data loaders, whose workers have one thread, keep to it."""
    return min(torch.get_num_threads(), crossent.get_num_threads()) if num_threads is None else num_threads


# ---- losses ----------------------------------------------------------------------------------------------------------


def run_loss(
    name: str,
    input: torch.Tensor,
    target: torch.Tensor,
    reduction: str,
    *,
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    log_target: bool = False,
    num_threads: int | None = None,
) -> torch.Tensor:
    check_input(input)
    check_constant(target, "target")
    if weight is not None:
        check_constant(weight, "weight")
    if pos_weight is not None:
        check_constant(pos_weight, "pos_weight")
    if input.dtype in HALF_TYPES and torch.is_autocast_enabled("cpu"):
        input = input.float()  # autocast's rule for losses
    with_grad = input.requires_grad and torch.is_grad_enabled()
    settings = (name, reduction, ignore_index, label_smoothing, log_target, num_threads)
    arguments: tuple[Any, ...] = (input, target, weight, pos_weight, *settings, 0)
    if torch.compiler.is_compiling():
        refuse_traced_grad()
        return loss_operator(*arguments, with_grad)[0]
    if _in_transform():
        return LossFunction.apply(*arguments, True)[0]
    if with_grad:
        return EagerLossFunction.apply(*arguments, True)[0]
    return loss_and_grad(*arguments, False)[0]  # type: ignore[call-arg]


def loss_and_grad(
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    pos_weight: torch.Tensor | None,
    name: str,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    log_target: bool,
    num_threads: int | None,
    batch_ndim: int,
    with_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss in the dtype of input, and its gradient (an empty tensor if it is not wanted), float32 for halves.

    batch_ndim: so many leading dimensions of all tensors are those of `vmap`; a loss is taken for each of their items.
    """
    parameters: dict[str, Any] = {
        "ignore_index": ignore_index,
        "label_smoothing": label_smoothing,
        "log_target": log_target,
        "weight": None if weight is None else as_array(weight),
        "pos_weight": None if pos_weight is None else as_array(pos_weight),
    }
    options = {key: parameters[key] for key in LOSS_OPTIONS[name]}
    options.update(reduction=reduction, num_threads=threads(num_threads))
    dtype = compute_dtype(input.dtype)
    grad = new_like(input, dtype) if with_grad else input.new_empty(0, dtype=dtype)
    out = grad.numpy() if with_grad else None
    evaluate = _one_loss if batch_ndim == 0 else _batch_of_losses
    losses = evaluate(name, as_array(input), as_array(target), out, options, batch_ndim)
    if isinstance(losses, np.ndarray):
        return rounded(torch.from_numpy(losses), input.dtype), grad
    return input.new_full((), losses), grad


def _one_loss(name: str, input: Any, target: Any, out: Any, options: dict[str, Any], batch_ndim: int = 0) -> Any:
    if out is None:
        return LOSSES[name](input, target, **options)
    return LOSSES_AND_GRADS[name](input, target, out=out, **options)[0]


def _batch_of_losses(name: str, input: Any, target: Any, out: Any, options: dict[str, Any], batch_ndim: int) -> Any:
    losses = np.empty(loss_shape(name, options["reduction"], input.shape, batch_ndim), input.dtype)
    for i in np.ndindex(input.shape[:batch_ndim]):
        mine = {key: value[i] if isinstance(value, np.ndarray) else value for key, value in options.items()}
        losses[i] = _one_loss(name, input[i], target[i], None if out is None else out[i], mine)
    return losses


def loss_shape(name: str, reduction: str, shape: Any, batch_ndim: int) -> tuple[int, ...]:
    batch, shape = tuple(shape[:batch_ndim]), tuple(shape[batch_ndim:])
    if reduction != "none":
        return batch
    return batch + (shape[:1] * (len(shape) > 1) + shape[2:] if name in ROW_WISE else shape)


def setup_loss_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    (input, target, _, _, name, reduction, ignore_index, _, _, _, batch_ndim, _), (loss, grad) = inputs, output
    ctx.set_materialize_grads(False)
    ctx.dtype = input.dtype
    ctx.name = name
    ctx.n_inputs = len(inputs)
    if loss.ndim in (batch_ndim, input.ndim):
        ctx.factor_shape = tuple(loss.shape) + (1,) * (input.ndim - loss.ndim)
    else:  # the class axis follows that of the rows
        ctx.factor_shape = (*loss.shape[: batch_ndim + 1], 1, *loss.shape[batch_ndim + 1 :])
    by_index = reduction == "none" and name in ROW_WISE and not target.is_floating_point()
    ctx.save_for_backward(grad, _as_int64(target) == ignore_index if by_index else None)


def _as_int64(target: torch.Tensor) -> torch.Tensor:
    """Every integer type can be compared with -100 so."""
    return target if target.dtype == torch.int64 else target.long()


def loss_backward(ctx: Any, grad_output: torch.Tensor | None, second: torch.Tensor | None) -> tuple[Any, ...]:
    if second is not None:
        raise NotImplementedError(
            f"crossent.torch.{ctx.name} cannot be differentiated twice; torch.nn.functional.{ctx.name} can"
        )
    if grad_output is None:
        return (None,) * ctx.n_inputs
    grad, ignored = ctx.saved_tensors
    if ignored is not None:  # their gradient is 0 whatever comes back, NaN too
        grad_output = grad_output.masked_fill(ignored, 0)
    grad = rounded(scaled(grad, grad_output, ctx.factor_shape), ctx.dtype)
    return (grad, *(None,) * (ctx.n_inputs - 1))


def scaled(grad: torch.Tensor, grad_output: torch.Tensor, factor_shape: tuple[int, ...]) -> torch.Tensor:
    """The product; in grad's own memory if that is needed no more, and grad itself if the factor is 1."""
    factor = grad_output.reshape(factor_shape) if grad_output.ndim else grad_output
    if not is_plain(factor):
        return grad * factor
    grad = grad.detach()
    if _graph_is_kept():
        return grad * factor
    if factor.ndim == 0 and factor.item() == 1:
        return grad
    return grad.mul_(factor)


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor has memory that may be read, and what is done with it is neither recorded nor traced."""
    if type(tensor) is not torch.Tensor or torch.is_grad_enabled() or _in_transform():
        return False
    return not _is_batched(tensor)


def refuse_forward_mode(ctx: Any, *tangents: Any) -> Any:
    raise NotImplementedError("crossent.torch has no forward-mode derivatives (jvp); torch.nn.functional has them")


class EagerLossFunction(torch.autograd.Function):
    """`LossFunction` outside of transforms. For that one PyTorch inspects a signature at each call: 30 microseconds."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = loss_and_grad(*inputs)
        setup_loss_context(ctx, inputs, output)
        return output

    backward = staticmethod(loss_backward)


class LossFunction(torch.autograd.Function):
    """A loss and its gradient. The arguments are those of `loss_and_grad`."""

    forward = staticmethod(loss_and_grad)
    setup_context = staticmethod(setup_loss_context)
    backward = staticmethod(loss_backward)
    jvp = staticmethod(refuse_forward_mode)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return LossFunction.apply(*batched_loss_inputs(info, in_dims, inputs)), (0, 0)


def batched_loss_inputs(info: Any, in_dims: tuple[Any, ...], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """One leading dimension more, that of vmap."""
    tensors = [_batch_first(t, dim, info.batch_size) for t, dim in zip(inputs[:4], in_dims[:4], strict=True)]
    *settings, batch_ndim, with_grad = inputs[4:]
    return (*tensors, *settings, batch_ndim + 1, with_grad)


def _batch_first(tensor: torch.Tensor | None, dim: int | None, batch_size: int) -> torch.Tensor | None:
    if tensor is None:
        return None
    return tensor.expand(batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


# ---- maps ------------------------------------------------------------------------------------------------------------

MAPS = {
    "softmax": crossent.softmax,
    "log_softmax": crossent.log_softmax,
    "logsumexp": crossent.logsumexp,
    "sigmoid": crossent.sigmoid,
    "logsigmoid": crossent.log_sigmoid,
}
ELEMENT_WISE = ("sigmoid", "logsigmoid")


def run_map(
    name: str, input: torch.Tensor, dim: int | None = None, keepdim: bool = False, num_threads: int | None = None
) -> torch.Tensor:
    check_input(input)
    dim = 0 if name in ELEMENT_WISE else checked_dim(dim, input.ndim)
    settings: tuple[Any, ...] = (name, dim, keepdim, num_threads)
    if torch.compiler.is_compiling():
        refuse_traced_grad()
        return map_operator(input, *settings)
    if _in_transform():
        return MapFunction.apply(input, *settings)
    if input.requires_grad and torch.is_grad_enabled():
        return EagerMapFunction.apply(input, *settings)
    return evaluate_map(input, *settings)


def checked_dim(dim: Any, ndim: int) -> int:
    if dim is None:
        raise TypeError("dim must be given: PyTorch's guess is deprecated, and differs with the number of dimensions")
    if not isinstance(dim, int):
        raise TypeError(f"dim must be an integer, got {dim!r} of type {type(dim).__name__}")
    if not -ndim <= dim < ndim:
        raise IndexError(f"dim must be from {-ndim} to {ndim - 1} for {ndim} dimensions, got {dim}")
    return dim % ndim


def evaluate_map(input: torch.Tensor, name: str, dim: int, keepdim: bool, num_threads: int | None) -> torch.Tensor:
    dtype = compute_dtype(input.dtype)
    options: dict[str, Any] = {} if name in ELEMENT_WISE else {"axis": dim}
    if name == "logsumexp":
        output = input.new_empty(lse_shape(input, dim, keepdim), dtype=dtype)
        options["keepdims"] = keepdim
    else:
        output = new_like(input, dtype)
    MAPS[name](as_array(input), out=output.numpy(), num_threads=threads(num_threads), **options)
    return rounded(output, input.dtype)


def lse_shape(input: torch.Tensor, dim: int, keepdim: bool) -> tuple[int, ...]:
    return (*input.shape[:dim], *(1,) * keepdim, *input.shape[dim + 1 :])


def setup_map_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    input, ctx.name, ctx.dim, ctx.keepdim, ctx.num_threads = inputs
    ctx.save_for_backward(
        input if ctx.name in ("sigmoid", "logsumexp") else None, output if ctx.name != "sigmoid" else None
    )


def map_backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
    dtype = grad_output.dtype
    input, output = (None if t is None else t.to(compute_dtype(dtype)) for t in ctx.saved_tensors)
    grad = rounded(_grad_of_map(ctx, grad_output.to(compute_dtype(dtype)), input, output), dtype)
    return grad, None, None, None, None


def _grad_of_map(ctx: Any, grad_output: torch.Tensor, input: Any, output: Any) -> torch.Tensor:
    if ctx.name == "logsumexp":
        return _logsumexp_backward(grad_output, input, output, ctx.dim, ctx.keepdim)
    if ctx.name == "sigmoid":
        return grad_output * torch.sigmoid(input) * torch.sigmoid(-input)  # 1 - p would cancel
    if ctx.name == "logsigmoid":
        return -grad_output * torch.expm1(output)  # sigmoid(-x) = 1 - exp(log_sigmoid(x))
    if is_plain(grad_output):
        return _fused_backward(ctx.name, grad_output, output, ctx.dim, ctx.num_threads)
    return _recorded_backward(ctx.name, grad_output, output, ctx.dim)


def _fused_backward(
    name: str, grad_output: torch.Tensor, output: torch.Tensor, dim: int, num_threads: int | None
) -> torch.Tensor:
    backward = crossent.softmax_backward if name == "softmax" else crossent.log_softmax_backward
    grad = new_like(output, output.dtype)
    backward(as_array(grad_output), as_array(output), dim, out=grad.numpy(), num_threads=threads(num_threads))
    return grad


def _recorded_backward(name: str, grad_output: torch.Tensor, output: torch.Tensor, dim: int) -> torch.Tensor:
    """The same in PyTorch's operations, which can be differentiated, batched and compiled."""
    if name == "softmax":
        return output * (grad_output - (grad_output * output).sum(dim, keepdim=True))
    return grad_output - output.exp() * grad_output.sum(dim, keepdim=True)


def _logsumexp_backward(
    grad_output: torch.Tensor, input: torch.Tensor, output: torch.Tensor, dim: int, keepdim: bool
) -> torch.Tensor:
    if not keepdim:
        grad_output, output = grad_output.unsqueeze(dim), output.unsqueeze(dim)
    shift = output.masked_fill(output.abs() == math.inf, 0)  # a row of -inf: exp(-inf - 0) is 0
    return grad_output * (input - shift).exp()


class EagerMapFunction(torch.autograd.Function):
    """`MapFunction` outside of transforms."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = evaluate_map(*inputs)
        setup_map_context(ctx, inputs, output)
        return output

    backward = staticmethod(map_backward)


class MapFunction(torch.autograd.Function):
    """softmax and its kin; the backward pass can be differentiated again."""

    forward = staticmethod(evaluate_map)
    setup_context = staticmethod(setup_map_context)
    backward = staticmethod(map_backward)
    jvp = staticmethod(refuse_forward_mode)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return MapFunction.apply(*batched_map_inputs(in_dims, inputs)), 0


def batched_map_inputs(in_dims: tuple[Any, ...], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    input, name, dim, keepdim, num_threads = inputs
    return input.movedim(in_dims[0], 0), name, dim + 1, keepdim, num_threads


# ---- torch.compile ---------------------------------------------------------------------------------------------------

loss_operator = torch.library.custom_op(
    "crossent::loss_and_grad",
    loss_and_grad,
    mutates_args=(),
    schema="(Tensor input, Tensor target, Tensor? weight, Tensor? pos_weight, str name, str reduction, "
    "int ignore_index, float label_smoothing, bool log_target, int? num_threads, int batch_ndim, bool with_grad)"
    " -> (Tensor, Tensor)",
)
map_operator = torch.library.custom_op(
    "crossent::map",
    evaluate_map,
    mutates_args=(),
    schema="(Tensor input, str name, int dim, bool keepdim, int? num_threads) -> Tensor",
)


@torch.compiler.assume_constant_result
def _in_grad_transform() -> bool:
    """Asked at trace time; torch.compile's guards know the stack of transforms."""
    try:
        functorch = torch._C._functorch
        layer = functorch.peek_interpreter_stack()
        return layer is not None and layer.key() != functorch.TransformType.Vmap
    except AttributeError:
        return False


def refuse_traced_grad() -> None:
    """An operator's autograd does not know torch.func. What raises here torch.compile runs uncompiled, if it may."""
    if _in_grad_transform():
        raise NotImplementedError("torch.func.grad of crossent.torch inside torch.compile needs fullgraph=False")


@loss_operator.register_fake
def _fake_loss_and_grad(input: torch.Tensor, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
    _, _, _, name, reduction, _, _, _, _, batch_ndim, with_grad = arguments
    loss = input.new_empty(loss_shape(name, reduction, input.shape, batch_ndim))
    dtype = compute_dtype(input.dtype)
    return loss, torch.empty_like(input, dtype=dtype) if with_grad else input.new_empty(0, dtype=dtype)


@map_operator.register_fake
def _fake_map(input: torch.Tensor, name: str, dim: int, keepdim: bool, num_threads: int | None) -> torch.Tensor:
    return input.new_empty(lse_shape(input, dim, keepdim)) if name == "logsumexp" else torch.empty_like(input)


@loss_operator.register_vmap
def _vmap_of_loss(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
    return loss_operator(*batched_loss_inputs(info, in_dims, inputs)), (0, 0)


@map_operator.register_vmap
def _vmap_of_map(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
    return map_operator(*batched_map_inputs(in_dims, inputs)), 0


loss_operator.register_autograd(loss_backward, setup_context=setup_loss_context)
map_operator.register_autograd(map_backward, setup_context=setup_map_context)
