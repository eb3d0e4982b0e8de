"""In a process with others: their threads, their OpenMP, their limits, the user's Ctrl-C. Each test has a process."""

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
from test_process import COMPUTE, succeeds

from crossent import _kernels

CC = next((name for name in (os.environ.get("CC", "gcc"), "cc") if shutil.which(name)), None)

needs_openmp = pytest.mark.skipif(not _kernels.openmp_enabled(), reason="a build without OpenMP has one thread")
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")


def run(program, **environ):
    """A program that begins with COMPUTE: compute(), and all that it imports."""
    return succeeds(COMPUTE + textwrap.dedent(program), **environ)


def needs(*modules):
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)}: not installed")


class TestPythonThreads:
    def test_eight_at_once(self):
        """All of them in the kernels at the same time, with one thread each or with more."""
        run("""
            expected = compute(1)
            start = threading.Barrier(8)
            wrong = []
            def work(num_threads):
                start.wait()
                for _ in range(4):
                    if compute(num_threads) != expected:
                        wrong.append(num_threads)
            workers = [threading.Thread(target=work, args=(1 + i % 4,)) for i in range(8)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert not wrong, wrong
            """)

    def test_eight_write_to_rows_of_one_array(self):
        run("""
            shared = np.empty_like(logits)
            def work(i):
                for _ in range(4):
                    ce.softmax(logits[i::8], out=shared[i::8])
            workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert shared.tobytes() == ce.softmax(logits).tobytes()
            """)


# A call of about a second that needs next to no memory: one row, seen many times.
LONG_CALL = """
import time
row = np.random.default_rng(0).standard_normal(1000)
def long_call(n, **options):
    many = np.broadcast_to(row, (n, 1000))
    return ce.cross_entropy(many, np.broadcast_to(np.int8(3), (n,)), **options)
def rows_of_a_second():
    n = 20000
    while True:
        start = time.perf_counter()
        long_call(n, num_threads=1)
        seconds = time.perf_counter() - start
        if seconds > 0.2:
            return int(n / seconds)
        n *= 2
"""


class TestLongCalls:
    @pytest.mark.parametrize("num_threads", [1, 2])
    def test_other_python_threads_go_on(self, num_threads):
        run(
            LONG_CALL
            + f"n, num_threads = rows_of_a_second(), {num_threads}"
            + """
ticks, done = [], threading.Event()
def tick():
    while not done.is_set():
        ticks.append(time.perf_counter())
        time.sleep(0.002)
ticker = threading.Thread(target=tick)
ticker.start()
start = time.perf_counter()
long_call(n, num_threads=num_threads)
stop = time.perf_counter()
done.set()
ticker.join()
meanwhile = sum(start < t < stop for t in ticks)
assert meanwhile > 10, (meanwhile, stop - start)
"""
        )

    @pytest.mark.parametrize("num_threads", [1, 2])
    def test_control_c(self, num_threads):
        """The call runs to its end, then KeyboardInterrupt is raised; nothing is broken by it."""
        run(
            LONG_CALL
            + f"n, num_threads = rows_of_a_second(), {num_threads}"
            + """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is started with the signal ignored
wanted = long_call(1000)
out = np.zeros(n)
timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
start = time.perf_counter()
timer.start()
try:
    long_call(n, num_threads=num_threads, reduction="none", out=out)
    time.sleep(5)
except KeyboardInterrupt:
    seconds = time.perf_counter() - start
else:
    raise AssertionError("no KeyboardInterrupt")
assert 0.1 < seconds < 4.5, seconds
assert (out == out[0]).all() and out[0] > 0
assert long_call(1000) == wanted
"""
        )


class TestLimits:
    @needs_openmp
    @needs_affinity
    def test_affinity(self):
        one = min(os.sched_getaffinity(0))
        code = f"import os; os.sched_setaffinity(0, [{one}]); import crossent; print(crossent.get_num_threads())"
        assert succeeds(code).strip() == "1"

    @needs_openmp
    @needs("threadpoolctl")
    def test_threadpoolctl(self):
        """A limit on OpenMP holds where nobody has spoken of crossent's threads; the results are the same."""
        run(
            """
            from threadpoolctl import threadpool_limits
            before = compute(2)
            assert ce.get_num_threads() == 4
            with threadpool_limits(1):
                assert ce.get_num_threads() == 1
                assert compute() == before
                ce.set_num_threads(3)
                assert ce.get_num_threads() == 3
                ce.set_num_threads(None)
                assert ce.get_num_threads() == 1
            assert ce.get_num_threads() == 4
            with threadpool_limits(2, user_api="openmp"):
                assert ce.get_num_threads() == 2
            with threadpool_limits(8):
                assert ce.get_num_threads() == 4
            """,
            OMP_NUM_THREADS="4",
        )

    @needs_openmp
    @needs("threadpoolctl")
    @pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the threads of a process are listed in /proc")
    def test_a_limited_call_starts_no_threads(self):
        program = """
            from threadpoolctl import threadpool_limits
            def tasks():
                return len(os.listdir("/proc/self/task"))
            before = tasks()
            with threadpool_limits(1):
                compute()
            assert tasks() == before
            compute()
            assert tasks() > before
            """
        run(program, OMP_NUM_THREADS="3")

    @needs_openmp
    @needs("threadpoolctl")
    def test_our_own_variable_ranks_above_the_limit(self):
        run(
            """
            from threadpoolctl import threadpool_limits
            with threadpool_limits(1):
                assert ce.get_num_threads() == 3
            """,
            CROSSENT_NUM_THREADS="3",
        )


