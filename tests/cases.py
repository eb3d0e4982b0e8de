"""The registry: what there is to test. One ``Case`` per public map or loss; every other file draws from it.

A new loss needs a line in ``CASES``, an oracle in oracles.py, and no other test file. ``test_registry.py`` fails when a
public function has no case, or a kernel is reached by none.

A variant of a case says how to make the other arguments (target, weights, options) for a given input. A regime is a
distribution of inputs that hurts: ties, confident rows, infinities, subnormal numbers, very long rows.
"""

import contextlib
import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import oracles

import crossent as ce

MAPS = ("row_map", "element_map", "row_map_backward")
LOSSES = ("row_loss", "element_loss")


@dataclass(frozen=True)
class Variant:
    """make(rng, input, index, axis) -> (further positional arguments, options).

    index holds a class for every row of a row-wise function; it is None for an element-wise one.
    """

    label: str
    make: Callable = lambda rng, x, index, axis: ((), {})
    limit: float = 1.0  # of the value, in ulp
    grad_limit: float = 2.0  # of gradient and Hessian
    kernel: str | None = None  # if it is not the case's
    overflows: bool = False  # what is added or weighted may be infinite where the exact value is not


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    variants: tuple = (Variant("plain"),)
    kernel: str | None = None
    sum_kernel: str | None = None  # that sums and means of plain arrays without weights take
    hessian: bool = False
    keeps_shape: bool = True  # the unreduced value has the input's shape
    domain: str = "real"  # of the input: "real", "probability", "log probability"
    scale: Callable | None = None  # oracle of the size that the value's error is judged against, if not the value's own
    reductions: tuple = ("none", "mean", "sum")

    @property
    def function(self):
        return getattr(ce, self.name)

    @property
    def oracle(self):
        return getattr(oracles, self.name)

    @property
    def kernels(self):
        """The lines of csrc/kernels.def that the variants reach."""
        named = {variant.kernel or self.kernel or self.name for variant in self.variants}
        return named | ({self.sum_kernel} if self.sum_kernel else set())

    @property
    def is_loss(self):
        return self.kind in LOSSES

    @property
    def is_row_wise(self):
        return self.kind.startswith("row")


@dataclass(frozen=True)
class Call:
    """One call, ready to make: function(*arguments, **options)."""

    case: Case
    variant: Variant
    arguments: tuple
    options: dict = field(default_factory=dict)

    def __call__(self, **more):
        return self.case.function(*self.arguments, **self.options, **more)

    def value_and_grad(self, **more):
        return ce.value_and_grad(self.case.function)(*self.arguments, **self.options, **more)

    def value_grad_and_hess(self, **more):
        return ce.value_grad_and_hess(self.case.function)(*self.arguments, **self.options, **more)

    def unreduced(self, **more):
        """The value before any reduction: an array, whatever the kind."""
        return self(**({"reduction": "none"} if self.case.is_loss else {}), **more)

    @functools.cached_property
    def parts(self):
        """The exact loss, gradient and Hessian of a loss before its reduction."""
        return oracles.parts(self.case.name, *self.arguments, **self.options)

    @functools.cached_property
    def exact(self):
        """The exact unreduced value, ready to compare with."""
        value = self.parts.loss if self.case.is_loss else self.case.oracle(*self.arguments, **self.options)
        return oracles.reference(value)

    @functools.cached_property
    def exact_grad(self):
        return oracles.reference(self.parts.grad)

    @functools.cached_property
    def exact_hess(self):
        return oracles.reference(self.parts.hess)

    def outcome(self, reduction, grad_output=None):
        """The exact loss, gradient and Hessian after the reduction, in float64."""
        batch = oracles.batch_of(self.arguments[0])
        return tuple(oracles.reference(v).hi for v in oracles.outcome(self.parts, reduction, batch, grad_output))

    @functools.cached_property
    def scale(self):
        """Sizes of the terms that the value is a difference of, or None."""
        if self.case.is_loss:
            return oracles.floats(self.parts.loss_scale)
        return oracles.floats(self.case.scale(*self.arguments, **self.options)) if self.case.scale else None

    @functools.cached_property
    def grad_scale(self):
        return oracles.floats(self.parts.grad_scale)

    def with_arguments(self, *arguments):
        return Call(self.case, self.variant, arguments, self.options)


