"""Memory layouts: however an array lies in memory, the result is bit for bit that of a contiguous copy.

Layouts are made from an ordinary array by functions that return the same numbers in another place. Inputs are never
written; ``out=`` may be any array of the right shape and dtype, also the input.
"""

import itertools

import cases
import numpy as np
import pytest

import crossent as ce
from crossent import _kernels

SHAPES = {
    "short_rows": (37, 10),
    "rows": (19, 65),
    "long_rows": (5, 3001),
    "images": (3, 21, 8),
    "volumes": (2, 5, 3, 4),
}


def fortran(a):
    return np.asfortranarray(a)


def sliced_rows(a):
    big = np.zeros((2 * a.shape[0] + 1, *a.shape[1:]), a.dtype)
    big[1::2] = a
    return big[1::2]


def sliced_classes(a):
    big = np.zeros((*a.shape[:-1], 3 * a.shape[-1]), a.dtype)
    big[..., 1::3] = a
    return big[..., 1::3]


def padded_rows(a):
    big = np.zeros((*a.shape[:-1], a.shape[-1] + 5), a.dtype)
    big[..., 2:-3] = a
    return big[..., 2:-3]


def reversed_rows(a):
    return a[::-1].copy()[::-1]


def reversed_classes(a):
    return a[..., ::-1].copy()[..., ::-1]


def transposed(a):
    return a.T.copy().T


def swapped_ends(a):
    return np.swapaxes(np.swapaxes(a, 0, -1).copy(), 0, -1)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def other_byte_order(a):
    return a.astype(a.dtype.newbyteorder("S")) if a.dtype.itemsize > 1 else a.copy()


def unaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype) if not a.ndim else memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def record_field(a):
    records = np.zeros(a.shape, [("tag", "u1"), ("value", a.dtype)])
    records["value"] = a
    return records["value"]


def subclass(a):
    class Special(np.ndarray):
        pass

    return a.copy().view(Special)


LAYOUTS = (
    fortran,
    sliced_rows,
    sliced_classes,
    padded_rows,
    reversed_rows,
    reversed_classes,
    transposed,
    swapped_ends,
    read_only,
    other_byte_order,
    unaligned,
    record_field,
    subclass,
)


def arrays_of(call):
    """Arguments and array options by name."""
    named = {f"argument {i}": a for i, a in enumerate(call.arguments)}
    return {**named, **{k: v for k, v in call.options.items() if isinstance(v, np.ndarray)}}


def laid_out(call, layout):
    """The call with every array that has elements and dimensions in another layout."""

    def move(a):
        return layout(a) if isinstance(a, np.ndarray) and a.ndim and a.size else a

    options = {k: move(v) for k, v in call.options.items()}
    return cases.Call(call.case, call.variant, tuple(move(a) for a in call.arguments), options)


def outcomes(call):
    """Value, and for losses gradient and the reductions, of one call."""
    results = {"value": call.unreduced()}
    if call.case.is_loss:
        results["loss of value_and_grad"], results["gradient"] = call.value_and_grad(reduction="none")
    return results


def assert_same(one, other):
    for name, numbers in one.items():
        assert cases.same_bits(numbers, other[name]), f"{name} has other bits"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_layouts(case, variant, shape, dtype):
    """Everything about a call, and that nothing of it was written to."""
    call = cases.make_call(case, variant, shape, dtype, axis=1)
    wanted = outcomes(call)
    with cases.Every() as one:
        for layout in LAYOUTS:
            with one(layout.__name__):
                moved = laid_out(call, layout)
                assert_same(wanted, outcomes(moved))
                for name, array in arrays_of(call).items():
                    assert cases.same_bits(arrays_of(moved)[name], array), f"{name} was written"


@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_layouts_on_every_kernel_set(case, variant, isa, dtype):
    """Fewer of them, where strides select another path."""
    for shape, layout in (
        ((37, 10), fortran),
        ((9, 300), fortran),
        ((9, 300), sliced_classes),
        ((3, 40, 9), transposed),
    ):
        call = cases.make_call(case, variant, shape, dtype, axis=1)
        assert_same(outcomes(call), outcomes(laid_out(call, layout)))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss", "row_map_backward")))
