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
def kernels():
    """The command of the fuzz target, on the installed kernels."""
    if test_c.CC is None or not test_c.CSRC.is_dir() or sys.platform == "win32":
        pytest.skip("no C compiler, no C sources or no POSIX")
    return test_c.on_installed_kernels("fuzz", FUZZ / "kernels.c", FUZZ / "standalone.c")


@pytest.mark.parametrize("seed", range(3))
def test_kernels(kernels, seed):
    """Every kernel, on every instruction set of this processor."""
    result = subprocess.run([*kernels, str(seed), "2000"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "2000 inputs" in result.stderr


# What was found once, as the bytes that the target makes a call of.
FOUND = {
    # The loss of a very unlikely target had other bits with the shift of other rows before it.
    "shift": "41ca3d7e6e88ce641f3629296cd2ff0000646c270000009dd08c646cd2ff1f36292951292929b4292929",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(kernels, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(bytes.fromhex(FOUND[name]))
    result = subprocess.run([*kernels, path], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "1 inputs" in result.stderr
