"""Slow and obviously right: every public function once more, same names and arguments, in 200-bit arithmetic.

Nothing here is clever. A value is a NumPy object array of ``mpf`` numbers, exact far beyond float64, so that a test can
say how many units in the last place a result is off. The limits are those of the README: 0 * log 0 = 0, a weight of 0
times an infinite loss is 0, an ignored row is never read.

- ``softmax(input, axis)`` and its like return such arrays.
- ``cross_entropy(input, target, ...)`` and its like return the loss, a number or an array.
- ``value_and_grad(cross_entropy)`` and ``value_grad_and_hess(cross_entropy)`` are the transforms of the library.
- ``parts("cross_entropy", input, target, ...)`` returns everything before the reduction (see ``Parts``).
- ``wide_rows(input, target)`` is the same for rows of a million classes, vectorised in long double.
- ``ulp_error(got, exact, dtype)`` measures.
"""

import functools
from typing import NamedTuple

import mpmath
import numpy as np

mp = mpmath.mp.clone()
mp.prec = 200
mpf = mp.mpf
ZERO, ONE, INF, NAN = mpf(0), mpf(1), mp.inf, mp.nan

# e^-20000 is far below the smallest float64; the exponential of anything less is taken as 0
NEGLIGIBLE = mpf(-20000)

# a difference that has lost more than 8 bits is not asked to be right to the last of those that are left
DEEP = mpf(2) ** -8


# ---- numbers ---------------------------------------------------------------------------------------------------------


def exact(values):
    """An array of floats (or anything float() takes) as an object array of mpf numbers, without rounding."""
    values = np.asarray(values)
    result = np.empty(values.shape, object)
    flat = result.reshape(-1)
    for i, value in enumerate(values.reshape(-1)):
        flat[i] = value if isinstance(value, mpf) else mpf(float(value))
    return result


def exp(x):
    return ZERO if x < NEGLIGIBLE else mp.exp(x)


def log(x):
    return -INF if x == 0 else mp.log(x)


def times(a, b):
    """a * b where 0 times anything that is not NaN is 0."""
    if (a == 0 and not mp.isnan(b)) or (b == 0 and not mp.isnan(a)):
        return ZERO
    return a * b


def softplus(x):
    """log(1 + e^x)"""
    return x + mp.log1p(exp(-x)) if x > 0 else mp.log1p(exp(x))


def logistic(x):
    """1 / (1 + e^-x)"""
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def elementwise(function, *arrays):
    """function of the elements of arrays, broadcast, as an object array."""
    arrays = np.broadcast_arrays(*(a if a.dtype == object else exact(a) for a in map(np.asarray, arrays)))
    result = np.empty(arrays[0].shape, object)
    flat = result.reshape(-1)
    for i, elements in enumerate(zip(*(a.reshape(-1) for a in arrays), strict=True)):
        flat[i] = function(*elements)
    return result


# ---- rows, maps ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One row of logits: p is its softmax, q = 1 - p without cancellation, log_p = x - lse without cancellation."""

    lse: object
    p: list
    q: list
    log_p: list
    row_max: object


@functools.lru_cache(maxsize=20000)
def row_of(logits):
    """The softmax of a tuple of floats; every number is NaN where it is undefined (a NaN, a +inf, nothing but -inf)."""
    x = [mpf(a) for a in logits]
    if any(mp.isnan(a) for a in x):
        return Row(NAN, [NAN] * len(x), [NAN] * len(x), [NAN] * len(x), NAN)
    m = max(x)
    if mp.isinf(m):
        return Row(m, [NAN] * len(x), [NAN] * len(x), [NAN] * len(x), m)
    top = x.index(m)
    e = [exp(a - m) for a in x]
    rest = mp.fsum(e[:top] + e[top + 1 :])
    total = 1 + rest
    others = [rest if j == top else total - e[j] for j in range(len(x))]
    log_total = mp.log1p(rest)
    return Row(m + log_total, [a / total for a in e], [a / total for a in others], [a - m - log_total for a in x], m)


def rows_last(array, axis):
    """The array with the class axis moved last, and as a list of rows."""
    moved = np.moveaxis(np.asarray(array), axis, -1)
    return moved, moved.reshape(-1, moved.shape[-1]) if moved.size else moved.reshape(0, moved.shape[-1])


def row_map(pick, input, axis):
    """pick(row_of(row)) for every row along axis: a list of the row's length."""
    moved, rows = rows_last(input, axis)
    result = np.empty(rows.shape, object)
    for i, row in enumerate(rows):
        result[i] = pick(row_of(tuple(map(float, row))))
    return np.moveaxis(result.reshape(moved.shape), -1, axis)