# Calls a function from every thread of a parallel region, two deep if asked for.
REGION = """
#include <omp.h>
int in_region(void (*call)(int), int nested)
{
    int ran = 0;
    omp_set_max_active_levels(2);
    #pragma omp parallel num_threads(3) reduction(+ : ran)
    {
        if (nested) {
            #pragma omp parallel num_threads(2) reduction(+ : ran)
            {
                call(omp_get_thread_num());
                ran++;
            }
        } else {
            call(omp_get_thread_num());
            ran++;
        }
    }
    return ran;
}
"""


def build_region(folder, compiler):
    source, library = folder / "region.c", folder / f"region-{os.path.basename(compiler)}.so"
    source.write_text(REGION)
    command = [compiler, "-shared", "-fPIC", "-fopenmp", str(source), "-o", str(library)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{compiler} cannot build with OpenMP here")
    return library


@needs_openmp
@pytest.mark.skipif(sys.platform == "win32", reason="compiles as on POSIX")
@pytest.mark.parametrize("nested", [0, 1])
@pytest.mark.parametrize("compiler", [CC, "clang"])
def test_calls_from_inside_a_foreign_parallel_region(compiler, nested, tmp_path):
    """GNU's runtime, which is ours too, and LLVM's beside it: the region's threads call back into Python."""
    if compiler is None or not shutil.which(compiler):
        pytest.skip("no such compiler")
    library = build_region(tmp_path, compiler)
    run(f"""
        import ctypes
        expected = compute(1)
        callback_type = ctypes.CFUNCTYPE(None, ctypes.c_int)
        wrong = []
        def callback(thread):
            for num_threads in (None, 1, 2):
                if compute(num_threads) != expected:
                    wrong.append((thread, num_threads))
        region = ctypes.CDLL({str(library)!r})
        for _ in range(2):
            assert region.in_region(callback_type(callback), {nested}) == {6 if nested else 3}
            assert compute(2) == expected
        assert not wrong, wrong
        """)


ORDERS = ("crossent torch sklearn", "torch sklearn crossent")


@needs("torch", "sklearn")
class TestOtherLibraries:
    @pytest.mark.parametrize("order", ORDERS)
    def test_any_order_of_import(self, order):
        """Three OpenMP runtimes in turn, each with threads, in either order of import; and forks after that."""
        imports = "\n".join(f"import {name}" for name in order.split())
        program = """
import torch, sklearn.cluster
x = torch.from_numpy(logits)
def theirs():
    labels = sklearn.cluster.KMeans(4, n_init=1, max_iter=5, random_state=0).fit_predict(logits[:1500, :20])
    return torch.softmax(x, 1).sum().item(), labels.tobytes()
before, wanted = compute(2), theirs()
for _ in range(3):
    assert compute(2) == before
    assert theirs()[1] == wanted[1]
workers = [threading.Thread(target=compute if i % 2 else theirs) for i in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert compute(2) == before
pid = os.fork()
if pid == 0:
    finish(compute(2) == before)
assert child_status(pid) == 0
"""
        succeeds(imports + COMPUTE + program, OMP_NUM_THREADS="2")

    def test_inside_their_threads(self):
        """From PyTorch's backward pass, from joblib's threads, and while PyTorch computes."""
        run(
            """
            import torch
            from sklearn.metrics import pairwise_distances
            expected = compute(1)
            class Loss(torch.autograd.Function):
                @staticmethod
                def forward(context, x):
                    return x.sum()
                @staticmethod
                def backward(context, grad):
                    assert compute(2) == expected
                    _, gradient = ce.value_and_grad(ce.cross_entropy)(logits, target, num_threads=2)
                    return torch.from_numpy(gradient)
            x = torch.from_numpy(logits).requires_grad_()
            Loss.apply(x).backward()
            assert np.array_equal(x.grad.numpy(), ce.value_and_grad(ce.cross_entropy)(logits, target)[1])
            def distance(a, b):
                return ce.mse_loss(a, b, num_threads=2)
            points = logits[:20].astype(float)
            alone = pairwise_distances(points, metric=distance, n_jobs=1)
            assert np.array_equal(alone, pairwise_distances(points, metric=distance, n_jobs=4))
            assert compute(2) == expected
            """,
            OMP_NUM_THREADS="2",
        )

    def test_data_loader_workers(self):
        """Forked after all of them have run threads."""
        run(
            """
            import torch
            from torch.utils.data import DataLoader, Dataset
            class Losses(Dataset):
                def __len__(self):
                    return 8
                def __getitem__(self, i):
                    return ce.cross_entropy(logits[i::8], target[i::8], num_threads=2)
            if __name__ == "__main__":
                torch.softmax(torch.from_numpy(logits), 1)
                compute(2)
                wanted = [Losses()[i] for i in range(8)]
                loader = DataLoader(Losses(), batch_size=2, num_workers=2, multiprocessing_context="fork")
                assert torch.cat(list(loader)).tolist() == wanted
            """,
            OMP_NUM_THREADS="2",
        )
