"""What was built and installed: the files of the package, its metadata, and the tables of kernels."""

import importlib.metadata
import importlib.resources
import platform
import re
import sys
import sysconfig
import zlib
from pathlib import Path

import numpy as np
import pytest

import crossent
from crossent import _kernels

PACKAGE = importlib.resources.files("crossent")
DISTRIBUTION = importlib.metadata.distribution("crossent")
ROOT = Path(__file__).parent.parent
KERNELS_DEF = ROOT / "csrc" / "kernels.def"


def installed_files():
    """What a wheel holds; the interpreter has added compiled bytecode since."""
    files = [str(file) for file in DISTRIBUTION.files or ()]
    if "crossent/__init__.py" not in files:
        pytest.skip("an editable installation lists no files")
    return [Path(file).as_posix() for file in files if not file.endswith(".pyc")]


class TestPackage:
    def test_types(self):
        assert (PACKAGE / "py.typed").is_file()
        assert (PACKAGE / "_kernels.pyi").is_file()

    def test_installed_files(self):
        """The package, its metadata, and in a repaired wheel the OpenMP library; nothing that only a build needs."""
        files = installed_files()
        needed = {"__init__.py", "functional.py", "keras.py", "torch/__init__.py", "py.typed", "_kernels.pyi"}
        assert {f"crossent/{name}" for name in needed} <= set(files)
        assert not [file for file in files if file.endswith((".c", ".h", ".def", ".pyx", ".pxd", ".pxi", ".o"))]
        assert not [file for file in files if not file.startswith(("crossent/", "crossent-", "crossent.libs/"))]
        assert [Path(file).name.partition(".")[0] for file in files if file.endswith((".so", ".pyd"))] == ["_kernels"]
        libraries = [Path(file).name for file in files if file.startswith("crossent.libs/")]
        assert all(name.startswith("libgomp") for name in libraries)

    def test_size_of_a_wheel(self):
        """Compressed as in a wheel: below 2 MB."""
        contents = [DISTRIBUTION.locate_file(file).read_bytes() for file in installed_files()]
        if any(b".debug_info" in content for content in contents):
            pytest.skip("a build with symbols for a debugger")
        assert 100_000 < sum(len(zlib.compress(content)) for content in contents) < 2_000_000

    def test_metadata(self):
        assert DISTRIBUTION.version == crossent.__version__
        assert DISTRIBUTION.metadata["License-Expression"] == "BSD-3-Clause"
        needed = [line for line in DISTRIBUTION.requires or () if "extra ==" not in line]
        assert needed == ["numpy>=1.26"]

    def test_public_names(self):
        assert sorted(set(crossent.__all__)) == sorted(crossent.__all__)
        assert all(hasattr(crossent, name) for name in crossent.__all__)

    @pytest.mark.skipif(not hasattr(sys, "_is_gil_enabled"), reason="this Python always has the GIL")
    def test_import_leaves_the_gil_off(self):
        built_without = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        assert sys._is_gil_enabled() is not built_without


class TestTables:
    def test_isas(self):
        """Those that the system reports, all of them: a test run must not miss one silently."""
        isas = _kernels.isas()
        assert isas[-1] == "baseline"
        assert list(isas) == sorted(isas, key=["avx512", "avx2", "neon", "baseline"].index)
        assert _kernels.active_isa() in isas
        if sys.platform == "linux" and platform.machine() == "x86_64":
            flags = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split())
            assert ("avx2" in isas) == ({"avx2", "fma"} <= flags)
            assert ("avx512" in isas) == ({"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags)
        if platform.machine() in ("aarch64", "arm64"):
            assert isas == ("neon", "baseline")

    @pytest.mark.skipif(not KERNELS_DEF.exists(), reason="only in the source tree")
    def test_names_are_those_of_the_list(self):
        """The compiler has filled each table from the same list (csrc/all_kernels.h): no slot can be empty."""
        listed = dict(re.findall(r"^KERNEL\((\w+), (\w+)\)$", KERNELS_DEF.read_text(), re.MULTILINE))
        assert _kernels.kernel_names() == listed

    @pytest.mark.parametrize("isa", _kernels.isas())
    def test_use_isa(self, isa):
        before = _kernels.use_isa(isa)
        try:
            assert _kernels.active_isa() == isa
            assert crossent.softmax(np.zeros(2)).tolist() == [0.5, 0.5]
        finally:
            _kernels.use_isa(before)

    def test_unknown_isa(self):
        with pytest.raises(ValueError, match="sse9.*baseline"):
            _kernels.use_isa("sse9")
