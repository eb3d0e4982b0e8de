"""Fuzz the public functions: from some bytes a call, compared with the oracle, or a bad one, which must say so.

    python tests/fuzz/calls.py SECONDS [SEED]    pseudo-random bytes
    python tests/fuzz/calls.py --atheris ...     bytes that reach more of the Python code, with libFuzzer's options

Shapes, axes, strides, byte orders, dtypes, values, options, instruction sets, threads, and ``out=`` of its own,
strided, over an argument or over a part of one. The second form needs the package atheris.
"""

import sys
import time
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cases
import oracles
from test_properties import lay_out

import crossent as ce
from crossent import _kernels

# A little above what is promised: tests/test_accuracy.py measures, this looks for wrong numbers.
LIMIT = 4.0

SIDES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 17.0, -17.0, 88.8, -104.0, 1e4, -1e4, 1e-30, 5e-324, np.inf, -np.inf, np.nan)

ERRORS = (TypeError, ValueError, IndexError)


class Choices:
    """Numbers from bytes; when those are used up, pseudo-random ones that they seed."""

    def __init__(self, data):
        self.data = iter(data)
        self.rng = np.random.default_rng(list(data) or [0])

    def below(self, n):
        byte = next(self.data, None)
        return int(self.rng.integers(n)) if byte is None else byte % n

    def of(self, options):
        return options[self.below(len(options))]

    def one_in(self, n):
        return self.below(n) == 0


def draw_shape(choices):
    shape = [choices.of(SIDES) for _ in range(1 + choices.below(4))]
    while np.prod(shape) > 300:
        shape[int(np.argmax(shape))] //= 2
    return tuple(shape)


def spiced(choices, call):
    """The call with some odd numbers in its input, where any real number may be."""
    x = call.arguments[0].copy()
    if call.case.domain == "real" and call.case.kind != "row_map_backward" and choices.one_in(2):
        for _ in range(min(choices.below(6), x.size)):
            with np.errstate(over="ignore"):
                x.reshape(-1)[choices.rng.integers(x.size)] = choices.of(SPECIAL)
    return call.with_arguments(x, *call.arguments[1:])


def draw_call(choices):
    case = choices.of(cases.CASES)
    variant = choices.of(case.variants)
    shape = draw_shape(choices)
    axis = choices.below(len(shape)) - (len(shape) if choices.one_in(2) else 0)
    if case.is_row_wise and shape[axis] == 0:
        shape = tuple(max(side, 1) for side in shape)
    call = cases.make_call(case, variant, shape, np.dtype(choices.of(("float32", "float64"))), axis, choices.below(200))
    return spiced(choices, call)


def draw_layout(choices, ndim):
    steps = tuple(choices.of((1, 1, 1, 2, 3, -1, -2)) for _ in range(ndim))
    room = tuple(choices.below(3) for _ in range(ndim))
    return steps, room, tuple(map(int, choices.rng.permutation(ndim))), *(choices.one_in(4) for _ in range(3))


def moved(choices, value):
    """An array in another layout; a few of them as lists; anything else as it is."""
    if not isinstance(value, np.ndarray) or not value.ndim or choices.one_in(3):
        return value
    if choices.one_in(8) and value.size and value.dtype == np.float64:
        return value.tolist()
    return lay_out(value, draw_layout(choices, value.ndim))


def moved_call(choices, call):
    arguments = tuple(moved(choices, a) for a in call.arguments)
    options = {name: moved(choices, value) for name, value in call.options.items()}
    return cases.Call(call.case, call.variant, arguments, options)


