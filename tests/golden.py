"""Hashes of what the library computes on fixed inputs, the same on AVX2, AVX-512 and NEON.

    python tests/golden.py --write      after a change of the arithmetic: writes tests/golden.json anew
    python tests/golden.py              prints the outputs whose hash is not that of tests/golden.json

A change that is not meant to alter a result leaves the file as it is; that is what it is for. The inputs come from
integers and exact operations alone, so that they are the same everywhere and always. test_golden.py compares.
"""

import argparse
import functools
import hashlib
import json
from pathlib import Path

import cases
import numpy as np

from crossent import _kernels

FILE = Path(__file__).with_name("golden.json")
# Rows around the widths of the vectors and of the kernels; then enough rows for eight threads and many blocks.
SMALL = [(n, c) for c in (1, 2, 3, 7, 10, 16, 17, 31, 33, 64, 100, 257, 1000) for n in (1, 35)] + [(3, 5003)]
LARGE = (1201, 457)


class Integers:
    """Random numbers by splitmix64, with as much of np.random.Generator as the cases use; all operations are exact."""

    def __init__(self, seed):
        self.state = np.uint64(seed)

    def bits(self, shape):
        n = int(np.prod(shape, dtype=np.int64))
        z = self.state + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, n + 1, dtype=np.uint64)
        self.state = np.uint64((int(self.state) + 0x9E3779B97F4A7C15 * n) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).reshape(shape)

    def random(self, shape):
        return (self.bits(shape) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, low, high, shape):
        return low + (self.bits(shape) % np.uint64(high - low)).astype(np.int64)


def draw(rng, case, shape):
    """Inputs of the case's domain: ordinary rows, rows with a confident class, wide ones, impossible classes, ties."""
    u = rng.random(shape)
    if case.domain == "probability":
        return np.where(rng.random(shape) < 0.25, u * 2.0**-20, u)
    x = 16 * u - 8
    kind = rng.integers(0, 5, (*shape[:-1], 1))
    x = np.where((kind == 1) & (rng.random(shape) < 2.0**-5), x + 24, x)
    x = np.where(kind == 2, x * 10, x)
    x = np.where((kind == 3) & (rng.random(shape) < 0.25) & (np.arange(shape[-1]) > 0), -np.inf, x)
    x = np.where(kind == 4, np.floor(x), x)
    if case.kind in ("row_map_backward", "element_loss"):
        x = np.where(np.isinf(x), 0.0, x)
    return -np.abs(x) if case.domain == "log probability" else x


def exact_target(case, variant, rng, shape):
    """In place of targets that the cases make with exponentials or sums; None: the case's own are exact."""
    if case.name == "log_softmax_backward" or variant.label == "log_target":
        return -16 * rng.random(shape)
    if case.name in ("softmax_backward", "kl_div") or variant.label in ("soft", "soft_everything"):
        return rng.random(shape) * (rng.integers(0, 4, shape) > 0) * 2.0**-3
    return None


@functools.cache
def call(case_name, label, shape, dtype_name):
    """The call of a variant on such an input; rows along the last axis. Its arrays are not to be written."""
    case = cases.BY_NAME[case_name]
    variant = next(v for v in case.variants if v.label == label)
    rng = Integers(shape[0] * 10_007 + shape[1])
    x = draw(rng, case, shape).astype(dtype_name)
    index = rng.integers(0, shape[1], shape[:1]) if case.is_row_wise else None
    arguments, options = ((), {"axis": -1}) if case.kind == "row_map_backward" else variant.make(rng, x, index, -1)
    target = exact_target(case, variant, rng, shape)
    if target is not None:
        arguments = (target.astype(dtype_name), *arguments[1:])
    return cases.Call(case, variant, (x, *arguments), options)


def results(a_call, **more):
    """{what: array or number} of everything that a call can return."""
    if not a_call.case.is_loss:
        return {"value": a_call(**more)}
    found = {"loss": a_call(reduction="none", **more), "sum": a_call(reduction="sum", **more)}
    found["loss with grad"], found["grad"] = a_call.value_and_grad(reduction="none", **more)
    found["mean with grad"], found["mean grad"] = a_call.value_and_grad(reduction="mean", **more)
    if a_call.case.hessian:
        *_, found["grad with hess"], found["hess"] = a_call.value_grad_and_hess(reduction="none", **more)
    return found


def add_to(hashes, found):
    """Results into {what: sha256}; which NaN it is does not count."""
    for what, numbers in found.items():
        numbers = np.array(numbers, order="C")
        numbers[np.isnan(numbers)] = np.nan
        hashes.setdefault(what, hashlib.sha256()).update(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())


def digests(hashes):
    return {what: digest.hexdigest()[:32] for what, digest in hashes.items()}


def small(case_name, label, dtype_name, run=results):
    """Digests over all small shapes; run(call) returns the results in another way."""
    hashes = {}
    for shape in SMALL:
        add_to(hashes, run(call(case_name, label, shape, dtype_name)))
    return digests(hashes)


def large(case_name, label, dtype_name, run=results):
    hashes = {}
    add_to(hashes, run(call(case_name, label, LARGE, dtype_name)))
    return digests(hashes)


def everything():
    """{"case-variant dtype": {"small": digests, "large": digests}} with the active kernel set."""
    return {
        f"{case.name}-{variant.label} {dtype}": {
            "small": small(case.name, variant.label, dtype),
            "large": large(case.name, variant.label, dtype),
        }
        for case, variant in cases.select()["argvalues"]
        for dtype in ("float32", "float64")
    }


def inputs():
    """Digests of arguments and options, so that a difference of the inputs is told from one of the results."""
    hashes = {}
    for case, variant in cases.select()["argvalues"]:
        one = call(case.name, variant.label, (35, 33), "float64")
        arrays = [*one.arguments, *(v for v in one.options.values() if isinstance(v, np.ndarray))]
        add_to(hashes, {f"{case.name}-{variant.label}": np.concatenate([np.ravel(a) for a in arrays])})
    return digests(hashes)


def stored():
    return json.loads(FILE.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file anew")
    write = parser.parse_args().write
    import test_c

    isa = test_c.FUSED[0]
    _kernels.use_isa(isa)
    kernels = test_c.hashes(test_c.run(*test_c.kernel_hash(), isa))
    new = {"inputs": inputs(), "crossent": everything(), "kernels": kernels}
    if write:
        FILE.write_text(json.dumps(new, indent=1) + "\n")
    old = stored()
    changed = [f"{part}: {name}" for part in new for name in new[part] if old[part].get(name) != new[part][name]]
    print("\n".join(changed) if changed else f"{FILE.name} holds what the {isa} kernels compute")


if __name__ == "__main__":
    main()