# ---- targets and options ---------------------------------------------------------------------------------------------


def rows_shape(x, axis):
    return tuple(np.delete(x.shape, axis))


def n_classes(x, axis):
    return x.shape[axis]


def class_weight(rng, x, axis):
    return (rng.random(n_classes(x, axis)) + 0.1).astype(x.dtype)


def one_hot(x, index, axis):
    hot = np.arange(n_classes(x, axis)) == np.asarray(index)[..., None]
    return np.moveaxis(hot, -1, axis).astype(x.dtype)


def soft_target(rng, x, index, axis):
    """Probabilities, most of them on the index; 0 where the logit is -inf, so that 0 * log 0 is met."""
    q = rng.random(x.shape) * (rng.random(x.shape) < 0.7) + 2 * one_hot(x, index, axis)
    q = np.where(np.isneginf(x), one_hot(x, index, axis), q)
    return (q / q.sum(axis, keepdims=True)).astype(x.dtype)


def some_ignored(rng, index, value=-100):
    """About a third of the rows; the first one if there are few."""
    index = np.array(index)
    index[rng.random(index.shape) < 0.3] = value
    index.reshape(-1)[:1] = value
    return index


def index_with(*names):
    """Targets are class indices, with the options named."""

    def make(rng, x, index, axis):
        options = {"axis": axis}
        if "weight" in names:
            options["weight"] = class_weight(rng, x, axis)
        if "smoothing" in names:
            options["label_smoothing"] = 0.1
        if "ignored" in names:
            index = some_ignored(rng, index)
        if "ignored class" in names:
            options["ignore_index"] = int(np.asarray(index).reshape(-1)[0]) if np.size(index) else 0
        return (index,), options

    return make


def soft_with(*names):
    """Targets are probabilities, with the options named."""

    def make(rng, x, index, axis):
        options = {"axis": axis}
        if "weight" in names:
            options["weight"] = class_weight(rng, x, axis)
        if "smoothing" in names:
            options["label_smoothing"] = 0.1
        target = one_hot(x, index, axis) if "one hot" in names else soft_target(rng, x, index, axis)
        return (target,), options

    return make


def hard(rng, x, centre):
    """0 or 1: mostly what the input says, so that confident losses are met, and sometimes the contrary."""
    return ((x > centre) ^ (rng.random(x.shape) < 0.3)).astype(x.dtype)


def binary_with(*names, centre=0.0):
    def make(rng, x, index, axis):
        options = {}
        if "weight" in names:
            options["weight"] = (rng.random(x.shape) + 0.1).astype(x.dtype)
        if "pos_weight" in names:
            options["pos_weight"] = (rng.random(x.shape[-1:]) * 3 + 0.1).astype(x.dtype)
        if "smoothing" in names:
            options["label_smoothing"] = 0.1
        if "clipped" in names:
            options.update(eps=2.0**-10)
        if "exact" in names:
            options.update(log_floor=-np.inf)
        target = rng.random(x.shape).astype(x.dtype) if "soft" in names else hard(rng, x, centre)
        return (target,), options

    return make


def kl_target(log_target):
    def make(rng, x, index, axis):
        t = rng.random(x.shape) * (rng.random(x.shape) < 0.8)
        with np.errstate(divide="ignore"):
            return ((np.log(t) if log_target else t).astype(x.dtype),), {"log_target": log_target}

    return make


def mse_target(*names):
    def make(rng, x, index, axis):
        options = {"weight": (rng.random(x.shape) + 0.1).astype(x.dtype)} if "weight" in names else {}
        return ((x * rng.random(x.shape)).astype(x.dtype),), options

    return make


def axis_only(rng, x, index, axis):
    return (), {"axis": axis}


def keepdims(rng, x, index, axis):
    return (), {"axis": axis, "keepdims": True}


def map_output(function):
    """For a backward map, whose first argument is grad_output: what function makes of probabilities."""

    def make(rng, x, index, axis):
        e = np.exp(rng.standard_normal(x.shape) * 3)
        return (function(e / e.sum(axis, keepdims=True)).astype(x.dtype),), {"axis": axis}

    return make


