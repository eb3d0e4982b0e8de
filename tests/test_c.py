"""The C code below the kernels, and the kernels themselves, by C programs that are compiled here.

tests/c/simd_test.c     every vector operation against scalar C; the same bits on every instruction set
tests/c/math_sweep.c    the errors of exp and log, against the bounds that the headers in csrc/math state
tests/c/kernel_hash.c   everything that the kernels compute: the same bits on AVX2, AVX-512 and NEON

NEON is tested on other machines too where a cross-compiler and an emulator are there.
"""

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from crossent import _kernels

HERE = Path(__file__).parent / "c"
CSRC = HERE.parent.parent / "csrc"
CC = next((name for name in (os.environ.get("CC", "gcc"), "cc") if shutil.which(name)), None)
# Those of setup.py, and every warning an error; but -O1, which takes less time: of the kernels the programs have none.
FLAGS = ["-O1", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror"]
ISA_FLAGS = {
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "neon": [],
    "baseline": ["-DCE_FMA_EMULATED"],
}
ISAS = _kernels.isas()
FUSED = [isa for isa in ISAS if isa != "baseline"]
# The baseline rounds twice where the others fuse; among subnormal numbers that shows most.
BASELINE_SLACK = {"ulp": lambda bound: bound + 0.25, "relative": lambda bound: bound * 1.1}

pytestmark = [
    pytest.mark.skipif(not CSRC.is_dir(), reason="the C sources are not here"),
    pytest.mark.skipif(CC is None, reason="no C compiler"),
    pytest.mark.skipif(sys.platform == "win32", reason="the C tests need POSIX"),
]
needs_emulator = pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64")),
    reason="no cross-compiler and emulator for 64-bit ARM",
)


@functools.cache
def folder():
    """Where programs are compiled; goes when the interpreter does."""
    folder.keep = tempfile.TemporaryDirectory(prefix="crossent-c-")
    return Path(folder.keep.name)