def test_class_axis_first_middle_and_last_give_the_same_bits(case, variant, dtype, isa):
    """Rows are rows, whichever way they lie."""
    with cases.Every() as one:
        for n_classes in (1, 2, 10, 33, 64, 300, 2500):
            last = cases.make_call(case, variant, (3, 5, n_classes), dtype, axis=2)
            wanted = outcomes(last)
            for axis in (0, 1):
                with one(n_classes, "classes, axis", axis):
                    assert_same(wanted, outcomes_last(last, axis))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss", "row_map_backward")))
def test_images(case, variant, dtype, isa):
    """Positions behind the class axis: whole tiles, taken class by class where there are eight, and those left over."""
    with cases.Every() as one:
        for n_positions, n_classes in ((49, 100), (130, 19), (148, 3), (132, 40)):
            last = cases.make_call(case, variant, (2, n_positions, n_classes), dtype, axis=2)
            with one(n_positions, "positions,", n_classes, "classes"):
                assert_same(outcomes(last), outcomes_last(last, 1))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_map_backward"), keeps_shape=True))
def test_images_over_the_input(case, variant, dtype, isa):
    """Tiles that are written where others are yet to be read."""
    for n_positions, n_classes in ((49, 100), (130, 19), (148, 3)):
        call = cases.make_call(case, variant, (2, n_classes, n_positions), dtype, axis=1)
        wanted, over = call.unreduced(), call.arguments[0].copy()
        call.with_arguments(over, *call.arguments[1:]).unreduced(out=over)
        assert cases.same_bits(over, wanted)


def outcomes_last(last, axis):
    """outcomes of the call with its class axis, the last, moved to axis; and the results moved back."""
    arguments = tuple(_axis_moved(a, last, axis) for a in last.arguments)
    moved = cases.Call(last.case, last.variant, arguments, {**last.options, "axis": axis})
    return {name: np.moveaxis(a, axis, 2) if a.ndim == 3 else a for name, a in outcomes(moved).items()}


def _axis_moved(a, call, axis):
    """The argument as a contiguous array with the class axis elsewhere, if it has one."""
    return np.ascontiguousarray(np.moveaxis(a, 2, axis)) if a.shape == call.arguments[0].shape else a


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss"), variants=False))
def test_broadcast_input(case, variant, dtype):
    """One row seen many times, and one class seen many times: stride 0."""
    call = cases.make_call(case, variant, (11, 7), dtype)
    x = call.arguments[0]
    for broadcast in (
        np.broadcast_to(x[:1], x.shape),
        np.broadcast_to(x[:, :1], x.shape),
        np.broadcast_to(x[0, 0], x.shape),
    ):
        view = call.with_arguments(broadcast, *call.arguments[1:])
        copy = call.with_arguments(broadcast.copy(), *call.arguments[1:])
        assert_same(outcomes(copy), outcomes(view))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_reductions_do_not_depend_on_the_layout(case, variant, dtype):
    """Mean and sum of the losses, up to the order of the additions in float64."""
    call = cases.make_call(case, variant, (37, 10), dtype, axis=1)
    for layout in (fortran, sliced_rows, reversed_classes, other_byte_order):
        for reduction in ("mean", "sum"):
            got = laid_out(call, layout)(reduction=reduction)
            assert got == pytest.approx(call(reduction=reduction), rel=4 * float(np.finfo(dtype).eps))


# ---- out= ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_out(case, variant, dtype, isa):
    """out= receives the result and is returned, whatever its layout."""
    call = cases.make_call(case, variant, (19, 33), dtype, axis=1)
    wanted = call.unreduced()
    with cases.Every() as one:
        for layout in (np.copy, fortran, sliced_rows, sliced_classes, reversed_rows, unaligned):
            with one(layout.__name__):
                out = layout(np.full(wanted.shape, 7, wanted.dtype))
                assert call.unreduced(out=out) is out
                assert cases.same_bits(out, wanted)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.MAPS, keeps_shape=True))