# ---- the registry ----------------------------------------------------------------------------------------------------

SOFT_LIMIT = 1.5  # soft targets, smoothing; and one more rounding, that of a weight

CASES = (
    Case("softmax", "row_map", (Variant("plain", axis_only, limit=2.0),)),
    Case("log_softmax", "row_map", (Variant("plain", axis_only),)),
    Case(
        "logsumexp",
        "row_map",
        (Variant("plain", axis_only), Variant("keepdims", keepdims)),
        keeps_shape=False,
        scale=oracles.logsumexp_scale,
    ),
    Case(
        "softmax_backward",
        "row_map_backward",
        (Variant("plain", map_output(np.copy), limit=2.0, overflows=True),),
        scale=oracles.softmax_backward_scale,
    ),
    Case(
        "log_softmax_backward",
        "row_map_backward",
        (Variant("plain", map_output(np.log), limit=2.0, overflows=True),),
        scale=oracles.log_softmax_backward_scale,
    ),
    Case("sigmoid", "element_map", (Variant("plain", limit=2.0),)),
    Case("log_sigmoid", "element_map"),
    Case(
        "cross_entropy",
        "row_loss",
        (
            Variant("index", index_with()),
            Variant("weight", index_with("weight"), limit=SOFT_LIMIT, overflows=True),
            Variant("ignored", index_with("ignored")),
            Variant("ignored_class", index_with("ignored class", "weight"), limit=SOFT_LIMIT, overflows=True),
            Variant("smoothing", index_with("smoothing"), limit=SOFT_LIMIT, overflows=True),
            Variant("everything", index_with("smoothing", "weight", "ignored"), limit=SOFT_LIMIT, overflows=True),
            Variant("one_hot", soft_with("one hot"), limit=SOFT_LIMIT, kernel="cross_entropy_soft", overflows=True),
            Variant("soft", soft_with(), limit=SOFT_LIMIT, kernel="cross_entropy_soft", overflows=True),
            Variant(
                "soft_everything",
                soft_with("weight", "smoothing"),
                limit=SOFT_LIMIT,
                kernel="cross_entropy_soft",
                overflows=True,
            ),
        ),
        hessian=True,
        keeps_shape=False,
    ),
    Case(
        "nll_loss",
        "row_loss",
        (
            Variant("index", index_with(), limit=0.0, grad_limit=0.0),
            Variant("weight", index_with("weight"), limit=0.5, grad_limit=0.5),
            Variant("ignored", index_with("ignored", "weight"), limit=0.5, grad_limit=0.5),
            Variant("ignored_class", index_with("ignored class"), limit=0.0, grad_limit=0.0),
        ),
        sum_kernel="nll_sum",
        keeps_shape=False,
        domain="log probability",
    ),
    Case(
        "binary_cross_entropy",
        "element_loss",
        (
            Variant("hard", binary_with(centre=0.5)),
            Variant("soft", binary_with("soft"), limit=SOFT_LIMIT),
            Variant("weight", binary_with("weight", centre=0.5), limit=SOFT_LIMIT),
            Variant("exact", binary_with("exact", centre=0.5)),
            Variant("clipped", binary_with("clipped", centre=0.5)),
        ),
        domain="probability",
    ),
    Case(
        "binary_cross_entropy_with_logits",
        "element_loss",
        (
            Variant("hard", binary_with()),
            Variant("soft", binary_with("soft"), limit=SOFT_LIMIT),
            Variant("weight", binary_with("weight"), limit=SOFT_LIMIT),
            Variant("pos_weight", binary_with("pos_weight"), limit=SOFT_LIMIT),
            Variant("smoothing", binary_with("smoothing"), limit=SOFT_LIMIT),
            Variant("everything", binary_with("soft", "weight", "pos_weight", "smoothing"), limit=SOFT_LIMIT),
        ),
        hessian=True,
    ),
    Case(
        "kl_div",
        "element_loss",
        (Variant("plain", kl_target(False)), Variant("log_target", kl_target(True), limit=SOFT_LIMIT)),
        domain="log probability",
        reductions=("none", "mean", "sum", "batchmean"),
    ),
    Case(
        "mse_loss",
        "element_loss",
        (Variant("plain", mse_target()), Variant("weight", mse_target("weight"), limit=SOFT_LIMIT)),
        hessian=True,
    ),
)

