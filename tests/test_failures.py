"""What fails, fails cleanly: no memory, bad arguments, buffers that overlap; and nothing is kept that was borrowed."""

import gc
import os
import sys

import cases
import numpy as np
import pytest
from test_process import succeeds

import crossent as ce

# ---- no memory -------------------------------------------------------------------------------------------------------

# Several times what the call needs is there; then the address space ends a little above what is in use.
LIMITED = """
import gc, resource
import numpy as np
import crossent as ce

MIB = 2**20
def pages(index):
    with open("/proc/self/statm") as file:
        return int(file.read().split()[index]) * resource.getpagesize()

class Limit:
    # Room for so many bytes more.
    def __init__(self, room):
        self.room = room
    def __enter__(self):
        gc.collect()
        resource.setrlimit(resource.RLIMIT_AS, (pages(0) + self.room, resource.RLIM_INFINITY))
    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def value(result):
    return np.asarray(result[0] if isinstance(result, tuple) else result).tobytes()

def check(call, room=3 * MIB):
    with np.errstate(all="ignore"):
        wanted = value(call())
    before = pages(1)
    for _ in range(3):
        with Limit(room):
            try:
                call()
            except MemoryError as error:
                assert str(error)
            else:
                raise AssertionError("there was memory enough")
    gc.collect()
    assert pages(1) - before < 2 * MIB, "kept " + str((pages(1) - before) / MIB) + " MiB"
    with np.errstate(all="ignore"):
        assert value(call()) == wanted

rng = np.random.default_rng(0)
n, c = 512, 4096
x = rng.random((n, c), np.float32)
t = rng.integers(0, c, n)
q = rng.random((n, c), np.float32)
wide = rng.random((1, 2_000_000), np.float32)
out = np.empty_like(x)
wide_out = np.empty_like(wide)
grad = ce.value_and_grad
"""

# The name of what allocates, and a call in which it is the only large thing to do so.
ALLOCATIONS = {
    "output of a map": "ce.softmax(x)",
    "output of an element map": "ce.sigmoid(x)",
    "losses": "ce.mse_loss(x, q, reduction='none')",
    "gradient": "grad(ce.cross_entropy)(x, t)",
    "gradient of elements": "grad(ce.binary_cross_entropy_with_logits)(x, q)",
    "hessian": "ce.value_grad_and_hess(ce.cross_entropy)(x, t, out=out)",
    "scratch memory of a map": "ce.softmax(wide, out=wide_out)",
    "scratch memory of a loss": "grad(ce.cross_entropy)(wide, [7], out=wide_out)",
    "scratch memory of a backward map": "ce.log_softmax_backward(wide, wide, out=wide_out)",
    "input of another byte order": "ce.cross_entropy(swapped, t)",
    "input that is not aligned": "ce.cross_entropy(unaligned, t)",
    "float16 input": "ce.cross_entropy(half, t)",
    "integer input": "ce.mse_loss(integers, integers)",
    "strided input of elements": "ce.sigmoid(x.T, out=out.T)",
    "target of another dtype": "ce.cross_entropy(x, q.astype(np.float16))",
    "strided target": "ce.binary_cross_entropy(x, q.T.copy().T)",
    "list": "ce.sigmoid(a_list)",
    "weight that is spread out": "ce.mse_loss(x, q, weight=q[:, :1])",
    "buffer for an output that overlaps": "ce.softmax(base(), out=pool[c:].reshape(n, c))",
    "buffer for an output that is strided": "ce.sigmoid(x, out=gaps[:, ::2])",
    "buffer for a gradient that overlaps": "grad(ce.mse_loss)(x, base(), out=pool[c:].reshape(n, c))",
}

