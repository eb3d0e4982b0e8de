"""crossent.keras: against Keras 3 itself where it is installed, and against formulas that always run."""

import inspect
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest

from crossent import keras as ck

FUNCTIONS = ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]
CLASSES = ["BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy"]
REDUCTIONS = ["sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none", None]
TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}


# ------------------------------------------------------------------------------------------------- Keras itself

# Keras runs in a process of its own: its backends start threads, and other tests fork this one.
REFERENCE = """
import inspect, os, pickle, sys, warnings
os.environ["KERAS_BACKEND"] = "numpy"
warnings.simplefilter("ignore")
try:
    from keras import losses
except ImportError as error:
    print(f"Keras with its NumPy backend is not installed: {error}")
    sys.exit(3)
cases, names = pickle.load(open(sys.argv[1], "rb"))
answers = {}
for key, (name, init, call) in cases.items():
    f = getattr(losses, name)
    answers[key] = f(*call[0], **init) if init is not None and name.islower() else f(**init)(*call[0], **call[1])
orders = {name: list(inspect.signature(getattr(losses, name)).parameters) for name in names}
with open(sys.argv[2], "wb") as file:
    pickle.dump((answers, orders), file)
"""


def draw(dtype, shape=(6, 5), axis=-1, seed=0):
    """Probabilities that sum to a bit more than 1, logits, one-hot and soft targets, and classes."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal(shape)
    prob = np.exp(logits)
    prob /= prob.sum(axis=axis, keepdims=True)
    soft = rng.random(shape)
    soft /= soft.sum(axis=axis, keepdims=True)
    classes = rng.integers(0, shape[axis], tuple(np.delete(shape, axis)))
    one_hot = np.moveaxis(np.eye(shape[axis])[classes], -1, axis)
    return {
        "prob": (1.25 * prob).astype(dtype),
        "p": (prob * 0.98 + 0.01).astype(dtype),
        "logits": logits.astype(dtype),
        "soft": soft.astype(dtype),
        "one_hot": one_hot.astype(dtype),
        "bits": (rng.random(shape) < 0.4).astype(dtype),
        "classes": classes,
        "sample_weight": rng.random(classes.shape).astype(dtype),
    }


def function_cases():
    dtype = "float32"  # Keras's NumPy backend rounds float64 to it
    for from_logits in [False, True]:
        for shape, axis in [((6, 5), -1), ((2, 3, 4), -1), ((2, 3, 4), 1), ((7,), -1)]:
            d = draw(dtype, shape, axis)
            options = {"from_logits": from_logits, "axis": axis}
            tag = f"{'logits' if from_logits else 'prob'}-{'x'.join(map(str, shape))}-axis{axis}"
            for smoothing in [0.0, 0.1]:
                smooth = {**options, "label_smoothing": smoothing}
                for target in ["bits", "soft"]:
                    y_pred = d["logits" if from_logits else "p"]
                    yield f"binary-{tag}-{target}-{smoothing}", "binary_crossentropy", smooth, ((d[target], y_pred), {})
                if smoothing and axis != -1:
                    continue  # Keras divides by the length of the last axis there
                for target in ["one_hot", "soft"]:
                    y_pred = d["logits" if from_logits else "prob"]
                    call = ((d[target], y_pred), {})
                    yield f"categorical-{tag}-{target}-{smoothing}", "categorical_crossentropy", smooth, call
            if axis == -1 and len(shape) > 1:  # the one axis that Keras's NumPy backend can do
                y_pred = d["logits" if from_logits else "prob"]
                name = "sparse_categorical_crossentropy"
                yield f"sparse-{tag}", name, options, ((d["classes"], y_pred), {})
                yield f"sparse-{tag}-column", name, options, ((d["classes"][..., np.newaxis], y_pred), {})
                ignoring = {**options, "ignore_class": 2}
                yield f"sparse-{tag}-ignore", name, ignoring, ((d["classes"], y_pred), {})


def clipped_cases():
    """Probabilities at and beyond the clip bounds."""
    y_pred = np.array([[0, 1, 0], [1e-9, 1, 0], [0.5, 0.5, 0], [1, 0, 0]], np.float32)
    y_true = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    yield "binary-clipped", "binary_crossentropy", {}, ((y_true, y_pred), {})
    yield "categorical-clipped", "categorical_crossentropy", {}, ((y_true, y_pred), {})
    yield "sparse-clipped", "sparse_categorical_crossentropy", {}, ((y_true.argmax(1), y_pred), {})


def object_cases():
    dtype = "float32"
    for reduction, weighted in itertools.product(REDUCTIONS, [False, True]):
        d = draw(dtype, (2, 3, 4))
        tag = f"{reduction}-{'weighted' if weighted else 'plain'}"
        init = {"reduction": reduction, "dtype": dtype}
        kw = {"sample_weight": d["sample_weight"]} if weighted else {}
        yield f"Binary-{tag}", "BinaryCrossentropy", init, ((d["bits"], d["p"]), kw)
        yield f"Categorical-{tag}", "CategoricalCrossentropy", init, ((d["one_hot"], d["prob"]), kw)
        for ignore_class in [None, 1, 255]:
            classes = np.where(d["classes"] == 1, 255, d["classes"]) if ignore_class == 255 else d["classes"]
            options = {**init, "ignore_class": ignore_class, "from_logits": True}
            call = ((classes, d["logits"]), kw)
            yield f"Sparse-{tag}-ignore{ignore_class}", "SparseCategoricalCrossentropy", options, call
        column = {"sample_weight": np.arange(1.0, 7).reshape(6, 1)} if weighted else {}
        flat = draw(dtype)
        yield f"Binary-column-{tag}", "BinaryCrossentropy", init, ((flat["bits"][:, :1], flat["p"][:, 0]), column)
        all_ignored = {**init, "ignore_class": 3}
        call = ((np.full(6, 3), flat["prob"]), {"sample_weight": flat["sample_weight"]} if weighted else {})
        if reduction != "mean_with_sample_weight":
            yield f"Sparse-all-ignored-{tag}", "SparseCategoricalCrossentropy", all_ignored, call


CASES = {key: case for key, *case in itertools.chain(function_cases(), clipped_cases(), object_cases())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Keras's answers to CASES and the order of its arguments."""
    folder = tmp_path_factory.mktemp("keras")
    with open(folder / "cases", "wb") as file:
        pickle.dump((CASES, FUNCTIONS + CLASSES), file)
    command = [sys.executable, "-c", REFERENCE, str(folder / "cases"), str(folder / "answers")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode == 3:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stderr
    with open(folder / "answers", "rb") as file:
        return pickle.load(file)


def ours(name, init, call):
    f = getattr(ck, name)
    return f(*call[0], **init) if name in FUNCTIONS else f(**init)(*call[0], **call[1])


@pytest.mark.parametrize("key", CASES)
def test_equals_keras(reference, key):
    name, init, call = CASES[key]
    expected = np.asarray(reference[0][key])
    got = np.asarray(ours(name, init, call))
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, **TOLERANCE["float32"])


