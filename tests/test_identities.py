"""Equations between the functions, that hold whatever the oracles say."""

import cases
import numpy as np
import pytest
from numpy.testing import assert_allclose

import crossent as ce


def tolerance(dtype, factor=8):
    return factor * float(np.finfo(dtype).eps)


@pytest.fixture(params=[(7, 10), (5, 33), (3, 200), (2, 5, 4)], ids=str)
def logits(request, dtype, isa):
    return (cases.rng_for("identities", request.param).standard_normal(request.param) * 3).astype(dtype)


@pytest.fixture
def target(logits):
    shape = (logits.shape[0], *logits.shape[2:])
    return cases.rng_for("identities target", shape).integers(0, logits.shape[1], shape)


def test_softmax_is_the_exponential_of_log_softmax(logits):
    log_p = ce.log_softmax(logits, axis=1)
    assert_allclose(ce.softmax(logits, axis=1), np.exp(log_p.astype(float)), rtol=tolerance(logits.dtype, 20))


def test_softmax_sums_to_one(logits):
    assert_allclose(ce.softmax(logits, axis=1).sum(1, dtype=float), 1, rtol=tolerance(logits.dtype))


def test_log_softmax_is_the_input_minus_logsumexp(logits):
    difference = logits.astype(float) - ce.logsumexp(logits, axis=1, keepdims=True)
    assert_allclose(
        ce.log_softmax(logits, axis=1), difference, rtol=tolerance(logits.dtype), atol=tolerance(logits.dtype)
    )


def test_logsumexp_keepdims_is_only_a_shape(logits):
    kept = ce.logsumexp(logits, axis=1, keepdims=True)
    assert kept.shape == (*logits.shape[:1], 1, *logits.shape[2:])
    assert cases.same_bits(kept.squeeze(1), ce.logsumexp(logits, axis=1))


