"""crossent.torch: equal to PyTorch in float64, a citizen of its autograd, and clear about what it refuses.

Skipped where PyTorch is not installed.
"""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest

import crossent as ce

torch = pytest.importorskip("torch")
F = torch.nn.functional

from torch.autograd import forward_ad  # noqa: E402

import crossent.torch as C  # noqa: E402  # after PyTorch is known to be there
from crossent.torch import _autograd  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning"),
    # PyTorch's own, when torch.func or torch.compile load
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

CLOSE = {"rtol": 1e-11, "atol": 1e-13}
SHAPES = [(5,), (6, 5), (4, 5, 3), (2, 5, 3, 4), (0, 5), (1, 1)]
REDUCTIONS = ["none", "mean", "sum"]
MAPS = ["softmax", "log_softmax", "logsumexp", "sigmoid", "logsigmoid"]
ROW_MAPS = MAPS[:3]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def numbers(*shape, dtype=torch.float64, grad=False):
    return torch.randn(*shape, dtype=dtype).mul_(3).requires_grad_(grad)


def some_logits(n=6, c=5, **options):
    return numbers(n, c, **options), torch.randint(0, c, (n,))


def peer_map(name):
    return torch.logsumexp if name == "logsumexp" else getattr(F, name)


def check_same(ours, theirs, input, grad_output=None):
    """The same value and the same gradient with respect to input."""
    values, grads = [], []
    for function in (ours, theirs):
        leaf = input.detach().clone().requires_grad_()
        value = function(leaf)
        factor = torch.linspace(-1, 2, max(1, value.numel()), dtype=value.dtype)[: value.numel()].reshape(value.shape)
        value.backward(factor if grad_output is None else grad_output)
        values.append(value.detach())
        grads.append(leaf.grad)
    torch.testing.assert_close(*values, equal_nan=True, **CLOSE)
    torch.testing.assert_close(*grads, equal_nan=True, **CLOSE)


# ---- equal to PyTorch ------------------------------------------------------------------------------------------------


def row_options(name, c):
    options = [{}, {"weight": torch.rand(c, dtype=torch.float64)}]
    if name == "cross_entropy":
        options += [{"label_smoothing": 0.1}, {"label_smoothing": 0.2, "weight": torch.rand(c, dtype=torch.float64)}]
    return options


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_class_indices(name, shape, reduction):
    input = numbers(*shape)
    c = shape[min(1, len(shape) - 1)]
    target = torch.randint(0, c, shape[:1] * (len(shape) > 1) + shape[2:])
    for options in row_options(name, c):
        for ignore_index in [-100] if len(shape) == 1 else [-100, 0]:
            more = {**options, "ignore_index": ignore_index, "reduction": reduction}
            check_same(
                lambda x, more=more: getattr(C, name)(x, target, **more),
                lambda x, more=more: getattr(F, name)(x, target, **more),
                input,
            )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_class_probabilities(shape, reduction):
    input, axis = numbers(*shape), min(1, len(shape) - 1)
    target = torch.softmax(numbers(*shape), axis)
    for options in row_options("cross_entropy", shape[axis]):
        check_same(
            lambda x, o=options: C.cross_entropy(x, target, reduction=reduction, **o),
            lambda x, o=options: F.cross_entropy(x, target, reduction=reduction, **o),
            input,
        )


def element_calls():
    weight, pos_weight = torch.rand(4, 5, dtype=torch.float64), torch.rand(5, dtype=torch.float64) * 3
    real, unit = numbers(4, 5), torch.rand(4, 5, dtype=torch.float64)
    log = torch.log_softmax(real, 1)
    return {
        "binary_cross_entropy": [(unit, unit.flip(0), o) for o in ({}, {"weight": weight})],
        "binary_cross_entropy_with_logits": [
            (real, unit, o)
            for o in ({}, {"weight": weight}, {"pos_weight": pos_weight}, {"weight": weight, "pos_weight": pos_weight})
        ],
        "kl_div": [(log, unit, {}), (log, log.flip(0), {"log_target": True})],
        "mse_loss": [(real, unit, o) for o in ({}, {"weight": weight})],
    }


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "mse_loss"])
def test_losses_of_elements(name, reduction):
    if reduction == "batchmean" and name != "kl_div":
        pytest.skip("only kl_div has it")
    for input, target, options in element_calls()[name]:
        check_same(
            lambda x, t=target, o=options: getattr(C, name)(x, t, reduction=reduction, **o),
            lambda x, t=target, o=options: getattr(F, name)(x, t, reduction=reduction, **o),
            input,
        )