SPECIAL_ARRAYS = """
swapped = x.astype(">f4")
unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
half = x.astype(np.float16)
integers = t.repeat(c).reshape(n, c).astype(np.int16)
a_list = [0.5] * (n * c)
numbers = rng.random(n * c + c, np.float32)
pool = numbers.copy()
def base():
    pool[:] = numbers
    return pool[:-c].reshape(n, c)
gaps = np.zeros((n, 2 * c), np.float32)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS and /proc/self/statm are Linux's")
@pytest.mark.parametrize("call", ALLOCATIONS.values(), ids=ALLOCATIONS)
def test_no_memory(call):
    """A MemoryError; nothing leaks; and the call goes through once there is memory."""
    succeeds(
        LIMITED + SPECIAL_ARRAYS + f"check(lambda: {call})\n",
        CROSSENT_NUM_THREADS="1",
        MALLOC_MMAP_THRESHOLD_="1048576",
    )


# Python can be told that the k-th allocation from now on fails. (NumPy's data is allocated in another way; see above.)
EVERY_ALLOCATION = """
import _testcapi, gc, sys
import numpy as np
import crossent as ce
rng = np.random.default_rng(0)
x = rng.random((40, 30))
long_rows = rng.random((2, 5000))
t = np.arange(40) % 30
two = np.array([1, 2])
w = rng.random(30)

fast_calls = [
    lambda: ce.softmax(x),
    lambda: ce.log_softmax(long_rows),
    lambda: ce.logsumexp(x),
    lambda: ce.cross_entropy(x, t),
    lambda: ce.value_and_grad(ce.cross_entropy)(long_rows, two, reduction="none"),
    lambda: ce.value_grad_and_hess(ce.cross_entropy)(x, t),
    lambda: ce.value_and_grad(ce.binary_cross_entropy)(x, x, reduction="none"),
    lambda: ce.sigmoid(x),
]
slow_calls = [
    lambda: ce.logsumexp(x.T, axis=0),
    lambda: ce.cross_entropy(x, t, weight=w, label_smoothing=0.1),
    lambda: ce.value_and_grad(ce.cross_entropy)(long_rows, [1, 2]),
    lambda: ce.mse_loss(x, x[::-1], reduction="none"),
    lambda: ce.softmax_backward(x, x),
]

def attempt(call, k):
    # Whether the k-th allocation of the call failed.
    _testcapi.set_nomemory(k, k + 1)
    try:
        call()
        return False
    except MemoryError:
        return True
    finally:
        _testcapi.remove_mem_hooks()

def fail_everywhere(call):
    # An allocation whose failure Python survives by itself does not end the search.
    k = quiet = failures = 0
    while quiet < 30:
        failed = attempt(call, k)
        failures += failed
        quiet = 0 if failed else quiet + 1
        k += 1
    gc.collect()
    return failures

def held():
    return [sys.getrefcount(a) for a in (x, long_rows, t, two)], sys.getallocatedblocks()

for number, call in enumerate(fast_calls + slow_calls):
    wanted = repr(call())
    assert fail_everywhere(call)
    references, blocks = held()  # now that caches are filled
    fail_everywhere(call)
    # CPython 3.11 itself keeps the arguments of a Python function whose frame it could not allocate.
    if call in fast_calls:
        references_now, blocks_now = held()
        assert references_now == references, number
        assert blocks_now - blocks < 20, (number, blocks_now - blocks)
    assert repr(call()) == wanted
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="_testcapi is CPython's")
def test_every_allocation_of_python_objects_may_fail():
    """Objects, argument tuples, workspaces: each of them in turn."""
    pytest.importorskip("_testcapi")
    succeeds(EVERY_ALLOCATION)


# ---- nothing is kept -------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
X = RNG.standard_normal((6, 5)).astype(np.float32)
OUT = np.empty_like(X)
T = np.arange(6) % 5
Q = np.abs(X) / 10
W = RNG.random(5)


