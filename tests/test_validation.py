"""Bad input: which exception, a message that names the argument, what came and what was wanted, and nothing written."""

import re

import cases
import numpy as np
import pytest

import crossent as ce

X = np.zeros((4, 3))
P = np.full((4, 3), 0.5)
T = np.array([0, 1, 2, 0])
ROW = np.zeros(3)
OUT = np.zeros(4)


def loss_and_grad(loss):
    return ce.value_and_grad(loss)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


# call, exception, what the message must contain
TABLE = {
    # dtypes
    "complex input": (lambda: ce.softmax(X.astype(complex)), TypeError, ["input", "complex128", "float32"]),
    "object input": (lambda: ce.log_softmax(X.astype(object)), TypeError, ["input", "object", "float64"]),
    "string input": (lambda: ce.sigmoid(["a"]), TypeError, ["input", "<U1"]),
    "longdouble input": (lambda: ce.logsumexp(X.astype("g")), TypeError, ["input", np.dtype("g").name]),
    "masked input": (lambda: ce.softmax(np.ma.masked_array(X)), TypeError, ["input", "masked"]),
    "datetime input": (lambda: ce.softmax(X.astype("M8[s]")), TypeError, ["input", "datetime64"]),
    "ragged input": (lambda: ce.softmax([[1.0], [1.0, 2.0]]), TypeError, ["input", "list"]),
    "no input": (lambda: ce.softmax(None), TypeError, ["input"]),
    "complex target": (lambda: ce.cross_entropy(X, X.astype(complex)), TypeError, ["target", "complex128"]),
    "masked target": (lambda: ce.cross_entropy(X, np.ma.masked_array(T)), TypeError, ["target", "masked"]),
    "floating indices": (lambda: ce.cross_entropy(X, T.astype(float)), TypeError, ["target", "float64", "integers"]),
    "probabilities for nll": (lambda: ce.nll_loss(X, X), TypeError, ["target", "float64", "(4,)"]),
    "integers of the input's shape": (
        lambda: ce.cross_entropy(X, X.astype(int)),
        TypeError,
        ["target", "int64", "(4,)"],
    ),
    "complex weight": (lambda: ce.cross_entropy(X, T, weight=ROW.astype(complex)), TypeError, ["weight", "complex128"]),
    "string pos_weight": (
        lambda: ce.binary_cross_entropy_with_logits(X, X, pos_weight=["a"] * 3),
        TypeError,
        ["pos_weight", "<U1"],
    ),
    # shapes
    "no dimension": (lambda: ce.softmax(1.0), ValueError, ["input", "dimension"]),
    "no class axis": (lambda: ce.cross_entropy(1.0, 0), ValueError, ["input", "dimension"]),
    "too few targets": (lambda: ce.cross_entropy(X, T[:3]), ValueError, ["target", "(3,)", "(4,)"]),
    "targets with an axis too many": (
        lambda: ce.cross_entropy(X, T[:, None]),
        ValueError,
        ["target", "(4, 1)", "(4,)"],
    ),
    "scalar target for many rows": (lambda: ce.nll_loss(X, 0), ValueError, ["target", "()", "(4,)"]),
    "probabilities of another shape": (
        lambda: ce.cross_entropy(X, P[:, :2]),
        ValueError,
        ["target", "(4, 2)", "(4, 3)"],
    ),
    "target broadcast": (lambda: ce.mse_loss(X, X[0]), ValueError, ["target", "(3,)", "(4, 3)"]),
    "bce target of another shape": (
        lambda: ce.binary_cross_entropy(P, P[:3]),
        ValueError,
        ["target", "(3, 3)", "(4, 3)"],
    ),
    "bce logits target": (
        lambda: ce.binary_cross_entropy_with_logits(X, X.ravel()),
        ValueError,
        ["target", "(12,)", "(4, 3)"],
    ),
    "kl target": (lambda: ce.kl_div(X, X.T), ValueError, ["target", "(3, 4)", "(4, 3)"]),
    "too few class weights": (lambda: ce.cross_entropy(X, T, weight=ROW[:2]), ValueError, ["weight", "(2,)", "(3,)"]),
    "scalar class weight": (lambda: ce.nll_loss(X, T, weight=1.0), ValueError, ["weight", "()", "(3,)"]),
    "weight that does not broadcast": (
        lambda: ce.binary_cross_entropy(P, P, weight=np.ones(4)),
        ValueError,
        ["weight", "(4,)", "(4, 3)"],
    ),
    "weight that widens the input": (
        lambda: ce.mse_loss(ROW, ROW, weight=np.ones((4, 3))),
        ValueError,
        ["weight", "(4, 3)", "(3,)"],
    ),
    "pos_weight that does not broadcast": (
        lambda: ce.binary_cross_entropy_with_logits(X, X, pos_weight=np.ones(2)),
        ValueError,
        ["pos_weight", "(2,)", "(4, 3)"],
    ),
    # axes
    "axis too large": (lambda: ce.softmax(X, 2), ValueError, ["axis", "2"]),
    "axis too small": (lambda: ce.logsumexp(X, axis=-3), ValueError, ["axis", "-3"]),
    "axis of a loss": (lambda: ce.cross_entropy(X, T, axis=5), ValueError, ["axis", "5"]),
    "axis no integer": (lambda: ce.softmax(X, axis=1.0), TypeError, ["axis", "1.0", "integer"]),
    "axis a string": (lambda: ce.cross_entropy(X, T, axis="last"), TypeError, ["axis", "last", "integer"]),
    "axis a tuple": (lambda: ce.logsumexp(X, axis=(0, 1)), TypeError, ["axis", "(0, 1)"]),
    # targets
    "target too large": (lambda: ce.cross_entropy(X, [0, 1, 3, 0]), IndexError, ["target[2]", "3", "from 0 to 2"]),
    "target negative": (lambda: ce.cross_entropy(X, [0, -1, 2, 0]), IndexError, ["target[1]", "-1", "from 0 to 2"]),
    "first of several": (lambda: ce.nll_loss(X, [0, 7, -5, 9]), IndexError, ["target[1]", "7"]),
    "target of one row": (lambda: ce.cross_entropy(ROW, 3), IndexError, ["target", "3", "from 0 to 2"]),
    "target in a picture": (
        lambda: ce.cross_entropy(np.zeros((2, 3, 2, 2)), np.array([[[0, 0], [0, 0]], [[0, 5], [0, 0]]])),
        IndexError,
        ["target[1, 0, 1]", "5"],
    ),
    "huge unsigned target": (
        lambda: ce.cross_entropy(X, np.array([0, 2**64 - 1, 0, 0], np.uint64)),
        IndexError,
        ["target[1]", str(2**64 - 1)],
    ),
    "unsigned target that wraps to ignore_index": (
        lambda: ce.cross_entropy(X, np.array([0, 2**64 - 100, 0, 0], np.uint64)),
        IndexError,
        ["target[1]", str(2**64 - 100)],
    ),
    "small target that wraps to ignore_index": (
        lambda: ce.cross_entropy(X, np.array([0, 156, 0, 0], np.uint8)),
        IndexError,
        ["target[1]", "156"],
    ),
    "strided target": (
        lambda: ce.cross_entropy(X, np.array([0, 9, 1, 9, 5, 9, 0, 9])[::2]),
        IndexError,
        ["target[2]", "5"],
    ),
    "target without classes": (lambda: ce.cross_entropy(np.zeros((2, 0)), [0, 0]), IndexError, ["target[0]", "0"]),
    "ignore_index with probabilities": (
        lambda: ce.cross_entropy(X, P, ignore_index=1),
        ValueError,
        ["ignore_index", "1", "probabilities"],
    ),
    # probabilities
    "probability above 1": (
        lambda: ce.binary_cross_entropy(late(P, 1.5), P),
        ValueError,
        ["input[3, 2]", "1.5", "0 to 1"],
    ),
    "probability below 0": (lambda: ce.binary_cross_entropy(P - 1, P), ValueError, ["input[0, 0]", "-0.5", "0 to 1"]),
    "target above 1": (lambda: ce.binary_cross_entropy(P, P + 1), ValueError, ["target[0, 0]", "1.5", "0 to 1"]),
    "infinite probability": (lambda: ce.binary_cross_entropy([np.inf], [1.0]), ValueError, ["input[0]", "inf"]),
    # parameters
    "reduction": (
        lambda: ce.cross_entropy(X, T, reduction="avg"),
        ValueError,
        ["reduction", "avg", "none", "mean", "sum"],
    ),
    "reduction of bce": (
        lambda: ce.binary_cross_entropy(P, P, reduction=None),
        ValueError,
        ["reduction", "None", "mean"],
    ),
    "reduction of kl": (lambda: ce.kl_div(X, P, reduction="x"), ValueError, ["reduction", "x", "batchmean"]),
    "smoothing above 1": (
        lambda: ce.cross_entropy(X, T, label_smoothing=1.5),
        ValueError,
        ["label_smoothing", "1.5", "0", "1"],
    ),
    "smoothing below 0": (
        lambda: ce.cross_entropy(X, T, label_smoothing=-0.5),
        ValueError,
        ["label_smoothing", "-0.5"],
    ),
    "smoothing nan": (lambda: ce.cross_entropy(X, T, label_smoothing=np.nan), ValueError, ["label_smoothing", "nan"]),
    "smoothing of bce": (
        lambda: ce.binary_cross_entropy_with_logits(X, X, label_smoothing=2),
        ValueError,
        ["label_smoothing", "2"],
    ),
    "smoothing a string": (
        lambda: ce.cross_entropy(X, T, label_smoothing="0.1"),
        TypeError,
        ["label_smoothing", "0.1"],
    ),
    "ignore_index no integer": (lambda: ce.cross_entropy(X, T, ignore_index=0.5), TypeError, ["ignore_index", "0.5"]),
    "ignore_index None": (lambda: ce.nll_loss(X, T, ignore_index=None), TypeError, ["ignore_index", "None"]),
    "log_floor above 0": (lambda: ce.binary_cross_entropy(P, P, log_floor=1.0), ValueError, ["log_floor", "1.0"]),
    "log_floor nan": (lambda: ce.binary_cross_entropy(P, P, log_floor=np.nan), ValueError, ["log_floor", "nan"]),
    "eps negative": (lambda: ce.binary_cross_entropy(P, P, eps=-1e-7), ValueError, ["eps", "-1e-07"]),
    "eps too large": (lambda: ce.binary_cross_entropy(P, P, eps=0.5), ValueError, ["eps", "0.5"]),
    "no threads": (lambda: ce.softmax(X, num_threads=0), ValueError, ["num_threads", "0"]),
    "negative threads": (lambda: ce.cross_entropy(X, T, num_threads=-2), ValueError, ["num_threads", "-2"]),
    "fractional threads": (lambda: ce.sigmoid(X, num_threads=1.5), TypeError, ["num_threads", "1.5"]),
    # outputs
    "out with a mean": (lambda: ce.cross_entropy(X, T, out=OUT), ValueError, ["out", "none", "mean"]),
    "out with a sum": (lambda: ce.mse_loss(X, X, reduction="sum", out=X.copy()), ValueError, ["out", "none", "sum"]),
    "out a list": (lambda: ce.softmax(X, out=[0.0]), TypeError, ["out", "list", "ndarray"]),
    "out dtype": (lambda: ce.softmax(X, out=X.astype("f4")), TypeError, ["out", "float32", "float64"]),
    "out integer": (lambda: ce.sigmoid(X, out=X.astype(int)), TypeError, ["out", "int64", "float64"]),
    "out shape": (lambda: ce.log_softmax(X, out=X[:3].copy()), ValueError, ["out", "(3, 3)", "(4, 3)"]),
    "out shape of logsumexp": (lambda: ce.logsumexp(X, out=ROW.copy()), ValueError, ["out", "(3,)", "(4,)"]),
    "out read-only": (lambda: ce.softmax(X, out=read_only(X)), ValueError, ["out", "read-only"]),
    "out masked": (lambda: ce.softmax(X, out=np.ma.masked_array(X)), TypeError, ["out"]),
    "loss out shape": (
        lambda: ce.cross_entropy(X, T, reduction="none", out=ROW.copy()),
        ValueError,
        ["out", "(3,)", "(4,)"],
    ),
    "gradient out shape": (
        lambda: loss_and_grad(ce.cross_entropy)(X, T, out=OUT),
        ValueError,
        ["out", "(4,)", "(4, 3)"],
    ),
    "gradient out dtype": (
        lambda: loss_and_grad(ce.mse_loss)(X, X, out=X.astype("f4")),
        TypeError,
        ["out", "float32", "float64"],
    ),
    "gradient out read-only": (
        lambda: loss_and_grad(ce.nll_loss)(X, T, out=read_only(X)),
        ValueError,
        ["out", "read-only"],
    ),
    "hess_out shape": (
        lambda: ce.value_grad_and_hess(ce.cross_entropy)(X, T, hess_out=OUT),
        ValueError,
        ["hess_out", "(4,)", "(4, 3)"],
    ),
    "hess_out over out": (lambda: shared_hessian(), ValueError, ["hess_out", "out"]),
    "grad_output shape": (
        lambda: loss_and_grad(ce.cross_entropy)(X, T, reduction="none", grad_output=ROW),
        ValueError,
        ["grad_output", "(3,)", "(4,)"],
    ),
    "grad_output array for a mean": (
        lambda: loss_and_grad(ce.cross_entropy)(X, T, grad_output=np.ones(4)),
        ValueError,
        ["grad_output", "(4,)", "mean"],
    ),
    "grad_output complex": (lambda: loss_and_grad(ce.mse_loss)(X, X, grad_output=1j), TypeError, ["grad_output"]),
    "backward shapes": (lambda: ce.softmax_backward(X[:3], X), ValueError, ["grad_output", "(3, 3)", "(4, 3)"]),
    "threads of set_num_threads": (lambda: ce.set_num_threads(0), ValueError, ["0"]),
    "words of torch that are not taken": (
        lambda: ce.cross_entropy(X, T, size_average=True),
        TypeError,
        ["size_average"],
    ),
    "positional weight": (lambda: ce.cross_entropy(X, T, ROW), TypeError, ["positional"]),
}


