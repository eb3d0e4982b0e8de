"""The worked examples that the project grew from, with the numbers as their authors printed them."""

import numpy as np
import pytest

import crossent as ce

LOGITS = [4.0, 8.0, 3.0]


@pytest.mark.parametrize(("target", "loss"), [(0, 4.0247), (1, 0.0247), (2, 5.0247)])
def test_three_logits(target, loss, dtype, isa):
    """One row, with and without a batch dimension; and log-softmax and NLL, chained."""
    row = np.array(LOGITS, dtype)
    assert ce.cross_entropy(row, target) == pytest.approx(loss, abs=5e-5)
    assert ce.cross_entropy(row[None], [target]) == pytest.approx(loss, abs=5e-5)
    assert ce.nll_loss(ce.log_softmax(row), target) == pytest.approx(loss, abs=5e-5)
    assert ce.nll_loss(ce.log_softmax(row[None], axis=1), np.array([target])) == pytest.approx(loss, abs=5e-5)


def test_three_rows_at_once(dtype, isa):
    losses = ce.cross_entropy(np.array([LOGITS] * 3, dtype), [0, 1, 2], reduction="none")
    assert losses == pytest.approx([4.0247, 0.0247, 5.0247], abs=5e-5)


def test_plain_lists():
    """Nothing needs to be an array."""
    assert ce.cross_entropy([LOGITS], [1]) == pytest.approx(0.0247, abs=5e-5)


def test_chained_and_whole_agree(dtype, isa):
    """log_softmax then nll_loss is cross_entropy."""
    logits = np.array([[-0.0464, -0.0268], [-0.0234, -0.0091]], dtype)
    labels = np.array([0, 1])
    whole = ce.cross_entropy(logits, labels)
    assert whole == pytest.approx(0.6945090, abs=1e-6)
    assert ce.nll_loss(ce.log_softmax(logits, axis=1), labels) == pytest.approx(whole, rel=1e-6)


def test_binary_from_probabilities_and_from_logits(dtype, isa):
    """Sigmoid outputs through binary_cross_entropy, the logits through its sister."""
    logits = np.array([-1.5, 0.3, 2.0, -0.7], dtype)
    labels = np.array([0, 1, 1, 0], dtype)
    from_logits = ce.binary_cross_entropy_with_logits(logits, labels)
    assert ce.binary_cross_entropy(ce.sigmoid(logits), labels) == pytest.approx(from_logits, rel=1e-6)
    assert from_logits == pytest.approx(0.32147065, rel=1e-6)


def test_binary_is_the_two_class_case(dtype, isa):
    """A logit x for class 1 is the pair (0, x)."""
    x = np.array([-1.5, 0.3, 2.0], dtype)
    labels = np.array([0, 1, 1])
    pairs = np.stack([np.zeros_like(x), x], axis=1)
    binary = ce.binary_cross_entropy_with_logits(x, labels.astype(dtype))
    assert ce.cross_entropy(pairs, labels) == pytest.approx(binary, rel=1e-6)


def test_numpy_binary_cross_entropy_loss(dtype, isa):
    """binary_cross_entropy_loss(y_true, y_pred) of the NumPy tutorials, in one call."""
    y_true = np.array([[0], [1], [1], [0]], dtype)
    y_pred = np.array([[0.1], [0.9], [0.8], [0.4]], dtype)
    wanted = -np.mean(y_true * np.log(y_pred) + (1 - y_true) * np.log(1 - y_pred))
    assert ce.binary_cross_entropy(y_pred, y_true) == pytest.approx(wanted, rel=1e-6)
    assert ce.binary_cross_entropy(y_pred, y_true) == pytest.approx(0.23617255, rel=1e-6)


def test_numpy_categorical_cross_entropy_loss(dtype, isa):
    """categorical_cross_entropy_loss(y_true, y_pred) of the NumPy tutorials: one-hot rows against probabilities."""
    from crossent import keras

    y_true = np.eye(3, dtype=dtype)
    y_pred = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], dtype)
    wanted = -np.mean(np.sum(y_true * np.log(y_pred), axis=1))
    assert wanted == pytest.approx(0.36354806, rel=1e-6)
    losses = keras.categorical_crossentropy(y_true, y_pred)
    assert losses == pytest.approx(-np.log(np.array([0.7, 0.8, 0.6])), rel=1e-6)
    assert keras.CategoricalCrossentropy()(y_true, y_pred) == pytest.approx(wanted, rel=1e-6)
    # cross_entropy of the logarithms is the same, as the rows of y_pred sum to 1
    assert ce.cross_entropy(np.log(y_pred), y_true) == pytest.approx(wanted, rel=1e-6)
    assert ce.nll_loss(np.log(y_pred), [0, 1, 2]) == pytest.approx(wanted, rel=1e-6)


def test_multi_label(dtype, isa):
    """Several classes may be true at once; pos_weight makes the rare ones count."""
    logits = np.array([[1.2, -0.8, 0.3], [-2.0, 0.5, 1.1]], dtype)
    labels = np.array([[1, 0, 1], [0, 1, 1]], dtype)
    pos_weight = np.array([1, 2, 3], dtype)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    wanted = -(pos_weight * labels * np.log(p) + (1 - labels) * np.log(1 - p))
    got = ce.binary_cross_entropy_with_logits(logits, labels, pos_weight=pos_weight, reduction="none")
    assert got == pytest.approx(wanted, rel=1e-6)