@pytest.mark.parametrize("options", [{}, {"ignore_index": 2}, {"weight": True}], ids=["plain", "ignored", "weight"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_is_nll_of_log_softmax(logits, target, options, reduction):
    if "weight" in options:
        options = {"weight": np.linspace(0.5, 2, logits.shape[1]).astype(logits.dtype)}
    chained = ce.nll_loss(ce.log_softmax(logits, axis=1), target, reduction=reduction, **options)
    whole = ce.cross_entropy(logits, target, reduction=reduction, **options)
    assert_allclose(whole, chained, rtol=tolerance(logits.dtype), atol=tolerance(logits.dtype))


def test_adding_a_power_of_two_to_a_row_changes_no_probability(isa, dtype):
    """Exactly representable shifts: the loss stays what it was, but for rounding."""
    x = np.round(cases.rng_for("shift").standard_normal((8, 50)) * 4, 2).astype(np.float32).astype(dtype)
    x = np.round(x * 64) / 64
    t = np.arange(8)
    for shift in (-4096.0, 256.0, 65536.0):
        moved = (x + shift).astype(dtype)
        assert np.array_equal(moved - shift, x)
        assert_allclose(ce.softmax(moved), ce.softmax(x), rtol=tolerance(dtype, 4))
        assert_allclose(
            ce.cross_entropy(moved, t, reduction="none"),
            ce.cross_entropy(x, t, reduction="none"),
            rtol=tolerance(dtype, 2),
        )


def test_index_targets_equal_one_hot_targets(logits, target):
    one_hot = cases.one_hot(logits, target, 1)
    for smoothing in (0.0, 0.2):
        by_index = ce.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
        by_probability = ce.cross_entropy(logits, one_hot, reduction="none", label_smoothing=smoothing)
        assert_allclose(by_index, by_probability, rtol=tolerance(logits.dtype))


def test_weighted_one_hot_sum_equals_weighted_index_sum(logits, target):
    """The sums agree; the means do not, as in PyTorch: sum of weights against number of rows."""
    weight = np.linspace(0.5, 2, logits.shape[1]).astype(logits.dtype)
    one_hot = cases.one_hot(logits, target, 1)
    by_index = ce.cross_entropy(logits, target, weight=weight, reduction="sum")
    assert ce.cross_entropy(logits, one_hot, weight=weight, reduction="sum") == pytest.approx(by_index, rel=1e-5)
    mean = ce.cross_entropy(logits, target, weight=weight)
    assert mean == pytest.approx(by_index / weight[target].sum(dtype=float), rel=1e-6)
    assert ce.cross_entropy(logits, one_hot, weight=weight) == pytest.approx(by_index / target.size, rel=1e-5)


def test_smoothing_is_a_mix_with_the_uniform_target(logits, target):
    """(1 - s) * loss + s * mean over classes of the loss of that class"""
    s, c = 0.3, logits.shape[1]
    each = [ce.cross_entropy(logits, np.full_like(target, k), reduction="none").astype(float) for k in range(c)]
    plain = ce.cross_entropy(logits, target, reduction="none")
    smoothed = ce.cross_entropy(logits, target, reduction="none", label_smoothing=s)
    assert_allclose(smoothed, (1 - s) * plain.astype(float) + s * np.mean(each, 0), rtol=tolerance(logits.dtype))


def test_full_smoothing_forgets_the_target(logits, target):
    other = (target + 1) % logits.shape[1]
    first = ce.cross_entropy(logits, target, reduction="none", label_smoothing=1.0)
    assert_allclose(
        first, ce.cross_entropy(logits, other, reduction="none", label_smoothing=1.0), rtol=tolerance(logits.dtype)
    )


def test_bce_with_logits_is_bce_of_the_sigmoid(isa, dtype):
    x = cases.rng_for("bce").standard_normal((6, 7)).astype(dtype)
    t = cases.rng_for("bce target").random((6, 7)).astype(dtype)
    chained = ce.binary_cross_entropy(ce.sigmoid(x), t, reduction="none")
    whole = ce.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert_allclose(whole, chained, rtol=tolerance(dtype, 40))


def test_bce_with_logits_is_two_class_cross_entropy(isa, dtype):
    """The logits of the second class against 0."""
    x = (cases.rng_for("two class").standard_normal(50) * 10).astype(dtype)
    t = np.arange(50) % 2
    binary = ce.binary_cross_entropy_with_logits(x, t.astype(dtype), reduction="none")
    two_class = ce.cross_entropy(np.stack([np.zeros_like(x), x], 1), t, reduction="none")
    assert_allclose(binary, two_class, rtol=tolerance(dtype, 4))


def test_log_sigmoid_is_the_log_of_the_sigmoid_and_odd_in_the_right_way(isa, dtype):
    x = np.linspace(-30, 30, 61).astype(dtype)
    assert_allclose(np.exp(ce.log_sigmoid(x).astype(float)), ce.sigmoid(x), rtol=tolerance(dtype, 40))
    assert_allclose(
        ce.log_sigmoid(x).astype(float) - ce.log_sigmoid(-x), x, rtol=tolerance(dtype), atol=tolerance(dtype, 40)
    )


def test_kl_div_of_log_softmax_is_soft_cross_entropy_minus_entropy(logits):
    q = ce.softmax(logits[::-1].copy(), axis=1)
    cross = ce.cross_entropy(logits, q, reduction="none").astype(float)
    entropy = -(q.astype(float) * np.log(q.astype(float))).sum(1)
    kl = ce.kl_div(ce.log_softmax(logits, axis=1), q, reduction="none").sum(1, dtype=float)
    assert_allclose(kl, cross - entropy, rtol=tolerance(logits.dtype, 100), atol=tolerance(logits.dtype, 100))


def test_kl_div_log_target_is_the_same_divergence(logits):
    log_p, log_q = ce.log_softmax(logits, axis=1), ce.log_softmax(logits[::-1].copy(), axis=1)
    q = np.exp(log_q)
    for reduction in ("mean", "sum", "batchmean"):
        plain = ce.kl_div(log_p, q, reduction=reduction)
        assert ce.kl_div(log_p, log_q, reduction=reduction, log_target=True) == pytest.approx(plain, rel=1e-4)


def test_permuting_rows_permutes_the_result_bit_for_bit(logits, target):
    order = cases.rng_for("order", logits.shape).permutation(len(logits))
    loss = ce.cross_entropy(logits, target, reduction="none")
    assert cases.same_bits(ce.cross_entropy(logits[order], target[order], reduction="none"), loss[order])
    assert cases.same_bits(ce.softmax(logits[order], axis=1), ce.softmax(logits, axis=1)[order])


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_mean_is_the_sum_over_the_divisor(case, variant, dtype, isa):
    """And the sum is the sum of the unreduced losses."""
    call = cases.make_call(case, variant, (23, 7), dtype)
    total = call(reduction="sum")
    assert isinstance(total, float)
    assert isinstance(call(), float)
    assert call() == pytest.approx(total / float(call.parts.divisor), rel=1e-14)
    assert total == pytest.approx(call.unreduced().sum(dtype=float), rel=tolerance(dtype))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_value_and_grad_gives_the_value(case, variant, dtype, isa):
    """The loss that comes with the gradient is the loss: the same float64 up to the order of a sum."""
    call = cases.make_call(case, variant, (23, 40), dtype)
    for reduction in case.reductions:
        loss, _ = call.value_and_grad(reduction=reduction)
        np.testing.assert_allclose(loss, call(reduction=reduction), rtol=tolerance(dtype, 2))