def softmax(input, axis=-1):
    return row_map(lambda row: row.p, input, axis)


def log_softmax(input, axis=-1):
    return row_map(lambda row: row.log_p, input, axis)


def row_reduce(pick, input, axis, keepdims=False):
    """pick(row_of(row)), one number, for every row along axis."""
    moved, rows = rows_last(input, axis)
    result = np.empty(moved.shape[:-1], object)
    flat = result.reshape(-1)
    for i, row in enumerate(rows):
        flat[i] = pick(row_of(tuple(map(float, row))))
    return np.expand_dims(result, axis) if keepdims else result


def logsumexp(input, axis=-1, *, keepdims=False):
    return row_reduce(lambda row: row.lse, input, axis, keepdims)


def logsumexp_scale(input, axis=-1, *, keepdims=False):
    """What the error of a logsumexp is judged against: near 0 it is a difference of numbers like the row's maximum."""
    return row_reduce(lambda row: max(abs(row.lse), abs(row.row_max) / 4), input, axis, keepdims)


def sigmoid(input):
    return elementwise(lambda x: x if mp.isnan(x) else logistic(x), input)


def log_sigmoid(input):
    return elementwise(lambda x: x if mp.isnan(x) else -softplus(-x), input)


def softmax_backward(grad_output, output, axis=-1):
    """output * (grad_output - sum(grad_output * output))"""
    g, y = exact(grad_output), exact(output)
    return y * (g - np.expand_dims((g * y).sum(axis), axis))


def softmax_backward_scale(grad_output, output, axis=-1):
    g, y = abs(exact(grad_output)), abs(exact(output))
    return y * (g + np.expand_dims((g * y).sum(axis), axis))


def log_softmax_backward(grad_output, output, axis=-1):
    """grad_output - exp(output) * sum(grad_output), where output is the log-softmax."""
    g, p = exact(grad_output), elementwise(exp, output)
    return g - p * np.expand_dims(g.sum(axis), axis)


def log_softmax_backward_scale(grad_output, output, axis=-1):
    g, p = abs(exact(grad_output)), elementwise(exp, output)
    return g + p * np.expand_dims(g.sum(axis), axis)


# ---- losses ----------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """A loss before its reduction: loss at every position, and the derivatives of their sum with respect to input.

    loss_scale and grad_scale are the sizes of the terms that loss and grad are differences of, where they cancel by
    nature (soft targets): the error is judged against those. None: against the number itself.
    """

    loss: np.ndarray
    grad: np.ndarray
    hess: np.ndarray
    divisor: object
    axis: int | None = None
    loss_scale: np.ndarray | None = None
    grad_scale: np.ndarray | None = None


def class_axis(input, axis):
    """PyTorch's rule: the class axis is 1, or 0 for a single row."""
    if axis is None:
        return 0 if input.ndim == 1 else 1
    return axis % input.ndim


def coefficients(n_classes, target, class_weight, label_smoothing):
    """a with loss = sum_j a_j * (lse - x_j), from a class index or from a list of probabilities."""
    if isinstance(target, int):
        target = [ONE if j == target else ZERO for j in range(n_classes)]
    s = mpf(label_smoothing)
    return [w * ((1 - s) * t + s / n_classes) for w, t in zip(class_weight, target, strict=True)]


def cross_entropy_row(logits, a):
    """loss, grad, hess and the scale of grad of one row: grad_j = sum_k a_k (p_j - [j = k]) without cancellation."""
    row = row_of(tuple(map(float, logits)))
    if any(mp.isnan(p) for p in row.p):
        return NAN, row.p, row.p, row.p
    total = mp.fsum(a)
    one_hot = sum(b != 0 for b in a) == 1
    loss = mp.fsum(times(b, -log_p) for b, log_p in zip(a, row.log_p, strict=True))
    grad = [(total - b) * p - b * q for b, p, q in zip(a, row.p, row.q, strict=True)]
    hess = [total * p * q for p, q in zip(row.p, row.q, strict=True)]
    scale = [abs(g) if one_hot else max(abs(g), abs(total * p), abs(b)) for g, b, p in zip(grad, a, row.p, strict=True)]
    return loss, grad, hess, scale


def nll_row(log_probs, a):
    """The same for loss = -sum_j a_j * x_j."""
    loss = mp.fsum(times(b, -mpf(float(x))) for b, x in zip(a, log_probs, strict=True) if b != 0)
    grad = [-b for b in a]
    return loss, grad, [ZERO] * len(a), [abs(g) for g in grad]