def good_calls():
    """Every driver, the fast lane and the slow one, results made and results given."""
    ce.softmax(X)
    ce.log_softmax(X.T, 0, out=OUT.T)
    ce.logsumexp(X, keepdims=True)
    ce.sigmoid(X, out=OUT)
    ce.softmax_backward(X, X)
    ce.cross_entropy(X, T)
    ce.cross_entropy(X, Q, weight=W, label_smoothing=0.1, reduction="none")
    ce.nll_loss(X, T, reduction="sum")
    ce.binary_cross_entropy(Q, Q)
    ce.binary_cross_entropy_with_logits(X, Q, pos_weight=W)
    ce.kl_div(X, Q, reduction="batchmean")
    ce.mse_loss([1.0, 2.0], [0.5, 1.5])
    ce.value_and_grad(ce.cross_entropy)(X, T, out=OUT)
    ce.value_grad_and_hess(ce.mse_loss)(X, Q, hess_out=OUT, grad_output=2.0)


BAD_CALLS = (
    lambda: ce.softmax(X, 5),
    lambda: ce.softmax(X, out=OUT.T),
    lambda: ce.logsumexp(X.astype(complex)),
    lambda: ce.sigmoid("text"),
    lambda: ce.cross_entropy(X, T + 1),
    lambda: ce.cross_entropy(X, T, reduction="average"),
    lambda: ce.cross_entropy(X, T, weight=W[:2]),
    lambda: ce.cross_entropy(X, Q, ignore_index=1),
    lambda: ce.binary_cross_entropy(X, Q),
    lambda: ce.binary_cross_entropy(X, Q, out=OUT),
    lambda: ce.value_and_grad(ce.cross_entropy)(X, T, out=T),
    lambda: ce.value_and_grad(ce.kl_div)(X, Q, grad_output=[1.0, 2.0]),
    lambda: ce.value_grad_and_hess(ce.mse_loss)(X, Q, out=OUT, hess_out=OUT),
    lambda: ce.mse_loss(X, Q, num_threads=0),
)


def bad_calls():
    for call in BAD_CALLS:
        try:
            call()
        except (TypeError, ValueError, IndexError):
            continue
        raise AssertionError("a bad call went through")


def resident():
    """Bytes of memory in use; 0 where the system does not say."""
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def held():
    gc.collect()
    objects = (X, OUT, T, Q, W, ce.cross_entropy, X.dtype, np.dtype(np.float64), np.ndarray)
    return [sys.getrefcount(a) for a in objects], sys.getallocatedblocks()


def check_nothing_is_kept(n_calls):
    per_round = 14 + len(BAD_CALLS)
    for _ in range(50):
        good_calls()
        bad_calls()
    references, blocks = held()
    memory = resident()
    for _ in range(n_calls // per_round + 1):
        good_calls()
        bad_calls()
    references_now, blocks_now = held()
    assert references_now == references
    assert blocks_now - blocks < n_calls / 100  # CPython's own caches move a little
    assert resident() - memory < 2**20


def test_nothing_is_kept():
    check_nothing_is_kept(50_000)


@pytest.mark.slow
def test_nothing_is_kept_over_many_calls():
    check_nothing_is_kept(300_000)


def test_no_references_to_large_arrays_are_kept():
    """The arrays of a call, results and copies included, are free when the caller lets go."""
    before = resident()
    for _ in range(12):
        x = np.ones((1000, 1000), np.float32)
        for call in (ce.softmax, ce.sigmoid, lambda a: ce.cross_entropy(a.astype(">f4"), np.zeros(1000, int))):
            call(x)
        with pytest.raises(ValueError, match="from 0 to 1"):
            ce.value_and_grad(ce.binary_cross_entropy)(x + 1, x)
    del x
    assert resident() - before < 20 * 2**20


# ---- buffers that overlap --------------------------------------------------------------------------------------------

SHIFTS = (-24, -8, 0, 8, 64)


def over(array, shape, dtype, shift):
    """(the array in other memory, a buffer of that shape and dtype that begins `shift` bytes after the array)."""
    room = abs(shift) + 8
    memory = np.zeros(room + max(array.nbytes, int(np.prod(shape)) * np.dtype(dtype).itemsize) + room + 64, np.uint8)
    start = room + -(memory.ctypes.data + room) % 8
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    first = start + shift
    return copy, memory[first : first + int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)


def overlapping_calls(call, shape, dtype):
    """(call, buffer): one array of the call has moved, into memory that the buffer has a part of."""
    for shift in SHIFTS:
        for i, argument in enumerate(call.arguments):
            moved, buffer = over(argument, shape, dtype, shift)
            yield call.with_arguments(*call.arguments[:i], moved, *call.arguments[i + 1 :]), buffer
        for name, option in call.options.items():
            if isinstance(option, np.ndarray):
                moved, buffer = over(option, shape, dtype, shift)
                yield cases.Call(call.case, call.variant, call.arguments, {**call.options, name: moved}), buffer


@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_out_over_any_argument(case, variant, dtype):
    """The result is that of separate buffers."""
    for shape in ((6, 10), (5, 300)):
        call = cases.make_call(case, variant, shape, dtype, axis=1)
        wanted = call.unreduced()
        for moved, out in overlapping_calls(call, wanted.shape, wanted.dtype):
            assert moved.unreduced(out=out) is out
            assert cases.same_bits(out, wanted)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_gradient_over_any_argument(case, variant, dtype):
    for shape in ((6, 10), (5, 300)):
        call = cases.make_call(case, variant, shape, dtype, axis=1)
        losses, wanted = call.value_and_grad(reduction="none")
        for moved, out in overlapping_calls(call, shape, dtype):
            losses_too, grad = moved.value_and_grad(reduction="none", out=out)
            assert grad is out
            assert cases.same_bits(grad, wanted)
            assert cases.same_bits(losses_too, losses)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES))
