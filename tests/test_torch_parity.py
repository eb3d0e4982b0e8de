"""Equal to torch.nn.functional wherever PyTorch is right, in float64: values, and gradients by its autograd.

Where it is not, the last tests hold the difference, so that the README's table stays true; they fail when PyTorch
mends one. Skipped where PyTorch is not installed.
"""

import cases
import numpy as np
import pytest

import crossent as ce

torch = pytest.importorskip("torch")
F = torch.nn.functional

# torch's float64 exponentials and logarithms are good to some ulp, and its differences cancel
TOLERANCE = {"rtol": 1e-11, "atol": 1e-13}
NAMES = {"log_sigmoid": "logsigmoid"}
SHAPES = [(5,), (6, 5), (4, 5, 3), (2, 5, 3, 2)]
# options that PyTorch does not have; and the logarithm of a target of 0, see the end
OURS_ALONE = {
    ("binary_cross_entropy_with_logits", "smoothing"),
    ("binary_cross_entropy_with_logits", "everything"),
    ("binary_cross_entropy", "exact"),
    ("binary_cross_entropy", "clipped"),
    ("kl_div", "log_target"),
}


def tensor(value):
    return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray | np.integer) else value


def torch_options(call):
    """Its word for the class axis is none: it is 1."""
    options = {k: tensor(v) for k, v in call.options.items() if k not in ("axis", "log_floor", "eps")}
    if call.options.get("label_smoothing") is not None and call.case.kind == "element_loss":
        del options["label_smoothing"]
    return options


def torch_loss(call, input, reduction):
    function = getattr(F, NAMES.get(call.case.name, call.case.name))
    return function(input, *(tensor(a) for a in call.arguments[1:]), reduction=reduction, **torch_options(call))


def comparable(case, variant, shape):
    """Whether PyTorch has the option; an ignored single row it takes for a target out of range."""
    if (case.name, variant.label) in OURS_ALONE:
        return False
    return "ignore" not in variant.label and variant.label != "everything" if len(shape) == 1 else True