@pytest.mark.parametrize("shape", [(5,), (6, 5), (4, 5, 3)], ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_maps(name, shape):
    for dim in range(-len(shape), len(shape)) if name in ROW_MAPS else [None]:
        arguments = () if dim is None else (dim,)
        check_same(
            lambda x, a=arguments: getattr(C, name)(x, *a),
            lambda x, a=arguments: peer_map(name)(x, *a),
            numbers(*shape),
        )


@pytest.mark.parametrize("keepdim", [False, True])
def test_logsumexp_keeps_the_dimension(keepdim):
    input = numbers(4, 5)
    input[2, 3] = -torch.inf
    check_same(lambda x: C.logsumexp(x, 1, keepdim), lambda x: torch.logsumexp(x, 1, keepdim), input)


def test_logsumexp_of_minus_infinities_has_gradient_zero():
    """PyTorch gives NaN, which a mask behind it cannot undo."""
    input = torch.full((2, 3), -torch.inf, requires_grad=True)
    C.logsumexp(input, 1).sum().backward()
    assert input.grad.equal(torch.zeros(2, 3))


def test_a_map_converts_to_dtype_first():
    ones = torch.ones(2, 4, dtype=torch.int64)
    quarters = torch.full((2, 4), 0.25, dtype=torch.float64)
    torch.testing.assert_close(C.softmax(ones, 1, dtype=torch.float64), quarters, rtol=4.5e-16, atol=0)  # 2 ulp
    assert C.log_softmax(ones.double(), 1, dtype=torch.float32).dtype == torch.float32


def test_mse_loss_has_a_gradient_of_its_target():
    a, b = numbers(4, 5), numbers(4, 5)
    weight = torch.rand(4, 5, dtype=torch.float64)
    check_same(lambda t: C.mse_loss(a, t, weight=weight), lambda t: F.mse_loss(a, t, weight=weight), b)
    both = [torch.autograd.grad(f(x := a.clone().requires_grad_(), t := b.clone().requires_grad_()), (x, t))
            for f in (C.mse_loss, F.mse_loss)]  # fmt: skip
    torch.testing.assert_close(*both, **CLOSE)


@pytest.mark.parametrize("name", [n for n in C.__all__ if hasattr(F, n)])
def test_arguments_are_those_of_pytorch(name):
    if isinstance(getattr(F, name), type(torch.relu)):
        pytest.skip("PyTorch's has no signature")
    theirs = inspect.signature(getattr(F, name)).parameters.values()
    ours = [p for p in inspect.signature(getattr(C, name)).parameters.values() if p.name != "num_threads"]
    assert [(p.name, p.default, p.kind) for p in ours] == [(p.name, p.default, p.kind) for p in theirs]


# ---- autograd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck_of_losses(reduction):
    input, target = some_logits(grad=True)
    target[2] = -100
    weight = torch.rand(5, dtype=torch.float64)
    options = {"weight": weight, "reduction": reduction}
    assert torch.autograd.gradcheck(lambda x: C.cross_entropy(x, target, label_smoothing=0.1, **options), input)
    assert torch.autograd.gradcheck(lambda x: C.nll_loss(x, target, **options), input)
    for name, calls in element_calls().items():
        for x, t, o in calls:
            function = getattr(C, name)
            leaf = x.clamp(1e-3, 1 - 1e-3) if name == "binary_cross_entropy" else x.clone()
            call = (lambda x, f=function, t=t, o=o: f(x, t, reduction=reduction, **o), leaf.requires_grad_())
            assert torch.autograd.gradcheck(*call)


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_differentiable_twice(name):
    arguments = (1,) if name in ROW_MAPS else ()
    call = (lambda x: getattr(C, name)(x, *arguments), numbers(3, 4, grad=True))
    assert torch.autograd.gradcheck(*call)
    assert torch.autograd.gradgradcheck(*call)


def every_loss():
    input, target = some_logits(grad=True)
    unit = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    other = unit.detach().flip(0)
    return {
        "cross_entropy": (input, target),
        "nll_loss": (input, target),
        "binary_cross_entropy": (unit, other),
        "binary_cross_entropy_with_logits": (input, other),
        "kl_div": (input, other),
        "mse_loss": (input, other),
    }


@pytest.mark.parametrize("name", _autograd.LOSSES)
def test_a_second_derivative_of_a_loss_is_refused(name):
    function, (input, target) = getattr(C, name), every_loss()[name]
    (grad,) = torch.autograd.grad(function(input, target), input, create_graph=True)
    message = f"crossent.torch.{name} cannot be differentiated twice"
    with pytest.raises(NotImplementedError, match=message):
        grad.square().sum().backward()
    with pytest.raises(NotImplementedError, match=message):
        torch.autograd.functional.hessian(lambda x: function(x, target), input.detach())
    with pytest.raises(NotImplementedError, match=message):
        torch.func.grad(lambda x: torch.func.grad(function)(x, target).sum())(input.detach())


def test_a_first_derivative_with_create_graph_is_right():
    input, target = some_logits(grad=True)
    (grad,) = torch.autograd.grad(C.cross_entropy(input, target), input, create_graph=True)
    torch.testing.assert_close(grad, torch.autograd.grad(F.cross_entropy(input, target), input)[0], **CLOSE)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_graph_that_is_retained_keeps_its_gradient(reduction):
    input, target = some_logits(grad=True)
    loss = C.cross_entropy(input, target, reduction=reduction)
    factor = torch.full_like(loss, 3)
    first = torch.autograd.grad(loss, input, factor, retain_graph=True)[0]
    kept = first.clone()
    first.zero_()
    assert torch.autograd.grad(loss, input, factor, retain_graph=True)[0].equal(kept)
    assert torch.autograd.grad(loss, input, factor)[0].equal(kept)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, input, factor)


