"""How many units in the last place crossent and its peers are off, on inputs chosen to hurt: writes docs/accuracy.md.

    python benchmarks/accuracy.py            # a few minutes; draws docs/accuracy.png too
    python benchmarks/accuracy.py --quick    # seconds; prints, writes nothing

The reference is that of the tests, tests/oracles.py: 200-bit arithmetic, rounded once. crossent is measured with every
kernel set that the processor can run; peers that are not installed are left out. The exit status is 1 if a result of
crossent is further off than promised. Needs mpmath, and matplotlib for the plot.
"""

import argparse
import functools
import importlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DTYPES = ["float32", "float64"]
NAMES = {
    "crossent": "crossent",
    "numpy": "NumPy formula",
    "scipy": "SciPy",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "jax": "JAX",
}
# The colours that Okabe and Ito chose to be told apart by colour-blind readers.
COLOURS = {
    "crossent": "#000000",
    "numpy": "#E69F00",
    "scipy": "#56B4E9",
    "sklearn": "#009E73",
    "torch": "#D55E00",
    "jax": "#CC79A7",
}
SMOOTHING = 0.1
ROWS = {False: (64, 37), True: (8, 11)}  # rows and classes; True: --quick
MANY = {False: 5003, True: 503}  # the case "many classes"
SOFT = "soft targets"


# ---- what is measured ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """oracle and options name the reference in tests/oracles.py; limit is what crossent promises, in ulp."""

    key: str
    title: str
    oracle: str
    limit: float
    cases: str = "rows"  # "rows", "finite rows", "soft rows", "elements" or "probabilities"
    gradient: bool = False
    label_smoothing: float = 0.0

    def limit_of(self, case):
        return max(self.limit, 1.5) if case == SOFT else self.limit


OPERATIONS = [
    Operation("logsumexp", "`logsumexp`", "logsumexp", 1),
    Operation("log_softmax", "`log_softmax`", "log_softmax", 1),
    Operation("softmax", "`softmax`", "softmax", 2),
    Operation("ce", "`cross_entropy`", "cross_entropy", 1),
    Operation("ce_grad", "its gradient", "cross_entropy", 2, gradient=True),
    Operation("smooth", "`cross_entropy`, smoothed", "cross_entropy", 1.5, "finite rows", False, SMOOTHING),
    Operation("smooth_grad", "its gradient", "cross_entropy", 2, "finite rows", True, SMOOTHING),
    Operation("soft", "`cross_entropy`, soft targets", "cross_entropy", 1.5, "soft rows"),
    Operation("soft_grad", "its gradient", "cross_entropy", 2, "soft rows", True),
    Operation("sigmoid", "`sigmoid`", "sigmoid", 2, "elements"),
    Operation("log_sigmoid", "`log_sigmoid`", "log_sigmoid", 1, "elements"),
    Operation("bce", "`binary_cross_entropy`", "binary_cross_entropy", 1, "probabilities"),
    Operation("bce_grad", "its gradient", "binary_cross_entropy", 2, "probabilities", True),
    Operation("bcel", "`binary_cross_entropy_with_logits`", "binary_cross_entropy_with_logits", 1, "elements"),
    Operation("bcel_grad", "its gradient", "binary_cross_entropy_with_logits", 2, "elements", True),
]


def row_cases(rng, quick):
    """Logits and class indices by name of the case."""
    n, c = ROWS[quick]
    base = rng.standard_normal((n, c))
    index = rng.integers(0, c, n)
    hot = one_hot(index, c)
    two = 12 * rng.standard_normal((n, 2))
    many = 2 * rng.standard_normal((4, MANY[quick]))
    return {
        "normal": (3 * base, index),
        "wide": (30 * base, index),
        "shifted by 1e4": (base + 1e4, index),
        "confident": (base + 12 * hot, index),
        "very confident": (base + 30 * hot, index),
        "near ties": (5 + 1e-3 * base.round(2), index),
        "classes of -inf": (np.where((np.arange(c) % 3 == 0) & (hot == 0), -np.inf, base), index),
        "two classes": (two, two.argmax(1)),
        "many classes": (many, rng.integers(0, many.shape[1], 4)),
    }


def soft_targets(rng, logits, index):
    """Probabilities, most of them on the index, and none where the logit is -inf."""
    q = rng.random(logits.shape) ** 4 * np.isfinite(logits) + 3 * one_hot(index, logits.shape[1])
    return q / q.sum(1, keepdims=True)