def row_loss_parts(row_function, input, target, weight, ignore_index, label_smoothing, axis):
    """Parts of a loss over rows, for class indices or (floating targets of the input's shape) probabilities."""
    input, target = np.asarray(input), np.asarray(target)
    axis = class_axis(input, axis)
    moved, rows = rows_last(input, axis)
    n, c = rows.shape
    soft = target.dtype.kind == "f"
    targets = (
        [list(map(mpf, map(float, t))) for t in rows_last(target, axis)[1]] if soft else list(map(int, target.flat))
    )
    class_weight = [ONE] * c if weight is None else list(exact(weight))
    loss, grad, hess, scale = np.full(n, ZERO, object), *(np.full((n, c), ZERO, object) for _ in range(3))
    divisor = mpf(n) if soft else ZERO
    for i in range(n):
        if not soft and targets[i] == ignore_index:
            continue
        a = coefficients(c, targets[i], class_weight, label_smoothing)
        loss[i], grad[i], hess[i], scale[i] = row_function(rows[i], a)
        divisor += ZERO if soft else class_weight[targets[i]]
    grad, hess, scale = (np.moveaxis(a.reshape(moved.shape), -1, axis) for a in (grad, hess, scale))
    return Parts(loss.reshape(moved.shape[:-1]), grad, hess, divisor, axis, grad_scale=scale)


def cross_entropy_parts(input, target, *, weight=None, ignore_index=-100, label_smoothing=0.0, axis=None):
    return row_loss_parts(cross_entropy_row, input, target, weight, ignore_index, label_smoothing, axis)


def nll_loss_parts(input, target, *, weight=None, ignore_index=-100, axis=None):
    return row_loss_parts(nll_row, input, target, weight, ignore_index, 0.0, axis)


def element_loss_parts(function, *arrays, divisor=None):
    """Parts from function(elements) -> (loss, grad, hess, loss_scale, grad_scale)."""
    both = elementwise(lambda *elements: function(*elements), *arrays)
    columns = [elementwise_pick(both, k) for k in range(5)]
    loss, grad, hess, loss_scale, grad_scale = columns
    return Parts(loss, grad, hess, mpf(both.size) if divisor is None else divisor, None, loss_scale, grad_scale)


def elementwise_pick(tuples, k):
    result = np.empty(tuples.shape, object)
    flat = result.reshape(-1)
    for i, t in enumerate(tuples.reshape(-1)):
        flat[i] = t[k]
    return result


def ones_if_none(weight):
    return np.ones(()) if weight is None else weight


def binary_cross_entropy_parts(input, target, *, weight=None, log_floor=-100.0, eps=0.0):
    """-w (t log p + (1 - t) log(1 - p)); logarithms not below log_floor, p clipped to [eps, 1 - eps].

    The gradient is that of the function as it is: 0 where p is clipped, no slope from a logarithm below the floor.
    """
    floor, edge = mpf(log_floor), mpf(eps)

    def element(x, t, w):
        if mp.isnan(x):
            return NAN, NAN, NAN, NAN, NAN
        p = min(max(x, edge), 1 - edge)
        log_p, log_q = log(p), mp.log1p(-p) if p != 1 else -INF
        loss = times(w, times(t, -max(log_p, floor)) + times(1 - t, -max(log_q, floor)))
        down = ZERO if log_p < floor or p != x else times(t, 1 / p if p != 0 else INF)
        up = ZERO if log_q < floor or p != x else times(1 - t, 1 / (1 - p) if p != 1 else INF)
        return loss, times(w, up - down), NAN, abs(loss), times(w, max(up, down))

    return element_loss_parts(element, input, target, ones_if_none(weight))


def binary_cross_entropy_with_logits_parts(input, target, *, weight=None, pos_weight=None, label_smoothing=0.0):
    """w ((1 - t) softplus(x) + a t softplus(-x)) with a the pos_weight; smoothing s makes t be t (1 - s) + s / 2."""
    s = mpf(label_smoothing)

    def element(x, t, w, a):
        if mp.isnan(x) or mp.isnan(t):
            return NAN, NAN, NAN, NAN, NAN
        t = t * (1 - s) + s / 2
        p, q = logistic(x), logistic(-x)
        negative, positive = 1 - t, a * t
        loss = times(w, times(negative, softplus(x)) + times(positive, softplus(-x)))
        grad = w * (negative * p - positive * q)
        return (
            loss,
            grad,
            w * (negative + positive) * p * q,
            abs(loss),
            max(abs(w * negative * p), abs(w * positive * q)),
        )

    return element_loss_parts(element, input, target, ones_if_none(weight), ones_if_none(pos_weight))