def run(*command):
    """The output of a command that must succeed; what it printed is the reason when it does not."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}"
    return result.stdout


@functools.cache
def compiled(program, isa, *flags):
    """A program of one source file that includes the vectors of one instruction set."""
    path = folder() / "-".join([program, isa, *flags]).replace("/", "_")
    header = f'-DCE_SIMD_HEADER="simd/{isa}.h"'
    options = [flag for flag in flags if not flag.startswith("-l")]
    libraries = [flag for flag in flags if flag.startswith("-l")]
    source = HERE / f"{program}.c"
    run(CC, *FLAGS, "-I", CSRC, header, *ISA_FLAGS[isa], *options, source, "-o", path, *libraries, "-lm")
    return path


def hashes(output):
    return dict(line.rsplit(" ", 1) for line in output.splitlines())


class TestVectors:
    @pytest.mark.parametrize("isa", ISAS)
    def test_operations(self, isa):
        run(compiled("simd_test", isa))

    def test_operations_without_vector_extensions(self):
        """What compilers other than GCC and Clang get."""
        scalar = hashes(run(compiled("simd_test", "baseline", "-DCE_NO_VECTOR_EXTENSIONS")))
        assert scalar["exact"] == hashes(run(compiled("simd_test", "baseline")))["exact"]

    def test_same_bits(self):
        results = {isa: hashes(run(compiled("simd_test", isa))) for isa in ISAS}
        assert len({result["exact"] for result in results.values()}) == 1, results
        assert len({results[isa]["fused"] for isa in FUSED}) <= 1, results

    @needs_emulator
    def test_same_bits_on_neon(self):
        neon = hashes(run(HERE / "run_neon.sh", "simd_test", folder()))
        assert neon["exact"] == hashes(run(compiled("simd_test", "baseline")))["exact"]
        for isa in FUSED:
            assert neon == hashes(run(compiled("simd_test", isa)))


def stated_bounds():
    """{function: (bound, unit)} from lines like "bound: exp_f32 0.6 ulp" or "bound: exp_parts_f32 2^-27 relative"."""
    bounds = {}
    for header in sorted((CSRC / "math").glob("*.h")):
        for name, value, unit in re.findall(r"bound: (\w+) (\S+) (ulp|relative)", header.read_text()):
            base, _, exponent = value.partition("^")
            bounds[name] = (float(base) ** float(exponent or 1), unit)
    return bounds


@functools.cache
def wide_arithmetic():
    """Flags for references of 113 bits where the compiler has libquadmath; else long double must do."""
    probe = folder() / "probe.c"
    probe.write_text("__float128 expq(__float128); int main(void) { return expq(0) != 1; }\n")
    command = [CC, str(probe), "-o", str(folder() / "probe"), "-lquadmath"]
    if subprocess.run(command, capture_output=True).returncode == 0:
        return ("-DCE_QUADMATH", "-lquadmath")
    probe.write_text('#include <float.h>\n_Static_assert(LDBL_MANT_DIG >= 64, ""); int main(void) { return 0; }\n')
    if subprocess.run(command[:-1], capture_output=True).returncode:
        pytest.skip("the compiler has no numbers wider than double")
    return ()


def check_errors(isa, stride, count):
    output = run(compiled("math_sweep", isa, *wide_arithmetic()), stride, count)
    largest = {}
    for name, error, unit in re.findall(r"^(\w+) (\S+) (ulp|relative)", output, re.MULTILINE):
        largest[name, unit] = max(float(error), largest.get((name, unit), 0.0))
    slack = BASELINE_SLACK if isa == "baseline" else {}
    too_large = [
        f"{name}: {largest[name, unit]:.4g} {unit}, and the header states {bound:.4g}"
        for name, (bound, unit) in stated_bounds().items()
        if not largest[name, unit] <= slack.get(unit, float)(bound)
    ]
    assert not too_large, "\n".join([*too_large, output])


class TestMath:
    def test_bounds_are_stated(self):
        assert {"exp_f32", "exp_f64", "log_f64", "log1p_f64"} <= set(stated_bounds())

    @pytest.mark.parametrize("isa", sorted({ISAS[0], "baseline"}))
    def test_errors(self, isa):
        check_errors(isa, stride=4099, count=60_000)

    @pytest.mark.slow
    def test_errors_on_every_float(self):
        check_errors(ISAS[0], stride=1, count=240_000)


def on_installed_kernels(name, *sources):
    """The command that runs a program on the kernels of the installed module."""
    program = folder() / f"{name}.so"
    link = ["-shared", "-fPIC", *(["-Wl,-undefined,dynamic_lookup"] if sys.platform == "darwin" else [])]
    run(CC, *FLAGS, "-I", CSRC, *sources, *link, "-o", program, "-lm")
    return sys.executable, HERE / "installed.py", program


@functools.cache
def kernel_hash():
    return on_installed_kernels("kernel_hash", HERE / "kernel_hash.c")


@pytest.mark.slow
class TestKernels:
    """That AVX2, AVX-512 and NEON give one hash, that of golden.json, is in test_golden.py."""

    def test_the_hash_sees_differences(self):
        """The baseline has no FMA: were its hashes the same, nothing would have been hashed."""
        baseline = hashes(run(*kernel_hash(), "baseline"))
        for isa in FUSED:
            assert baseline != hashes(run(*kernel_hash(), isa))


@functools.cache
def dispatch_test():
    path = folder() / "dispatch_test"
    options = ["-Wno-unused-function", "-I", HERE / "faked", "-I", CSRC]
    run(CC, *FLAGS, *options, HERE / "dispatch_test.c", "-o", path)
    return path


def bits(*positions):
    return sum(1 << position for position in positions)


# Intel SDM, volume 2, CPUID: leaf 1, ECX; leaf 7, EBX. Volume 1, 13.3: what XCR0 says that the system saves.
FMA, OSXSAVE, AVX = 12, 27, 28
AVX2, AVX512F, AVX512DQ, AVX512BW, AVX512VL = 5, 16, 17, 30, 31
X87, SSE, YMM, MASKS, ZMM_LOW, ZMM_HIGH = 0, 1, 2, 5, 6, 7
HASWELL = (bits(FMA, OSXSAVE, AVX), bits(AVX2))
SKYLAKE = (bits(FMA, OSXSAVE, AVX), bits(AVX2, AVX512F, AVX512DQ, AVX512BW, AVX512VL))
INTEL, AMD = (int.from_bytes(name, "little") for name in (b"Genu", b"Auth"))  # how their names begin: leaf 0, EBX
SAVES_AVX = bits(X87, SSE, YMM)
SAVES_ALL = bits(X87, SSE, YMM, MASKS, ZMM_LOW, ZMM_HIGH)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="CPUID is of x86-64")
class TestDispatch:
    """Which kernels are chosen on processors and systems that this one is not."""

    @pytest.mark.parametrize(
        ("processor", "saved", "expected"),
        [
            pytest.param((0, 0), 0, "baseline", id="nothing"),
            pytest.param((bits(OSXSAVE, AVX), 0), SAVES_AVX, "baseline", id="AVX alone"),
            pytest.param(HASWELL, SAVES_AVX, "avx2 baseline", id="AVX2"),
            pytest.param((bits(OSXSAVE, AVX), bits(AVX2)), SAVES_AVX, "baseline", id="AVX2 without FMA"),
            pytest.param(HASWELL, bits(X87, SSE), "baseline", id="AVX2, not saved"),
            pytest.param((bits(FMA, AVX), bits(AVX2)), SAVES_AVX, "baseline", id="AVX2, a system without XSAVE"),
            pytest.param(SKYLAKE, SAVES_ALL, "avx512 avx2 baseline", id="AVX-512"),
            pytest.param(SKYLAKE, SAVES_AVX, "avx2 baseline", id="AVX-512, not saved"),
            pytest.param(SKYLAKE, SAVES_ALL & ~bits(ZMM_HIGH), "avx2 baseline", id="AVX-512, half saved"),
            pytest.param(SKYLAKE, SAVES_ALL & ~bits(YMM), "baseline", id="AVX-512, its lower halves not saved"),
            pytest.param(
                (SKYLAKE[0], SKYLAKE[1] & ~bits(AVX512VL)), SAVES_ALL, "avx2 baseline", id="AVX-512 without VL"
            ),
        ],
    )
    def test_usable(self, processor, saved, expected):
        *names, _ = run(dispatch_test(), *map(hex, (*processor, saved, AMD))).split()
        assert names == expected.split()

    @pytest.mark.parametrize(
        ("vendor", "processor", "expected"), [(INTEL, SKYLAKE, "8"), (INTEL, HASWELL, "1"), (AMD, SKYLAKE, "1")]
    )
    def test_streaming_threads(self, vendor, processor, expected):
        assert run(dispatch_test(), *map(hex, (*processor, SAVES_ALL, vendor))).split()[-1] == expected