def element_cases(rng, quick):
    """Logits and targets in [0, 1] by name of the case."""
    n = 40 if quick else 400
    wide = 15 * rng.standard_normal(n)
    margin = np.linspace(-80, 80, 33 if quick else 321)
    cases = {name: (x, rng.random(n) < 0.5) for name, x in {"normal": 3 * wide / 15, "wide": wide}.items()}
    return cases | {
        "right": (margin, margin > 0),
        "near 0": (1e-4 * wide, rng.random(n) < 0.5),
        SOFT: (wide, rng.random(n)),
    }


def one_hot(index, n_classes):
    return (np.arange(n_classes) == index[:, None]).astype(float)


def probabilities(logits, dtype):
    """Their sigmoid, short of 0 and 1."""
    info = np.finfo(dtype)
    return (1 / (1 + np.exp(-logits))).astype(dtype).clip(info.tiny, 1 - info.epsneg)


def problems(kind, dtype, seed, quick):
    """(case, input, target) in dtype for an operation's kind of cases."""
    rng = np.random.default_rng(seed)
    for case, (x, target) in (row_cases if kind.endswith("rows") else element_cases)(rng, quick).items():
        if kind == "finite rows" and not np.isfinite(x).all():
            continue
        if kind == "soft rows":
            target = soft_targets(rng, x, target).astype(dtype)
        if not kind.endswith("rows"):
            target = target.astype(dtype)
        yield case, probabilities(x, dtype) if kind == "probabilities" else x.astype(dtype), target


# ---- the peers: functions of (input, target) that return the value at every row or element ---------------------------


def crossent_functions():
    import crossent as ce

    def loss(function, **options):
        return lambda x, t: function(x, t, reduction="none", **options)

    def grad(function, **options):
        return lambda x, t: ce.value_and_grad(function)(x, t, reduction="sum", **options)[1]

    losses = {
        "ce": (ce.cross_entropy, {}),
        "smooth": (ce.cross_entropy, {"label_smoothing": SMOOTHING}),
        "soft": (ce.cross_entropy, {}),
        "bce": (ce.binary_cross_entropy, {}),
        "bcel": (ce.binary_cross_entropy_with_logits, {}),
    }
    maps = ["logsumexp", "log_softmax", "softmax", "sigmoid", "log_sigmoid"]
    return (
        {name: functools.partial(lambda f, x, t: f(x), getattr(ce, name)) for name in maps}
        | {name: loss(function, **options) for name, (function, options) in losses.items()}
        | {name + "_grad": grad(function, **options) for name, (function, options) in losses.items()}
    )


def crossent_with(isa):
    """The functions, each switching to the kernels of one instruction set."""
    from crossent import _kernels

    def switched(function):
        def call(x, t):
            before = _kernels.use_isa(isa)
            try:
                return function(x, t)
            finally:
                _kernels.use_isa(before)

        return call

    return {name: switched(function) for name, function in crossent_functions().items()}


def smoothed(t, like):
    return ((1 - SMOOTHING) * one_hot(t, like.shape[1]) + SMOOTHING / like.shape[1]).astype(like.dtype)


def numpy_functions():
    """What is usually written by hand: shifted by the maximum, with log1p for logits, but no further care."""

    def log_softmax(x):
        shifted = x - x.max(1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    def softmax(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def soft(x, q):
        return -(q * log_softmax(x)).sum(1)

    def index_grad(x, t):
        return softmax(x) - one_hot(t, x.shape[1]).astype(x.dtype)

    return {
        "logsumexp": lambda x, t: x.max(1) + np.log(np.exp(x - x.max(1, keepdims=True)).sum(1)),
        "log_softmax": lambda x, t: log_softmax(x),
        "softmax": lambda x, t: softmax(x),
        "ce": lambda x, t: -log_softmax(x)[np.arange(len(t)), t],
        "ce_grad": index_grad,
        "smooth": lambda x, t: soft(x, smoothed(t, x)),
        "smooth_grad": lambda x, t: softmax(x) - smoothed(t, x),
        "soft": soft,
        "soft_grad": lambda x, q: softmax(x) - q,
        "sigmoid": lambda x, t: sigmoid(x),
        "log_sigmoid": lambda x, t: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
        "bce": lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)),
        "bce_grad": lambda p, y: (p - y) / (p * (1 - p)),
        "bcel": lambda x, y: np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x))),
        "bcel_grad": lambda x, y: sigmoid(x) - y,
    }


