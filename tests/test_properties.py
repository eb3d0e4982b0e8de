"""Any shape, axis, strides, dtype, byte order: the result is that of a contiguous native copy, bit for bit.

Hypothesis chooses; test_layouts.py has the layouts with names. The values come from a seeded generator, with infinities
and ties among them, so that a failing example is small.
"""

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crossent as ce


@st.composite
def shapes(draw, max_elements=3000):
    """One to four dimensions; sizes around the widths of vectors, tiles and blocks."""
    sides = st.one_of(st.integers(0, 5), st.sampled_from([7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 257]))
    shape = draw(st.lists(sides, min_size=1, max_size=4))
    while np.prod(shape) > max_elements:
        shape[int(np.argmax(shape))] //= 2
    return tuple(shape)


@st.composite
def layouts(draw, ndim):
    """For each dimension the step of a slice and the room before it; the order of the dimensions in memory; more."""
    steps = tuple(draw(st.sampled_from([1, 1, 1, 2, 3, -1, -2])) for _ in range(ndim))
    room = tuple(draw(st.integers(0, 2)) for _ in range(ndim))
    order = tuple(draw(st.permutations(range(ndim))))
    return steps, room, order, draw(st.booleans()), draw(st.booleans()), draw(st.booleans())


def lay_out(a, layout):
    """The same numbers with other strides, and perhaps another byte order, no write permission, no alignment."""
    steps, room, order, swap, lock, shift = layout
    dtype = a.dtype.newbyteorder("S") if swap and a.dtype.itemsize > 1 else a.dtype
    sides = [abs(step) * side + before for side, step, before in zip(a.shape, steps, room, strict=True)]
    memory = np.zeros(int(np.prod(sides)) * dtype.itemsize + 1, np.uint8)
    start = int(shift)
    flat = memory[start : start + int(np.prod(sides)) * dtype.itemsize].view(dtype)
    big = flat.reshape([sides[i] for i in order]).transpose(np.argsort(order))
    index = tuple(slice(r, r + abs(s) * n, abs(s)) for n, s, r in zip(a.shape, steps, room, strict=True))
    view = big[index][tuple(slice(None, None, -1 if s < 0 else 1) for s in steps)]
    assert view.shape == a.shape
    view[...] = a
    view.flags.writeable = not lock
    return view


def spice(call, seed):
    """Some infinities and ties in the input of a function over logits."""
    x = call.arguments[0]
    if call.case.domain == "real" and call.case.kind != "row_map_backward" and x.size:
        places = np.random.default_rng(seed)
        x[places.random(x.shape) < 0.05] = -np.inf
        x[places.random(x.shape) < 0.1] = 1.5
        x[places.random(x.shape) < 0.01] = 300.0
    return call


def drawn_call(data, case, variant):
    shape = data.draw(shapes(), "shape")
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), "axis") if case.is_row_wise else -1
    if case.is_row_wise and shape[axis] == 0:
        shape = tuple(max(side, 1) for side in shape)
    seed = data.draw(st.integers(0, 99), "seed")
    dtype = data.draw(st.sampled_from(["float32", "float64"]), "dtype")
    return spice(cases.make_call(case, variant, shape, dtype, axis, seed), seed)


def moved(data, a, what):
    """The array in a drawn layout; anything else as it is."""
    if not isinstance(a, np.ndarray) or not a.ndim:
        return a
    return lay_out(a, data.draw(layouts(a.ndim), what))


@pytest.mark.parametrize(("case", "variant"), **cases.select())
@given(data=st.data())
def test_any_layout_gives_the_bits_of_a_contiguous_copy(case, variant, data):
    call = drawn_call(data, case, variant)
    arguments = tuple(moved(data, a, f"argument {i}") for i, a in enumerate(call.arguments))
    options = {name: moved(data, value, name) for name, value in call.options.items()}
    strided = cases.Call(case, variant, arguments, options)
    wanted, got = call.unreduced(), strided.unreduced()
    assert cases.same_bits(got, wanted)
    for array, original in zip(arguments, call.arguments, strict=True):
        assert cases.same_bits(array, original)
    if case.is_loss:
        loss, grad = call.value_and_grad(reduction="none")
        loss_too, grad_too = strided.value_and_grad(reduction="none")
        assert cases.same_bits(loss_too, loss)
        assert cases.same_bits(grad_too, grad)
        assert cases.same_bits(loss, wanted) or np.allclose(loss, wanted, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("case", "variant"), **cases.select())
@given(data=st.data())
@settings(max_examples=25)
def test_any_out_receives_the_same_bits(case, variant, data):
    call = drawn_call(data, case, variant)
    wanted = call.unreduced()
    if not isinstance(wanted, np.ndarray) or not wanted.ndim:
        return
    steps, room, order, _, _, shift = data.draw(layouts(wanted.ndim), "out")
    out = lay_out(np.full_like(wanted, 5), (steps, room, order, False, False, shift))
    assert call.unreduced(out=out) is out
    assert cases.same_bits(out, wanted)


@given(data=st.data())
def test_softmax_is_a_distribution(data):
    """Whatever the finite logits: numbers from 0 to 1 that sum to 1, in the order of the logits (but for rounding)."""
    shape = data.draw(shapes(), "shape")
    axis = data.draw(st.integers(0, len(shape) - 1), "axis")
    scale = data.draw(st.sampled_from([1e-30, 1e-3, 1.0, 30.0, 1e4, 1e30]), "scale")
    x = (np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(shape) * scale).astype(np.float32)
    p = ce.softmax(x, axis)
    assert ((p >= 0) & (p <= 1)).all()
    if shape[axis]:
        np.testing.assert_allclose(p.sum(axis, dtype=float), 1, rtol=1e-6)
        order = np.argsort(x, axis, kind="stable")
        ordered = np.take_along_axis(p, order, axis)
        assert (np.diff(ordered, axis=axis) >= -4 * np.finfo(np.float32).eps * ordered.max(axis, keepdims=True)).all()


@given(data=st.data())
def test_losses_are_never_negative(data):
    """Cross-entropy and binary cross-entropy of anything finite, with targets between 0 and 1."""
    shape = data.draw(shapes(), "shape")
    scale = data.draw(st.sampled_from([1e-30, 1e-3, 1.0, 30.0, 1e4, 1e30]), "scale")
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = (generator.standard_normal(shape) * scale).astype(np.float32)
    q = generator.random(shape).astype(np.float32)
    assert (ce.binary_cross_entropy_with_logits(x, q, reduction="none") >= 0).all()
    if len(shape) > 1 and shape[1]:
        assert (ce.cross_entropy(x, q, reduction="none") >= 0).all()
        t = generator.integers(0, shape[1], (shape[0], *shape[2:]))
        assert (ce.cross_entropy(x, t, reduction="none") >= 0).all()


def test_lay_out_makes_what_it_says():
    """The helper, on an array where everything is asked for at once."""
    a = np.arange(6.0).reshape(2, 3)
    view = lay_out(a, ((2, -1), (1, 2), (1, 0), True, True, True))
    assert np.array_equal(view, a)
    assert not view.flags.aligned
    assert not view.flags.writeable
    assert not view.dtype.isnative
    assert view.strides[1] < 0