def shared_hessian():
    buffer = np.zeros_like(X)
    return ce.value_grad_and_hess(ce.cross_entropy)(X, T, out=buffer, hess_out=buffer)


@pytest.mark.parametrize(("call", "exception", "words"), TABLE.values(), ids=TABLE)
def test_table(call, exception, words):
    with pytest.raises(exception) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "layout", [np.copy, np.asfortranarray, lambda a: a.astype("f4")], ids=["plain", "fortran", "float32"]
)
@pytest.mark.parametrize("target", [[0, 1, 3, 0], [0, -1, 0, 0], [0, 0, 0, -101]], ids=str)
def test_a_bad_target_is_found_in_every_lane(layout, target):
    """Fast lane, slow lane, with options, with gradient, whatever the reduction."""
    x, t = layout(X), np.array(target)
    message = re.escape(f"target[{next(i for i, k in enumerate(target) if k not in (0, 1, 2))}] is")
    for options in ({}, {"weight": ROW}, {"label_smoothing": 0.1}, {"reduction": "none"}, {"reduction": "sum"}):
        with pytest.raises(IndexError, match=message):
            ce.cross_entropy(x, t, **options)
        with pytest.raises(IndexError, match=message):
            ce.value_and_grad(ce.cross_entropy)(x, t, **options)
    for axis_last in (ce.cross_entropy, ce.nll_loss):
        with pytest.raises(IndexError, match=message):
            axis_last(x.T.copy(), t, axis=0)