def scipy_functions():
    from scipy import special

    return {
        "logsumexp": lambda x, t: special.logsumexp(x, axis=1),
        "log_softmax": lambda x, t: special.log_softmax(x, axis=1),
        "softmax": lambda x, t: special.softmax(x, axis=1),
        "ce": lambda x, t: -special.log_softmax(x, axis=1)[np.arange(len(t)), t],
        "ce_grad": lambda x, t: special.softmax(x, axis=1) - one_hot(t, x.shape[1]).astype(x.dtype),
        "sigmoid": lambda x, t: special.expit(x),
        "log_sigmoid": lambda x, t: special.log_expit(x),
        "bce": lambda p, y: -(special.xlogy(y, p) + special.xlog1py(1 - y, -p)),
        "bcel": lambda x, y: -(y * special.log_expit(x) + (1 - y) * special.log_expit(-x)),
        "bcel_grad": lambda x, y: special.expit(x) - y,
    }


def sklearn_functions():
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss

    def rows(x, t):
        loss = HalfMultinomialLoss(n_classes=x.shape[1])
        return loss.loss_gradient(y_true=t.astype(x.dtype), raw_prediction=np.ascontiguousarray(x))

    def elements(x, y):
        return HalfBinomialLoss().loss_gradient(y_true=y, raw_prediction=x)

    return {
        "ce": lambda x, t: rows(x, t)[0],
        "ce_grad": lambda x, t: rows(x, t)[1],
        "bcel": lambda x, y: elements(x, y)[0],
        "bcel_grad": lambda x, y: elements(x, y)[1],
    }


def torch_functions():
    import torch
    from torch.nn import functional as nn

    def map_of(function, *args):
        return lambda x, t: function(torch.from_numpy(x), *args).numpy()

    def loss(function, **options):
        return lambda x, t: function(torch.from_numpy(x), torch.from_numpy(t), reduction="none", **options).numpy()

    def grad(function, **options):
        def call(x, t):
            leaf = torch.from_numpy(x.copy()).requires_grad_(True)
            function(leaf, torch.from_numpy(t), reduction="sum", **options).backward()
            return leaf.grad.numpy()

        return call

    functions = {
        "logsumexp": map_of(torch.logsumexp, 1),
        "log_softmax": map_of(nn.log_softmax, 1),
        "softmax": map_of(nn.softmax, 1),
        "sigmoid": map_of(torch.sigmoid),
        "log_sigmoid": map_of(nn.logsigmoid),
        "smooth": loss(nn.cross_entropy, label_smoothing=SMOOTHING),
        "smooth_grad": grad(nn.cross_entropy, label_smoothing=SMOOTHING),
    }
    losses = {"ce": nn.cross_entropy, "soft": nn.cross_entropy, "bce": nn.binary_cross_entropy}
    losses["bcel"] = nn.binary_cross_entropy_with_logits
    for name, function in losses.items():
        functions |= {name: loss(function), name + "_grad": grad(function)}
    return functions


def jax_functions():
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)

    def smooth(x, t):
        return optax.softmax_cross_entropy(x, smoothed(t, x))

    functions = {
        "logsumexp": lambda x, t: jax.nn.logsumexp(x, axis=1),
        "log_softmax": lambda x, t: jax.nn.log_softmax(x),
        "softmax": lambda x, t: jax.nn.softmax(x),
        "sigmoid": lambda x, t: jax.nn.sigmoid(x),
        "log_sigmoid": lambda x, t: jax.nn.log_sigmoid(x),
    }
    losses = {
        "ce": optax.softmax_cross_entropy_with_integer_labels,
        "smooth": smooth,
        "soft": optax.softmax_cross_entropy,
        "bcel": optax.sigmoid_binary_cross_entropy,
    }
    for name, function in losses.items():
        functions[name] = function
        functions[name + "_grad"] = jax.grad(lambda x, t, function=function: function(x, t).sum())
    return functions


PEERS = {
    "numpy": numpy_functions,
    "scipy": scipy_functions,
    "sklearn": sklearn_functions,
    "torch": torch_functions,
    "jax": jax_functions,
}


