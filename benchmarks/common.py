"""What the benchmarks share: sizes, data, and the names of this library as far as the commit at hand has them.

asv runs these files against old commits too. Parameters are therefore fixed lists, never asked from the library, and
what a commit lacks raises NotImplementedError in `setup`, which makes asv skip it. A released benchmark keeps its
name and its parameters: asv tells results apart by them.
"""

import numpy as np

try:
    import crossent as ce
except ImportError:  # a commit from before the library could be imported
    ce = None
try:
    from crossent import _kernels
except ImportError:
    _kernels = None

DTYPES = ["float32", "float64"]
ISAS = ["baseline", "avx2", "avx512", "neon"]

# (rows, classes): a single call's cost; rows that fit into one vector; L2; beyond the last-level cache.
ROW_SHAPES = {"tiny": (1, 10), "short": (8192, 10), "cache": (256, 1000), "memory": (8192, 1000)}
SHORT_ROWS_OF_MEMORY = (262_144, 33)
# Two classes; planes that share a set of the first-level cache; 49 positions, one more than three tiles.
IMAGES = {"masks": (4, 2, 300, 300), "planes": (4, 19, 160, 160), "positions": (8, 1000, 7, 7)}
ELEMENTS = {"tiny": 100, "cache": 100_000, "memory": 8_000_000}

MAPS = ["softmax", "log_softmax", "logsumexp", "sigmoid", "log_sigmoid"]
ROW_MAPS = MAPS[:3]
BACKWARD_MAPS = ["softmax_backward", "log_softmax_backward"]
ROW_LOSSES = ["cross_entropy", "nll_loss"]
ELEMENT_LOSSES = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "mse_loss"]
LOSSES = ROW_LOSSES + ELEMENT_LOSSES
LOSSES_WITH_HESS = ["cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"]


def need(module, name):
    """module.name, or the exception that makes asv skip the benchmark."""
    found = getattr(module, name, None)
    if found is None:
        raise NotImplementedError(f"{name} does not exist yet")
    return found


def function(name):
    return need(ce, name)


def value_and_grad(name):
    return function("value_and_grad")(function(name))


def value_grad_and_hess(name):
    return function("value_grad_and_hess")(function(name))


def force_isa(name):
    if name not in need(_kernels, "isas")():
        raise NotImplementedError(f"{name} is not available here")
    need(_kernels, "use_isa")(name)


def normal(shape, dtype, seed=0):
    """Every page written: untouched pages of a new array would make the first call look slow."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=dtype)


def written(shape, dtype):
    """An output buffer whose pages exist already."""
    return np.full(shape, 1, dtype)


def row_data(loss, shape, dtype, axis=1):
    """(input, target) of a loss over rows, with `shape` (rows, classes) and the class axis where it is wanted."""
    n_rows, n_classes = shape
    logits = normal((n_rows, n_classes), dtype)
    logits *= 3  # in place: bench_memory measures the peak
    if loss == "nll_loss":
        logits -= 10
    target = np.random.default_rng(1).integers(0, n_classes, n_rows)
    return (logits if axis == 1 else np.ascontiguousarray(logits.T)), target


def element_data(loss, n, dtype):
    """(input, target) of a loss over elements; the targets of the binary losses are 0 or 1."""
    input = normal(n, dtype)
    rng = np.random.default_rng(1)
    if loss in ("kl_div", "mse_loss"):
        return input, np.abs(normal(n, dtype, seed=1))
    if loss == "binary_cross_entropy":
        input = 1 / (1 + np.exp(-input))
    return input, (rng.random(n, dtype=np.float32) < 0.3).astype(dtype)


def data(loss, size, dtype):
    if loss in ROW_LOSSES:
        return row_data(loss, ROW_SHAPES[size], dtype)
    return element_data(loss, ELEMENTS[size], dtype)
