"""The package on processors that this machine is not, in QEMU's user-mode emulation (Debian: qemu-user)."""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossent import _kernels

QEMU = shutil.which("qemu-x86_64")
TESTS = Path(__file__).parent
# What would choose kernels for NumPy, OpenBLAS or us in place of the emulated processor.
CHOOSE_KERNELS = ("CROSSENT_ISA", "OPENBLAS_CORETYPE", "NPY_ENABLE_CPU_FEATURES", "NPY_DISABLE_CPU_FEATURES")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="not x86-64 Linux"),
    pytest.mark.skipif(QEMU is None, reason="no emulator for x86-64"),
]

PROGRAM = """
import hashlib
import numpy as np
import crossent as ce
from crossent import _kernels

rng = np.random.default_rng(7)
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    logits = rng.standard_normal((200, 37)).astype(dtype)
    classes, probabilities = rng.integers(0, 37, 200), rng.random((200, 37)).astype(dtype)
    for function in (ce.softmax, ce.log_softmax, ce.logsumexp, ce.sigmoid):
        digest.update(function(logits))
    for loss, target in ((ce.cross_entropy, classes), (ce.binary_cross_entropy_with_logits, probabilities)):
        for result in ce.value_grad_and_hess(loss)(logits, target):
            digest.update(np.asarray(result))
print(*_kernels.isas(), digest.hexdigest())
"""


def environment(**settings):
    return {name: value for name, value in os.environ.items() if name not in CHOOSE_KERNELS} | settings


def emulated(cpu, *arguments):
    command = [QEMU, "-cpu", cpu, sys.executable, *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)


def emulator_has_avx():
    """QEMU from 7.2 on: "qemu-x86_64 version 7.2.22 (...)"."""
    version = re.search(r"version (\d+)\.(\d+)", subprocess.check_output([QEMU, "--version"], text=True))
    return (int(version[1]), int(version[2])) >= (7, 2)


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("Nehalem", ["baseline"]),  # NumPy's own minimum, x86-64-v2, and no AVX
        ("Haswell", ["avx2", "baseline"]),
        ("Haswell,-fma", ["baseline"]),
        ("Haswell,-xsave", ["baseline"]),  # a system that does not save the wide registers
    ],
)
def test_kernels(cpu, expected):
    """The kernels that the processor has, and the numbers that they give on this one."""
    if "avx2" in expected and not emulator_has_avx():
        pytest.skip("this emulator has no AVX2")
    run = emulated(cpu, "-c", PROGRAM)
    assert run.returncode == 0, run.stderr
    *isas, digest = run.stdout.split()
    assert isas == expected
    if isas[0] in _kernels.isas():
        here = [sys.executable, "-c", PROGRAM]
        assert digest == subprocess.check_output(here, env=environment(CROSSENT_ISA=isas[0]), text=True).split()[-1]


def test_suite_without_avx():
    files = [str(TESTS / f"test_{name}.py") for name in ("losses", "tutorials", "registry")]
    run = emulated("Nehalem", "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "kernel sets exercised: baseline\n" in run.stdout