BY_NAME = {case.name: case for case in CASES}


def available(case):
    """A case whose function the package does not have is left to test_registry.py to complain about, once."""
    return hasattr(ce, case.name)


def select(*, kinds=None, variants=True, **properties):
    """[(case, variant)] of the kinds and with the properties asked for, and their ids, for pytest.mark.parametrize."""
    cases = [c for c in CASES if available(c) and (kinds is None or c.kind in kinds)]
    cases = [c for c in cases if all(getattr(c, name) == wanted for name, wanted in properties.items())]
    pairs = [(case, variant) for case in cases for variant in (case.variants if variants else case.variants[:1])]
    return {"argvalues": pairs, "ids": [f"{case.name}-{variant.label}" for case, variant in pairs]}


def select_with_reductions(*reductions, **filters):
    """[(case, variant, reduction)], of each loss those of the reductions that it has."""
    points = [
        (c, v, r) for c, v in select(**filters)["argvalues"] for r in c.reductions if r in reductions or not reductions
    ]
    return {"argvalues": points, "ids": [f"{c.name}-{v.label}-{r}" for c, v, r in points]}


class Every:
    """Many checks in one test: all are made, and the test fails with the list of those that failed.

    with Every() as one:
        for regime in regimes:
            with one(regime): assert ...
    """

    def __enter__(self):
        self.failures = []
        return self.check

    @contextlib.contextmanager
    def check(self, *name):
        try:
            yield
        except AssertionError as error:
            self.failures.append(f"{' '.join(map(str, name))}: {error}")

    def __exit__(self, kind, error, trace):
        if kind is None and self.failures:
            raise AssertionError("\n".join([f"{len(self.failures)} checks failed", *self.failures]))


# ---- inputs ----------------------------------------------------------------------------------------------------------


def rng_for(*words):
    """A generator of its own for every test, the same in every run and every process."""
    return np.random.default_rng(zlib.crc32(repr(words).encode()))


def draw(rng, case, shape, axis=-1):
    """An ordinary input of the case's domain: float64, to be rounded by the caller."""
    x = rng.standard_normal(shape) * 3
    if case.domain == "probability":
        return np.clip(1 / (1 + np.exp(-x)), 1e-6, 1 - 1e-6)
    if case.domain == "log probability":
        return -np.abs(x)
    return x


def make_call(case, variant, shape, dtype, axis=-1, seed=0):
    """A call on ordinary numbers: any shape, any class axis."""
    rng = rng_for(case.name, variant.label, shape, axis, seed)
    x = draw(rng, case, shape, axis).astype(dtype)
    index = rng.integers(0, max(shape[axis], 1), rows_shape(x, axis)) if case.is_row_wise else None
    arguments, options = variant.make(rng, x, index, axis)
    return Call(case, variant, (x, *arguments), options)


@functools.cache
def fixed_call(case_name, label, shape, dtype_name, axis=-1):
    """make_call, kept together with its exact results for all kernel sets. Its arrays are not to be written."""
    case = BY_NAME[case_name]
    call = make_call(case, next(v for v in case.variants if v.label == label), shape, np.dtype(dtype_name), axis)
    for array in call.arguments:
        np.asarray(array).flags.writeable = False
    return call


def spread(rng, dtype, n, c, factor):
    return rng.standard_normal((n, c)) * factor, rng.integers(0, c, n)


def confident(rng, dtype, n, c, gap):
    x, t = spread(rng, dtype, n, c, 1.0)
    x[np.arange(n), t] += gap
    return x, t


def all_gaps(dtype):
    """From 0 to 700, and for float32 more of those at which the exponential is neither 0 nor infinite."""
    return (
        np.linspace(0, 700, 101)
        if dtype == np.float64
        else np.append(np.linspace(0, 110, 81), np.linspace(130, 700, 20))
    )


def gaps(rng, dtype, c):
    """The target, or another class, leads by 0 to 700."""
    gap = all_gaps(dtype)[::2]
    x = np.zeros((2 * len(gap), c))
    x[:, c - 1] = np.concatenate([gap, -gap])
    return x + np.round(rng.standard_normal((len(x), c)), 3), np.full(len(x), c - 1)