def test_out_may_be_the_input(case, variant, dtype, isa):
    """A map over its own input; for a backward map over grad_output."""
    for n_classes in (1, 10, 33, 64, 1000):
        call = cases.make_call(case, variant, (19, n_classes), dtype, axis=1)
        wanted = call()
        x = call.arguments[0].copy()
        assert call.with_arguments(x, *call.arguments[1:])(out=x) is x
        assert cases.same_bits(x, wanted), f"{n_classes} classes"


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_gradient_over_the_input(case, variant, dtype, isa):
    """value_and_grad(..., out=input) gives the bits that a fresh buffer gives, whatever the layout of the input."""
    with cases.Every() as one:
        for shape in ((37, 10), (9, 300), (3, 40, 5)):
            call = cases.make_call(case, variant, shape, dtype, axis=1)
            loss, grad = call.value_and_grad()
            for layout in (np.copy, fortran, sliced_rows, reversed_rows):
                with one(shape, layout.__name__):
                    x = layout(call.arguments[0])
                    loss_too, grad_too = call.with_arguments(x, *call.arguments[1:]).value_and_grad(out=x)
                    assert grad_too is x
                    assert cases.same_bits(grad_too, grad)
                    assert loss_too == pytest.approx(loss, rel=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "element_map"), variants=False))
def test_out_may_overlap_the_input(case, variant, dtype):
    """A buffer shifted by some elements: the result is that of separate buffers."""
    memory = cases.rng_for("overlap").standard_normal(40 * 33).astype(dtype)
    x, out = memory[: 19 * 33].reshape(19, 33), memory[50 : 50 + 19 * 33].reshape(19, 33)
    wanted = case.function(x.copy())
    if wanted.shape != out.shape:
        out = memory[50 : 50 + wanted.size].reshape(wanted.shape)
    case.function(x, out=out)
    assert cases.same_bits(out, wanted)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, variants=False))
def test_out_may_overlap_the_operands_of_a_loss(case, variant, dtype):
    """The gradient may go over the target where that is an array of its shape, and over a part of the input."""
    call = cases.make_call(case, variant, (18, 33), dtype, axis=1)
    _, grad = call.value_and_grad(reduction="sum")
    x = np.zeros(18 * 33 + 66, dtype)
    x[: 18 * 33] = call.arguments[0].ravel()
    again = call.with_arguments(x[: 18 * 33].reshape(18, 33), *call.arguments[1:])
    _, shifted = again.value_and_grad(reduction="sum", out=x[66:].reshape(18, 33))
    assert cases.same_bits(shifted, grad)
    if call.arguments[1].shape == grad.shape:
        target = call.arguments[1].copy()
        call.with_arguments(call.arguments[0], target).value_and_grad(reduction="sum", out=target)
        assert cases.same_bits(target, grad)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss", "row_map_backward")))
def test_any_split_into_rows_gives_the_same_bits(case, variant, dtype, isa):
    """One call, or one call for every slice of whole rows."""
    with cases.Every() as one:
        for n_classes in (1, 3, 10, 16, 33, 100, 1500):
            with one(n_classes, "classes"):
                check_split(case, variant, n_classes, dtype)


def check_split(case, variant, n_classes, dtype):
    call = cases.make_call(case, variant, (41, n_classes), dtype, axis=1)
    whole = outcomes(call)
    for bounds in ([0, 1, 41], [0, 7, 16, 23, 41], list(range(42))):
        for start, stop in itertools.pairwise(bounds):
            part = call.with_arguments(*(a[start:stop] for a in call.arguments))
            for name, numbers in outcomes(part).items():
                assert cases.same_bits(numbers, whole[name][start:stop]), f"{name}, rows {start} to {stop}"


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss")))
def test_rows_do_not_notice_their_neighbours(case, variant, dtype, isa):
    """Rows are summed many at a time with the shift of those before, which does not fit all of them."""
    with cases.Every() as one:
        for n_classes in (70, 300, 4110, 8200):
            with one(n_classes, "classes"):
                check_neighbours(case, variant, n_classes, dtype)


def check_neighbours(case, variant, n_classes, dtype):
    call = cases.make_call(case, variant, (40, n_classes), dtype, axis=1)
    x = call.arguments[0].copy()
    x[[4, 13, 14, 37]] *= 30
    x[[6, 22]] += 500
    x[[9, 30]] -= 700
    x[[11, 33]] *= 1e6
    x[[17, 18, 38], 1::2] = -np.inf
    x[25] = -np.inf
    call = call.with_arguments(x, *call.arguments[1:])
    whole = outcomes(call)
    for row in range(len(x)):
        part = call.with_arguments(*(a[row : row + 1] for a in call.arguments))
        for name, numbers in outcomes(part).items():
            assert cases.same_bits(numbers, whole[name][row : row + 1]), f"{name}, row {row}"


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("element_map", "element_loss")))
def test_any_split_into_elements_gives_the_same_bits(case, variant, dtype, isa):
    """An element-wise result does not depend on its neighbours, nor on how many there are."""
    call = cases.make_call(case, variant, (101,), dtype)
    whole = outcomes(call)
    for start, stop in ((0, 1), (1, 8), (3, 20), (20, 53), (53, 101), (100, 101)):
        options = {k: v[start:stop] if isinstance(v, np.ndarray) else v for k, v in call.options.items()}
        part = cases.Call(case, variant, tuple(a[start:stop] for a in call.arguments), options)
        for name, numbers in outcomes(part).items():
            assert cases.same_bits(numbers, whole[name][start:stop]), f"{name}, elements {start} to {stop}"


