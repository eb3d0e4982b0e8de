"""none, mean, sum, batchmean: divisors as PyTorch's, additions in float64 over a fixed tree."""

import math

import cases
import numpy as np
import oracles
import pytest

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