def test_gradient_over_grad_output(case, variant, dtype):
    call = cases.make_call(case, variant, (6, 10), dtype, axis=1)
    losses, _ = call.value_and_grad(reduction="none")
    factors = RNG.random(losses.shape).astype(dtype)
    _, wanted = call.value_and_grad(reduction="none", grad_output=factors)
    for shift in SHIFTS:
        moved, out = over(factors, (6, 10), dtype, shift)
        _, grad = call.value_and_grad(reduction="none", grad_output=moved, out=out)
        assert cases.same_bits(grad, wanted)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True))
def test_hessian_over_any_argument(case, variant, dtype):
    for shape in ((6, 10), (5, 300)):
        call = cases.make_call(case, variant, shape, dtype, axis=1)
        _, grad, wanted = call.value_grad_and_hess()
        for moved, hess_out in overlapping_calls(call, shape, dtype):
            _, grad_too, hess = moved.value_grad_and_hess(hess_out=hess_out)
            assert hess is hess_out
            assert cases.same_bits(hess, wanted)
            assert cases.same_bits(grad_too, grad)


@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True, variants=False))
def test_gradient_over_the_input_with_a_hessian(case, variant, dtype):
    """The Hessian is computed from an input that the gradient replaces."""
    for shape in ((6, 10), (5, 300)):
        call = cases.make_call(case, variant, shape, dtype, axis=1)
        _, grad, hess = call.value_grad_and_hess()
        x, hess_out = call.arguments[0].copy(), np.empty(shape, dtype)
        call.with_arguments(x, *call.arguments[1:]).value_grad_and_hess(out=x, hess_out=hess_out)
        assert cases.same_bits(x, grad)
        assert cases.same_bits(hess_out, hess)


@pytest.mark.parametrize("shift", [0, 8, -8, 200])
@pytest.mark.parametrize(("case", "variant"), **cases.select(kinds=cases.LOSSES, hessian=True, variants=False))
def test_hessian_over_the_gradient_is_refused(case, variant, shift, dtype):
    """Two results cannot share memory; nothing is written."""
    call = cases.make_call(case, variant, (6, 10), dtype, axis=1)
    out, hess_out = over(np.full((6, 10), 7, dtype), (6, 10), dtype, shift)
    before = out.copy(), hess_out.copy()
    with pytest.raises(ValueError, match="hess_out must not share memory with out"):
        call.value_grad_and_hess(out=out, hess_out=hess_out)
    assert cases.same_bits(out, before[0])
    assert cases.same_bits(hess_out, before[1])