@pytest.mark.parametrize("name", FUNCTIONS + CLASSES)
def test_arguments_are_keras_s_in_keras_s_order(reference, name):
    order = list(inspect.signature(getattr(ck, name)).parameters)
    expected = reference[1][name]
    # Keras gained label_smoothing for sparse targets in versions after 3.15; what we have keeps its place.
    known = [argument for argument in expected if argument in order]
    assert [argument for argument in order if argument != "epsilon"] == known


# ------------------------------------------------------------------------------------- formulas that always run


def plain_categorical(y_true, y_pred, axis, from_logits=False, smoothing=0.0, epsilon=1e-7):
    y_pred = np.asarray(y_pred, dtype=np.float64)
    p = np.exp(y_pred - y_pred.max(axis=axis, keepdims=True)) if from_logits else y_pred
    p = p / p.sum(axis=axis, keepdims=True)
    if not from_logits:
        p = np.clip(p, epsilon, 1 - epsilon)
    y = np.asarray(y_true, dtype=np.float64) * (1 - smoothing) + smoothing / p.shape[axis]
    return -(y * np.log(p)).sum(axis=axis)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((5,), 0), ((6, 5), -1), ((6, 5), 0), ((2, 3, 4), 1), ((2, 3, 4), -3)])
class TestFormulas:
    def test_categorical(self, dtype, from_logits, shape, axis):
        d = draw(dtype, shape, axis)
        y_pred = d["logits" if from_logits else "prob"]
        for target, smoothing in itertools.product(["one_hot", "soft"], [0.0, 0.2]):
            got = ck.categorical_crossentropy(d[target], y_pred, from_logits, smoothing, axis)
            expected = plain_categorical(d[target], y_pred, axis, from_logits, smoothing)
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, **TOLERANCE[dtype])

    def test_sparse_is_categorical_of_one_hot(self, dtype, from_logits, shape, axis):
        d = draw(dtype, shape, axis)
        y_pred = d["logits" if from_logits else "prob"]
        got = ck.sparse_categorical_crossentropy(d["classes"], y_pred, from_logits, axis=axis)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, plain_categorical(d["one_hot"], y_pred, axis, from_logits), **TOLERANCE[dtype])

    def test_binary(self, dtype, from_logits, shape, axis):
        d = draw(dtype, shape, axis)
        y_pred = d["logits" if from_logits else "p"]
        p = y_pred.astype(np.float64)
        p = 1 / (1 + np.exp(-p)) if from_logits else p
        for target, smoothing in itertools.product(["bits", "soft"], [0.0, 0.2]):
            y = d[target].astype(np.float64) * (1 - smoothing) + smoothing / 2
            expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=axis)
            got = ck.binary_crossentropy(d[target], y_pred, from_logits, smoothing, axis)
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, **TOLERANCE[dtype])


