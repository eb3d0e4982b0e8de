"""Sums of binary cross-entropies come from products, not from a logarithm for each element: they must be what the
elements' own losses, each right to an ulp of float64, add up to."""

import math

import cases
import mpmath
import numpy as np
import oracles
import pytest

import crossent as ce

# Around the vectors, the products and the blocks of the kernels.
SIZES = (1, 7, 8, 17, 127, 128, 129, 255, 256, 257, 1000, 4095, 4096, 4097, 12_345)


def targets(rng, n, kind):
    """0 or 1; "soft": any; "some soft": one in a thousand."""
    t = (rng.random(n) < 0.3).astype(float)
    soft = {"hard": 0, "some soft": 1e-3, "soft": 1}[kind]
    return np.where(rng.random(n) < soft, rng.random(n), t)


def logits(rng, t, gap):
    """About `gap` on the side of the target."""
    return np.where(t > 0.5, 1, -1) * gap + rng.standard_normal(len(t)) * min(3, 0.2 * abs(gap) + 1)


def probabilities(x, t):
    """Those of logits, as close to 0 as to 1."""
    return np.where(t > 0.5, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))


def assert_is_the_sum(loss, x, t, digits, **options):
    """Relative to the exact sum of the losses, which float64 holds for float32 numbers too."""
    each = loss(x.astype(np.float64), t.astype(np.float64), reduction="none", **options)
    exact = math.fsum(each)
    for reduction, divisor in (("sum", 1), ("mean", len(x))):
        got = loss(x, t, reduction=reduction, **options)
        assert abs(got - exact / divisor) <= digits * abs(exact / divisor), f"{got!r} is not {exact / divisor!r}"


# float64: the reference has roundings of its own, and a mean one more
DIGITS = {np.dtype(np.float32): 2e-13, np.dtype(np.float64): 2.0**-51}


@pytest.mark.parametrize("kind", ["hard", "some soft", "soft"])
@pytest.mark.parametrize("gap", [0, 1, 4, 8, 14, 30, -5, -40])
def test_binary_cross_entropy(kind, gap, dtype, isa):
    """From losses of 40 down to those that only a difference from 1 in the last digits tells from 0."""
    with cases.Every() as one:
        for n in SIZES:
            rng = cases.rng_for("bce", kind, gap, n)
            t = targets(rng, n, kind)
            p = probabilities(logits(rng, t, gap), t)
            with one(n):
                assert_is_the_sum(ce.binary_cross_entropy, p.astype(dtype), t.astype(dtype), DIGITS[dtype])


@pytest.mark.parametrize(
    "options",
    [{}, {"log_floor": -math.inf}, {"log_floor": -3.0}, {"eps": 2.0**-10}, {"eps": 2.0**-23, "log_floor": -5.0}],
    ids=str,
)
def test_binary_cross_entropy_at_the_floor(options, dtype, isa):
    """Probabilities of 0 and 1, right and wrong, and tiny ones."""
    with cases.Every() as one:
        for n in SIZES:
            rng = cases.rng_for("floor", n)
            t = targets(rng, n, "hard")
            p = rng.choice([0.0, 1.0, 1e-30, 1e-44, 0.3, 0.5, 1 - 1e-7], n)
            wrong = (p == 0) & (t == 1) | (p == 1) & (t == 0)
            p = np.where(wrong & (rng.random(n) < 0.99), 0.25, p)
            if options.get("log_floor") == -math.inf:
                p = np.where((p == 0) & (t == 1) | (p == 1) & (t == 0), 0.75, p)
            with one(n):
                assert_is_the_sum(ce.binary_cross_entropy, p.astype(dtype), t.astype(dtype), DIGITS[dtype], **options)


