"""Any number of threads gives the same bits, maps and losses, sums and means; sizes large enough to be shared out."""

import cases
import numpy as np
import pytest

import crossent as ce
from crossent import _kernels

ROW_SHAPES = [(30011, 10), (4099, 65), (40, 20011), (7, 33, 4001), (5, 3, 2, 20001)]
ELEMENT_SHAPES = [(300007,), (1031, 301)]
THREADS = [1, 2, 3, 8]


def shapes_of(case):
    return ROW_SHAPES if case.is_row_wise else ELEMENT_SHAPES


def large_call(case, variant, shape, dtype):
    """Ordinary numbers repeated: the exact ones are not needed here, and drawing millions would be slow."""
    rng = cases.rng_for("threads", shape)
    x = cases.draw(rng, case, shape).astype(dtype)
    index = rng.integers(0, shape[1], cases.rows_shape(x, 1)) if case.is_row_wise else None
    if case.kind == "row_map_backward":
        output = (ce.softmax if case.name == "softmax_backward" else ce.log_softmax)(x, axis=1)
        return cases.Call(case, variant, (x[::-1].copy(), output), {"axis": 1})
    arguments, options = variant.make(rng, x, index, 1)
    return cases.Call(case, variant, (x, *arguments), options)


def everything(call, **more):
    """All that a call returns, for all reductions, with and without gradient."""
    if not call.case.is_loss:
        return [call(**more)]
    results = [call(reduction=reduction, **more) for reduction in call.case.reductions]
    for reduction in ("none", "mean"):
        results += call.value_and_grad(reduction=reduction, **more)
        if call.case.hessian:
            results += call.value_grad_and_hess(reduction=reduction, **more)
    return results


def points():
    """Every case with every shape of its kind."""
    pairs = [(c, v, shape) for c, v in cases.select(variants=False)["argvalues"] for shape in shapes_of(c)]
    return {"argvalues": pairs, "ids": [f"{c.name}-{'x'.join(map(str, shape))}" for c, _, shape in pairs]}


@pytest.mark.parametrize(("case", "variant", "shape"), **points())
def test_same_bits_for_any_number_of_threads(case, variant, shape, dtype):
    call = large_call(case, variant, shape, dtype)
    alone = everything(call, num_threads=1)
    for n in THREADS[1:]:
        for one, other in zip(alone, everything(call, num_threads=n), strict=True):
            assert cases.same_bits(one, other), f"{n} threads"


@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_same_bits_for_every_option(case, variant, isa):
    """All variants, every kernel set, one shape."""
    call = large_call(case, variant, (4099, 65) if case.is_row_wise else (300007,), np.float32)
    alone = everything(call, num_threads=1)
    for one, other in zip(alone, everything(call, num_threads=3), strict=True):
        assert cases.same_bits(one, other)


@pytest.mark.parametrize(("case", "variant"), **cases.select(variants=False))
def test_default_number_of_threads(case, variant, num_threads):
    """set_num_threads is what num_threads=None means."""
    call = large_call(case, variant, shapes_of(case)[1], np.float32)
    for one, other in zip(everything(call), everything(call, num_threads=1), strict=True):
        assert cases.same_bits(one, other)
    assert ce.get_num_threads() == (num_threads if _kernels.openmp_enabled() else 1)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, variants=False))
def test_strided_and_threaded(case, variant, dtype):
    """Fortran order and sliced rows."""
    call = large_call(case, variant, (2051, 130), dtype)
    alone = everything(call, num_threads=1)
    for layout in (np.asfortranarray, lambda a: a.repeat(2, 0)[::2]):
        moved = cases.Call(case, variant, tuple(layout(a) for a in call.arguments), call.options)
        for one, other in zip(everything(moved, num_threads=1), everything(moved, num_threads=3), strict=True):
            assert cases.same_bits(one, other)
        loss, grad = moved.value_and_grad(reduction="none", num_threads=2)
        assert cases.same_bits(grad, call.value_and_grad(reduction="none", num_threads=1)[1])
        assert cases.same_bits(loss, call.value_and_grad(reduction="none", num_threads=1)[0])
    assert len(alone) == len(everything(call, num_threads=2))


def test_a_bad_target_is_found_by_any_number_of_threads():
    """The first one in the order of the rows, whoever meets it first."""
    x = np.zeros((400_000, 3), np.float32)
    t = np.zeros(400_000, np.int32)
    t[[399_999, 123_456, 300_000]] = 3, 7, -5
    for n in THREADS:
        with pytest.raises(IndexError, match=r"target\[123456\] is 7"):
            ce.cross_entropy(x, t, num_threads=n)
