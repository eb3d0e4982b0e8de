"""Gradients: against finite differences, against the structure they must have, scaled and placed as asked.

Their error in ulp is in test_accuracy.py, the special values in test_extremes.py.
"""

import cases
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import crossent as ce

STEP = 1e-3


def loss_at(call, place, step, reduction):
    x = call.arguments[0].copy()
    x[place] += step
    return call.with_arguments(x, *call.arguments[1:])(reduction=reduction)


def slope(call, place, reduction="sum"):
    """The central difference of order 4."""
    before2, before, after, after2 = (loss_at(call, place, k * STEP, reduction) for k in (-2, -1, 1, 2))
    return (before2 - 8 * before + 8 * after - after2) / (12 * STEP)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_finite_differences(case, variant, reduction, shape, isa):
    """In float64, of the loss as it is reduced."""
    call = cases.make_call(case, variant, shape, np.float64, axis=1)
    if case.domain == "probability":
        call.arguments[0][...] = 0.25 + call.arguments[0] / 2
    _, grad = call.value_and_grad(reduction=reduction)
    for place in np.ndindex(shape):
        assert grad[place] == pytest.approx(slope(call, place, reduction), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("case", "variant", "reduction"), **cases.select_with_reductions(kinds=cases.LOSSES))
def test_reduction_and_grad_output(case, variant, reduction, dtype, isa):
    """grad_output, a number or (for "none") an array of the loss's shape, and the mean's divisor scale the gradient."""
    call = cases.fixed_call(case.name, variant.label, (6, 5, 3), dtype.name, 1)
    factors = [None, 2.5, -3, np.float32(0.5), np.array(2.0)]
    if reduction == "none":
        array = cases.rng_for("grad_output").standard_normal(call.exact.hi.shape).astype(dtype)
        factors += [array, np.asfortranarray(array)]
    for grad_output in factors:
        loss, grad = call.value_and_grad(reduction=reduction, grad_output=grad_output)
        exact_loss, exact_grad, _ = call.outcome(reduction, grad_output)
        tolerance = 8 * float(np.finfo(dtype).eps)
        assert_allclose(grad, exact_grad, rtol=tolerance, atol=tolerance)
        assert_allclose(loss, exact_loss, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_a_power_of_two_as_grad_output_is_exact(case, variant, dtype, isa):
    call = cases.make_call(case, variant, (7, 40), dtype)
    loss, grad = call.value_and_grad(reduction="sum")
    loss_too, doubled = call.value_and_grad(reduction="sum", grad_output=-2.0)
    assert loss_too == loss
    assert_array_equal(doubled, -2 * grad)


@pytest.mark.parametrize("n_classes", [2, 10, 33, 100, 5003])
@pytest.mark.parametrize("gap", [0.0, 5.0, 17.0, 40.0])
def test_rows_sum_to_zero(n_classes, gap, dtype, isa):
    """Within the rounding of their largest number, also where that is far below 1."""
    x, t = cases.confident(cases.rng_for("sum to zero", n_classes), dtype, 6, n_classes, gap)
    for target in (t, cases.one_hot(x.astype(dtype), t, 1)):
        _, grad = ce.value_and_grad(ce.cross_entropy)(x.astype(dtype), target, reduction="sum")
        sums, largest = grad.sum(1, dtype=np.longdouble), np.abs(grad).max(1)
        assert (largest > 0).all()
        assert (np.abs(sums) <= 4 * np.finfo(dtype).eps * largest).all()


def test_signs(dtype, isa):
    """Up for every other class, down for the target, also where float32 used to say 0."""
    x = np.array([[0, 17, -3], [0, 60, 60], [80, 0, 0]], dtype)
    _, grad = ce.value_and_grad(ce.cross_entropy)(x, [1, 2, 0], reduction="sum")
    assert (np.sign(grad) == [[1, -1, 1], [1, 1, -1], [-1, 1, 1]]).all()


def test_confident_binary_gradients(dtype, isa):
    """sigmoid(x) - 1 for x = 30 is -9.4e-14, not 0."""
    x = np.array([30, -30, 80, -80], dtype)
    _, grad = ce.value_and_grad(ce.binary_cross_entropy_with_logits)(x, (x > 0).astype(dtype), reduction="sum")
    tail = np.exp(-np.abs(x.astype(float)))
    assert_allclose(grad, np.sign(x) * -tail, rtol=1e-6)


def test_binary_cross_entropy_through_a_saturated_sigmoid(isa):
    """PyTorch clamps the denominator: -2.4e-11 in place of -0.125 for a probability of e^-50 / 8."""
    x = np.array([-50.0])
    p = ce.sigmoid(x)
    _, grad = ce.value_and_grad(ce.binary_cross_entropy)(p, np.ones(1), log_floor=-np.inf, grad_output=1.0)
    assert grad * p * (1 - p) == pytest.approx(-1.0)


def test_binary_cross_entropy_where_a_logarithm_is_at_the_floor(dtype, isa):
    """The loss is constant below the floor and outside [eps, 1 - eps], and so its gradient is 0."""
    p, t = np.array([0, 0.5, 0.01], dtype), np.ones(3, dtype)
    function = ce.value_and_grad(ce.binary_cross_entropy)
    assert_array_equal(function(p, t, reduction="sum")[1][:2], [0, -2])
    assert_allclose(function(p, t, reduction="sum", log_floor=-3.0)[1], [0, -2, 0])
    assert_allclose(function(p, t, reduction="sum", eps=0.125)[1], [0, -2, 0])
    assert_allclose(function(1 - p, 1 - t, reduction="sum", eps=0.125)[1], [0, 2, 0])
    assert_array_equal(function(p, t, reduction="sum", log_floor=-np.inf)[1][:2], [-np.inf, -2])


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_descending_reduces_the_loss(case, variant, dtype, isa):
    """A small step against the gradient."""
    call = cases.make_call(case, variant, (5, 6), dtype)
    loss, grad = call.value_and_grad()
    step = 1e-3 / max(1.0, float(np.abs(grad).max()))
    after = call.with_arguments((call.arguments[0] - step * grad).astype(dtype), *call.arguments[1:])()
    assert after < loss


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, variants=False))
def test_out_is_the_gradient(case, variant, dtype):
    """value_and_grad's out= is the gradient's, with every reduction; what was in it is forgotten."""
    call = cases.make_call(case, variant, (5, 6), dtype)
    for reduction in case.reductions:
        loss, grad = call.value_and_grad(reduction=reduction)
        out = np.full_like(grad, np.nan)
        loss_too, grad_too = call.value_and_grad(reduction=reduction, out=out)
        assert grad_too is out
        assert cases.same_bits(grad, out)
        assert cases.same_bits(loss, loss_too)


