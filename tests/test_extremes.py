"""Ignored rows, weights of zero, empty arrays, one class, NaN among other rows, for every kernel set.

What special values give, number by number, is the table in test_special_values.py.
"""

import cases
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import crossent as ce

INF, NAN = np.inf, np.nan
LN2 = np.log(2)


@pytest.mark.parametrize("n_classes", [3, 40, 700])
def test_smoothing_over_an_impossible_class_is_infinite(n_classes, dtype, isa):
    x = np.zeros((2, n_classes), dtype)
    x[1, 2] = -INF
    loss = ce.cross_entropy(x, [0, 0], label_smoothing=0.1, reduction="none")
    assert_allclose(loss, [np.log(n_classes), INF], rtol=1e-6)


def test_smoothing_over_an_impossible_class_of_weight_zero_is_finite(dtype, isa):
    x = np.array([[0, 0, -INF]], dtype)
    weight = np.array([1, 1, 0], dtype)
    loss = ce.cross_entropy(x, [0], weight=weight, label_smoothing=0.3, reduction="sum")
    assert loss == pytest.approx(0.7 * LN2 + 0.1 * 2 * LN2, rel=1e-6)


def test_soft_target_zero_of_an_impossible_class(dtype, isa):
    """0 * log 0 = 0, in the loss and in the gradient; a positive probability there is an infinite loss."""
    x = np.array([[0, 0, -INF], [0, 0, -INF]], dtype)
    q = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]], dtype)
    loss, grad = ce.value_and_grad(ce.cross_entropy)(x, q, reduction="none")
    assert_allclose(loss, [LN2, INF], rtol=1e-6)
    assert_allclose(grad, [[0, 0, 0], [0, 0.25, -0.25]], atol=1e-6)


def test_weight_zero_makes_an_infinite_loss_zero(dtype, isa):
    weight = np.array([0, 1], dtype)
    x = np.array([[-INF, 0.0], [0.0, 0.0]], dtype)
    loss, grad = ce.value_and_grad(ce.cross_entropy)(x, [0, 1], weight=weight, reduction="none")
    assert_allclose(loss, [0, LN2], rtol=1e-6)
    assert_allclose(grad, [[0, 0], [0.5, -0.5]], rtol=1e-6)
    assert ce.nll_loss(x, [0, 0], weight=weight, reduction="sum") == 0.0
    assert_array_equal(ce.cross_entropy(x, cases.one_hot(x, [0, 1], 1), weight=weight, reduction="none")[0], 0)
    zero = np.zeros(1, dtype)
    assert ce.binary_cross_entropy_with_logits(np.array([-INF], dtype), [1.0], weight=zero) == 0.0
    assert ce.binary_cross_entropy(zero, [1.0], weight=zero, log_floor=-INF) == 0.0


