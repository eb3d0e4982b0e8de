"""none, mean, sum, batchmean: divisors as PyTorch's, additions in float64 over a fixed tree."""

import math
from fractions import Fraction

import big_arrays
import cases
import numpy as np
import oracles
import pytest
from big_arrays import BLOCK, big

import crossent as ce


@pytest.mark.parametrize(("case", "variant", "reduction"), **cases.select_with_reductions(kinds=cases.LOSSES))
def test_against_the_oracle(case, variant, reduction, dtype, isa):
    """Every option, every number of dimensions."""
    with cases.Every() as one:
        for shape in ((5,), (1, 1), (6, 5), (4, 5, 3), (2, 3, 2, 2)):
            with one(shape):
                call = cases.fixed_call(case.name, variant.label, shape, dtype.name, min(1, len(shape) - 1))
                exact, _, _ = call.outcome(reduction)
                got = call(reduction=reduction)
                assert np.shape(got) == exact.shape
                np.testing.assert_allclose(got, exact, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, variants=False))
def test_types(case, variant, dtype):
    """A Python float for mean and sum, an array of the input's dtype for none."""
    call = cases.make_call(case, variant, (4, 3), dtype)
    assert type(call()) is float
    assert type(call(reduction="sum")) is float
    assert type(call(reduction="none")) is np.ndarray
    assert call(reduction="none").dtype == dtype
    assert type(call.value_and_grad()[0]) is float


def additions_error(got, numbers):
    """The distance from the correctly rounded sum, in units of its last place."""
    exact = math.fsum(numbers)
    return abs(got - exact) / math.ulp(exact)


@pytest.mark.parametrize("n", [1_000_003, pytest.param(5_000_001, marks=pytest.mark.slow)])
def test_the_sum_of_many_rows_is_right_to_the_last_bits(n, isa):
    """nll_loss of one class only adds: float32 numbers, in float64, within an ulp of the exact sum."""
    x = -cases.rng_for("many rows", n).random((n, 1), np.float32)
    t = np.zeros(n, np.int8)
    numbers = (-x[:, 0]).tolist()
    assert additions_error(ce.nll_loss(x, t, reduction="sum"), numbers) <= 1
    mean = math.fsum(numbers) / n
    assert abs(ce.nll_loss(x, t) - mean) <= 2 * math.ulp(mean)


@pytest.mark.parametrize("n", [1_000_003, pytest.param(5_000_001, marks=pytest.mark.slow)])
def test_the_sum_of_many_elements_is_right_to_the_last_bits(n, isa):
    """mse_loss of small integers is exact in float32, and its sum in float64."""
    x = cases.rng_for("many elements", n).integers(0, 60, n).astype(np.float32)
    assert ce.mse_loss(x, np.zeros_like(x), reduction="sum") == float(np.sum(x.astype(np.int64) ** 2))


@pytest.mark.parametrize("n_classes", [2, 3, 5, 7])
def test_the_mean_of_equal_losses_is_that_loss(n_classes, dtype, isa):
    """Far beyond the digits of float32: the losses of float32 rows are not rounded before they are added."""
    x = np.zeros((300_001, n_classes), dtype)
    t = np.zeros(len(x), np.uint8)
    assert ce.cross_entropy(x, t) == pytest.approx(math.log(n_classes), rel=1e-14 if dtype == np.float64 else 1e-11)
    loss, _ = ce.value_and_grad(ce.cross_entropy)(x, t)
    assert loss == pytest.approx(math.log(n_classes), rel=1e-14 if dtype == np.float64 else 1e-11)


def test_the_mean_of_equal_element_losses_is_that_loss(dtype, isa):
    """A float32 accumulator would be off by percents here."""
    x = np.full(1_000_001, 0.25, dtype)
    zeros = np.zeros(len(x), dtype)
    tolerance = 1e-14 if dtype == np.float64 else 1e-8
    assert ce.binary_cross_entropy_with_logits(x, zeros) == pytest.approx(math.log1p(math.exp(0.25)), rel=tolerance)
    assert ce.binary_cross_entropy(x, zeros) == pytest.approx(-math.log(0.75), rel=tolerance)
    assert ce.mse_loss(x, zeros) == 0.0625


def test_the_order_of_magnitudes_does_not_matter(isa):
    """One large loss among a million small ones, wherever it is."""
    numbers = np.full(1_000_000, 1e-3)
    for place in (0, 517_123, 999_999):
        numbers[:] = 1e-3
        numbers[place] = 1e9
        got = ce.nll_loss(-numbers[:, None], np.zeros(len(numbers), int), reduction="sum")
        assert additions_error(got, numbers.tolist()) <= 8