def competitors(wanted):
    """The functions by name: "crossent avx2" and its like, and those of the peers wanted that are installed."""
    from crossent import _kernels

    found = {f"crossent {isa}": crossent_with(isa) for isa in _kernels.isas()}
    for peer in wanted:
        try:
            found[peer] = PEERS[peer]()
        except ImportError as error:
            print(f"{peer} is left out: {error}")
    return found


def versions(results):
    """ "PyTorch 2.13.0, JAX 0.10.2": the peers in the results."""
    peers = [peer for peer in PEERS if any(r.peer == peer for r in results)]
    return ", ".join(f"{NAMES[p].split()[0]} {importlib.import_module(p).__version__}" for p in peers)


# ---- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """The worst element of one case: its error in ulp and relative to the exact value, and what was returned."""

    operation: str
    case: str
    dtype: str
    peer: str
    limit: float
    ulp: float
    relative: float
    returned: float

    @property
    def within(self):
        return self.ulp <= self.limit


@functools.cache
def oracles():
    """tests/oracles.py"""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        import oracles
    except ImportError as error:
        sys.exit(f"The exact values come from tests/oracles.py, which needs mpmath: {error}")
    return oracles


def exact_values(operation, x, target):
    """The exact result, and what its error is judged against where that is not the result itself (else None)."""
    if hasattr(oracles(), operation.oracle + "_parts"):  # a loss
        options = {"label_smoothing": operation.label_smoothing} if operation.label_smoothing else {}
        parts = oracles().parts(operation.oracle, x, target, **options)
        return (parts.grad, parts.grad_scale) if operation.gradient else (parts.loss, parts.loss_scale)
    scale = getattr(oracles(), operation.oracle + "_scale", None)
    return getattr(oracles(), operation.oracle)(x), scale and scale(x)


def worst_element(got, exact, scale, dtype):
    """(ulp, relative error, value) of the element that is furthest off; subnormal results do not count."""
    got = np.asarray(got).astype(dtype).astype(np.float64)
    size = np.abs(exact.hi) if scale is None else np.fmax(np.abs(exact.hi), np.abs(scale).astype(np.float64))
    ulp = oracles().ulp_error(got, exact, dtype, None if scale is None else scale.astype(np.float64))
    ulp = np.where((0 < size) & (size < np.finfo(dtype).tiny), 0, ulp)
    worst = np.unravel_index(np.argmax(ulp), ulp.shape)
    relative = np.abs(got[worst] - exact.hi[worst] - exact.lo[worst]) / size[worst] if size[worst] else ulp[worst]
    return float(ulp[worst]), float(relative), float(got[worst])


def measure(found, dtypes=DTYPES, seeds=(0,), quick=False, show=print):
    """The results of all operations and cases, the worst over the seeds."""
    results = {}
    for dtype in dtypes:
        for operation in OPERATIONS:
            for seed in seeds:
                for result in measure_operation(operation, found, dtype, seed, quick):
                    key = (result.operation, result.case, result.dtype, result.peer)
                    results[key] = max(results.get(key, result), result, key=lambda r: r.ulp)
            show(progress_line(operation, dtype, results.values()))
    return list(results.values())


def measure_operation(operation, found, dtype, seed, quick):
    for case, x, target in problems(operation.cases, dtype, seed, quick):
        values, scale = exact_values(operation, x, target)
        exact = oracles().reference(values)
        for peer, functions in found.items():
            if operation.key in functions:
                with np.errstate(all="ignore"):
                    got = functions[operation.key](x, target)
                    error = worst_element(got, exact, scale, np.dtype(dtype))
                yield Result(operation.key, case, dtype, peer, operation.limit_of(case), *error)


def progress_line(operation, dtype, results):
    mine = [r for r in results if (r.operation, r.dtype) == (operation.key, dtype)]
    peers = dict.fromkeys(r.peer for r in mine)
    worst = (f"{peer} {max(r.ulp for r in mine if r.peer == peer):.3g}" for peer in peers)
    return f"{dtype} {operation.key:12} worst ulp: {', '.join(worst)}"


# ---- the page --------------------------------------------------------------------------------------------------------


def family(peer):
    """ "crossent" for "crossent avx2"."""
    return peer.split()[0]


def worst_result(results, **wanted):
    """The worst of the results with these attributes, against their limits; None if there is none."""
    chosen = [r for r in results if all(getattr(r, key) == value for key, value in wanted.items())]
    return max(chosen, key=lambda r: r.ulp / r.limit, default=None)