def test_gradients_accumulate():
    input, target = some_logits(grad=True)
    C.cross_entropy(input, target).backward()
    once = input.grad.clone()
    C.cross_entropy(input, target).backward()
    torch.testing.assert_close(input.grad, 2 * once, **CLOSE)


def test_a_gradient_of_the_target_or_a_weight_is_refused():
    input, index = some_logits()
    soft = torch.softmax(numbers(6, 5, grad=True), 1)
    with pytest.raises(NotImplementedError, match=r"gradient with respect to target.*target\.detach\(\)"):
        C.cross_entropy(input, soft)
    with pytest.raises(NotImplementedError, match="gradient with respect to weight"):
        C.cross_entropy(input, index, weight=torch.ones(5, requires_grad=True))
    with pytest.raises(NotImplementedError, match="gradient with respect to pos_weight"):
        C.binary_cross_entropy_with_logits(input, soft.detach(), pos_weight=torch.ones(5, requires_grad=True))
    with torch.no_grad():
        torch.testing.assert_close(C.cross_entropy(input, soft), F.cross_entropy(input, soft), **CLOSE)


def test_nothing_is_recorded_that_is_not_wanted():
    input, target = some_logits(grad=True)
    with torch.no_grad():
        assert not C.cross_entropy(input, target).requires_grad
        assert not C.softmax(input, 1).requires_grad
    assert not C.cross_entropy(input.detach(), target).requires_grad
    with torch.inference_mode():
        assert C.cross_entropy(input, target).is_inference()


def test_ignored_rows_have_gradient_zero_whatever_they_hold_and_whatever_comes_back():
    input, target = some_logits()
    input[1], target[1] = torch.nan, -100
    for reduction in REDUCTIONS:
        leaf = input.clone().requires_grad_()
        loss = C.cross_entropy(leaf, target, reduction=reduction)
        factor = torch.ones_like(loss)
        if reduction == "none":
            factor[1] = torch.nan
        loss.backward(factor)
        assert (leaf.grad[1] == 0).all()
        assert leaf.grad.isfinite().all()