# ---- dtypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target_dtype", "int8 int16 int32 int64 uint8 uint16 uint32 uint64 intp >i2 >i8 >u4".split())
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_integer_targets_of_every_width(name, target_dtype, dtype):
    x = -np.abs(cases.rng_for("targets").standard_normal((9, 7))).astype(dtype)
    t = np.arange(9) % 7
    wanted = getattr(ce, name)(x, t, reduction="none")
    for layout in (np.copy, sliced_rows, reversed_rows):
        assert cases.same_bits(getattr(ce, name)(x, layout(t.astype(target_dtype)), reduction="none"), wanted)


def test_boolean_targets(dtype):
    x = cases.rng_for("bool").standard_normal((6, 2)).astype(dtype)
    t = np.array([True, False, True, True, False, False])
    assert ce.cross_entropy(x, t) == ce.cross_entropy(x, t.astype(int))
    flat = x[:, 0].copy()
    assert ce.binary_cross_entropy_with_logits(flat, t) == ce.binary_cross_entropy_with_logits(flat, t.astype(dtype))


@pytest.mark.parametrize(("case", "variant"), **cases.select(variants=False))
@pytest.mark.parametrize(
    ("given", "computed"),
    [("float16", "float32"), ("int8", "float64"), ("uint16", "float64"), ("int64", "float64"), ("bool", "float64")],
)
def test_other_input_dtypes_are_widened(case, variant, given, computed):
    """float16 to float32, integers and booleans to float64; the result has the dtype it was computed in."""
    call = cases.make_call(case, variant, (6, 5), computed)
    x = (np.abs(call.arguments[0]) > 0.5) if case.domain == "probability" else np.round(call.arguments[0])
    x = np.abs(x).astype(given)
    narrow = call.with_arguments(x, *call.arguments[1:])
    wide = call.with_arguments(x.astype(computed), *call.arguments[1:])
    assert narrow.unreduced().dtype == computed
    assert_same(outcomes(wide), outcomes(narrow))


@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_result_dtype_and_shape(case, variant, dtype):
    """The input's dtype, native byte order; the shape that the exact result has."""
    call = cases.make_call(case, variant, (4, 3, 2), dtype, axis=1)
    got = laid_out(call, other_byte_order).unreduced()
    assert type(got) is np.ndarray
    assert got.dtype == dtype
    assert got.dtype.isnative
    assert got.shape == call.exact.hi.shape