def of_family(results, name):
    return [r for r in results if family(r.peer) == name]


def cell(result):
    """Bold within the promise; ulp above it; from 1000 ulp on what is left of the number, in italics."""
    if result is None:
        return ""
    if result.within:
        return f"**{result.ulp:.2f}**"
    if result.ulp < 1000:
        return f"{result.ulp:.3g}"
    if result.returned == 0:
        return "*returns 0*"
    if not np.isfinite(result.returned):
        return "*returns NaN*" if np.isnan(result.returned) else "*returns inf*"
    return f"*off by {percent(result.relative)}*"


def percent(relative):
    if relative < 1e-5:
        return f"{relative:.0e}".replace("e-0", "e-")
    return f"{100 * relative:.0f} %" if relative > 0.1 else f"{100 * relative:.2g} %"


def families(results):
    present = {family(r.peer) for r in results}
    return [name for name in NAMES if name in present]


def markdown_table(header, rows, left=1):
    rule = ["---"] * left + ["--:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [header, rule, *rows])


def titles():
    """Operation and title; a gradient's says of what."""
    loss = ""
    for operation in OPERATIONS:
        loss = loss if operation.gradient else operation.title
        yield operation, f"{loss}: gradient" if operation.gradient else loss


def summary_table(results, dtype, title=None):
    """The worst case of each operation; one column for each library."""
    columns = families(results)
    rows = []
    for operation, words in titles():
        mine = [r for r in results if (r.operation, r.dtype) == (operation.key, dtype)]
        if mine:
            rows.append([words, *(cell(worst_result(of_family(mine, name))) for name in columns)])
    return markdown_table([title or dtype, *(NAMES[c] for c in columns)], rows)


def case_table(results, operation, dtype):
    columns = families(results)
    mine = [r for r in results if (r.operation, r.dtype) == (operation.key, dtype)]
    rows = [
        [case, *(cell(worst_result(of_family(mine, name), case=case)) for name in columns)]
        for case in dict.fromkeys(r.case for r in mine)
    ]
    return markdown_table([dtype, *(NAMES[c] for c in columns)], rows)


def isa_table(results):
    """crossent alone: the largest error of each operation, by kernel set and dtype."""
    columns = list(dict.fromkeys((r.peer, r.dtype) for r in of_family(results, "crossent")))
    rows = []
    for operation, title in titles():
        worst = [worst_result(results, operation=operation.key, peer=peer, dtype=dtype) for peer, dtype in columns]
        rows.append([title, f"{operation.limit:g}", *(f"{r.ulp:.3f}" for r in worst)])
    return markdown_table(["", "promised", *(f"{peer.split()[1]}, {dtype}" for peer, dtype in columns)], rows)


PAGE = """\
# Accuracy

<!-- Written by benchmarks/accuracy.py: change that, not this page. -->

A unit in the last place (ulp) of a number is the distance between the floating-point numbers around it: at most 1.2e-7
of the number in float32, 2.2e-16 in float64. The best that any function can do is 0.5, the exact result rounded once.
`crossent` promises at most

- **1** ulp for `log_softmax`, `log_sigmoid`, `logsumexp` and the losses (for `logsumexp` and `kl_div` where the terms
  do not cancel to nearly 0),
- **1.5** for losses with soft targets or label smoothing,
- **2** for `softmax`, `sigmoid` and all gradients,

for every finite input, in float32 and float64, on every instruction set.

![Relative error of the loss and of its gradient against the gap between the two logits]({plot})

The plot has two classes, one of them the target, its logit ahead by the gap: what a well-trained classifier returns for
an easy example. The exact loss is log(1 + e^-gap), the gradient at the target -1 / (1 + e^gap). The usual formulas, the
logarithm of a sum that holds the target's own 1, and p - 1, lose a digit for every 2.3 that the gap grows, until they
return 0: a relative error of 1. Each point is the largest of {per_bin} errors in a step of {bin_width:g}; lines that
lie on one another are drawn with different widths.

## The worst case of each operation

**Bold**: within what `crossent` promises. Plain: more; the largest error in ulp. *Italics*, from 1000 ulp on: what that
means, relative to the exact result. Empty: the library has no such function, or none that returns the values before
their mean.

{summaries}

## crossent on each instruction set

Largest error in ulp. With soft targets the binary losses promise 1.5.

{isas}

## Every case

{cases}

## What the same bits cost

AVX2, AVX-512 and NEON add in one order: 16 virtual lanes of floats or 8 of doubles, four of them to a block, one table
of eight powers of two for all. Prototypes within the same error bound have the order, the lanes and the table that each
instruction set likes best. Timed in turns on the same data in the cache (float32, one thread, shortest times, Zen 5),
the fixed order takes longer by

| | `cross_entropy`, C = 1000 | C = 10000 | `log_softmax`, C = 1000 | BCE with logits, sum |
| --- | --: | --: | --: | --: |
| AVX-512 (sixteen powers, a cubic) | 4 % | 4 % | 3 % | 4 % |
| AVX2 (8 lanes, tails added before they are widened) | 5 % | 7 % | 3 % | 2 % |

NEON was not timed. The baseline is not bound to these bits; it pays for sharing their text, where SSE2 has neither a
fused multiply-add nor a permutation: against a prototype without the table it takes 27 % longer at C = 1000, and 39 %
at C = 10000.

## How it is measured

The result of each row or element, before any mean, is compared with 200-bit arithmetic on the same inputs
(`tests/oracles.py`, which the tests use too), and the largest error is taken. It counts in ulp of the exact result. Two
kinds of results are differences of larger numbers by nature, and their errors count in ulp of those: gradients with
soft targets or smoothing, p - q, of the larger of p and q; a logsumexp near 0, of a quarter of the row's maximum.
Results below the smallest normal number are left out here, because some libraries set them to 0; the tests have them.

Cases over rows have {rows}. *normal* and *wide* are standard normal logits times 3 and 30; *confident* and
*very confident* have 12 and 30 added at the target; in *near ties* all logits are 5 up to a few thousandths; in
*classes of -inf* a third of the classes is masked, never the target; *two classes* are standard normal times 12 with
the larger one as the target; *many classes* are {many}. Cases over elements: *normal*, *wide* and *near 0* are standard
normal logits times 3, 15 and 0.0015, with targets 0 or 1 at random; in *right* the target is what the logit says, from
-80 to 80. For `binary_cross_entropy` the input is their sigmoid, rounded, and short of 0 and 1.

*NumPy formula* is the usual one: the maximum is subtracted first, and `log1p` is used for logits. SciPy's losses are
written with its `log_softmax` and `log_expit`, JAX's are Optax's, scikit-learn's are those that its own estimators use.
Versions: {versions}.

Once more, and with other random numbers:

```sh
pip install -e ".[test,bench]" matplotlib optax
python benchmarks/accuracy.py
python benchmarks/accuracy.py --seeds 21 --dtypes float32 --peers torch --docs build
```
"""


def write_page(results, folder, plot, quick):
    """docs/accuracy.md from the results."""
    (n_rows, n_classes), many = ROWS[quick], MANY[quick]
    dtypes = list(dict.fromkeys(r.dtype for r in results))
    sections = []
    for operation, title in titles():
        tables = "\n\n".join(case_table(results, operation, dtype) for dtype in dtypes)
        sections.append(f"### {title}\n\n{tables}")
    text = PAGE.format(
        plot=plot.name,
        per_bin=PER_BIN,
        bin_width=BIN_WIDTH,
        summaries="\n\n".join(summary_table(results, dtype) for dtype in dtypes),
        isas=isa_table(results),
        cases="\n\n".join(sections),
        rows=f"{n_rows} rows of {n_classes} classes",
        many=many,
        versions=versions(results),
    )
    page = folder / "accuracy.md"
    page.write_text(text, encoding="utf-8")
    return page


# ---- the plot --------------------------------------------------------------------------------------------------------

MAX_GAP, BIN_WIDTH, PER_BIN = 40, 0.5, 25


def gap_errors(found, dtype, per_bin=PER_BIN):
    """Largest relative error of the loss and of the target's gradient in each bin of gaps: {peer: array (2, bins)}."""
    bins = int(MAX_GAP / BIN_WIDTH)
    gap = BIN_WIDTH * (np.arange(bins)[:, None] + np.random.default_rng(0).random((bins, per_bin)))
    gap = gap.ravel().astype(dtype)
    logits = np.stack([gap, np.zeros_like(gap)], 1)
    target = np.zeros(len(gap), np.int64)
    parts = oracles().parts("cross_entropy", logits, target)
    exact = [oracles().reference(parts.loss), oracles().reference(parts.grad[:, 0])]
    errors = {}
    for peer, functions in found.items():
        if "ce" in functions:
            got = [np.asarray(functions["ce"](logits, target)), np.asarray(functions["ce_grad"](logits, target))[:, 0]]
            relative = [np.abs((g.astype(float) - e.hi - e.lo) / e.hi) for g, e in zip(got, exact, strict=True)]
            errors[peer] = np.array(relative).reshape(2, bins, per_bin).max(2)
    return errors


def worst_of_family(errors):
    """{"crossent": the largest of its kernel sets' errors, ...}"""
    merged = {}
    for peer, error in errors.items():
        merged[family(peer)] = np.fmax(merged.get(family(peer), 0), error)
    return merged


def draw_gaps(found, dtypes, path):
    """Four panels: loss and gradient, float32 and float64."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(dtypes), figsize=(10, 7), sharex=True, sharey="col", squeeze=False)
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.04)
    for column, dtype in zip(axes.T, dtypes, strict=True):
        errors = worst_of_family(gap_errors(found, dtype))
        for quantity, panel in enumerate(column):
            draw_panel(panel, {peer: error[quantity] for peer, error in errors.items()}, dtype)
        column[0].set_title(f"loss, {dtype}")
        column[1].set_title(f"gradient at the target, {dtype}")
        column[1].set_xlabel("how far the target's logit is ahead")
    for panel in axes[:, 0]:
        panel.set_ylabel("relative error")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(NAMES), frameon=False)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def draw_panel(panel, errors, dtype):
    """One line for each peer, the later the thinner, so that those that coincide are all seen."""
    eps = np.finfo(dtype).eps
    middles = BIN_WIDTH * (np.arange(int(MAX_GAP / BIN_WIDTH)) + 0.5)
    widths = {"crossent": 2.5, "numpy": 9, "scipy": 6.8, "torch": 4.6, "jax": 2.6, "sklearn": 1.2}
    for peer, width in widths.items():
        if peer in errors:
            style = {"color": COLOURS[peer], "linewidth": width, "solid_capstyle": "butt"}
            panel.semilogy(middles, np.maximum(errors[peer], eps / 16), label=NAMES[peer], **style)
    for height, x, side, text in ((1, 0.5, "left", "no digit is right"), (eps, MAX_GAP - 0.5, "right", "1 ulp")):
        panel.axhline(height, color="0.5", linewidth=0.8, linestyle=":", zorder=0)
        panel.text(x, 1.5 * height, text, color="0.35", fontsize=9, ha=side)
    panel.set_ylim(eps / 10, 60)
    panel.set_xlim(0, MAX_GAP)
    panel.minorticks_off()
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


# ---- the command -----------------------------------------------------------------------------------------------------


def parse_arguments():
    parser = argparse.ArgumentParser(description="Errors of crossent and its peers in units in the last place.")
    parser.add_argument("--quick", action="store_true", help="few numbers; nothing is written unless asked for")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--peers", default=",".join(PEERS), help="beside crossent; those not installed are left out")
    parser.add_argument("--seeds", type=int, default=1, help="how many sets of random numbers; the worst counts")
    parser.add_argument("--docs", type=Path, help="folder for accuracy.md and accuracy.png (default: docs)")
    parser.add_argument("--json", type=Path, help="write the results there, for benchmarks/peers.py --accuracy")
    return parser.parse_args()


def load(path):
    return [Result(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def main():
    args = parse_arguments()
    dtypes = args.dtypes.split(",")
    found = competitors([peer for peer in args.peers.split(",") if peer])
    results = measure(found, dtypes, range(args.seeds), args.quick, show=functools.partial(print, flush=True))
    if args.json:
        args.json.write_text(json.dumps([asdict(r) for r in results], indent=0), encoding="utf-8")
    if folder := args.docs or (None if args.quick else ROOT / "docs"):
        folder.mkdir(exist_ok=True)
        draw_gaps(found, dtypes, folder / "accuracy.png")
        print("wrote", write_page(results, folder, folder / "accuracy.png", args.quick))
    over = [r for r in of_family(results, "crossent") if not r.within]
    for r in over:
        print(f"above the promise of {r.limit:g} ulp: {r.peer}, {r.dtype} {r.operation}, {r.case}: {r.ulp:.3f}")
    print(f"crossent: {len(over)} of {len(of_family(results, 'crossent'))} cases above what is promised")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