def test_the_confident_tail():
    input = torch.tensor([[0.0, 17.0]], requires_grad=True)
    loss = C.cross_entropy(input, torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(4.139937e-08, rel=1e-6)
    assert input.grad[0, 1].item() == pytest.approx(-4.139937e-08, rel=1e-6)
    x = torch.tensor([20.0], requires_grad=True)
    C.sigmoid(x).backward()
    assert x.grad.item() == pytest.approx(np.exp(-20), rel=1e-6)


# ---- torch.func ------------------------------------------------------------------------------------------------------


def test_func_grad():
    input, target = some_logits()
    for name in ("cross_entropy", "nll_loss"):
        ours, theirs = torch.func.grad(getattr(C, name)), torch.func.grad(getattr(F, name))
        torch.testing.assert_close(ours(input, target), theirs(input, target), **CLOSE)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_vmap(reduction):
    input, target = numbers(3, 6, 5, 2), torch.randint(0, 5, (6, 3, 2))
    weight = torch.rand(3, 5, dtype=torch.float64)
    for dims in [(0, 1, None), (0, 1, 0)]:

        def mapped(function, dims=dims):
            call = torch.func.vmap(lambda x, t, w: function(x, t, w, reduction=reduction), dims)
            return call(input, target, weight[0] if dims[2] is None else weight)

        torch.testing.assert_close(mapped(C.cross_entropy), mapped(F.cross_entropy), **CLOSE)


def test_vmap_within_vmap_and_around_elements():
    input, target = some_logits()

    def table(function):
        per_target = torch.func.vmap(function, (None, 0))
        return torch.func.vmap(per_target, (0, None))(input, target)

    torch.testing.assert_close(table(C.cross_entropy), table(F.cross_entropy), **CLOSE)
    unit = torch.rand(6, 5, dtype=torch.float64)
    ours = torch.func.vmap(C.binary_cross_entropy_with_logits, (0, None))(input, unit[0])
    theirs = torch.func.vmap(F.binary_cross_entropy_with_logits, (0, None))(input, unit[0])
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_gradients_per_sample_and_through_vmap():
    input, target = some_logits()

    def per_sample(function):
        return torch.func.vmap(torch.func.grad(function))(input, target)

    def of_the_sum(function):
        return torch.func.grad(lambda x: torch.func.vmap(function)(x, target).square().sum())(input)

    torch.testing.assert_close(per_sample(C.cross_entropy), per_sample(F.cross_entropy), **CLOSE)
    torch.testing.assert_close(of_the_sum(C.cross_entropy), of_the_sum(F.cross_entropy), **CLOSE)


def test_jacobians():
    input, target = some_logits(grad=True)

    def jacobian(function):
        return torch.func.jacrev(lambda x: function(x, target, reduction="none"))(input.detach())

    def batched(function):
        losses = function(input, target, reduction="none")
        return torch.autograd.grad(losses, input, torch.eye(6, dtype=torch.float64), is_grads_batched=True)[0]

    torch.testing.assert_close(jacobian(C.cross_entropy), jacobian(F.cross_entropy), **CLOSE)
    torch.testing.assert_close(batched(C.cross_entropy), batched(F.cross_entropy), **CLOSE)


@pytest.mark.parametrize("name", MAPS)
def test_maps_under_vmap(name):
    input, arguments = numbers(4, 3, 5), (-1,) if name in ROW_MAPS else ()

    def mapped(function):
        call = torch.func.vmap(lambda x: function(x, *arguments), in_dims=1)
        jacobian = torch.func.vmap(torch.func.jacrev(lambda x: function(x, *arguments)), in_dims=1)
        batched = torch.func.grad(lambda x: call(x).square().sum())
        return call(input), jacobian(input), batched(input)

    torch.testing.assert_close(mapped(getattr(C, name)), mapped(peer_map(name)), **CLOSE)


def test_forward_mode_is_refused():
    input, target = some_logits()
    for function in (lambda x: C.cross_entropy(x, target), lambda x: C.softmax(x, 1)):
        with pytest.raises(NotImplementedError, match="no forward-mode derivatives"):
            torch.func.jvp(function, (input,), (input,))
        for leaf in (input, input.clone().requires_grad_()):
            with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="no forward-mode derivatives"):
                function(forward_ad.make_dual(leaf, input))


# ---- torch.compile ---------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled():
    """torch.compile without the C++ compiler: what is ours to get right is the trace."""
    torch._dynamo.reset()
    yield lambda function, **options: torch.compile(function, backend="aot_eager", **{"fullgraph": True, **options})
    torch._dynamo.reset()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses_compile_into_one_graph(compiled, reduction):
    input, target = some_logits()
    target[0] = -100
    options = {"label_smoothing": 0.1, "reduction": reduction}
    check_same(
        compiled(lambda x: 2 * C.cross_entropy(1.5 * x, target, **options)),
        lambda x: 2 * F.cross_entropy(1.5 * x, target, **options),
        input,
    )
    for name, calls in element_calls().items():
        x, t, o = calls[-1]
        check_same(
            compiled(lambda x, n=name, t=t, o=o: getattr(C, n)(x, t, reduction=reduction, **o)),
            lambda x, n=name, t=t, o=o: getattr(F, n)(x, t, reduction=reduction, **o),
            x,
        )


