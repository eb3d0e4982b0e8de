"""The fuzzers of tests/fuzz for some seconds, from fixed seeds. Its README.md says how to let them run for hours."""

import subprocess
import sys
from pathlib import Path

import pytest
import test_c

FUZZ = Path(__file__).parent / "fuzz"

sys.path.insert(0, str(FUZZ))

import calls  # noqa: E402


@pytest.mark.parametrize("seed", range(4))
def test_public_functions(seed):
    assert calls.run(seed, count=150) == 150


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """The fuzz target as a program of its own."""
    if test_c.CC is None or not test_c.CSRC.is_dir() or sys.platform == "win32":
        pytest.skip("no C compiler, no C sources or no POSIX")
    program = tmp_path_factory.mktemp("fuzz") / "kernels"
    sources = [FUZZ / "kernels.c", FUZZ / "standalone.c", *test_c.kernels()]
    test_c.run(test_c.CC, *test_c.FLAGS, "-I", test_c.CSRC, *sources, "-o", program, "-lm")
    return program


@pytest.mark.parametrize("seed", range(3))
def test_kernels(kernels, seed):
    """Every kernel, on every instruction set of this processor."""
    result = subprocess.run([str(kernels), str(seed), "2000"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "2000 inputs" in result.stderr