@pytest.mark.parametrize(("case", "variant"), **cases.select(variants=False))
def test_lists_and_objects_that_convert(case, variant):
    """Lists, nested lists, array-likes, buffers and DLPack exporters."""

    class ArrayLike:
        def __init__(self, a):
            self.a = a

        def __array__(self, dtype=None, copy=None):
            return self.a if dtype is None else self.a.astype(dtype)

    class DLPack:
        def __init__(self, a):
            self.a = a

        def __dlpack__(self, **options):
            return self.a.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.a.__dlpack_device__()

    call = cases.make_call(case, variant, (4, 3), np.float64)
    wanted = call.unreduced()
    for convert in (np.ndarray.tolist, memoryview, ArrayLike, DLPack):
        converted = call.with_arguments(*(convert(a) for a in call.arguments))
        assert cases.same_bits(converted.unreduced(), wanted), convert


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_loss"), variants=False))
def test_more_dimensions(case, variant, dtype):
    """Five dimensions, every axis, counted from either end."""
    shape = (2, 3, 4, 2, 3)
    for axis in range(5):
        call = cases.make_call(case, variant, shape, dtype, axis=axis)
        negative = cases.Call(case, variant, call.arguments, {**call.options, "axis": axis - 5})
        assert_same(outcomes(call), outcomes(negative))
        flat = tuple(
            np.moveaxis(a, axis, -1).reshape(-1, shape[axis]) if a.ndim == 5 else a.ravel() for a in call.arguments
        )
        rows = cases.Call(case, variant, flat, {**call.options, "axis": 1}).unreduced()
        got = call.unreduced()
        back = np.moveaxis(got, axis, -1).reshape(rows.shape) if got.ndim == 5 else got.reshape(rows.shape)
        assert cases.same_bits(back, rows)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_contiguous_arrays_take_the_fast_lane_along_any_axis(axis):
    """None would be the slow lane's turn: the same numbers, but microseconds later."""
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    target = np.zeros(np.delete(x.shape, axis), int)
    call = (x, target, None, -100, "mean", 0.0, axis, None, None)
    loss = _kernels.fast_row_loss(_kernels.kernel_id("cross_entropy", "row_loss"), -1, *call)
    assert loss == ce.cross_entropy(np.moveaxis(x, axis, -1), target, axis=-1)
    for name, wide in [("softmax", True), ("logsumexp", False)]:
        result = _kernels.fast_row_map(_kernels.kernel_id(name, "row_map"), x, axis, False, wide, None, None)
        assert cases.same_bits(result, getattr(ce, name)(np.asfortranarray(x), axis))


def test_a_large_output_in_any_layout(dtype):
    """Beyond the size from which outputs are stored past the cache, in rows that do not end with a line."""
    x = cases.rng_for("large").standard_normal((600, 5003)).astype(dtype)
    t = np.arange(600)
    for function in (ce.softmax, ce.log_softmax):
        out = np.empty_like(x)[:, ::-1]
        assert cases.same_bits(function(x, out=out), function(x))
    _, grad = ce.value_and_grad(ce.cross_entropy)(x, t)
    out = np.empty_like(x)[:, ::-1]
    assert cases.same_bits(ce.value_and_grad(ce.cross_entropy)(x, t, out=out)[1], grad)


@pytest.fixture
def streaming_threads():
    before = _kernels.set_streaming_threads(1)
    yield _kernels.set_streaming_threads
    _kernels.set_streaming_threads(before)


@pytest.mark.parametrize("n_classes", [2, 10, 33, 100, 150, 1000])
def test_large_outputs(n_classes, dtype, isa, streaming_threads):
    """Past the caches, tiles as one long row each where rows have no gaps; or asked for ahead."""
    x = cases.rng_for("short").standard_normal((9 * 2**20 // n_classes // dtype.itemsize + 5, n_classes)).astype(dtype)
    t = np.arange(len(x)) % n_classes
    value_and_grad = ce.value_and_grad(ce.cross_entropy)
    for function in (
        lambda x, t, out: ce.softmax(x, out=out),
        lambda x, t, out: ce.log_softmax(x, out=out),
        lambda x, t, out: value_and_grad(x, t, reduction="sum", out=out)[1],
    ):
        pieces = zip(np.array_split(x, 4), np.array_split(t, 4), strict=True)
        expected = np.concatenate([function(rows, targets, None) for rows, targets in pieces])
        wide = np.full((len(x), n_classes + 3), 7, dtype)
        for least in (1, 1000):
            streaming_threads(least)
            for out in (None, wide[:, 1:-2], np.empty_like(x)[::-1]):
                assert cases.same_bits(function(x, t, out), expected)
        assert (wide[:, [0, -2, -1]] == 7).all()
        over = np.copy(x)
        assert cases.same_bits(function(over, t, over), expected)


def test_zeros_keep_their_sign(dtype):
    """A row that is one lane takes its exponentials times another power of two: 0 is nearly 0 there."""
    rng = np.random.default_rng(0)
    far = 160 if dtype == np.float32 else 960
    x = (np.linspace(0, -far, 127) + rng.uniform(0, 11, (40, 1))).astype(dtype)
    target, scale = np.zeros(40, np.int64), -rng.uniform(0.1, 3, 40)
    value_and_grad = ce.value_and_grad(ce.cross_entropy)
    _, rows = value_and_grad(x, target, reduction="none", grad_output=scale)
    _, lanes = value_and_grad(np.asfortranarray(x), target, reduction="none", grad_output=scale)
    assert (rows == 0).any()
    np.testing.assert_array_equal(np.signbit(rows), np.signbit(lanes))