SENTINEL = -12345.0
N = 50_000  # rows: several blocks, so that a check in the loop would have written some of them


def late(values, wrong):
    """The array with its last value made wrong."""
    values = values.copy()
    values.reshape(-1)[-1] = wrong
    return values


INVALID = {
    "index": (ce.cross_entropy, np.zeros((N, 3)), late(np.zeros(N, int), 3), IndexError),
    "nll": (ce.nll_loss, np.zeros((N, 3)), late(np.zeros(N, np.int8), -1), IndexError),
    "probability": (ce.binary_cross_entropy, late(np.full(N, 0.5), 1.5), np.ones(N), ValueError),
    "target probability": (ce.binary_cross_entropy, np.full(N, 0.5), late(np.ones(N), -1.0), ValueError),
    "shape": (ce.mse_loss, np.zeros((N, 3)), np.zeros((N, 2)), ValueError),
    "dtype": (ce.kl_div, np.zeros((N, 3)), np.zeros((N, 3), complex), TypeError),
}


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "x", "target", "exception"), INVALID.values(), ids=INVALID)
def test_nothing_is_written_on_error(loss, x, target, exception, dtype, num_threads):
    """Not into the losses' out, not into the gradient's, not into the input given as its own gradient."""
    x = x.astype(dtype)
    target = target.astype(dtype) if target.dtype == np.float64 else target
    losses = np.full(N if target.dtype.kind in "iu" else x.shape, SENTINEL, dtype)
    grad = np.full(x.shape, SENTINEL, dtype)
    before = x.copy()
    with pytest.raises(exception):
        loss(x, target, reduction="none", out=losses, num_threads=num_threads)
    for reduction in ("none", "mean"):
        with pytest.raises(exception):
            ce.value_and_grad(loss)(x, target, reduction=reduction, out=grad, num_threads=num_threads)
        with pytest.raises(exception):
            ce.value_and_grad(loss)(x, target, reduction=reduction, out=x, num_threads=num_threads)
    assert (losses == SENTINEL).all()
    assert (grad == SENTINEL).all()
    assert np.array_equal(x, before)


