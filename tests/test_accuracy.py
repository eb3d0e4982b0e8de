"""Errors in units in the last place of the exact result, on inputs chosen to hurt, for every kernel set and dtype.

The limits are in the registry: 1 for log_softmax, logsumexp and the losses, 1.5 with soft targets, smoothing or
weights, 2 for softmax, sigmoid and gradients. Where a number is a difference by nature (p - q for soft targets), the
unit is that of the larger term.
"""

import itertools

import cases
import numpy as np
import oracles
import pytest

import crossent as ce


def check_value(call, dtype):
    oracles.assert_ulp(call.unreduced(), call.exact, dtype, call.variant.limit, call.scale)


def check_gradient(call, dtype):
    """Loss and gradient from the one pass."""
    loss, grad = call.value_and_grad(reduction="none")
    oracles.assert_ulp(loss, call.exact, dtype, call.variant.limit, call.scale, "loss")
    oracles.assert_ulp(grad, call.exact_grad, dtype, call.variant.grad_limit, call.grad_scale, "gradient")


@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_value(case, variant, dtype, isa):
    """The value before any reduction, on every regime."""
    with cases.Every() as one:
        for regime, call in cases.regime_calls(case, variant, dtype):
            with one(regime):
                check_value(call, dtype)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_gradient(case, variant, dtype, isa):
    """Loss and gradient, on every regime."""
    with cases.Every() as one:
        for regime, call in cases.regime_calls(case, variant, dtype):
            with one(regime):
                check_gradient(call, dtype)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss", "row_map_backward")))
def test_class_axis(case, variant, dtype, isa):
    """Class axis first, in the middle and last, of a small three-dimensional array."""
    with cases.Every() as one:
        for n_classes, axis in itertools.product((1, 3, 33, 130), range(3)):
            shape = (*(2, 3)[:axis], n_classes, *(2, 3)[axis:])
            call = cases.fixed_call(case.name, variant.label, shape, dtype.name, axis)
            with one("shape", shape, "axis", axis):
                check_value(call, dtype)
                if case.is_loss:
                    check_gradient(call, dtype)


