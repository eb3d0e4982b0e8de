"""One peer in a process of its own, for benchmarks/peers.py: a request per line in, an answer per line out, in JSON.

    python benchmarks/peer_worker.py PEER THREADS

The first line out is {"version": ...}, or {"missing": why} if the peer is not installed. A request names an operation,
a shape, a dtype and for how many seconds to measure; the answer is {"seconds": the shortest time of a call}, {} if the
peer has no such operation, or {"error": ...}.
"""

import gc
import json
import math
import os
import sys
import time

import numpy as np

BATCH_SECONDS = 0.0005  # the clock is read no more often than this
FEWEST_BATCHES = 3


# ---- the problem -----------------------------------------------------------------------------------------------------


def problem(op, shape, dtype):
    """(input, target): the classes are on axis 1; for the binary losses the target is 0 or 1, and 1 in three of ten."""
    rng = np.random.default_rng(0)
    x = 3 * normal(rng, shape, dtype)
    if not op.startswith("bce"):
        if op == "nll":
            x -= 10
        return x, rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if op == "bce":
        x = (1 / (1 + np.exp(-x))).astype(dtype)
    return x, (rng.random(shape, dtype=np.float32) < 0.3).astype(dtype)


def normal(rng, shape, dtype):
    """Standard normal numbers; in float64 too they are drawn as float32, which is faster."""
    x = np.empty(shape, dtype)
    flat = x.reshape(-1)
    for start in range(0, flat.size, 1 << 22):
        part = flat[start : start + (1 << 22)]
        part[:] = rng.standard_normal(part.size, dtype=np.float32)
    return x


# ---- the peers: a method takes a problem and returns the call to be measured -----------------------------------------


class Crossent:
    """Arrays are written into a buffer that exists, as ONNX Runtime's and scikit-learn's are."""

    def __init__(self, threads):
        import crossent

        self.version = crossent.__version__ + ", " + crossent._kernels.active_isa()
        self.library = crossent
        crossent.set_num_threads(threads)

    def buffer(self, x):
        return np.ones_like(x)

    def map(self, function, x):
        axis, out = -1 if x.ndim == 2 else 1, self.buffer(x)
        return lambda: function(x, axis, out=out)

    def grad(self, loss, x, t):
        value_and_grad, out = self.library.value_and_grad(loss), self.buffer(x)
        return lambda: value_and_grad(x, t, out=out)

    def log_softmax(self, x, t):
        return self.map(self.library.log_softmax, x)

    def softmax(self, x, t):
        return self.map(self.library.softmax, x)

    def nll(self, x, t):
        nll_loss = self.library.nll_loss
        return lambda: nll_loss(x, t)

    def ce(self, x, t):
        cross_entropy = self.library.cross_entropy
        return lambda: cross_entropy(x, t)

    def ce_grad(self, x, t):
        return self.grad(self.library.cross_entropy, x, t)

    def bce(self, x, t):
        binary_cross_entropy = self.library.binary_cross_entropy
        return lambda: binary_cross_entropy(x, t)

    def bcel(self, x, t):
        binary_cross_entropy_with_logits = self.library.binary_cross_entropy_with_logits
        return lambda: binary_cross_entropy_with_logits(x, t)

    def bcel_grad(self, x, t):
        return self.grad(self.library.binary_cross_entropy_with_logits, x, t)


class CrossentNew(Crossent):
    """Arrays are allocated by each call."""

    def buffer(self, x):
        return None


class Memory:
    """No peer but the limit: a pass over the same memory that computes next to nothing."""

    def __init__(self, threads):
        self.version = np.__version__

    def read(self, x, t):
        return lambda: x.max()

    def copy(self, x, t):
        out = np.ones_like(x)
        return lambda: np.copyto(out, x)

    def read_both(self, x, t):
        return lambda: (x.max(), t.max())

    def read_one_copy_one(self, x, t):
        out = np.ones_like(x)
        return lambda: (np.copyto(out, x), t.max())

    ce, bce, bcel = read, read_both, read_both
    log_softmax, softmax, ce_grad, bcel_grad = copy, copy, copy, read_one_copy_one


class NumPy:
    """What is usually written by hand."""

    def __init__(self, threads):
        self.version = np.__version__

    def log_softmax(self, x, t):
        def call():
            shifted = x - x.max(1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

        return call

    def softmax(self, x, t):
        def call():
            e = np.exp(x - x.max(1, keepdims=True))
            return e / e.sum(1, keepdims=True)

        return call

    def nll(self, x, t):
        return lambda: -np.take_along_axis(x, np.expand_dims(t, 1), 1).mean()

    def ce(self, x, t):
        log_softmax = self.log_softmax(x, t)
        return lambda: self.nll(log_softmax(), t)()

    def ce_grad(self, x, t):
        softmax, t = self.softmax(x, t), np.expand_dims(t, 1)

        def call():
            grad = softmax()
            p = np.take_along_axis(grad, t, 1)
            np.put_along_axis(grad, t, p - 1, 1)
            grad /= t.size
            return -np.log(p).mean(), grad

        return call

    def bce(self, p, y):
        def call():
            return -(y * np.log(np.clip(p, 1e-7, None)) + (1 - y) * np.log(np.clip(1 - p, 1e-7, None))).mean()

        return call

    def bcel(self, x, y):
        return lambda: (np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))).mean()

    def bcel_grad(self, x, y):
        loss = self.bcel(x, y)
        return lambda: (loss(), (1 / (1 + np.exp(-x)) - y) / x.size)