def test_float32_losses_are_not_rounded_before_they_are_added(isa):
    """The sum of cross-entropies has the accuracy of float64 additions of row losses, not of float32 ones."""
    x = (cases.rng_for("unrounded").standard_normal((3000, 10)) * 3).astype(np.float32)
    t = np.arange(3000) % 10
    exact = oracles.wide_rows(x, t)["cross_entropy"].sum()
    assert ce.cross_entropy(x, t, reduction="sum") == pytest.approx(float(exact), rel=3e-8)


def test_weighted_mean_divides_by_the_weights_of_the_targets():
    """As PyTorch: not by the number of rows, and ignored rows count for nothing."""
    x = np.zeros((4, 2))
    weight = np.array([1.0, 3.0])
    losses = math.log(2) * weight[[0, 1, 1]]
    got = ce.cross_entropy(x, [0, 1, 1, -100], weight=weight)
    assert got == pytest.approx(losses.sum() / 7)
    assert ce.nll_loss(x - 1, [0, 1, -100, -100], weight=weight) == pytest.approx(1.0)


def test_divisors_of_the_element_losses():
    """The mean of BCE divides by the number of elements, weighted or not; that of MSE by the sum of its weights."""
    x, t, w = np.full((2, 2), 0.5), np.ones((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert ce.binary_cross_entropy(x, t, weight=w) == pytest.approx(math.log(2) * 10 / 4)
    assert ce.binary_cross_entropy_with_logits(0 * x, t, weight=w) == pytest.approx(math.log(2) * 10 / 4)
    assert ce.mse_loss(x, t, weight=w) == pytest.approx(0.25)
    assert ce.kl_div(-x, t, reduction="batchmean") == pytest.approx(1.0)
    assert ce.kl_div(-x, t) == pytest.approx(0.5)


def test_batchmean_is_for_kl_div_alone():
    x = np.zeros((2, 2))
    for name, target in (("cross_entropy", [0, 1]), ("binary_cross_entropy_with_logits", x), ("mse_loss", x)):
        with pytest.raises(ValueError, match="batchmean"):
            getattr(ce, name)(x, target, reduction="batchmean")


def test_the_sum_of_tiny_element_losses_keeps_its_digits(dtype, isa):
    """A product of factors next to 1 would lose what they differ from 1 by."""
    for p in (1e-6, 1e-9, 1e-12, 1e-20, 1e-30):
        x = np.full(10_000, p, dtype)
        exact = -math.log1p(-float(x[0]))
        assert ce.binary_cross_entropy(x, np.zeros_like(x)) == pytest.approx(exact, rel=1e-13)
        logits = np.full(10_000, math.log(p), dtype)
        exact = math.log1p(math.exp(float(logits[0])))
        tolerance = 1e-8 if dtype == np.float32 else 1e-14
        zeros = np.zeros_like(logits)
        assert ce.binary_cross_entropy_with_logits(logits, zeros) == pytest.approx(exact, rel=tolerance)
    mixed = np.array([0.9, 1e-12, 0.4, 1e-3, 0.6, 0.5, 1e-30, 0.999, 1e-12] * 1000, dtype)
    target = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0] * 1000, dtype)
    each = ce.binary_cross_entropy(mixed.astype(np.float64), target.astype(np.float64), reduction="none")
    assert ce.binary_cross_entropy(mixed, target) == pytest.approx(each.mean(), rel=1e-12)


# ---- a hundred million -----------------------------------------------------------------------------------------------

HUNDRED_MILLION = 100_000_000
ELEMENT_LOSSES = [case.name for case in cases.CASES if case.kind == "element_loss"]


def exact_sum(numbers, times=1):
    """Of doubles, as a fraction: nothing is rounded."""
    return times * sum(map(Fraction, np.ravel(numbers).tolist()), Fraction(0))


def ulps(got, exact):
    """The distance of a float from a fraction, in units in the last place of the float64 next to it."""
    return float(abs(Fraction(got) - exact) / Fraction(math.ulp(float(exact))))


def assert_sum_and_mean(loss, arguments, exact, count=HUNDRED_MILLION):
    assert ulps(loss(*arguments, reduction="sum"), exact) <= 1
    assert ulps(loss(*arguments), exact / count) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uniform", "one large and many tiny"])