def kl_div_parts(input, target, *, log_target=False):
    """t (log t - x), where target is t or log t; 0 where t is 0. log t of a double has few bits more than one."""
    is_double = np.asarray(input).dtype not in (np.float16, np.float32)
    deep = mpf(1) / 4 if is_double and not log_target else DEEP

    def element(x, target):
        t, log_t = (exp(target), target) if log_target else (target, log(target))
        if t == 0 and not mp.isnan(x):
            return ZERO, ZERO, ZERO, ZERO, ZERO
        loss = t * (log_t - x)
        return loss, -t, ZERO, max(abs(loss), deep * abs(t * log_t), deep * abs(t * x)), t

    return element_loss_parts(element, input, target)


def mse_loss_parts(input, target, *, weight=None):
    """w (x - t)^2; the mean divides by the sum of the weights, as PyTorch's does."""

    def element(x, t, w):
        loss, grad = times(w, (x - t) ** 2), times(2 * w, x - t)
        return loss, grad, 2 * w, abs(loss), abs(grad)

    divisor = None if weight is None else exact(np.broadcast_to(weight, np.shape(input))).sum()
    return element_loss_parts(element, input, target, ones_if_none(weight), divisor=divisor)


# ---- reductions ------------------------------------------------------------------------------------------------------


def parts(name, input, target, **options):
    """Everything about a loss before its reduction."""
    return globals()[name + "_parts"](np.asarray(input), np.asarray(target), **options)


def reduce(loss_parts, reduction, batch):
    """The loss as the library returns it: an array for "none", else a number; the mean of nothing is NaN."""
    if reduction == "none":
        return loss_parts.loss
    total = loss_parts.loss.sum() if loss_parts.loss.size else ZERO
    if reduction == "sum":
        return total
    divisor = mpf(batch) if reduction == "batchmean" else loss_parts.divisor
    return NAN if divisor == 0 else total / divisor


def scale_of_gradient(loss_parts, reduction, batch, grad_output):
    """What a position's gradient is multiplied by, in the shape of the input. A mean over nothing has gradient 0."""
    scale = ONE if grad_output is None else exact(grad_output)
    if reduction in ("mean", "batchmean"):
        divisor = mpf(batch) if reduction == "batchmean" else loss_parts.divisor
        scale = ZERO if divisor == 0 else scale / divisor
    scale = np.asarray(scale, object)
    return np.expand_dims(scale, loss_parts.axis) if scale.ndim and loss_parts.axis is not None else scale


def outcome(loss_parts, reduction, batch, grad_output=None):
    """(loss, grad, hess) as the library's transform returns them; batch is the length of the first axis."""
    scale = scale_of_gradient(loss_parts, reduction, batch, grad_output)
    grad, hess = elementwise(times, loss_parts.grad, scale), elementwise(times, loss_parts.hess, scale)
    return reduce(loss_parts, reduction, batch), grad, hess


def batch_of(input):
    return len(np.atleast_1d(input))


def loss_function(name):
    """The loss itself, with the arguments of the library's."""

    def loss(input, target, *, reduction="mean", **options):
        return reduce(parts(name, input, target, **options), reduction, batch_of(input))

    loss.__name__ = name
    return loss


cross_entropy = loss_function("cross_entropy")
nll_loss = loss_function("nll_loss")
binary_cross_entropy = loss_function("binary_cross_entropy")
binary_cross_entropy_with_logits = loss_function("binary_cross_entropy_with_logits")
kl_div = loss_function("kl_div")
mse_loss = loss_function("mse_loss")


def value_grad_and_hess(loss):
    """loss_function(input, target, ...) -> (loss, grad, hess), the library's transform; loss is one of those above."""

    def transformed(input, target, *, reduction="mean", grad_output=None, **options):
        return outcome(parts(loss.__name__, input, target, **options), reduction, batch_of(input), grad_output)

    return transformed


def value_and_grad(loss):
    return lambda *args, **options: value_grad_and_hess(loss)(*args, **options)[:2]


# ---- very long rows --------------------------------------------------------------------------------------------------


def exp_difference(x, m):
    """e^(x - m) in long double, with the rounding of x - m put back: 62 good bits for any float64 x and m."""
    d = x - m
    return np.exp(d) * (1 + two_difference_error(x, m, d))


def two_difference_error(a, b, d):
    """What d = a - b lost to rounding (Knuth's TwoSum)."""
    back = d - a
    return (a - (d - back)) - (b + back)