class SciPy:
    def __init__(self, threads):
        import scipy
        from scipy import special

        self.version, self.special = scipy.__version__, special

    def log_softmax(self, x, t):
        return lambda: self.special.log_softmax(x, axis=1)

    def softmax(self, x, t):
        return lambda: self.special.softmax(x, axis=1)

    def ce(self, x, t):
        t = np.expand_dims(t, 1)
        return lambda: -np.take_along_axis(self.special.log_softmax(x, axis=1), t, 1).mean()

    def bcel(self, x, y):
        log_expit = self.special.log_expit
        return lambda: -(y * log_expit(x) + (1 - y) * log_expit(-x)).mean()


class ScikitLearn:
    """The losses of its own estimators, on rows only; loss and gradient into buffers that exist."""

    def __init__(self, threads):
        import sklearn
        from sklearn import _loss

        self.version, self.losses, self.threads = sklearn.__version__, _loss, threads

    def loss(self, loss, x, t):
        out = np.ones(len(x), x.dtype)
        return lambda: loss.loss(y_true=t, raw_prediction=x, loss_out=out, n_threads=self.threads).mean()

    def loss_gradient(self, loss, x, t):
        buffers = {"loss_out": np.ones(len(x), x.dtype), "gradient_out": np.ones_like(x), "n_threads": self.threads}
        return lambda: loss.loss_gradient(y_true=t, raw_prediction=x, **buffers)

    def ce(self, x, t, call=None):
        if x.ndim == 2:
            return (call or self.loss)(self.losses.HalfMultinomialLoss(n_classes=x.shape[1]), x, t.astype(x.dtype))

    def ce_grad(self, x, t):
        return self.ce(x, t, self.loss_gradient)

    def bcel(self, x, t):
        return self.loss(self.losses.HalfBinomialLoss(), x.reshape(-1), t.reshape(-1))

    def bcel_grad(self, x, t):
        return self.loss_gradient(self.losses.HalfBinomialLoss(), x.reshape(-1), t.reshape(-1))


class Torch:
    def __init__(self, threads):
        import torch

        self.version, self.torch = torch.__version__, torch
        self.nn = torch.nn.functional
        torch.set_num_threads(threads)

    def prepare(self, function):
        return function

    def forward(self, function, x, t):
        function, x, t = self.prepare(function), self.torch.from_numpy(x), self.torch.from_numpy(t)
        return lambda: function(x, t)

    def backward(self, function, x, t):
        function, x, t = self.prepare(function), self.torch.from_numpy(x), self.torch.from_numpy(t)
        x.requires_grad_(True)

        def call():
            x.grad = None
            loss = function(x, t)
            loss.backward()
            return loss

        return call

    def log_softmax(self, x, t):
        return self.forward(lambda x, t: self.nn.log_softmax(x, 1), x, t)

    def softmax(self, x, t):
        return self.forward(lambda x, t: self.nn.softmax(x, 1), x, t)

    def nll(self, x, t):
        return self.forward(self.nn.nll_loss, x, t)

    def ce(self, x, t):
        return self.forward(self.nn.cross_entropy, x, t)

    def ce_grad(self, x, t):
        return self.backward(self.nn.cross_entropy, x, t)

    def bce(self, x, t):
        return self.forward(self.nn.binary_cross_entropy, x, t)

    def bcel(self, x, t):
        return self.forward(self.nn.binary_cross_entropy_with_logits, x, t)

    def bcel_grad(self, x, t):
        return self.backward(self.nn.binary_cross_entropy_with_logits, x, t)


class Inductor(Torch):
    """torch.compile; each problem is compiled afresh, for its own shape."""

    def prepare(self, function):
        self.torch.compiler.reset()
        return self.torch.compile(lambda x, t: function(x, t), dynamic=False)