def two_gaps(rng, dtype):
    gap = all_gaps(dtype)
    return np.stack([np.zeros_like(gap), gap], 1), np.arange(101) % 2


def subnormal_probability(rng, dtype):
    """Gaps at which a probability is a subnormal number, down to none at all."""
    gap = np.linspace(86, 106, 31) if dtype == np.float32 else np.linspace(705, 748, 31)
    return np.stack([np.zeros_like(gap), -gap, rng.standard_normal(31) * 0.1], 1), np.arange(31) % 3


def subnormal_logits(rng, dtype):
    return rng.standard_normal((12, 9)) * 40 * float(np.finfo(dtype).smallest_subnormal), np.arange(12) % 9


def ties(rng, dtype):
    """All equal; two at the top; the top twice, far above the rest."""
    x = np.round(rng.standard_normal((12, 19)), 1)
    x[:4] = x[:4, :1]
    x[4:8, 2] = x[4:8, 7] = 5.0
    x[8:, 2] = x[8:, 7] = 60.0
    return x, np.array([0, 1, 2, 3, 2, 7, 0, 1, 2, 7, 0, 1])


def minus_inf(rng, dtype):
    """Every third class is impossible; then all classes but one or two, and the target itself."""
    x, _ = spread(rng, dtype, 20, 37, 1.0)
    x[:, ::3] = -np.inf
    x[10:14, 2:] = -np.inf
    x[14:16, 5:] = -np.inf
    t = np.full(20, 1)
    t[15:18] = (6, 3, 0)
    return x, t


def largest(rng, dtype, share=1.0):
    """Numbers of both signs up to the largest one: differences that overflow, if share is 1."""
    top = float(np.finfo(dtype).max) * share
    x = rng.choice([-top, -top / 2, -1.0, 0.0, 1.0, top / 2, top], (16, 11))
    return x, rng.integers(0, 11, 16)


def tiny_differences(rng, dtype):
    return spread(rng, dtype, 12, 23, float(np.finfo(dtype).eps))


def rare_peak(rng, dtype):
    """The maximum comes late in a long row, far above what the first part of the row promised."""
    x, _ = spread(rng, dtype, 3, 1500, 1.0)
    x[0, 1400], x[1, 1499], x[2, 700] = 60.0, 300.0, 4000.0
    x[2, :600] -= 3000.0
    return x, np.array([1400, 3, 700])


