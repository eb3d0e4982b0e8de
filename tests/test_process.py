"""What the library does to the process that imports it: nothing; and what survives a fork. Each test has a process."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from crossent import _kernels

SETTINGS = ("CROSSENT_ISA", "CROSSENT_NUM_THREADS", "OMP_NUM_THREADS")

TIMEOUT = 120  # seconds

# Python 3.12 and later warn of the very thing that is tested here.
FORK_WARNING = "ignore:This process:DeprecationWarning"


def python(code, **environ):
    """Run a program in a fresh interpreter without our settings, but for those given."""
    inherited = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-W", FORK_WARNING, "-c", textwrap.dedent(code)],
        env=inherited | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its forked children too: it is they that hang
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def succeeds(code, **environ):
    done = python(code, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestImport:
    def test_subnormal_numbers_still_work(self):
        """Libraries linked with -ffast-math by older GCCs switch them off for the whole process."""
        succeeds("""
            import crossent
            import numpy as np
            with np.errstate(all="raise"):
                assert np.float64(5e-324) * 1.0 != 0
                assert np.finfo(np.float32).smallest_subnormal > 0
            assert np.float32(1e-45) * np.float32(1) != 0
            assert float("2.5e-308") / 10 != 0
            """)

    def test_nothing_is_set(self):
        succeeds("""
            import ctypes, locale, os, signal, sys, threading, warnings
            import numpy as np
            def state():
                handlers = [signal.getsignal(s) for s in signal.valid_signals()]
                # os.environ is a copy, which does not show what C code sets; a child process inherits that.
                inherited = os.popen("env" if os.name == "posix" else "set").read()
                rounding = ctypes.CDLL(None).fegetround() if os.name == "posix" else 0
                return (dict(os.environ), inherited, rounding, np.geterr(), np.get_printoptions(),
                        locale.setlocale(locale.LC_ALL), handlers, list(warnings.filters), threading.active_count(),
                        sys.flags, list(sys.path), os.getcwd())
            before = state()
            import crossent
            assert state() == before
            """)

    def test_no_optional_package_is_imported(self):
        succeeds("""
            import sys
            import crossent
            optional = {"torch", "jax", "keras", "tensorflow", "scipy", "sklearn", "matplotlib", "pandas"}
            assert not optional & set(sys.modules), optional & set(sys.modules)
            """)

    def test_is_quick(self):
        """At most 30 ms of processor time beyond NumPy's import, in the best of five processes."""
        program = """
            import time
            import numpy
            start = time.process_time()
            import crossent
            print(time.process_time() - start)
            """
        assert min(float(succeeds(program)) for _ in range(5)) < 0.030

    def test_no_threads_are_started(self):
        succeeds("""
            import os
            import numpy
            def tasks():
                return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
            before = tasks()
            import crossent
            assert tasks() == before
            """)


class TestEnvironment:
    def test_unknown_isa(self):
        done = python("import crossent", CROSSENT_ISA="sse9")
        assert done.returncode != 0
        last = done.stderr.splitlines()[-1]
        assert "CROSSENT_ISA" in last
        assert "sse9" in last
        for name in _kernels.isas():
            assert name in last

    @pytest.mark.parametrize("name", _kernels.isas())
    def test_forced_isa(self, name):
        code = "from crossent import _kernels; print(_kernels.active_isa())"
        assert succeeds(code, CROSSENT_ISA=name).strip() == name

    def test_best_isa_is_the_default(self):
        assert succeeds("from crossent import _kernels; print(_kernels.active_isa())").strip() == _kernels.isas()[0]

    @pytest.mark.parametrize("value", ["0", "two"])
    def test_bad_number_of_threads(self, value):
        done = python("import crossent", CROSSENT_NUM_THREADS=value)
        assert done.returncode != 0
        assert f"CROSSENT_NUM_THREADS must be an integer from 1 to 1024, got '{value}'" in done.stderr

    @pytest.mark.skipif(not _kernels.openmp_enabled(), reason="a build without OpenMP has one thread")
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"CROSSENT_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, "3"),
            ({"OMP_NUM_THREADS": "2"}, "2"),
            ({"OMP_NUM_THREADS": "4,2"}, "4"),
        ],
    )
    def test_number_of_threads(self, environ, expected):
        assert succeeds("import crossent; print(crossent.get_num_threads())", **environ).strip() == expected


# A loss and a map, both large enough for several threads.
COMPUTE = """
import os, sys, threading
import numpy as np
import crossent as ce
rng = np.random.default_rng(1)
logits = rng.standard_normal((4096, 300)).astype(np.float32)
target = rng.integers(0, 300, 4096)
def compute(num_threads=None):
    loss = ce.cross_entropy(logits, target, num_threads=num_threads)
    return loss, ce.softmax(logits, num_threads=num_threads).tobytes()
def finish(ok):
    sys.stdout.flush()
    os._exit(0 if ok else 1)
def child_status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
class TestFork:
    """GNU OpenMP hangs in the child of a process that has run a parallel region: no parallel region there."""

    @pytest.mark.parametrize("argument", ["None", "2"])
    @pytest.mark.parametrize("parent_ran", [True, False])
    def test_same_numbers(self, parent_ran, argument):
        program = f"""
threads = ce.get_num_threads()
before = compute(2) if {parent_ran} else None
pid = os.fork()
if pid == 0:
    got = compute({argument})
    finish(ce.get_num_threads() == 1 and (before is None or got == before))
assert child_status(pid) == 0
after = compute(2)
assert before is None or after == before
assert ce.get_num_threads() == threads
"""
        succeeds(COMPUTE + program, CROSSENT_NUM_THREADS="2")

    def test_child_asks_for_threads(self):
        succeeds(
            COMPUTE
            + """
before = compute(2)
pid = os.fork()
if pid == 0:
    ce.set_num_threads(2)
    finish(ce.get_num_threads() == 1 and compute() == before)
assert child_status(pid) == 0
"""
        )

    def test_grandchild(self):
        succeeds(
            COMPUTE
            + """
before = compute(2)
pid = os.fork()
if pid == 0:
    pid = os.fork()
    if pid == 0:
        finish(compute(2) == before)
    finish(child_status(pid) == 0)
assert child_status(pid) == 0
"""
        )

    def test_multiprocessing_pool(self):
        succeeds(
            COMPUTE
            + """
import multiprocessing
before = compute(2)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(compute, [None, 1, 2, 2]) == [before] * 4
"""
        )


class TestManyPythonThreads:
    def test_same_numbers(self):
        succeeds(
            COMPUTE
            + """
expected = compute(1)
wrong = []
def work(num_threads):
    for _ in range(5):
        if compute(num_threads) != expected:
            wrong.append(num_threads)
workers = [threading.Thread(target=work, args=(1 + i % 3,)) for i in range(6)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert not wrong, wrong
"""
        )