def wide_rows(input, target):
    """softmax, log_softmax, logsumexp, loss and gradient of (N, C) logits in long double (finite logits only)."""
    x = np.asarray(input, np.longdouble)
    rows = np.arange(len(x))
    top = x.argmax(1)
    m = x[rows, top][:, None]
    e = exp_difference(x, m)
    e[rows, top] = 0
    rest = e.sum(1)
    e[rows, top] = 1
    log_total = np.log1p(rest)
    p = e / (1 + rest)[:, None]
    log_p = (x - m) - log_total[:, None]
    grad = p.copy()
    e[rows, target] = 0
    grad[rows, target] = -e.sum(1) / (1 + rest)
    return {
        "softmax": p,
        "log_softmax": log_p,
        "logsumexp": m[:, 0] + log_total,
        "cross_entropy": -log_p[rows, target],
        "cross_entropy_grad": grad,
    }


# ---- measuring -------------------------------------------------------------------------------------------------------


def unit(value, dtype):
    """The unit in the last place of a float64 value as a number of dtype; never less than the smallest subnormal."""
    info = np.finfo(dtype)
    exponent = np.frexp(np.where(np.isfinite(value), value, 1.0))[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, info.minexp) - info.nmant)


class Reference(NamedTuple):
    """Exact numbers as float64 hi + lo, ready to compare with; nothing marks those that are exactly 0."""

    hi: np.ndarray
    lo: np.ndarray
    nothing: np.ndarray


def reference(values):
    """From mpf numbers or from long doubles."""
    values = np.asarray(values)
    if values.dtype != object:
        hi = values.astype(np.float64)
        return Reference(hi, np.where(np.isfinite(hi), values - hi, 0).astype(np.float64), values == 0)
    hi = floats(values)
    finite = np.isfinite(hi)
    lo = floats(values - np.where(finite, hi, 0).astype(object))
    return Reference(hi, np.where(finite, lo, 0), ~values.astype(bool))


def floats(values):
    """Numbers of any kind, or None, as float64."""
    if values is None:
        return None
    values = np.asarray(values)
    if values.dtype != object:
        return values.astype(np.float64)
    # not astype: NumPy 1 warns, in it, of NaN and of what is too large
    return np.array([float(v) for v in values.flat]).reshape(values.shape)


def overflows(hi, dtype):
    """Where a number rounds to infinity in dtype."""
    info = np.finfo(dtype)
    return (
        np.abs(hi) >= float(info.max) + float(unit(float(info.max), dtype)) / 2 if dtype != np.float64 else np.isinf(hi)
    )


def ulp_error(got, exact_values, dtype, scale=None):
    """How far got is from the exact values, element by element, in units in the last place of the exact value in dtype.

    A subnormal result may be one subnormal unit off and counts as no error then. Infinities and NaNs must agree: an
    error of inf if they do not. With scale, the units are those of the larger of value and scale.
    """
    ref = exact_values if isinstance(exact_values, Reference) else reference(exact_values)
    got = np.asarray(got, np.float64)
    assert got.shape == ref.hi.shape, f"shape {got.shape}, not {ref.hi.shape}"
    hi = np.where(overflows(ref.hi, dtype), np.copysign(np.inf, ref.hi), ref.hi)
    finite = np.isfinite(hi) & np.isfinite(got)
    base = np.abs(hi) if scale is None else np.fmax(np.abs(hi), np.abs(scale))
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs((np.where(finite, got, 0) - np.where(finite, hi, 0)) - ref.lo)
        error = distance / unit(base, dtype)
    small = finite & (np.abs(base) < np.finfo(dtype).tiny) & (error <= 1) & ~(ref.nothing & (got != 0))
    same = (np.isnan(hi) & np.isnan(got)) | (~np.isnan(hi) & (got == hi))
    wrong_zero = ref.nothing & (got != 0) & (base == 0)
    return np.where(finite & ~wrong_zero, np.where(small, 0.0, error), np.where(same, 0.0, np.inf))


def assert_ulp(got, exact_values, dtype, limit, scale=None, what=""):
    """got within limit units in the last place, with the worst place named if not."""
    error = ulp_error(got, exact_values, dtype, floats(scale))
    if error.size and not np.nanmax(error) <= limit:
        worst = np.unravel_index(np.argmax(error), error.shape)
        ref = exact_values if isinstance(exact_values, Reference) else reference(exact_values)
        raise AssertionError(
            f"{what} {error[worst]:.4g} ulp (limit {limit}) at {tuple(map(int, worst))} of {error.shape}: "
            f"got {np.asarray(got)[worst]!r}, exact {float(ref.hi[worst])!r}; {np.sum(error > limit)} above the limit"
        )