def test_nothing_is_written_when_a_parameter_is_wrong():
    x, out = X.copy(), np.full((4, 3), SENTINEL)
    for options in (
        {"reduction": "avg"},
        {"label_smoothing": 7},
        {"weight": np.ones(2)},
        {"axis": 9},
        {"num_threads": 0},
        {"grad_output": np.ones(9)},
    ):
        with pytest.raises((ValueError, TypeError)):
            ce.value_and_grad(ce.cross_entropy)(x, T, out=out, **options)
    assert (out == SENTINEL).all()


@pytest.mark.parametrize(("case", "variant"), **cases.select(variants=False))
def test_the_slow_lane_checks_what_the_fast_lane_checks(case, variant):
    """A wrong out, for contiguous and for strided input."""
    call = cases.make_call(case, variant, (6, 4), "float64", axis=1)
    value = call.unreduced()
    for layout in (np.copy, np.asfortranarray):
        arguments = tuple(layout(a) for a in call.arguments)
        moved = cases.Call(case, variant, arguments, call.options)
        with pytest.raises(TypeError, match="out"):
            moved.unreduced(out=value.astype("f4"))
        with pytest.raises(ValueError, match="out"):
            moved.unreduced(out=np.zeros((*value.shape, 2)))
        with pytest.raises(ValueError, match="out"):
            moved.unreduced(out=read_only(value))
        with pytest.raises(ValueError, match="num_threads"):
            moved.unreduced(num_threads=0)


def test_error_of_axis_is_numpys():
    with pytest.raises(np.exceptions.AxisError):
        ce.softmax(X, axis=2)


@pytest.mark.parametrize("loss", [ce.cross_entropy, ce.nll_loss, ce.value_and_grad(ce.cross_entropy)])
@pytest.mark.parametrize("bad", [-1, 3, 2**40])
def test_a_target_out_of_range_far_down_is_found(loss, bad, isa):
    """Sums without a gradient check the targets of a block right before they use them."""
    x, target = np.zeros((5000, 3), np.float32), np.zeros(5000, np.int64)
    target[:4000] = -100
    target[4321] = bad
    with pytest.raises(IndexError, match=rf"target\[4321\] is {bad}\b"):
        loss(x, target)
