"""The diagonal Hessian: p (1 - p) with 1 - p never formed by subtraction, in the same pass as loss and gradient."""

import cases
import numpy as np
import oracles
import pytest

import crossent as ce

LIMIT = 3.0  # ulp: two factors and a product


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True))
def test_accuracy(case, variant, dtype, isa):
    """All three from one pass, on every regime."""
    with cases.Every() as one:
        for regime, call in cases.regime_calls(case, variant, dtype):
            with one(regime):
                loss, grad, hess = call.value_grad_and_hess(reduction="none")
                oracles.assert_ulp(loss, call.exact, dtype, variant.limit, call.scale, "loss")
                oracles.assert_ulp(grad, call.exact_grad, dtype, variant.grad_limit, call.grad_scale, "gradient")
                oracles.assert_ulp(hess, call.exact_hess, dtype, LIMIT, what="Hessian")


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True))
def test_reductions(case, variant, reduction, dtype, isa):
    """The Hessian is scaled as the gradient is."""
    call = cases.fixed_call(case.name, variant.label, (6, 5), dtype.name)
    rtol = 8 * np.finfo(dtype).eps
    for got, wanted in zip(call.value_grad_and_hess(reduction=reduction), call.outcome(reduction), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True))
def test_same_loss_and_gradient_as_without(case, variant, dtype, isa):
    """Asking for the Hessian changes nothing of the rest, but for rounding."""
    call = cases.make_call(case, variant, (9, 37), dtype)
    for reduction in ("none", "mean"):
        loss, grad = call.value_and_grad(reduction=reduction)
        loss_too, grad_too, _ = call.value_grad_and_hess(reduction=reduction)
        tolerance = 4 * np.finfo(dtype).eps
        np.testing.assert_allclose(loss_too, loss, rtol=tolerance)
        np.testing.assert_allclose(grad_too, grad, rtol=tolerance, atol=tolerance * np.abs(grad).max())


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True))
def test_is_the_derivative_of_the_gradient(case, variant):
    """Central differences of order 4, in float64."""
    call = cases.make_call(case, variant, (3, 4), np.float64)
    _, _, hess = call.value_grad_and_hess(reduction="sum")
    x, step = call.arguments[0], 1e-3
    for place in np.ndindex(x.shape):
        moved = [_gradient_at(call, place, k * step) for k in (-2, -1, 1, 2)]
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step)
        assert hess[place] == pytest.approx(slope, rel=1e-7, abs=1e-9)


def _gradient_at(call, place, step):
    x = call.arguments[0].copy()
    x[place] += step
    return call.with_arguments(x, *call.arguments[1:]).value_and_grad(reduction="sum")[1][place]


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True))
def test_buffers(case, variant, dtype, isa):
    """out= and hess_out= receive gradient and Hessian and are what is returned; out may be the input."""
    call = cases.make_call(case, variant, (5, 20), dtype)
    loss, grad, hess = call.value_grad_and_hess(reduction="mean")
    x = call.arguments[0].copy()
    hess_out = np.full_like(x, np.nan)
    again = call.with_arguments(x, *call.arguments[1:])
    loss_too, grad_too, hess_too = again.value_grad_and_hess(reduction="mean", out=x, hess_out=hess_out)
    assert grad_too is x
    assert hess_too is hess_out
    assert cases.same_bits(loss, loss_too)
    assert cases.same_bits(grad, x)
    assert cases.same_bits(hess, hess_out)


def test_confident_tail(isa):
    """p and 1 - p of a row that is all but certain: the Hessian is about the gradient, not 0."""
    logits = np.array([[0, 17]], np.float32)
    _, grad, hess = ce.value_grad_and_hess(ce.cross_entropy)(logits, [1])
    assert hess == pytest.approx(np.abs(grad), rel=1e-6)
    _, _, hess = ce.value_grad_and_hess(ce.binary_cross_entropy_with_logits)(
        np.float32([[-30, 30]]), np.float32([[0, 1]])
    )
    assert hess == pytest.approx(np.full((1, 2), 9.357623e-14 / 2), rel=1e-6)


@pytest.mark.parametrize("name", ["nll_loss", "binary_cross_entropy", "kl_div"])
def test_losses_without_a_hessian_say_so(name):
    with pytest.raises((TypeError, ValueError), match="(?i)hess"):
        ce.value_grad_and_hess(getattr(ce, name))