def test_maps_compile_into_one_graph(compiled):
    def mix(functions):
        softmax, log_softmax, logsumexp, sigmoid, logsigmoid = functions
        return lambda x: softmax(x, 1) * log_softmax(x, -1) * sigmoid(x) * logsigmoid(x) + logsumexp(x, 0)

    check_same(compiled(mix([getattr(C, n) for n in MAPS])), mix([peer_map(n) for n in MAPS]), numbers(4, 5))


def test_a_compiled_training_step(compiled):
    model = torch.nn.Linear(7, 5)
    inputs, target = torch.randn(8, 7), torch.randint(0, 5, (8,))
    criterion = C.CrossEntropyLoss(label_smoothing=0.1)
    compiled(lambda x: criterion(model(x), target))(inputs).backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    F.cross_entropy(model(inputs), target, label_smoothing=0.1).backward()
    torch.testing.assert_close(grads, [p.grad for p in model.parameters()], rtol=1e-5, atol=1e-7)


def test_compiled_without_a_gradient_and_with_vmap(compiled):
    input, target = some_logits()
    with torch.no_grad():
        torch.testing.assert_close(compiled(C.cross_entropy)(input, target), F.cross_entropy(input, target), **CLOSE)
    rows = F.cross_entropy(input, target, reduction="none")
    torch.testing.assert_close(compiled(torch.func.vmap(C.cross_entropy))(input, target), rows, **CLOSE)
    both = [compiled(torch.func.vmap(lambda x: C.softmax(x, 0)))(input), F.softmax(input, 1)]
    torch.testing.assert_close(*both, **CLOSE)


def test_func_grad_in_compiled_code_runs_uncompiled_or_says_so(compiled):
    input, target = some_logits()
    with pytest.raises(Exception, match="fullgraph=False"):
        compiled(torch.func.grad(C.cross_entropy))(input, target)
    torch._dynamo.reset()
    ours = compiled(torch.func.grad(C.cross_entropy), fullgraph=False)(input, target)
    torch.testing.assert_close(ours, torch.func.grad(F.cross_entropy)(input, target), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_operators_are_well_formed(dtype):
    """opcheck's last test differentiates the gradient, which is an output of the operator."""
    input, target = some_logits(dtype=dtype, grad=True)
    settings = ("cross_entropy", "none", -100, 0.1, False, None, 0)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(_autograd.loss_operator, (input, target, None, None, *settings, True), test_utils=checks)
    torch.library.opcheck(_autograd.loss_operator, (input.detach(), target, None, None, *settings, False))
    for name in MAPS:
        for leaf in (input, input.detach().T):
            torch.library.opcheck(_autograd.map_operator, (leaf, name, 1, False, None))


# ---- types, layouts, memory ------------------------------------------------------------------------------------------

INTEGERS = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]


