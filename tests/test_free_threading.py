"""Many Python threads in the library at once, with settings changing under them; without the GIL where Python can.

Why that is safe: setup.py, where it says freethreading_compatible.
"""

import subprocess
import sys
import sysconfig

import pytest

FREE = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

PROGRAM = """
import sys, threading
import numpy as np
import crossent as ce
from crossent import _kernels

rng = np.random.default_rng(3)
logits = [rng.standard_normal(shape) for shape in ((1, 10), (300, 40), (300, 512))]
targets = [rng.integers(0, x.shape[1], len(x)) for x in logits]
criterion = ce.CrossEntropyLoss(label_smoothing=0.1)
loss_and_grad = ce.value_and_grad(ce.cross_entropy)
# The sets that give the same bits: all but the baseline, which has no fused multiply-add.
isas = [isa for isa in _kernels.isas() if isa != "baseline"] or ["baseline"]

def results():
    for x, target in zip(logits, targets):
        loss, grad = loss_and_grad(x, target)
        yield from (loss, grad.tobytes(), ce.softmax(x).tobytes(), criterion(x, target))
        yield ce.cross_entropy(x[:20].tolist(), target[:20].tolist(), num_threads=2)
        try:
            ce.nll_loss(x, target + 1000)
        except IndexError as error:
            yield str(error)

_kernels.use_isa(isas[0])
expected = list(results())
start, wrong = threading.Barrier(9), []

def compute():
    start.wait()
    for _ in range(10):
        if list(results()) != expected:
            wrong.append(threading.get_ident())

def change_settings():
    start.wait()
    for i in range(2000):
        ce.set_num_threads(1 + i % 3)
        _kernels.use_isa(isas[i % len(isas)])
        assert 1 <= ce.get_num_threads() <= 3

workers = [threading.Thread(target=work) for work in 8 * [compute] + [change_settings]]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert not wrong, wrong
if hasattr(sys, "_is_gil_enabled"):
    print("GIL" if sys._is_gil_enabled() else "no GIL")
"""


def run(*options):
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", PROGRAM], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # an exception in a thread ends that thread alone
    return done.stdout.strip()


def test_many_threads():
    run()


@pytest.mark.skipif(not FREE, reason="this Python cannot do without the GIL")
def test_gil_stays_off():
    """An extension that does not declare itself compatible would switch it on for the whole process."""
    assert run() == "no GIL"


@pytest.mark.skipif(not FREE, reason="this Python cannot do without the GIL")
def test_gil_on_request():
    assert run("-X", "gil=1") == "GIL"