@pytest.mark.parametrize("junk", [NAN, INF, -INF, 1e30], ids=str)
@pytest.mark.parametrize("shape", [(6, 2), (6, 3), (6, 40), (6, 700), (6, 2, 4), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_an_ignored_row_is_never_read(name, shape, junk, dtype, isa):
    """Whatever it holds: loss 0, gradient 0, and the other rows and the mean know nothing of it."""
    rng = cases.rng_for("ignored", shape)
    x = -np.abs(rng.standard_normal(shape)).astype(dtype)
    t = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    function = ce.value_and_grad(getattr(ce, name))
    loss, grad = function(np.delete(x, [1, 4], 0), np.delete(t, [1, 4], 0))
    x[[1, 4]], t[[1, 4]] = junk, -100
    loss_with, grad_with = function(x, t)
    assert loss_with == pytest.approx(loss, rel=1e-14)
    assert_array_equal(grad_with[[1, 4]], 0)
    assert cases.same_bits(np.delete(grad_with, [1, 4], 0), grad)
    each = getattr(ce, name)(x, t, reduction="none")
    assert_array_equal(each[[1, 4]], 0)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_everything_ignored(name, dtype, isa):
    """The mean is NaN as in PyTorch, the sum 0; the gradient is 0 in any case, where PyTorch's may be NaN."""
    x = np.full((3, 4), NAN, dtype)
    t = np.full(3, -100)
    for reduction, wanted in (("mean", NAN), ("sum", 0.0)):
        loss, grad = ce.value_and_grad(getattr(ce, name))(x, t, reduction=reduction)
        assert_array_equal(loss, wanted)
        assert_array_equal(grad, np.zeros((3, 4)))
    assert_array_equal(getattr(ce, name)(x, t, reduction="none"), np.zeros(3))


@pytest.mark.parametrize("n_classes", [2, 3, 300])
def test_a_weight_times_a_gap_that_no_double_holds(n_classes, isa):
    """2e308 is infinite, a thousandth of it is not."""
    x = np.full((20, n_classes), -1e308)
    x[:, 0] = 1e308
    t, weight = np.full(20, 1), np.full(n_classes, 1e-3)
    assert_array_equal(ce.cross_entropy(x, t, reduction="none"), INF)
    np.testing.assert_allclose(ce.cross_entropy(x, t, weight=weight, reduction="none"), 2e305, rtol=1e-15)
    np.testing.assert_allclose(
        ce.cross_entropy(x.T.copy(), t, weight=weight, axis=0, reduction="none"), 2e305, rtol=1e-15
    )


def test_total_weight_zero(dtype, isa):
    """0 / 0 = NaN for the mean, gradient 0."""
    x = np.zeros((2, 3), dtype)
    loss, grad = ce.value_and_grad(ce.cross_entropy)(x, [0, 0], weight=np.array([0, 1, 1], dtype))
    assert np.isnan(loss)
    assert_array_equal(grad, 0)


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_ignore_index_may_be_a_class_or_any_integer(name, dtype, isa):
    x = -np.arange(12, dtype=dtype).reshape(4, 3)
    for ignored in (0, 2, -1, 77, 10**12, -(10**12)):
        t = np.array([0, 1, ignored, 2])
        each = getattr(ce, name)(x, t, ignore_index=ignored, reduction="none")
        assert each[2] == 0
        kept = t != ignored
        assert_array_equal(each[kept], getattr(ce, name)(x[kept], t[kept], reduction="none"))


def test_nll_loss_reads_nothing_but_the_target(dtype, isa):
    x = np.array([[NAN, -1.0, INF], [-2.0, NAN, -INF]], dtype)
    loss, grad = ce.value_and_grad(ce.nll_loss)(x, [1, 0], reduction="none")
    assert_array_equal(loss, [1, 2])
    assert_array_equal(grad, [[0, -1, 0], [-1, 0, 0]])


def test_nll_loss_passes_on_what_the_target_holds(dtype, isa):
    x = np.array([[NAN, 0.0], [-INF, 0.0], [INF, 0.0]], dtype)
    assert_array_equal(ce.nll_loss(x, [0, 0, 0], reduction="none"), [NAN, INF, -INF])


def test_binary_cross_entropy_of_the_smallest_probabilities(dtype, isa):
    """A subnormal probability has a logarithm like any other; the floor of -100 may be above it."""
    tiny = np.array([np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny], dtype)
    wanted = -np.log(tiny.astype(np.longdouble)).astype(float)
    got = ce.binary_cross_entropy(tiny, np.ones(2, dtype), log_floor=-INF, reduction="none")
    assert_allclose(got, wanted, rtol=2 * np.finfo(dtype).eps)
    floored = ce.binary_cross_entropy(tiny, np.ones(2, dtype), reduction="none")
    assert_allclose(floored, np.minimum(wanted, 100), rtol=1e-6)


def test_kl_div_of_a_distribution_with_itself_is_zero(dtype, isa):
    log_p = ce.log_softmax(cases.rng_for("kl").standard_normal((5, 50)).astype(dtype))
    assert ce.kl_div(log_p, log_p, log_target=True, reduction="sum") == 0.0


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
@pytest.mark.parametrize("shape", [(0, 5), (0, 5, 2)], ids=str)
def test_losses_of_no_rows(case, variant, shape, dtype):
    """Nothing in, nothing out; the mean of nothing is NaN as in PyTorch, the sum is 0."""
    call = cases.make_call(case, variant, shape, dtype, axis=1)
    assert call.unreduced().shape == tuple(call.exact.hi.shape)
    assert call(reduction="sum") == 0.0
    assert np.isnan(call())
    loss, grad = call.value_and_grad()
    assert np.isnan(loss)
    assert grad.shape == shape


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (0, 0)], ids=str)
def test_maps_of_nothing(shape, dtype):
    x = np.zeros(shape, dtype)
    for name in ("softmax", "log_softmax", "sigmoid", "log_sigmoid"):
        got = getattr(ce, name)(x)
        assert got.shape == shape
        assert got.dtype == dtype
    assert_array_equal(ce.logsumexp(x), np.full(shape[:-1], -INF))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_loss",)))