def draw_out(choices, call, shape, dtype):
    """(the call, perhaps with an argument moved, a buffer or None)."""
    kind = choices.below(5)
    if kind == 0 or not shape:
        return call, None
    if kind == 1:
        return call, np.full(shape, 7, dtype)
    if kind == 2:
        steps, room, order, _, _, shift = draw_layout(choices, len(shape))
        return call, lay_out(np.full(shape, 7, dtype), (steps, room, order, False, False, shift))
    i = choices.below(len(call.arguments))
    memory = np.zeros(call.arguments[i].nbytes + int(np.prod(shape)) * dtype.itemsize + 64, np.uint8)
    argument = memory[: call.arguments[i].nbytes].view(call.arguments[i].dtype).reshape(call.arguments[i].shape)
    argument[...] = call.arguments[i]
    start = 0 if kind == 3 else 8 * choices.below(call.arguments[i].nbytes // 8 + 1)
    out = memory[start : start + int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
    return call.with_arguments(*call.arguments[:i], argument, *call.arguments[i + 1 :]), out


def is_bearable(call):
    """Products and differences on the way may overflow, or round to subnormal numbers, where the result would not."""
    x = np.abs(np.asarray(call.arguments[0], float))
    finite = x[np.isfinite(x)]
    return not call.variant.overflows or not finite.size or finite.max() < 1e30


def check_good(choices):
    """A call that the library must answer, and how it answers."""
    call = draw_call(choices)
    dtype = call.arguments[0].dtype
    more = {"num_threads": choices.of((None, 1, 2))}
    if not is_bearable(call):
        return
    if call.case.is_loss and choices.one_in(2):
        moved_too, out = draw_out(choices, call, call.arguments[0].shape, dtype)
        moved_too = moved_call(choices, moved_too) if out is None else moved_too
        losses, grad = moved_too.value_and_grad(reduction="none", out=out, **more)
        assert out is None or grad is out
        oracles.assert_ulp(grad, call.exact_grad, dtype, LIMIT, call.parts.grad_scale, describe(call))
        oracles.assert_ulp(losses, call.exact, dtype, LIMIT, call.scale, describe(call))
        check_reduction(choices, call)
        return
    moved_too, out = draw_out(choices, call, call.exact.hi.shape, dtype)
    moved_too = moved_call(choices, moved_too) if out is None else moved_too
    got = moved_too.unreduced(out=out, **more)
    assert out is None or got is out
    oracles.assert_ulp(got, call.exact, dtype, LIMIT, call.scale, describe(call))


def check_reduction(choices, call):
    reduction = choices.of(call.case.reductions)
    if reduction == "none":
        return
    with np.errstate(all="ignore"):
        wanted = float(call.outcome(reduction)[0])
        size = float(np.abs(call.exact.hi).sum()) / (abs(float(call.parts.divisor)) or 1 if reduction == "mean" else 1)
    got = call(reduction=reduction)
    eps = float(np.finfo(call.arguments[0].dtype).eps)
    close = abs(got - wanted) <= LIMIT * eps * max(abs(wanted), size) + 1e-44 if np.isfinite(wanted) else got == wanted
    assert close or (np.isnan(got) and np.isnan(wanted)), f"{describe(call)}, {reduction}: {got}, not {wanted}"


JUNK = (
    *({"axis": axis} for axis in (9, -7, 1.5, "last")),
    *({"reduction": reduction} for reduction in ("median", None)),
    *({"num_threads": n} for n in (0, -3, 1.0)),
    *({"label_smoothing": s} for s in (1.5, "0.1")),
    *({"ignore_index": index} for index in (2**70, 0.5)),
    *({"weight": w} for w in (np.ones(3, complex), np.ones((2, 3, 4, 5, 6)), "heavy", object())),
    *({"out": out} for out in ([1.0], np.zeros((3, 3), np.int8))),
    *({"eps": eps} for eps in (0.5, None)),
    *({"log_floor": floor} for floor in (1.0, np.nan)),
    {"pos_weight": [[], []]},
    {"no_such_option": 1},
)

JUNK_ARGUMENTS = (
    *(None, "text", 3 + 4j, object(), {"a": 1}, [], [[1.0], [2.0, 3.0]], np.float64(2.0)),
    *(np.zeros(0), np.zeros((2, 0, 3)), np.array(1.5), np.zeros((1,) * 32), np.full((2, 2), -5)),
    *(np.arange(7, dtype=np.uint64), np.full(5, 2**63, np.uint64)),
    *(np.zeros((3, 4), complex), np.zeros(4, "M8[s]"), np.ma.zeros(3)),
    *(np.array(["a"]), np.zeros(3, np.longdouble)),
)


def check_bad(choices):
    """A call with something odd in it: an answer, or an error of the promised kinds and nothing written."""
    call = draw_call(choices)
    arguments = list(call.arguments)
    options = dict(call.options)
    if choices.one_in(2):
        arguments[choices.below(len(arguments))] = choices.of(JUNK_ARGUMENTS)
    if choices.one_in(2):
        options |= choices.of(JUNK)
    out = np.full(draw_shape(choices), 7, choices.of(("float32", "float64")))
    function = call.case.function
    if choices.one_in(2):
        options.setdefault("out", out)
    if call.case.is_loss and choices.one_in(3):
        function = ce.value_and_grad(function)
    before = [a.tobytes() if isinstance(a, np.ndarray) else None for a in arguments]
    failure = None
    try:
        with np.errstate(all="ignore"):
            function(*arguments, **options)
    except ERRORS as error:
        failure = error
    assert failure is None or str(failure)
    assert failure is None or (out == 7).all(), f"written before {failure!r}"
    for now, then in zip(arguments, before, strict=True):
        assert then is None or now.tobytes() == then, "an argument was written"


def describe(call):
    shapes = [getattr(a, "shape", a) for a in call.arguments]
    return f"{call.case.name} {call.variant.label} {shapes} {call.arguments[0].dtype}"


def try_one(data):
    """One call from some bytes; an AssertionError, or any other exception, if the library does not do as promised."""
    choices = Choices(data)
    before = _kernels.use_isa(choices.of(_kernels.isas()))
    try:
        (check_bad if choices.one_in(3) else check_good)(choices)
    finally:
        _kernels.use_isa(before)


def run(seed, seconds=float("inf"), count=sys.maxsize):
    """Many calls from a seed; how many."""
    rng, stop, n = np.random.default_rng(seed), time.monotonic() + seconds, 0
    while time.monotonic() < stop and n < count:
        data = rng.bytes(24)
        try:
            try_one(data)
        except Exception as error:
            raise AssertionError(f"try_one({data!r}): {error!r}") from error
        n += 1
        if n % 5000 == 0:
            oracles.row_of.cache_clear()
    return n


def main():
    if sys.argv[1:2] == ["--atheris"]:
        import atheris

        for module in ("functional", "_validation", "_reduction", "_threading", "transforms"):
            for value in vars(sys.modules[f"crossent.{module}"]).values():
                if getattr(value, "__module__", "") == f"crossent.{module}" and hasattr(value, "__code__"):
                    atheris.instrument_func(value)
        atheris.Setup([sys.argv[0], *sys.argv[2:]], try_one)
        atheris.Fuzz()
    else:
        n = run(int(sys.argv[2]) if len(sys.argv) > 2 else 0, seconds=float(sys.argv[1]))
        print(f"{n} calls")


if __name__ == "__main__":
    main()