@pytest.mark.parametrize("dtype", [getattr(torch, n) for n in INTEGERS if hasattr(torch, n)], ids=str)
def test_integer_targets(dtype):
    input, index = some_logits(c=2)
    for reduction in REDUCTIONS:
        check_same(
            lambda x, r=reduction: C.cross_entropy(x, index.to(dtype), reduction=r),
            lambda x, r=reduction: F.cross_entropy(x, index, reduction=r),
            input,
        )
    one_hot = F.one_hot(index)
    check_same(
        lambda x: C.binary_cross_entropy_with_logits(x, one_hot.to(dtype)),
        lambda x: F.binary_cross_entropy_with_logits(x, one_hot.double()),
        input,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    input, target = some_logits(dtype=dtype, grad=True)
    for reduction in REDUCTIONS:
        loss = C.cross_entropy(input, target, reduction=reduction)
        wide = input.detach().float().requires_grad_()
        reference = C.cross_entropy(wide, target, reduction=reduction)
        assert loss.dtype == dtype
        assert loss.equal(reference.to(dtype))
        factor = torch.full_like(loss, 3)
        (grad,) = torch.autograd.grad(loss, input, factor)
        assert grad.dtype == dtype
        assert grad.equal(torch.autograd.grad(reference, wide, factor.float())[0].to(dtype))
    for name in MAPS:
        arguments = (1,) if name in ROW_MAPS else ()
        output = getattr(C, name)(input, *arguments)
        assert output.equal(getattr(C, name)(input.float(), *arguments).to(dtype))
        assert torch.autograd.grad(output.sum(), input)[0].dtype == dtype


def test_a_scaled_loss_keeps_small_gradients():
    input = torch.tensor([[0.0, 12.0]] * 64, dtype=torch.float16, requires_grad=True)
    target = torch.ones(64, dtype=torch.int64)
    (grad,) = torch.autograd.grad(C.cross_entropy(input, target), input, torch.tensor(2.0**15, dtype=torch.float16))
    assert grad[0, 0].item() == pytest.approx(2.0**15 / 64 * np.exp(-12.0), rel=1e-3)


def test_autocast_takes_losses_in_float32():
    input, target = some_logits(dtype=torch.bfloat16, grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        for name in ("cross_entropy", "nll_loss"):
            loss, theirs = getattr(C, name)(input, target), getattr(F, name)(input, target)
            assert loss.dtype == theirs.dtype == torch.float32
            torch.testing.assert_close(loss, theirs)
        assert C.softmax(input, 1).dtype == F.softmax(input, 1).dtype
    loss.backward()
    assert input.grad.dtype == torch.bfloat16


def layouts():
    base = numbers(4, 5, 6, 3)
    return {
        "transposed": base.permute(0, 3, 2, 1),
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "strided": numbers(8, 5, 12, 6)[::2, :, ::2, ::2],
        "expanded": numbers(1, 5, 6, 1).expand(4, 5, 6, 3),
        "offset": numbers(5, 5, 6, 3)[1:],
    }


@pytest.mark.parametrize("layout", ["transposed", "channels_last", "strided", "expanded", "offset"])
def test_layouts(layout):
    input = layouts()[layout]
    shape = tuple(input.shape)
    target = torch.randint(0, shape[1], (shape[0], shape[3], shape[2])).transpose(1, 2)
    for ours, theirs in [
        (lambda x: C.cross_entropy(x, target), lambda x: F.cross_entropy(x, target)),
        (lambda x: C.softmax(x, 1), lambda x: F.softmax(x, 1)),
        (lambda x: C.mse_loss(x, input.flip(0)), lambda x: F.mse_loss(x, input.flip(0))),
        (lambda x: C.sigmoid(x), lambda x: F.sigmoid(x)),
    ]:
        leaf = torch.empty_strided(shape, input.stride(), dtype=input.dtype) if layout != "expanded" else None
        if leaf is None:
            check_same(ours, theirs, input)
            continue
        leaf.copy_(input).requires_grad_()
        ours(leaf).sum().backward()
        grad, leaf.grad = leaf.grad, None
        theirs(leaf).sum().backward()
        torch.testing.assert_close(grad, leaf.grad, **CLOSE)


def shares_memory(a, b):
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", _autograd.LOSSES)
def test_losses_leave_their_arguments_alone(name):
    input, target = every_loss()[name]
    before = input.detach().clone(), target.clone()
    for reduction in REDUCTIONS:
        loss = getattr(C, name)(input, target, reduction=reduction)
        (grad,) = torch.autograd.grad(loss, input, torch.full_like(loss, 2))
        for result in (loss, grad):
            assert not shares_memory(result, input)
            assert not shares_memory(result, target)
        assert input.equal(before[0])
        assert target.equal(before[1])


@pytest.mark.parametrize("name", MAPS)
def test_maps_leave_their_arguments_alone(name):
    input = numbers(4, 5, grad=True)
    before = input.detach().clone()
    output = getattr(C, name)(input, *((1,) if name in ROW_MAPS else ()))
    factor = torch.ones_like(output)
    (grad,) = torch.autograd.grad(output, input, factor)
    assert input.equal(before)
    assert factor.equal(torch.ones_like(output))
    assert not any(shares_memory(a, b) for a, b in [(output, input), (grad, input), (grad, output), (grad, factor)])


def test_the_logits_may_be_changed_or_freed_before_the_backward_pass():
    leaf, target = some_logits(grad=True)
    logits = leaf * 1
    loss = C.cross_entropy(logits, target)
    expected = torch.autograd.grad(F.cross_entropy(leaf, target), leaf)[0]
    with torch.no_grad():
        logits.zero_()
    del logits
    torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected, **CLOSE)


@pytest.mark.parametrize("transposed", [False, True])
def test_results_in_memory_of_numpy(transposed, monkeypatch):
    """As big ones are."""
    monkeypatch.setattr(_autograd, "BIG", 0)
    input, target = some_logits(5, 5)
    input = input.T if transposed else input
    check_same(lambda x: C.cross_entropy(x, target), lambda x: F.cross_entropy(x, target), input)
    for name in MAPS:
        arguments = (1,) if name in ROW_MAPS else ()
        check_same(
            lambda x, n=name, a=arguments: getattr(C, n)(x, *a),
            lambda x, n=name, a=arguments: peer_map(n)(x, *a),
            input,
        )
    half = input.half().requires_grad_()
    loss = C.cross_entropy(half, target)
    assert torch.autograd.grad(loss, half)[0].dtype == torch.float16
    assert C.softmax(half, 1).dtype == torch.float16


def test_the_gradient_of_a_leaf_is_not_copied(monkeypatch):
    input, target = some_logits(grad=True)
    made = []
    new_like = _autograd.new_like
    monkeypatch.setattr(_autograd, "new_like", lambda *arguments: made.append(new_like(*arguments)) or made[-1])
    C.cross_entropy(input, target).backward()
    assert input.grad.data_ptr() == made[0].data_ptr()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)], ids=str)