@pytest.mark.parametrize("n", [1, 200, 5000])
def test_an_infinite_binary_cross_entropy(n, dtype, isa):
    p, t = np.full(n, 0.5, dtype), np.ones(n, dtype)
    p[n // 2] = 0
    assert ce.binary_cross_entropy(p, t, log_floor=-math.inf) == math.inf
    p[n // 2] = math.nan
    assert math.isnan(ce.binary_cross_entropy(p, t))
    p[n // 2], t[n // 2] = 0.5, math.nan
    assert math.isnan(ce.binary_cross_entropy(p, t))


@pytest.mark.parametrize("n", [1, 100, 300, 5000])
@pytest.mark.parametrize("bad", [-1e-30, -1.0, 1.0000002, math.inf, -math.inf])
def test_numbers_outside_the_unit_interval(n, bad, dtype, isa):
    """Wherever they are, in the input or in the target, for every way through the kernel."""
    rng = cases.rng_for("outside", n)
    t = targets(rng, n, "some soft").astype(dtype)
    p = rng.random(n).astype(dtype)
    out = np.full(n, 7, dtype)
    for place in {0, n // 2, n - 1}:
        for name, array in (("input", p), ("target", t)):
            kept, array[place] = array[place], bad
            with pytest.raises(ValueError, match=rf"{name}\[{place}\]"):
                ce.binary_cross_entropy(p, t)
            with pytest.raises(ValueError, match=rf"{name}\[{place}\]"):
                ce.binary_cross_entropy(p, t, weight=np.ones(n, dtype))
            with pytest.raises(ValueError, match=rf"{name}\[{place}\]"):
                ce.binary_cross_entropy(p, t, reduction="none", out=out)
            with pytest.raises(ValueError, match=rf"{name}\[{place}\]"):
                ce.value_and_grad(ce.binary_cross_entropy)(p, t, out=out)
            array[place] = kept
    assert (out == 7).all(), "written before the numbers were looked at"


LOGIT_DIGITS = {np.dtype(np.float32): 1e-8, np.dtype(np.float64): 2.0**-51}


@pytest.mark.parametrize("kind", ["hard", "some soft", "soft"])
@pytest.mark.parametrize("gap", [0, 1, 4, 8, 14, 30, 80, -5, -15, -40, -300])
def test_binary_cross_entropy_with_logits(kind, gap, dtype, isa):
    """From losses of 300 down to e^-80, alone and with the gradient, the same as with reduction="none"."""
    with cases.Every() as one:
        for n in SIZES:
            rng = cases.rng_for("logits", kind, gap, n)
            t = targets(rng, n, kind).astype(dtype)
            x = logits(rng, t, gap).astype(dtype)
            with one(n):
                assert_is_the_sum(ce.binary_cross_entropy_with_logits, x, t, LOGIT_DIGITS[dtype])
                loss, grad = ce.value_and_grad(ce.binary_cross_entropy_with_logits)(x, t, reduction="sum")
                assert loss == ce.binary_cross_entropy_with_logits(x, t, reduction="sum")
                _, each = ce.value_and_grad(ce.binary_cross_entropy_with_logits)(x, t, reduction="none")
                np.testing.assert_allclose(
                    grad, each, rtol=3 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps * soft_unit(t)
                )


def soft_unit(t):
    """A gradient p - t of a soft target is judged against the larger of the two."""
    return float(((t > 0) & (t < 1)).any())


@pytest.mark.parametrize("n", [1, 200, 5000])
@pytest.mark.parametrize("soft", [False, True])
def test_logits_that_are_not_finite(n, soft, dtype, isa):
    """Infinities on the side of the target cost nothing; a NaN stays where it is, but for the sum."""
    rng = cases.rng_for("not finite", n)
    x, t = rng.standard_normal(n).astype(dtype), targets(rng, n, "soft" if soft else "hard").astype(dtype)
    loss_and_grad = ce.value_and_grad(ce.binary_cross_entropy_with_logits)
    place = n // 2
    for value, target, loss, slope in (
        (math.inf, 1, 0, 0),
        (-math.inf, 0, 0, 0),
        (math.inf, 0, math.inf, 1),
        (-math.inf, 1, math.inf, -1),
        (math.nan, 1, math.nan, math.nan),
    ):
        x[place], t[place] = 0, target
        before, grad_before = loss_and_grad(x, t, reduction="sum")
        x[place] = value
        got, grad = loss_and_grad(x, t, reduction="sum")
        assert got == pytest.approx(before - math.log(2) + loss, rel=1e-6, abs=1e-6, nan_ok=True)
        np.testing.assert_array_equal(grad[place], slope)
        others = np.arange(n) != place
        np.testing.assert_allclose(grad[others], grad_before[others], rtol=4 * np.finfo(dtype).eps)
        assert np.array_equal(loss_and_grad(x, t, reduction="sum", out=x.copy())[1], grad, equal_nan=True)


def test_gradient_in_place_and_far_out_of_cache(dtype, isa):
    """The same bits over the input, and in memory of its own that is stored past the cache, aligned or not."""
    n = 3_000_017
    rng = cases.rng_for("in place")
    t = targets(rng, n, "hard").astype(dtype)
    x = rng.standard_normal(n).astype(dtype)
    loss_and_grad = ce.value_and_grad(ce.binary_cross_entropy_with_logits)
    loss, grad = loss_and_grad(x, t)
    out = np.empty(n + 1, dtype)[1:]
    assert (loss_and_grad(x, t, out=out)[0], out.tobytes()) == (loss, grad.tobytes())
    assert (loss_and_grad(x, t, out=x)[0], x.tobytes()) == (loss, grad.tobytes())


@pytest.mark.parametrize("label", ["hard", "soft"])
def test_gradient_of_the_sum(label, dtype, isa):
    """The kernel of mean and sum computes its own gradients, to the last digit of subnormal numbers."""
    case = cases.BY_NAME["binary_cross_entropy_with_logits"]
    variant = next(v for v in case.variants if v.label == label)
    with cases.Every() as one:
        for regime, call in cases.regime_calls(case, variant, dtype):
            _, grad = call.value_and_grad(reduction="sum")
            with one(regime):
                oracles.assert_ulp(grad, call.exact_grad, dtype, variant.grad_limit, call.grad_scale, "gradient")


def test_gradients_of_soft_targets_next_to_the_probabilities(dtype, isa):
    """p - z cancels: summed or not, against 200 bits."""
    x = np.linspace(-8, 8, 200).astype(dtype)
    probability = ce.sigmoid(x)
    for distance in (1e-2, 1e-3, 1e-4):
        target = (probability * (1 - distance)).astype(dtype)
        with mpmath.workprec(200):
            exact = [
                1 / (1 + mpmath.exp(-mpmath.mpf(float(a)))) - mpmath.mpf(float(z))
                for a, z in zip(x, target, strict=True)
            ]
        for reduction in ("none", "sum"):
            _, grad = ce.value_and_grad(ce.binary_cross_entropy_with_logits)(x, target, reduction=reduction)
            np.testing.assert_allclose(grad, np.array(exact, float), rtol=np.finfo(dtype).eps)