def test_one_class(case, variant, dtype, isa):
    """There is nothing to be wrong about: loss 0, gradient 0 (but for nll_loss, which believes its input)."""
    call = cases.make_call(case, variant, (9, 1), dtype)
    loss, grad = call.value_and_grad(reduction="none")
    if case.name == "cross_entropy":
        assert_array_equal(loss, 0)
        assert_array_equal(grad, 0)
    else:
        assert_allclose(loss, call.exact.hi, rtol=1e-6)


def test_a_scalar_target_goes_with_a_single_row(dtype, isa):
    x = np.array([1.0, 2.0, 3.0], dtype)
    assert ce.cross_entropy(x, 2) == pytest.approx(0.40760596, rel=1e-6)
    assert np.ndim(ce.cross_entropy(x, np.array(2), reduction="none")) == 0
    assert ce.nll_loss(x, np.int8(1)) == -2.0


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss"), variants=False))
@pytest.mark.parametrize("n_classes", [2, 31, 64, 300])
def test_a_nan_stays_in_its_own_row(case, variant, n_classes, dtype, isa):
    """The other rows come out bit for bit as they would without it."""
    call = cases.make_call(case, variant, (33, n_classes), dtype)
    clean = call.unreduced()
    x = call.arguments[0].copy()
    x[5] = NAN
    x[20, 1] = NAN
    dirty = call.with_arguments(x, *call.arguments[1:]).unreduced()
    others = np.delete(np.arange(33), [5, 20])
    assert cases.same_bits(dirty[others], clean[others])
    if case.name != "nll_loss":
        assert np.isnan(dirty[[5, 20]]).all()


@pytest.mark.parametrize("floor", [0.0, -0.125, -0.5, -0.6931471805599453, -0.75])
def test_a_floor_above_most_logarithms(floor, dtype, isa):
    """The sum is that of the losses, though the sum of float32 takes one logarithm of products."""
    p = np.linspace(0.05, 1, 40).astype(dtype)
    for target in (np.ones_like(p), np.zeros_like(p)):
        losses = ce.binary_cross_entropy(p, target, log_floor=floor, reduction="none")
        assert losses.max() <= -floor * (1 + np.finfo(dtype).eps)
        total = ce.binary_cross_entropy(p, target, log_floor=floor, reduction="sum")
        assert_allclose(total, losses.sum(dtype=float), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "mse_loss"])