def transposed(array):
    return np.ascontiguousarray(array.T) if array.ndim == 2 else array


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss", "row_map_backward")))
def test_class_axis_first_on_every_regime(case, variant, dtype, isa):
    """Rows as columns: the same bits, so the same errors."""
    with cases.Every() as one:
        for regime, call in cases.regime_calls(case, variant, dtype):
            with one(regime):
                columns = tuple(map(transposed, call.arguments))
                turned = cases.Call(case, variant, columns, {**call.options, "axis": 0})
                assert cases.same_bits(transposed(turned.unreduced()), call.unreduced())
                if case.is_loss:
                    (_, grad), (_, wanted) = (c.value_and_grad(reduction="none") for c in (turned, call))
                    assert cases.same_bits(transposed(grad), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("regime", ["normal", "wide", "confident", "near_ties", "two_gaps"])
def test_twenty_other_seeds(regime, seed, dtype):
    """log_softmax, softmax, logsumexp, cross-entropy and its gradient on other numbers, with the default kernel set."""
    for name in ("softmax", "log_softmax", "logsumexp", "cross_entropy"):
        call = cases.regime_call(name, cases.BY_NAME[name].variants[0].label, regime, dtype.name, seed)
        oracles.assert_ulp(call.unreduced(), call.exact, dtype, call.variant.limit, call.scale, name)
    _, grad = call.value_and_grad(reduction="none")
    oracles.assert_ulp(grad, call.exact_grad, dtype, 2.0, what="gradient")
    cases.regime_call.cache_clear()


def _long_rows(n_classes, dtype, kind):
    rng = cases.rng_for("long rows", n_classes, kind)
    n = 4 if n_classes < 10_000 else 2 if n_classes < 1_000_000 else 1
    x = rng.standard_normal((n, n_classes)) * 2
    t = rng.integers(0, n_classes, n)
    if kind == "confident":
        x[np.arange(n), t] += 40.0
    if kind == "rising":
        x += np.linspace(0.0, 300.0, n_classes)
    if kind == "uniform":
        x[:] = x[:, :1]
    return x.astype(dtype), t


@pytest.mark.parametrize("kind", ["normal", "confident", "rising", "uniform"])
@pytest.mark.parametrize("n_classes", [5003, 100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_long_rows(n_classes, kind, dtype, isa):
    """Rows longer than the cache: the error of the sum must not grow with their length."""
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("long double is no wider than float64 here")
    x, target = _long_rows(n_classes, dtype, kind)
    exact = oracles.wide_rows(x, target)
    for name, limit in (("softmax", 2), ("log_softmax", 1), ("logsumexp", 1)):
        oracles.assert_ulp(getattr(ce, name)(x), exact[name], dtype, limit, what=name)
    loss, grad = ce.value_and_grad(ce.cross_entropy)(x, target, reduction="none")
    oracles.assert_ulp(loss, exact["cross_entropy"], dtype, 1, what="cross_entropy")
    oracles.assert_ulp(grad, exact["cross_entropy_grad"], dtype, 2, what="gradient")
    oracles.assert_ulp(ce.cross_entropy(x, target, reduction="none"), exact["cross_entropy"], dtype, 1)


def test_confident_tail(isa):
    """A float32 gap of 17, at which the usual formulas give a loss of 0 and a gradient of 0."""
    loss, grad = ce.value_and_grad(ce.cross_entropy)(np.array([0, 17], np.float32), 1)
    assert loss == pytest.approx(4.139937e-08, rel=1e-6)
    assert grad == pytest.approx([4.139937e-08, -4.139937e-08], rel=1e-6)


def test_relative_accuracy_of_the_loss_against_the_gap(dtype, isa):
    """The loss of a two-class row is log1p(e^-gap), down to the smallest normal number."""
    gap = np.linspace(0, 87 if dtype == np.float32 else 708, 500).astype(dtype)
    logits = np.stack([gap, np.zeros_like(gap)], 1)
    exact = [oracles.mp.log1p(oracles.mp.exp(-oracles.mpf(float(g)))) for g in gap]
    loss = ce.cross_entropy(logits, np.zeros(len(gap), int), reduction="none")
    oracles.assert_ulp(loss, np.array(exact, object), dtype, 1)


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 12])
def test_kl_div_near_its_target(bits, dtype, isa):
    """Where log t - x loses so many bits."""
    case = cases.BY_NAME["kl_div"]
    rng = cases.rng_for("kl_div", bits)
    t = rng.uniform(0.02, 1, 300).astype(dtype)
    x = (np.log(t) * (1 + rng.uniform(0.5, 1, 300) * rng.choice([-1, 1], 300) * 2.0**-bits)).astype(dtype)
    check_value(cases.Call(case, case.variants[0], (x, t), {}), dtype)


@pytest.mark.parametrize("name", ["sigmoid", "log_sigmoid"])
def test_sigmoids_over_the_whole_range(name, dtype, isa):
    """Every exponent of the dtype, both signs."""
    info = np.finfo(dtype)
    exponents = np.arange(info.minexp - info.nmant, 12)
    x = np.concatenate([sign * m * 2.0**exponents for sign in (-1, 1) for m in (1.0, 1.37, 1.99)]).astype(dtype)
    exact = getattr(oracles, name)(x)
    oracles.assert_ulp(getattr(ce, name)(x), exact, dtype, 2 if name == "sigmoid" else 1)


@pytest.mark.parametrize("n_classes", [2, 17, 130])
@pytest.mark.parametrize(("exponents", "limit"), [((-3, 17), 0.6), ((17, 26), 1.0)], ids=["usual", "millions"])
def test_log_softmax_of_logits_of_any_size(n_classes, exponents, limit, dtype, isa):
    """Gaps from next to nothing to far past a mask's. Beside logits of millions two numbers are rounded, not one."""
    rng = cases.rng_for("sizes", n_classes, *exponents)
    shape = (40, n_classes)
    base = np.ldexp(rng.uniform(1, 2, (40, 1)), rng.integers(*exponents, (40, 1))) * rng.choice([-1, 1], (40, 1))
    gap = np.ldexp(rng.uniform(1, 2, shape), rng.integers(-20, exponents[1] if limit < 1 else 48, shape))
    x = (base - np.where(rng.random(shape) < 0.5, rng.exponential(3, shape), gap)).astype(dtype)
    x[rng.random(shape) < 0.02] = -np.inf
    x[:, 0] = base[:, 0]
    exact = oracles.log_softmax(x)
    for layout in "CF":
        oracles.assert_ulp(ce.log_softmax(np.asarray(x, order=layout)), exact, dtype, limit + 0.001)
