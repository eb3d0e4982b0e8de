"""Build crossent._kernels: one Cython driver and the C kernels of every instruction set.

No processor is named here: each csrc/isa_*.c switches instruction sets by itself. What is found out by compiling small
programs is whether the compiler has OpenMP and AVX-512; without either the library still works, with a warning.

    CROSSENT_OPENMP=auto|0|1    try it (default), never, or fail without it
    CROSSENT_WERROR=1           compiler warnings are errors
    CROSSENT_DEBUG=1            bounds checks in the Cython code, symbols for a debugger
"""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import numpy as np
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

DEBUG = os.environ.get("CROSSENT_DEBUG", "0") == "1"
WERROR = os.environ.get("CROSSENT_WERROR", "0") == "1"

# Neither -ffast-math nor -Ofast: infinities and NaN are part of the contract, and GCC before 13 links start-up code in
# that switches subnormal numbers off for the whole process. Fused multiply-adds are written out and never left to the
# compiler: instruction sets would differ.
GNU_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
GNU_FLAGS += ["-Wall", "-Wextra", "-g0"] + ["-Werror"] * WERROR
# The C that Cython writes has some of these.
STRICT_FLAG = "@csrc/strict_warnings.txt"
# Visual C++ builds the baseline alone, without OpenMP. Untested.
MSVC_FLAGS = ["/std:c11", "/O2", "/fp:precise"]

OPENMP_FLAG = "-fopenmp"
OPENMP_PROGRAM = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"

AVX_PROGRAM = """
#include "isa.h"
#if defined(__x86_64__)
#ifndef CE_HAVE_{ISA}
#error "csrc/isa.h does not know this compiler to have it"
#endif
#include <immintrin.h>
__attribute__((target("{target}"))) void probe(double *x) {{ {body} }}
#endif
int main(void) {{ return 0; }}
"""
AVX_PROBES = {
    "AVX512": ("avx512f,avx512vl", "_mm512_storeu_pd(x, _mm512_roundscale_pd(_mm512_loadu_pd(x), 8));"),
    "AVX2": ("avx2,fma", "__m256d y = _mm256_loadu_pd(x); _mm256_storeu_pd(x, _mm256_fmadd_pd(y, y, y));"),
}

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": False,
    "initializedcheck": DEBUG,
    "cdivision": True,
    # The GIL protects nothing here. The state of the module is a few machine words (the table of kernels, the default
    # number of threads, from how many on results are stored past the caches, whether this is a forked child), each
    # written with one store: a call that runs meanwhile sees the old value or the new one, and either is right. The
    # rest of a call lives in its own stack and workspace, and blocks run without the GIL in every build. An array that
    # another thread writes to meanwhile is the caller's affair, as in NumPy. tests/test_free_threading.py.
    "freethreading_compatible": True,
    "binding": True,
    "embedsignature": False,
    "autotestdict": False,
}


def warn(message):
    line = "*" * 78
    print(f"\n{line}\nWARNING: {message}\n{line}\n", file=sys.stderr, flush=True)


class BuildExt(build_ext):
    csrc_flags = cython_flags = ()

    def finalize_options(self):
        super().finalize_options()
        self.cython_directives = DIRECTIVES
        self.cython_c_in_temp = True

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args += MSVC_FLAGS
        else:
            ext.extra_compile_args += GNU_FLAGS
            ext.define_macros += self.missing_instruction_sets()
            self.csrc_flags = [STRICT_FLAG] * WERROR
            self.cython_flags = ["-g"] * DEBUG
            if self.want_openmp():
                self.cython_flags.append(OPENMP_FLAG)
                ext.extra_link_args.append(OPENMP_FLAG)
        self.compile_one = self.compiler.compile
        self.compiler.compile = self.compile_together
        super().build_extension(ext)

    def compile_together(self, sources, *arguments, **options):
        """A compiler for each source, as many at once as there are processors: setuptools runs one after the other."""

        def compile_source(source):
            more = self.csrc_flags if source.startswith("csrc") else self.cython_flags
            flags = [*options["extra_postargs"], *more]
            return self.compile_one([source], *arguments, **{**options, "extra_postargs": flags})

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [name for names in pool.map(compile_source, sources) for name in names]

    def builds(self, program, flags=None):
        """Whether the compiler and the linker, as they are used for the extension, accept a small program."""
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "probe.c")
            with open(source, "w") as file:
                file.write(program)
            try:
                objects = self.compiler.compile([source], folder, include_dirs=["csrc"], extra_postargs=flags)
                self.compiler.link_shared_object(objects, os.path.join(folder, "probe.so"), extra_postargs=flags)
            except (CompileError, LinkError):
                return False
        return True

    def want_openmp(self):
        choice = os.environ.get("CROSSENT_OPENMP", "auto")
        if choice not in ("auto", "0", "1"):
            raise ValueError(f"CROSSENT_OPENMP must be auto, 0 or 1, got {choice!r}")
        if choice == "0" or self.builds(OPENMP_PROGRAM, [OPENMP_FLAG]):
            return choice != "0"
        if choice == "1":
            raise RuntimeError(f"CROSSENT_OPENMP=1, but the compiler cannot build a program with {OPENMP_FLAG}")
        warn("the compiler has no OpenMP: crossent will use one thread.")
        return False

    def missing_instruction_sets(self):
        missing = []
        for isa, (target, body) in AVX_PROBES.items():
            if not self.builds(AVX_PROGRAM.format(ISA=isa, target=target, body=body)):
                warn(f"the compiler cannot build for {isa}: crossent will run slower on processors that have it.")
                missing.append((f"CE_NO_{isa}", "1"))
        return missing


kernels = Extension(
    "crossent._kernels",
    sources=[*sorted(glob("csrc/*.c"), reverse=True), "src/crossent/_kernels.pyx"],  # the baseline takes longest: first
    depends=sorted(glob("csrc/**/*.h", recursive=True) + glob("csrc/*.def") + glob("src/crossent/*.px[di]")),
    include_dirs=["csrc", np.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
)

setup(ext_modules=[kernels], cmdclass={"build_ext": BuildExt})