class Jax:
    """Optax's losses, compiled for the shape."""

    def __init__(self, threads):
        import jax
        import optax

        jax.config.update("jax_enable_x64", True)
        self.version, self.jax, self.optax = jax.__version__, jax, optax

    def compiled(self, function, x, t):
        function, wait = self.jax.jit(function), self.jax.block_until_ready
        x, t = self.jax.numpy.asarray(x), self.jax.numpy.asarray(t)
        return lambda: wait(function(x, t))

    def cross_entropy(self, x, t):
        return self.optax.softmax_cross_entropy_with_integer_labels(x, t, axis=1).mean()

    def bce_with_logits(self, x, t):
        return self.optax.sigmoid_binary_cross_entropy(x, t).mean()

    def log_softmax(self, x, t):
        return self.compiled(lambda x, t: self.jax.nn.log_softmax(x, 1), x, t)

    def softmax(self, x, t):
        return self.compiled(lambda x, t: self.jax.nn.softmax(x, 1), x, t)

    def nll(self, x, t):
        expand, take = self.jax.numpy.expand_dims, self.jax.numpy.take_along_axis
        return self.compiled(lambda x, t: -take(x, expand(t, 1), 1).mean(), x, t)

    def ce(self, x, t):
        return self.compiled(self.cross_entropy, x, t)

    def ce_grad(self, x, t):
        return self.compiled(self.jax.value_and_grad(self.cross_entropy), x, t)

    def bce(self, x, t):
        log, clip = self.jax.numpy.log, self.jax.numpy.clip
        return self.compiled(lambda p, y: -(y * log(clip(p, 1e-7)) + (1 - y) * log(clip(1 - p, 1e-7))).mean(), x, t)

    def bcel(self, x, t):
        return self.compiled(self.bce_with_logits, x, t)

    def bcel_grad(self, x, t):
        return self.compiled(self.jax.value_and_grad(self.bce_with_logits), x, t)


class OnnxRuntime:
    """A graph of one node, into a buffer that exists."""

    def __init__(self, threads):
        import onnx
        import onnxruntime

        self.version, self.onnx, self.ort, self.threads = onnxruntime.__version__, onnx, onnxruntime, threads

    def model(self, node, x):
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(x.dtype)
        ends = [helper.make_tensor_value_info(name, kind, x.shape) for name in ("x", "y")]
        graph = helper.make_graph([helper.make_node(node, ["x"], ["y"], axis=1)], node, ends[:1], ends[1:])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()

    def node(self, node, x):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = self.ort.InferenceSession(self.model(node, x), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", self.ort.OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", self.ort.OrtValue.ortvalue_from_shape_and_type(x.shape, x.dtype))
        return lambda: session.run_with_iobinding(binding)

    def log_softmax(self, x, t):
        return self.node("LogSoftmax", x)

    def softmax(self, x, t):
        return self.node("Softmax", x)


PEERS = {
    "crossent": Crossent,
    "crossent_new": CrossentNew,
    "memory": Memory,
    "numpy": NumPy,
    "scipy": SciPy,
    "sklearn": ScikitLearn,
    "torch": Torch,
    "inductor": Inductor,
    "jax": Jax,
    "ort": OnnxRuntime,
}


# ---- measuring -------------------------------------------------------------------------------------------------------


def shortest(call, seconds):
    """The shortest time of one call over batches that are long enough for the clock."""
    calls = max(1, min(2000, int(BATCH_SECONDS / max(batch(call, 1), 1e-8))))
    best, batches, end = math.inf, 0, time.perf_counter() + seconds
    while batches < FEWEST_BATCHES or time.perf_counter() < end:
        best = min(best, batch(call, calls))
        batches += 1
    return best


def batch(call, calls):
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


class Worker:
    """Keeps the last problem, so that the rounds of one problem prepare it once."""

    def __init__(self, peer):
        self.peer, self.key, self.call = peer, None, None

    def answer(self, op, shape, dtype, seconds):
        if self.key != (op, shape, dtype):
            self.key, self.call = None, None
            gc.collect()
            self.call = self.prepared(op, shape, dtype)
            self.key = (op, shape, dtype)
        return {} if self.call is None else {"seconds": shortest(self.call, seconds)}

    def prepared(self, op, shape, dtype):
        """The call, warm; None if the peer has no such operation."""
        prepare = getattr(self.peer, op, None)
        call = prepare and prepare(*problem(op, shape, np.dtype(dtype)))
        for _ in range(2 if call else 0):
            call()
        return call


def pin(threads):
    """As many processors as threads: libraries that take all they see take these."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def answers_only():
    """Standard output, kept from the libraries: what they print goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def main():
    name, threads = sys.argv[1], int(sys.argv[2])
    out = answers_only()
    pin(threads)
    gc.disable()

    def say(answer):
        print(json.dumps(answer), file=out, flush=True)

    try:
        worker = Worker(PEERS[name](threads))
    except ImportError as error:
        return say({"missing": str(error)})
    say({"version": worker.peer.version})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(worker.answer(request["op"], tuple(request["shape"]), request["dtype"], request["seconds"]))
        except Exception as error:  # whatever a peer raises is its answer to this problem, and the others go on
            say({"error": f"{type(error).__name__}: {error}"[:300]})


if __name__ == "__main__":
    main()