def test_additions_of_a_hundred_million_rows(kind, isa):
    """nll_loss of one class only adds. The float32 numbers are multiples of 2^-30, so that integers add up exactly."""
    multiples = cases.rng_for("hundred million").integers(0, 2**24, HUNDRED_MILLION, np.int32)
    if kind == "one large and many tiny":
        multiples >>= 20
        multiples[HUNDRED_MILLION // 3] = 2**30
    exact = Fraction(int(multiples.sum(dtype=np.int64)), 2**30)
    x = multiples.astype(np.float32)
    del multiples
    x *= np.float32(-(2.0**-30))
    assert_sum_and_mean(ce.nll_loss, (x[:, None], np.zeros(len(x), np.int8)), exact)


@pytest.mark.slow
def test_additions_of_a_hundred_million_elements(isa):
    """mse_loss of multiples of 2^-11 in float32: squares are multiples of 2^-22, and their sum is an integer's."""
    x = cases.rng_for("hundred million").integers(0, 2**12, HUNDRED_MILLION, np.int32)
    exact = sum(int(np.sum(part.astype(np.int64) ** 2)) for part in np.array_split(x, 100))
    x = x.astype(np.float32)
    x *= np.float32(2.0**-11)
    assert_sum_and_mean(ce.mse_loss, (x, np.broadcast_to(np.float32(0), x.shape).copy()), Fraction(exact, 2**22))


# Also for float32; the others take exponentials in float32.
COMPUTED_IN_DOUBLES = ("binary_cross_entropy", "kl_div", "mse_loss")
PERIOD = 63  # distinct rows, of which a block of big_arrays holds whole repetitions


def tail_of(name, kind, dtype):
    """PERIOD rows or elements and their targets: ordinary losses, or tiny ones of which the last is large."""
    rng = cases.rng_for("period", name, kind)
    x, t = rng.standard_normal(PERIOD) * 4, rng.integers(0, 2, PERIOD)
    tiny = kind != "ordinary"
    if name == "cross_entropy":
        x = np.stack([x, -x], 1)
        if tiny:
            x = np.where(np.arange(2) == t[:, None], 20.0, 0.0) + x / 8
            x[-1] = np.where(np.arange(2) == t[-1], -(2.0**20), 0.0)
        return x.astype(dtype), t.astype(np.int8)
    if name == "binary_cross_entropy_with_logits":
        x = np.where(t == 1, 20, -20) + x / 8 if tiny else x
        x[-1] = (2.0**20 if t[-1] == 0 else -(2.0**20)) if tiny else x[-1]
    if name == "binary_cross_entropy":
        x = rng.random(PERIOD)
        x = np.where(t == 1, 1 - x * 2.0**-20, x * 2.0**-20) if tiny else x
        x[-1] = 1 - t[-1] if tiny else x[-1]
    if name == "kl_div":
        x, t = -np.abs(x) * (2.0**-20 if tiny else 1), np.ones(PERIOD) if tiny else rng.random(PERIOD)
        x[-1] = -(2.0**20) if tiny else x[-1]
    if name == "mse_loss":
        x = x * 2.0**-10 if tiny else x
        x[-1], t = 2.0**10 if tiny else x[-1], np.zeros(PERIOD)
    return x.astype(dtype), t.astype(dtype)


def as_fraction(number):
    sign, mantissa, exponent, _ = number._mpf_
    return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def repeated(pattern, order_of_blocks):
    """The pattern of the first PERIOD - 1 rows over and over, and once, in the last block, with the last row too."""
    rows = np.tile(np.concatenate([pattern[:-1], pattern[:1]]), (BLOCK // PERIOD, *[1] * (pattern.ndim - 1)))
    last = rows.copy()
    last[-1] = pattern[-1]
    width = rows.size // BLOCK
    blocks = np.concatenate([rows.reshape(width, BLOCK), last.reshape(width, BLOCK)])
    order = [width * block + k for block in order_of_blocks for k in range(width)]
    return big(order, *blocks).reshape(-1, *pattern.shape[1:])


@pytest.mark.slow
@pytest.mark.skipif(not big_arrays.AVAILABLE, reason="needs a 64-bit Linux")
@pytest.mark.parametrize("kind", ["ordinary", "one large and many tiny"])
@pytest.mark.parametrize("name", ["cross_entropy", *ELEMENT_LOSSES])
def test_a_hundred_million_losses(name, kind, dtype):
    """Against exact sums of exact losses: float64 within an ulp; float32 with ten digits, far below its own ulp."""
    x, t = tail_of(name, kind, dtype)
    n_blocks = HUNDRED_MILLION // BLOCK + 1
    order = [0] * (n_blocks // 3) + [1] + [0] * (n_blocks - n_blocks // 3 - 1)
    losses = [as_fraction(number) for number in oracles.parts(name, x, t).loss]
    count = n_blocks * BLOCK
    exact = (sum(losses[:-1]) + losses[0]) * (count // PERIOD) - losses[0] + losses[-1]
    arguments = repeated(x, order), repeated(t, order)
    loss = getattr(ce, name)
    if dtype == np.float64 or name in COMPUTED_IN_DOUBLES:
        assert_sum_and_mean(loss, arguments, exact, count)
        return
    for got, wanted in ((loss(*arguments, reduction="sum"), exact), (loss(*arguments), exact / count)):
        assert abs(Fraction(got) - wanted) / wanted <= 1e-10