def test_empty_maps(shape):
    for name in ("softmax", "log_softmax", "sigmoid", "logsigmoid"):
        assert getattr(C, name)(torch.zeros(shape), *((1,) if name in ROW_MAPS else ())).shape == shape


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_other_devices_are_refused():
    meta, target = torch.empty(6, 5, device="meta"), torch.zeros(6, dtype=torch.int64)
    calls = [lambda n=n: getattr(C, n)(meta, target) for n in _autograd.LOSSES]
    calls += [lambda n=n: getattr(C, n)(meta, *((1,) if n in ROW_MAPS else ())) for n in MAPS]
    for call in calls:
        with pytest.raises(TypeError, match="input must be a CPU tensor, got one on device meta"):
            call()
    with pytest.raises(TypeError, match="target must be a CPU tensor"):
        C.cross_entropy(torch.zeros(6, 5), target.to("meta"))
    with pytest.raises(TypeError, match="weight must be a CPU tensor"):
        C.cross_entropy(torch.zeros(6, 5), target, weight=torch.ones(5, device="meta"))


def test_what_is_no_tensor_or_not_floating_is_refused():
    input, target = some_logits()
    with pytest.raises(TypeError, match=r"input must be a torch\.Tensor, got ndarray"):
        C.cross_entropy(input.numpy(), target)
    with pytest.raises(TypeError, match=r"target must be a torch\.Tensor, got list"):
        C.cross_entropy(input, [0] * 6)
    with pytest.raises(TypeError, match=r"input must be a floating-point tensor, got torch\.int64"):
        C.cross_entropy(input.long(), target)
    with pytest.raises(TypeError, match=r"input must be a floating-point tensor, got torch\.complex128"):
        C.softmax(input.to(torch.complex128), 1)


def test_bad_values_are_refused_as_in_crossent():
    input, target = some_logits(grad=True)
    target[3] = 7
    with pytest.raises(IndexError, match=r"target\[3\] is 7"):
        C.cross_entropy(input, target)
    with pytest.raises(ValueError, match="reduction must be one of"):
        C.cross_entropy(input, target, reduction="median")
    with pytest.raises(ValueError, match="target must have the shape of input"):
        C.mse_loss(input, torch.zeros(5))
    with pytest.raises(ValueError, match="target must have the shape of input"):
        C.mse_loss(input, torch.zeros(5, requires_grad=True))


def test_a_dimension_has_to_be_given_and_to_exist():
    with pytest.raises(TypeError, match="dim must be given"):
        C.softmax(torch.zeros(2, 3))
    with pytest.raises(TypeError, match="dim must be an integer"):
        C.logsumexp(torch.zeros(2, 3), (0, 1))
    with pytest.raises(IndexError, match="dim must be from -2 to 1 for 2 dimensions, got 2"):
        C.log_softmax(torch.zeros(2, 3), 2)