def test_the_transform_keeps_the_name_and_the_documentation():
    for transform in (ce.value_and_grad, ce.value_grad_and_hess):
        transformed = transform(ce.cross_entropy)
        assert callable(transformed)
        assert "cross_entropy" in transformed.__name__


@pytest.mark.parametrize("other", [ce.softmax, ce.logsumexp, np.mean, "cross_entropy", None, 3])
def test_only_losses_have_a_gradient_here(other):
    with pytest.raises(TypeError, match="loss"):
        ce.value_and_grad(other)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map_backward",)))
def test_backward_maps_agree_with_the_losses(case, variant, dtype, isa):
    """Chaining nll_loss's gradient through log_softmax gives that of cross_entropy; a vector-Jacobian product else."""
    x, t = cases.confident(cases.rng_for("chain"), dtype, 6, 40, 1.0)
    x = x.astype(dtype)
    eps = float(np.finfo(dtype).eps)
    if case.name == "log_softmax_backward":
        log_p = ce.log_softmax(x)
        _, grad_output = ce.value_and_grad(ce.nll_loss)(log_p, t)
        _, grad = ce.value_and_grad(ce.cross_entropy)(x, t)
        assert_allclose(ce.log_softmax_backward(grad_output, log_p), grad, atol=4 * eps)
    else:
        p, g = ce.softmax(x), cases.rng_for("g").standard_normal(x.shape).astype(dtype)
        jacobian = p[:, :, None] * (np.eye(40, dtype=dtype) - p[:, None, :])
        assert_allclose(ce.softmax_backward(g, p), np.einsum("njk,nk->nj", jacobian, g), atol=40 * eps)