def points():
    chosen = cases.select_with_reductions(kinds=cases.LOSSES)["argvalues"]
    them = [(*point, shape) for point in chosen for shape in SHAPES if comparable(*point[:2], shape)]
    return {"argvalues": them, "ids": [f"{c.name}-{v.label}-{r}-{s}" for c, v, r, s in them]}


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize(("case", "variant", "reduction", "shape"), **points())
def test_losses_and_gradients(case, variant, reduction, shape):
    call = cases.make_call(case, variant, shape, np.float64, axis=min(1, len(shape) - 1))
    x = tensor(call.arguments[0]).requires_grad_(True)
    wanted = torch_loss(call, x, reduction)
    grad_output = cases.rng_for("grad_output", shape).standard_normal(tuple(wanted.shape))
    wanted.backward(torch.from_numpy(np.asarray(grad_output)))
    loss, grad = call.value_and_grad(reduction=reduction, grad_output=grad_output)
    np.testing.assert_allclose(call(reduction=reduction), wanted.detach().numpy(), **TOLERANCE)
    np.testing.assert_allclose(loss, wanted.detach().numpy(), **TOLERANCE)
    np.testing.assert_allclose(grad, x.grad.numpy(), **TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_row_maps(name, shape):
    x = cases.rng_for("maps", shape).standard_normal(shape) * 5
    for axis in range(-len(shape), len(shape)):
        wanted = getattr(torch, name)(torch.from_numpy(x), axis)
        np.testing.assert_allclose(getattr(ce, name)(x, axis), wanted.numpy(), **TOLERANCE)
    kept = torch.logsumexp(torch.from_numpy(x), 0, keepdim=True).numpy()
    assert ce.logsumexp(x, 0, keepdims=True).shape == kept.shape


@pytest.mark.parametrize("name", ["sigmoid", "log_sigmoid"])
def test_element_maps(name):
    x = cases.element_logits(cases.rng_for("element maps"), np.float64)
    wanted = getattr(F, NAMES.get(name, name))(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(getattr(ce, name)(x), wanted, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_backward_maps(name):
    x = torch.from_numpy(cases.rng_for("backward").standard_normal((6, 9))).requires_grad_(True)
    g = cases.rng_for("backward g").standard_normal((6, 9))
    output = getattr(torch, name)(x, 1)
    output.backward(torch.from_numpy(g))
    got = getattr(ce, name + "_backward")(g, output.detach().numpy(), 1)
    np.testing.assert_allclose(got, x.grad.numpy(), **TOLERANCE)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("weighted", [False, True])
def test_everything_ignored(name, weighted):
    """Mean NaN and sum 0 there too."""
    x, t = np.zeros((3, 4)), np.full(3, -100)
    options = {"weight": np.ones(4)} if weighted else {}
    for reduction in ("none", "mean", "sum"):
        wanted = getattr(F, name)(
            tensor(x), tensor(t), reduction=reduction, **{k: tensor(v) for k, v in options.items()}
        )
        np.testing.assert_array_equal(getattr(ce, name)(x, t, reduction=reduction, **options), wanted.numpy())


@pytest.mark.parametrize("shape", [(0, 5), (0, 5, 2)], ids=str)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, variants=False))
def test_no_rows(case, variant, shape):
    call = cases.make_call(case, variant, shape, np.float64, axis=1)
    for reduction in ("none", "mean", "sum"):
        wanted = torch_loss(call, tensor(call.arguments[0]), reduction).numpy()
        np.testing.assert_array_equal(call(reduction=reduction), wanted)


@pytest.mark.parametrize("reduction", ["none", "sum", "batchmean"])
def test_kl_div_with_log_target(reduction):
    x, t = (-np.abs(cases.rng_for(name).standard_normal((4, 5))) for name in ("kl input", "kl target"))
    leaf = tensor(x).requires_grad_(True)
    wanted = F.kl_div(leaf, tensor(t), reduction=reduction, log_target=True)
    wanted.sum().backward()
    loss, grad = ce.value_and_grad(ce.kl_div)(x, t, reduction=reduction, log_target=True)
    np.testing.assert_allclose(loss, wanted.detach().numpy(), **TOLERANCE)
    np.testing.assert_allclose(grad, leaf.grad.numpy(), **TOLERANCE)


# ---- where PyTorch is not right --------------------------------------------------------------------------------------


def test_pytorch_says_that_a_confident_loss_is_zero():
    x, t = np.array([[0, 17]], np.float32), np.array([1])
    assert F.cross_entropy(tensor(x), tensor(t)).item() == 0
    assert ce.cross_entropy(x, t) == pytest.approx(4.139937e-08, rel=1e-6)


def test_pytorch_gives_nan_gradients_to_ignored_rows():
    x = np.array([[np.nan, 0.0], [0.0, 1.0]])
    t = np.array([-100, 1])
    leaf = tensor(x).requires_grad_(True)
    F.cross_entropy(leaf, tensor(t)).backward()
    assert np.isnan(leaf.grad.numpy()[0]).any()
    assert (ce.value_and_grad(ce.cross_entropy)(x, t)[1][0] == 0).all()


def test_pytorch_gives_nan_for_certain_logits():
    x, t = np.array([np.inf, -np.inf]), np.array([1.0, 0.0])
    assert np.isnan(F.binary_cross_entropy_with_logits(tensor(x), tensor(t), reduction="none").numpy()).all()
    assert (ce.binary_cross_entropy_with_logits(x, t, reduction="none") == 0).all()


def test_pytorch_gives_nan_for_an_impossible_class_of_probability_zero():
    x, q = np.array([[0.0, -np.inf]]), np.array([[1.0, 0.0]])
    assert np.isnan(F.cross_entropy(tensor(x), tensor(q)).item())
    assert ce.cross_entropy(x, q) == 0


def test_pytorch_gives_nan_for_a_weight_of_zero_and_an_infinite_loss():
    x, t, w = np.array([[-np.inf, 0.0]]), np.array([0]), np.array([0.0, 1.0])
    assert np.isnan(F.cross_entropy(tensor(x), tensor(t), weight=tensor(w), reduction="sum").item())
    assert ce.cross_entropy(x, t, weight=w, reduction="sum") == 0


def test_pytorch_clamps_the_gradient_of_binary_cross_entropy():
    p = np.array([1e-20])
    leaf = tensor(p).requires_grad_(True)
    F.binary_cross_entropy(leaf, torch.ones(1, dtype=torch.float64)).backward()
    assert leaf.grad.item() == pytest.approx(-1e12)
    assert ce.value_and_grad(ce.binary_cross_entropy)(p, np.ones(1))[1] == pytest.approx([-1e20])


def test_pytorch_gives_nan_for_the_logarithm_of_a_target_of_zero():
    x, log_t = np.array([-1.0]), np.array([-np.inf])
    assert np.isnan(F.kl_div(tensor(x), tensor(log_t), reduction="sum", log_target=True).item())
    assert ce.kl_div(x, log_t, reduction="sum", log_target=True) == 0