LOGITS = {
    "normal": lambda rng, dtype: spread(rng, dtype, 16, 37, 3.0),
    "wide": lambda rng, dtype: spread(rng, dtype, 16, 37, 30.0),
    "very_wide": lambda rng, dtype: spread(rng, dtype, 16, 37, 1000.0),
    "shifted": lambda rng, dtype: (spread(rng, dtype, 12, 37, 1.0)[0] + 1e4, rng.integers(0, 37, 12)),
    "shifted_down": lambda rng, dtype: (spread(rng, dtype, 12, 37, 1.0)[0] - 1e4, rng.integers(0, 37, 12)),
    "shifted_far": lambda rng, dtype: (1e30 * (1 + spread(rng, dtype, 8, 9, 1e-7)[0]), rng.integers(0, 9, 8)),
    "confident": lambda rng, dtype: confident(rng, dtype, 12, 37, 12.0),
    "very_confident": lambda rng, dtype: confident(rng, dtype, 12, 37, 30.0),
    "near_ties": lambda rng, dtype: (np.round(spread(rng, dtype, 12, 37, 1.0)[0], 2) * 1e-3 + 5, np.arange(12)),
    "near_zero_lse": lambda rng, dtype: (spread(rng, dtype, 12, 10, 0.1)[0] - np.log(10), np.arange(12) % 10),
    "ties": ties,
    "tiny_differences": tiny_differences,
    "minus_inf": minus_inf,
    "largest": largest,
    "very_large": lambda rng, dtype: largest(rng, dtype, 1 / 64),
    "two_gaps": two_gaps,
    "ten_gaps": lambda rng, dtype: gaps(rng, dtype, 10),
    "subnormal_logits": subnormal_logits,
    "subnormal_probability": subnormal_probability,
    "rare_peak": rare_peak,
    **{
        f"C{c}": functools.partial(lambda rng, dtype, c: spread(rng, dtype, max(2, min(37, 600 // c)), c, 3.0), c=c)
        for c in (1, 2, 3, 10, 16, 17, 31, 32, 33, 64, 65, 100, 257, 1000)
    },
}


def element_logits(rng, dtype):
    edge = 100 if dtype == np.float32 else 745
    tiny = float(np.finfo(dtype).smallest_subnormal)
    return np.concatenate(
        [
            rng.standard_normal(120) * 3,
            rng.standard_normal(60) * 15,
            np.linspace(-edge, edge, 121),
            rng.standard_normal(40) * 1e-4,
            np.array([0.0, -0.0, tiny, -tiny, 1e-20, -1e-20, 1e30, -1e30]),
        ]
    )


def element_probabilities(rng, dtype):
    info = np.finfo(dtype)
    # not exactly e^-100: there the floor of the logarithm begins, and with it the gradient 0
    p = 1 / (1 + np.exp(np.clip(-0.999 * element_logits(rng, np.float32), -700, 700)))
    ends = np.array([float(info.tiny), float(info.eps), 0.5, 1e-3, 1 - 1e-3])
    return np.clip(np.concatenate([p, ends, 1 - ends[1:]]), float(info.tiny), 1 - float(info.epsneg))


def log_probabilities(rng):
    """Log-softmaxes of ordinary, confident and wide rows, of rows with ties and with impossible classes."""
    x = rng.standard_normal((20, 11)) * np.repeat([1.0, 1.0, 30.0, 0.0, 3.0], 4)[:, None]
    x[4:8, 3] += 40
    x[16:, ::3] = -np.inf
    x -= x.max(1, keepdims=True)
    return (x - np.log(np.exp(x).sum(1, keepdims=True))).ravel()


ELEMENTS = {
    "real": {
        "logits": element_logits,
        "unit": lambda rng, dtype: rng.standard_normal(200),
        "large": lambda rng, dtype: rng.standard_normal(100) * 1e4,
    },
    "probability": {
        "probabilities": element_probabilities,
        "uniform": lambda rng, dtype: np.clip(rng.random(200), 1e-7, 1 - 1e-7),
    },
    "log probability": {
        "log_softmax": lambda rng, dtype: log_probabilities(rng),
        "log_probabilities": lambda rng, dtype: -np.abs(element_logits(rng, np.float32)),
        "small": lambda rng, dtype: -rng.random(200) * 1e-3,
    },
}


def regimes_of(case, variant):
    """The regimes by name, without the one that makes intermediate results infinite where that is granted."""
    if not case.is_row_wise:
        return ELEMENTS[case.domain]
    return {name: make for name, make in LOGITS.items() if name != "largest" or not variant.overflows}


@functools.cache
def regime_call(case_name, label, regime, dtype_name, seed=0):
    """The call of a variant on a regime, kept together with its exact results for all instruction sets."""
    case, dtype = BY_NAME[case_name], np.dtype(dtype_name)
    variant = next(v for v in case.variants if v.label == label)
    drawn = regimes_of(case, variant)[regime](rng_for(regime, dtype_name, seed), dtype)
    x, index = drawn if case.is_row_wise else (drawn, None)
    arguments, options = variant.make(rng_for(label, regime, seed), x.astype(dtype), index, -1 if x.ndim > 1 else 0)
    return Call(case, variant, (x.astype(dtype), *arguments), options)


def regime_calls(case, variant, dtype):
    """(regime, call) for every regime of a case, with exact results that are kept for all kernel sets."""
    for regime in regimes_of(case, variant):
        yield regime, regime_call(case.name, variant.label, regime, dtype.name)


def same_bits(a, b):
    """Equal bit for bit, whatever the memory layout; two NaNs of any payload are the same."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
        return False
    native = a.dtype.newbyteorder("=")
    x, y = np.ascontiguousarray(a, native), np.ascontiguousarray(b, native)
    integer = f"u{native.itemsize}"
    return bool(
        np.all((x.reshape(-1).view(integer) == y.reshape(-1).view(integer)) | (np.isnan(x) & np.isnan(y)).ravel())
    )