@pytest.mark.parametrize("where", ["input", "target"])
@pytest.mark.parametrize("n", [1, 9, 300])
def test_the_sum_with_a_nan_is_a_nan(name, where, n, dtype, isa):
    x, t = np.full(n, 0.5, dtype), np.ones(n, dtype)
    (x if where == "input" else t)[n // 2] = NAN
    for reduction in ("sum", "mean"):
        assert np.isnan(getattr(ce, name)(x, t, reduction=reduction))
        assert np.isnan(ce.value_and_grad(getattr(ce, name))(x, t, reduction=reduction)[0])


def test_a_weight_may_bring_a_square_back(dtype, isa):
    """The square alone is too large for the dtype, or too small."""
    limits = np.finfo(dtype)
    for gap, weight in ((np.sqrt(limits.max) * 4, 2.0**-10), (np.sqrt(limits.tiny) / 64, 2.0**20)):
        x, w = np.full(9, gap, dtype), np.full(9, weight, dtype)
        expected = np.longdouble(x[0]) ** 2 * np.longdouble(weight)
        loss = ce.mse_loss(x, np.zeros_like(x), weight=w, reduction="none")
        assert_allclose(loss, np.full(9, expected, dtype), rtol=limits.eps)


@pytest.mark.parametrize("n", [9, 127, 200])
def test_a_nan_anywhere_is_seen(n, dtype, isa):
    """Wherever it is, and wherever the maximum: the class that is left out of the sum is not the NaN."""
    nan_at, max_at = np.divmod(np.arange(n * n), n)
    x = np.zeros((n * n, n), dtype)
    x[np.arange(n * n), max_at] = 5
    x[np.arange(n * n), nan_at] = NAN
    assert np.isnan(ce.logsumexp(x, -1)).all()
    assert np.isnan(ce.log_softmax(x, out=x)[:, ::8]).all()


def test_log_softmax_backward_of_small_numbers(dtype, isa):
    """The sum is as small as a normal number can be, or large; the probability too."""
    tiny, far = np.finfo(dtype).tiny, np.log(np.finfo(dtype).tiny) - 3
    for g, y in ((tiny, -2.25), (1e-3, far), (1e30, far), (-1e30, -1.0)):
        g, y = np.full((1, 1), g, dtype), np.full((1, 1), y, dtype)
        expected = np.longdouble(g) - np.exp(np.longdouble(y)) * np.longdouble(g)
        np.testing.assert_array_max_ulp(ce.log_softmax_backward(g, y), expected.astype(dtype), maxulp=2)
    g, y = np.array([[0, 1e6]], dtype), np.array([[far, 0]], dtype)
    expected = -np.exp(np.longdouble(y[0, 0])) * np.longdouble(g[0, 1])
    np.testing.assert_array_max_ulp(ce.log_softmax_backward(g, y)[0, 0], expected.astype(dtype), maxulp=2)


@pytest.mark.parametrize("n_classes", [33, 65, 100, 300, 1000])
@pytest.mark.parametrize("n_maxima", [1, 2])
def test_a_maximum_is_left_out_of_the_sum_wherever_it_is(n_classes, n_maxima, dtype, isa):
    """Left out once. Of a confident row nothing else keeps the digits of the other classes' sum."""
    x = np.zeros((n_classes, n_classes), dtype)
    for at in range(n_maxima):
        x[np.arange(n_classes), (np.arange(n_classes) + 7 * at) % n_classes] = 30
    minus_top = np.log1p(n_maxima - 1 + (n_classes - n_maxima) * np.exp(-30.0))
    for rows in [x, *x[:, None]]:  # together, and one by one
        got = ce.log_softmax(rows, axis=1)
        assert_allclose(got[rows == 30], -minus_top, rtol=2 * np.finfo(dtype).eps)
        assert_allclose(got[rows == 0], -30 - minus_top, rtol=2 * np.finfo(dtype).eps)


def test_softmax_backward_of_the_largest_numbers(dtype, isa):
    """g less the sum is larger than the largest number, what it is multiplied with makes it small enough."""
    g = np.array([1, -1, -0.05], dtype) * np.finfo(dtype).max
    y = np.full(3, 1 / 3, dtype)
    small = g.astype(np.longdouble) / 2**10
    expected = y * (small - (y * small).sum())
    for rows in (g[None], np.tile(g, (20, 1))):
        got = ce.softmax_backward(rows, np.tile(y, (len(rows), 1)))
        wanted = np.tile(expected, (len(rows), 1)).astype(dtype)
        assert_allclose(got / dtype.type(2**10), wanted, rtol=2 * np.finfo(dtype).eps)


def test_softmax_backward_rounds_little(dtype, isa):
    """Of so many numbers some are rounded twice the wrong way; they were off by 1.7 to 2.2 ulp of the terms."""
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("long double is no wider than double here")
    rng = np.random.default_rng(11)
    g, y = rng.normal(size=(300, 100)).astype(dtype), ce.softmax(rng.normal(size=(300, 100)).astype(dtype))
    terms = np.longdouble(g) * y
    total = terms.sum(axis=1, keepdims=True)
    error = abs(ce.softmax_backward(g, y) - (terms - y * total))
    scale = abs(terms) + y * abs(terms).sum(axis=1, keepdims=True)
    assert (error / np.spacing(scale.astype(dtype))).max() < 1.6
