"""The kernel sets: AVX2, AVX-512 and NEON give the same bits; the baseline, without fused multiply-add, need not.

That the baseline is within the error limits is in test_accuracy.py, as for all of them.
"""

import os
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest

import crossent as ce
from crossent import _kernels

FUSED = [name for name in _kernels.isas() if name != "baseline"]
WIDTHS = [
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    10,
    15,
    16,
    17,
    31,
    32,
    33,
    47,
    48,
    63,
    64,
    65,
    100,
    127,
    129,
    255,
    257,
    1000,
    1031,
    5003,
]


@pytest.fixture(autouse=True)
def restore():
    before = _kernels.active_isa()
    yield
    _kernels.use_isa(before)


def under(isa, function):
    _kernels.use_isa(isa)
    return function()


def everything(call):
    """All results of a call as a list."""
    if not call.case.is_loss:
        return [call()]
    results = [call(reduction=reduction) for reduction in call.case.reductions]
    results += call.value_and_grad(reduction="none")
    results += call.value_and_grad(reduction="mean")
    if call.case.hessian:
        results += call.value_grad_and_hess(reduction="sum")
    return results


def assert_same_bits(call):
    wanted = under(FUSED[0], lambda: everything(call))
    for isa in FUSED[1:]:
        for one, other in zip(wanted, under(isa, lambda: everything(call)), strict=True):
            assert cases.same_bits(one, other), f"{isa} and {FUSED[0]}"


needs_two = pytest.mark.skipif(len(FUSED) < 2, reason="one kernel set with fused multiply-add on this processor")


@needs_two
@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_same_bits_for_every_width(case, variant, dtype):
    """Rows of every length around a vector, and more rows than a tile holds, or fewer."""
    for width in WIDTHS:
        for n_rows in (1, 5, 35) if width < 300 else (2,):
            shape = (n_rows, width) if case.is_row_wise else (n_rows * width,)
            assert_same_bits(cases.make_call(case, variant, shape, dtype, axis=-1))


@needs_two
@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_same_bits_for_every_class_axis(case, variant, dtype):
    for n_classes in (1, 3, 10, 33, 130):
        for axis in (0, 1):
            shape = tuple(np.insert((3, 37), axis, n_classes))
            assert_same_bits(cases.make_call(case, variant, shape, dtype, axis=axis))


@needs_two
@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_same_bits_on_inputs_that_hurt(case, variant, dtype):
    with cases.Every() as one:
        for regime, call in cases.regime_calls(case, variant, dtype):
            with one(regime):
                assert_same_bits(call)


@needs_two
@pytest.mark.parametrize(("case", "variant"), **cases.select())
def test_same_bits_on_a_million_elements(case, variant):
    """Blocks, chunks and the reduction's tree are the same too."""
    rng = cases.rng_for("million")
    shape = (997, 1003)
    x = cases.draw(rng, case, shape).astype(np.float32)
    if case.kind == "row_map_backward":
        return
    arguments, options = variant.make(rng, x, rng.integers(0, 1003, 997), 1)
    assert_same_bits(cases.Call(case, variant, (x, *arguments), options))


def test_switching_is_real(isa):
    """The fixture's word is what show_config says too."""
    assert _kernels.active_isa() == isa
    assert ce.show_config("dicts")["active_isa"] == isa


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("name", _kernels.isas())
def test_environment_forces_a_kernel_set(name):
    done = run_python("import crossent._kernels as k; print(k.active_isa())", CROSSENT_ISA=name)
    assert done.stdout.strip() == name, done.stderr


@pytest.mark.parametrize("name", ["bogus", "AVX-512", "sse9", "neon" if "neon" not in _kernels.isas() else "avx2"])
def test_an_unknown_or_unsupported_kernel_set_is_an_error_at_import(name):
    done = run_python("import crossent", CROSSENT_ISA=name)
    assert done.returncode != 0
    assert name in done.stderr
    assert "CROSSENT_ISA" in done.stderr
    assert "baseline" in done.stderr, "the message lists what there is"


def test_the_best_kernel_set_is_the_default():
    done = run_python("import crossent._kernels as k; print(k.active_isa())", CROSSENT_ISA="")
    assert done.stdout.strip() == _kernels.isas()[0], done.stderr


def test_the_list_is_best_first_and_ends_with_the_baseline():
    order = ["avx512", "avx2", "neon", "baseline"]
    assert list(_kernels.isas()) == [name for name in order if name in _kernels.isas()]
    assert _kernels.isas()[-1] == "baseline"


def test_use_isa_refuses_what_is_not_there():
    with pytest.raises((ValueError, LookupError, RuntimeError), match="bogus"):
        _kernels.use_isa("bogus")


@pytest.mark.parametrize("processes", [0, 2])
def test_a_full_run_that_leaves_a_kernel_set_out_fails(processes):
    """conftest.py, of what one process exercises, or several do."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "testpaths=tests/test_links.py"]
    if processes:
        pytest.importorskip("xdist")
        command += ["-n", str(processes)]
    run = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    for isa in _kernels.isas():
        assert f"this processor runs the {isa} kernels, but no test did" in run.stdout
