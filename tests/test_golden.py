"""The same bits as ever and everywhere: every output against the hashes of golden.json.

They hold for every kernel set with fused multiply-add, for any number of threads, for every memory layout, and for one
call or many that write slices of whole rows. How to write the file anew: golden.py.
"""

import itertools

import cases
import golden
import numpy as np
import pytest
import test_c

from crossent import _kernels

STORED = golden.stored()
FUSED = [isa for isa in _kernels.isas() if isa != "baseline"]

pytestmark = pytest.mark.skipif(not FUSED, reason="no kernel set with fused multiply-add on this processor")


@pytest.fixture(params=FUSED)
def fused(request):
    before = _kernels.use_isa(request.param)
    yield request.param
    _kernels.use_isa(before)


@pytest.fixture
def best():
    before = _kernels.use_isa(FUSED[0]) if FUSED else None
    yield
    if before:
        _kernels.use_isa(before)


def assert_golden(size, case, variant, dtype, run=golden.results, leave_out=()):
    """The digests of all that `run` returns are those of the file, but for what it may leave out."""
    wanted = STORED["crossent"][f"{case.name}-{variant.label} {dtype.name}"][size]
    found = getattr(golden, size)(case.name, variant.label, dtype.name, run)
    assert set(found) == set(wanted) - set(leave_out)
    different = [what for what in found if found[what] != wanted[what]]
    assert not different, f"other bits: {', '.join(different)} ({size})"


@pytest.mark.parametrize(("case", "variant"), **cases.select())
@pytest.mark.parametrize("size", ["small", "large"])
def test_every_kernel_set(case, variant, size, dtype, fused):
    assert_golden(size, case, variant, dtype)


@pytest.mark.parametrize(("case", "variant"), **cases.select())
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_any_number_of_threads(case, variant, n, dtype, best):
    assert_golden("large", case, variant, dtype, lambda call: golden.results(call, num_threads=n))


# ---- layouts ---------------------------------------------------------------------------------------------------------


def strided(a):
    """Every second row, and every second column, of a larger array."""
    big = np.full([2 * n for n in a.shape], 7, a.dtype)
    view = big[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def moved(call, layout, **options):
    """The call with its arrays of rows elsewhere in memory."""
    arguments = tuple(layout(a) for a in call.arguments)
    arrays = {k: layout(v) if np.ndim(v) == 2 else v for k, v in call.options.items()}
    return cases.Call(call.case, call.variant, arguments, {**arrays, **options})


def classes_first(call):
    """Everything of the transposed call, transposed back."""
    found = golden.results(moved(call, lambda a: np.ascontiguousarray(a.T), axis=0))
    return {what: a.T if np.ndim(a) == 2 else a for what, a in found.items()}


@pytest.mark.parametrize(("case", "variant"), **cases.select())
@pytest.mark.parametrize("layout", [np.asfortranarray, strided], ids=lambda f: f.__name__)
def test_any_layout(case, variant, layout, dtype, best):
    for size in ("small", "large"):
        assert_golden(size, case, variant, dtype, lambda call: golden.results(moved(call, layout)))


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=("row_map", "row_map_backward", "row_loss")))
def test_class_axis_first(case, variant, dtype, best):
    for size in ("small", "large"):
        assert_golden(size, case, variant, dtype, classes_first)


# ---- splits ----------------------------------------------------------------------------------------------------------


def split(call, cuts):
    """The call on slices of whole rows, each into its slice of the results."""
    n = len(call.arguments[0])
    value = np.full_like(call.unreduced(), 7)
    found = {"value": value} if not call.case.is_loss else {"loss": value, "grad": np.full_like(call.arguments[0], 7)}
    edges = [0, *(c for c in cuts if c < n), n]
    for start, stop in itertools.pairwise(edges):
        part = moved(call, lambda a: a[start:stop] if len(a) == n else a)  # noqa: B023 - used at once
        part.unreduced(out=value[start:stop])
        if call.case.is_loss:
            part.value_and_grad(reduction="none", out=found["grad"][start:stop])
    return found


@pytest.mark.parametrize(("case", "variant"), **cases.select())
@pytest.mark.parametrize("cuts", [(1,), (2, 16, 17), (5, 600, 1024)], ids=str)
def test_any_split_into_rows(case, variant, cuts, dtype, best):
    reduced = {"sum", "loss with grad", "mean with grad", "mean grad", "grad with hess", "hess"}
    for size in ("small", "large"):
        leave_out = reduced if case.is_loss else ()
        wanted = STORED["crossent"][f"{case.name}-{variant.label} {dtype.name}"][size]
        assert_golden(size, case, variant, dtype, lambda call: split(call, cuts), set(leave_out) & set(wanted))


# ---- the kernels by themselves, also on another processor ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("isa", FUSED)
def test_kernels(isa):
    """tests/c/kernel_hash.c: strides, streams, outputs over inputs, one kernel at a time."""
    assert test_c.hashes(test_c.run(*test_c.kernel_hash(), isa)) == STORED["kernels"]


@pytest.mark.slow
@test_c.needs_emulator
def test_kernels_of_neon():
    output = test_c.run(test_c.HERE / "run_neon.sh", "kernel_hash", test_c.folder())
    assert test_c.hashes(output) == STORED["kernels"]


# ---- the file itself -------------------------------------------------------------------------------------------------


def test_the_file_has_every_case():
    names = {f"{c.name}-{v.label} {d}" for c, v in cases.select()["argvalues"] for d in ("float32", "float64")}
    assert set(STORED["crossent"]) == names, "python tests/golden.py --write"
    assert {name.split()[0] for name in STORED["kernels"]} == set(_kernels.kernel_names())


def test_the_inputs_are_those_of_the_file():
    """Integers and exact operations alone: the same on every machine and with every version of NumPy."""
    assert golden.inputs() == STORED["inputs"]


@pytest.mark.parametrize(("case", "variant"), **cases.select(variants=False))
def test_the_hash_sees_one_bit(case, variant):
    """Of one number of one result."""
    call = golden.call(case.name, variant.label, (35, 10), "float32")
    for what in golden.results(call):
        found = golden.results(call)
        before, after = {}, {}
        golden.add_to(before, {what: found[what]})
        changed = np.array(found[what])
        changed.flat[-1] = np.nextafter(changed.flat[-1], changed.dtype.type(1e30))
        golden.add_to(after, {what: changed})
        assert golden.digests(before) != golden.digests(after), what