@pytest.mark.parametrize("argument", ["size_average", "reduce"])
@pytest.mark.parametrize("name", [*_autograd.LOSSES, *(n for n in C.__all__ if n.endswith("Loss"))])
def test_deprecated_arguments_are_refused(name, argument):
    arguments = (torch.zeros(2, 3), torch.zeros(2, 3)) if name in _autograd.LOSSES else ()
    with pytest.raises(TypeError, match=f"{argument} is deprecated in PyTorch and not supported: say reduction"):
        getattr(C, name)(*arguments, **{argument: True})


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_the_smaller_number_of_threads_holds(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(ce, "get_num_threads", lambda: 8)
    assert _autograd.threads(None) == 3
    monkeypatch.setattr(ce, "get_num_threads", lambda: 2)
    assert _autograd.threads(None) == 2
    assert _autograd.threads(5) == 5


def test_the_number_of_threads_changes_nothing():
    input, target = some_logits(n=4000, c=37, grad=True)
    results = []
    for n in (1, 2, 3):
        loss = C.cross_entropy(input, target, num_threads=n)
        results.append((loss.item(), torch.autograd.grad(loss, input)[0]))
    assert all(loss == results[0][0] and grad.equal(results[0][1]) for loss, grad in results)


# ---- modules ---------------------------------------------------------------------------------------------------------


def modules():
    w, five = torch.rand(5, dtype=torch.float64), torch.rand(6, 5, dtype=torch.float64)
    return [
        ("CrossEntropyLoss", {"weight": w, "ignore_index": 1, "label_smoothing": 0.1}, "index"),
        ("NLLLoss", {"weight": w, "reduction": "sum"}, "index"),
        ("BCELoss", {"weight": five}, "unit"),
        ("BCEWithLogitsLoss", {"weight": five, "pos_weight": w, "reduction": "none"}, "unit"),
        ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, "unit"),
        ("MSELoss", {"reduction": "sum"}, "unit"),
        ("Softmax", {"dim": 1}, None),
        ("LogSoftmax", {"dim": -1}, None),
        ("Sigmoid", {}, None),
        ("LogSigmoid", {}, None),
    ]


@pytest.mark.parametrize(("name", "options", "target"), modules(), ids=lambda v: v if isinstance(v, str) else "")
def test_modules(name, options, target):
    ours, theirs = getattr(C, name)(**options), getattr(torch.nn, name)(**options)
    assert isinstance(ours, type(theirs))
    assert repr(ours) == repr(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    input, index = some_logits()
    unit = torch.rand(6, 5, dtype=torch.float64)
    more = {"index": (index,), "unit": (unit,), None: ()}[target]
    for module in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        check_same(lambda x, m=module: m(x, *more), lambda x: theirs(x, *more), unit if name == "BCELoss" else input)


def test_module_arguments_are_those_of_pytorch():
    for name, _, _ in modules():
        ours, theirs = (inspect.signature(getattr(m, name)).parameters for m in (C, torch.nn))
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


# ---- training --------------------------------------------------------------------------------------------------------


def train(losses, n_steps=60):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    inputs, target = torch.randn(64, 8, dtype=torch.float64), torch.randint(0, 4, (64,))
    for _ in range(n_steps):
        optimizer.zero_grad()
        logits = model(inputs)
        loss = losses.cross_entropy(logits, target, label_smoothing=0.1)
        loss = loss + 0.1 * losses.mse_loss(losses.softmax(logits, dim=1), F.one_hot(target, 4).double())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss.item(), torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_a_training_loop_that_swaps_one_import_ends_at_the_same_parameters():
    (our_loss, ours), (their_loss, theirs) = train(C), train(F)
    assert our_loss == pytest.approx(their_loss, rel=1e-9)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_the_default_device_does_not_matter():
    input, target = some_logits()
    with torch.device("meta"):
        assert C.cross_entropy(input, target).device.type == C.softmax(input, 1).device.type == "cpu"


def test_a_missing_pytorch_is_named():
    code = "import sys; sys.modules['torch'] = None; import crossent.torch"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: crossent.torch needs PyTorch" in run.stderr


def test_crossent_does_not_import_pytorch():
    code = "import sys, crossent; assert 'torch' not in sys.modules; assert 'crossent.torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