def test_worked_examples():
    binary = ck.BinaryCrossentropy()([[0], [1], [1], [0]], [[0.1], [0.9], [0.8], [0.4]])
    assert binary == pytest.approx(-np.log([0.9, 0.9, 0.8, 0.6]).mean(), rel=1e-14)
    categorical = ck.CategoricalCrossentropy()(np.eye(3), [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    assert categorical == pytest.approx(-np.log([0.7, 0.8, 0.6]).mean(), rel=1e-14)
    assert type(binary) is type(categorical) is float


def test_default_epsilon_clips_and_zero_is_exact():
    top = -np.log(1e-7)
    assert ck.sparse_categorical_crossentropy([0], [[0.0, 1.0]]) == pytest.approx([top], rel=1e-14)
    assert ck.sparse_categorical_crossentropy([0], [[0.0, 1.0]], epsilon=0).tolist() == [np.inf]
    assert ck.sparse_categorical_crossentropy([1], [[0.0, 1.0]], epsilon=0).tolist() == [0.0]
    assert ck.categorical_crossentropy([[0, 1.0]], [[0.0, 1.0]], epsilon=0).tolist() == [0.0]
    assert ck.categorical_crossentropy([[0.5, 0.5]], [[0.0, 1.0]], epsilon=0).tolist() == [np.inf]
    assert ck.binary_crossentropy([[1.0, 0]], [[0.0, 1.0]]) == pytest.approx([top], rel=1e-9)
    assert ck.binary_crossentropy([[1.0]], [[0.0]], epsilon=0).tolist() == [np.inf]
    assert ck.binary_crossentropy([[0.0, 1]], [[0.0, 1.0]], epsilon=0).tolist() == [0.0]
    assert ck.binary_crossentropy([[1.0]], [[1e-60]], epsilon=0) == pytest.approx([-np.log(1e-60)], rel=1e-14)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_confident_predictions_keep_their_digits(dtype):
    tail = np.array(1e-12, dtype)
    y_pred = np.array([[1, tail, tail]])
    expected = np.log1p(2 * np.float64(tail))
    rtol = 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(ck.sparse_categorical_crossentropy([0], y_pred, epsilon=0), [expected], rtol=rtol)
    np.testing.assert_allclose(ck.categorical_crossentropy([[1, 0, 0]], y_pred, epsilon=0), [expected], rtol=rtol)
    logits = np.array([[0, 17]], dtype)
    expected = [np.log1p(np.exp(-17.0))]
    np.testing.assert_allclose(ck.sparse_categorical_crossentropy([1], logits, from_logits=True), expected, rtol=rtol)
    np.testing.assert_allclose(ck.categorical_crossentropy([[0, 1]], logits, from_logits=True), expected, rtol=rtol)


def test_probabilities_agree_with_logits():
    d = draw("float64")
    prob = np.exp(d["logits"])
    for y_true in [d["one_hot"], d["soft"]]:
        from_prob = ck.categorical_crossentropy(y_true, prob, epsilon=0)
        np.testing.assert_allclose(from_prob, ck.categorical_crossentropy(y_true, d["logits"], True), rtol=1e-13)


def test_ignored_rows_are_not_read():
    y_pred = np.array([[0.25, 0.75], [np.nan, -1], [0.5, 0.5], [np.inf, 0]])
    y_true = np.array([1, 255, 0, 255], np.uint8)
    for from_logits in [False, True]:
        losses = ck.sparse_categorical_crossentropy(y_true, y_pred, from_logits, ignore_class=255)
        assert np.all(losses[[1, 3]] == 0)
        mean = ck.SparseCategoricalCrossentropy(from_logits, ignore_class=255)(y_true, y_pred)
        assert mean == pytest.approx(losses[[0, 2]].mean(), rel=1e-14)


def test_every_class_counts_without_ignore_class():
    for from_logits in [False, True]:
        for bad in [-100, -1, 2, np.iinfo(np.int32).min]:
            with pytest.raises(IndexError, match=str(bad)):
                ck.sparse_categorical_crossentropy([0, bad], [[0.5, 0.5], [0.5, 0.5]], from_logits)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32"])
def test_sparse_takes_every_integer_and_whole_floats(dtype):
    y_pred = np.array([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]])
    got = ck.sparse_categorical_crossentropy(np.array([[0], [2]], dtype), y_pred)
    np.testing.assert_allclose(got, -np.log([0.5, 0.375]), rtol=1e-14)


def test_sample_of_weight_zero_contributes_nothing():
    loss = ck.SparseCategoricalCrossentropy(reduction="sum", epsilon=0)
    y_pred = np.array([[0.0, 1], [0.5, 0.5], [np.nan, 1]])
    assert loss([0, 0, 0], y_pred, sample_weight=[0, 2, 0]) == pytest.approx(2 * np.log(2), rel=1e-14)


def test_dtypes():
    half = np.array([[0.5, 0.5]], np.float16)
    assert ck.categorical_crossentropy([[1, 0]], half).dtype == np.float32
    assert ck.binary_crossentropy([[1, 0]], half).dtype == np.float32
    assert ck.categorical_crossentropy([[1, 0]], np.array([[1, 3]])).dtype == np.float64
    assert ck.BinaryCrossentropy(reduction=None, dtype="float32")([[1, 0]], [[0.5, 0.5]]).dtype == np.float32


def test_means_of_no_rows_are_zero():
    empty = np.empty((0, 3))
    for reduction in ["mean", "sum", "mean_with_sample_weight"]:
        assert ck.SparseCategoricalCrossentropy(reduction=reduction)(np.empty(0, int), empty) == 0.0
    ignored = ck.SparseCategoricalCrossentropy(ignore_class=0, reduction="mean_with_sample_weight")
    assert ignored([0, 0], [[0.5, 0.5], [0.5, 0.5]]) == 0.0


def test_inputs_are_not_written():
    d = draw("float64")
    for value in d.values():
        value.flags.writeable = False
    ck.BinaryCrossentropy(label_smoothing=0.1)(d["bits"], d["p"], d["sample_weight"])
    ck.CategoricalCrossentropy(label_smoothing=0.1)(d["one_hot"], d["prob"], d["sample_weight"])
    ck.SparseCategoricalCrossentropy(ignore_class=1)(d["classes"], d["prob"], d["sample_weight"])


def test_one_class_warns():
    with pytest.warns(SyntaxWarning, match="single class"):
        assert ck.categorical_crossentropy([[1.0]], [[0.3]], epsilon=0).tolist() == [0.0]


HALF = [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ck.BinaryCrossentropy(reduction="average"), ValueError, "reduction .*'average'"),
        (lambda: ck.binary_crossentropy([[1.0]], HALF), ValueError, r"y_true .*\(1, 2\).*\(1, 1\)"),
        (lambda: ck.categorical_crossentropy([1.0, 0], HALF), ValueError, r"y_true .*\(1, 2\).*\(2,\)"),
        (lambda: ck.categorical_crossentropy(HALF, [[0.5, -0.5]]), ValueError, r"y_pred\[0, 1\] is -0.5"),
        (lambda: ck.categorical_crossentropy(HALF, HALF, axis=2), ValueError, "axis .*got 2"),
        (lambda: ck.categorical_crossentropy(HALF, HALF, label_smoothing=-0.1), ValueError, "label_smoothing .*-0.1"),
        (lambda: ck.binary_crossentropy(HALF, HALF, label_smoothing=1.5), ValueError, "label_smoothing .*1.5"),
        (lambda: ck.binary_crossentropy(HALF, HALF, epsilon=-1e-7), ValueError, "epsilon .*-1e-07"),
        (lambda: ck.sparse_categorical_crossentropy([0], HALF, epsilon=0.5), ValueError, "epsilon .*0.5"),
        (lambda: ck.sparse_categorical_crossentropy([0.5], HALF), ValueError, "y_true .*whole"),
        (lambda: ck.sparse_categorical_crossentropy([np.inf], HALF), ValueError, "y_true .*whole"),
        (lambda: ck.sparse_categorical_crossentropy([0, 1], HALF), ValueError, r"\(2,\)"),
        (lambda: ck.binary_crossentropy(HALF, np.ones((1, 2), complex)), TypeError, "y_pred .*complex128"),
        (lambda: ck.binary_crossentropy(HALF, np.ma.ones((1, 2))), TypeError, "y_pred .*masked"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_repr_shows_the_parameters():
    text = repr(ck.SparseCategoricalCrossentropy(ignore_class=255))
    assert text.startswith("SparseCategoricalCrossentropy(from_logits=False, ignore_class=255")
