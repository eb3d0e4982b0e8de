"""The bound objects are the functions with their parameters kept, and nothing else."""

import inspect
import pickle

import cases
import numpy as np
import pytest

import crossent as ce

OBJECTS = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "KLDivLoss": "kl_div",
    "MSELoss": "mse_loss",
}
CLASS_OF = {function: getattr(ce, name) for name, function in OBJECTS.items()}


def test_every_loss_has_an_object():
    assert {case.name for case in cases.CASES if case.is_loss} == set(OBJECTS.values())


@pytest.mark.parametrize("name", OBJECTS)
def test_takes_the_keywords_of_the_function(name):
    """Same names and defaults, keyword only; out and num_threads belong to the call."""
    keywords = inspect.signature(getattr(ce, OBJECTS[name])).parameters
    wanted = {k: p.default for k, p in keywords.items() if k not in ("input", "target", "out", "num_threads")}
    bound = inspect.signature(getattr(ce, name)).parameters
    assert {k: p.default for k, p in bound.items()} == wanted
    assert all(p.kind is p.KEYWORD_ONLY for p in bound.values())


@pytest.mark.parametrize(("case", "variant", "reduction"), **cases.select_with_reductions(kinds=cases.LOSSES))
def test_is_the_function(case, variant, reduction, dtype):
    """Value, gradient, Hessian: the same bits, by method and by transform."""
    call = cases.make_call(case, variant, (7, 12), dtype, axis=1)
    criterion = CLASS_OF[case.name](reduction=reduction, **call.options)
    loss, grad = call.value_and_grad(reduction=reduction)
    assert cases.same_bits(criterion(*call.arguments), call(reduction=reduction))
    for got in (criterion.value_and_grad(*call.arguments), ce.value_and_grad(criterion)(*call.arguments)):
        assert cases.same_bits(got[0], loss)
        assert cases.same_bits(got[1], grad)
    if case.hessian:
        hess = call.value_grad_and_hess(reduction=reduction)[2]
        assert cases.same_bits(criterion.value_grad_and_hess(*call.arguments)[2], hess)
        assert cases.same_bits(ce.value_grad_and_hess(criterion)(*call.arguments)[2], hess)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, variants=False))
def test_out_and_threads_belong_to_the_call(case, variant, dtype):
    call = cases.make_call(case, variant, (7, 12), dtype)
    criterion = CLASS_OF[case.name](reduction="none", **call.options)
    wanted, (_, grad) = call(reduction="none"), call.value_and_grad(reduction="none")
    out, grad_out = np.empty_like(wanted), np.empty_like(grad)
    assert criterion(*call.arguments, out=out, num_threads=2) is out
    assert cases.same_bits(out, wanted)
    assert criterion.value_and_grad(*call.arguments, out=grad_out, num_threads=2)[1] is grad_out
    assert cases.same_bits(grad_out, grad)
    factors = np.linspace(1, 2, wanted.size).reshape(wanted.shape).astype(dtype)
    _, scaled = criterion.value_and_grad(*call.arguments, grad_output=factors)
    assert cases.same_bits(scaled, call.value_and_grad(reduction="none", grad_output=factors)[1])


@pytest.mark.parametrize("name", OBJECTS)
def test_repr_names_the_parameters(name):
    criterion = getattr(ce, name)(reduction="sum")
    assert repr(criterion).startswith(name + "(")
    assert "reduction='sum'" in repr(criterion)


@pytest.mark.parametrize("name", OBJECTS)
def test_wrong_parameters_are_refused_when_they_are_bound(name):
    with pytest.raises(ValueError, match=r"reduction.*avg|avg.*reduction"):
        getattr(ce, name)(reduction="avg")
    with pytest.raises(TypeError):
        getattr(ce, name)(unknown=1)


def test_wrong_smoothing_is_refused_when_it_is_bound():
    for bound in (ce.CrossEntropyLoss, ce.BCEWithLogitsLoss):
        with pytest.raises(ValueError, match="label_smoothing"):
            bound(label_smoothing=1.5)


def test_pickle_and_equality():
    criterion = ce.CrossEntropyLoss(weight=np.array([1.0, 2.0]), label_smoothing=0.1)
    again = pickle.loads(pickle.dumps(criterion))
    assert again == criterion
    assert again != ce.CrossEntropyLoss(label_smoothing=0.1)
    assert criterion != ce.NLLLoss()
    assert again([[0.0, 1.0]], [1]) == criterion([[0.0, 1.0]], [1])
