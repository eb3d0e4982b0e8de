"""More than 2^31 elements: right numbers, right places. The arrays repeat one block of memory, see big_arrays.py.

Behind the repetitions stands another block, beyond element 2^31, and the expected sum is that of the first block times
the repetitions, plus that of the last: an index of 32 bits would miss the last block or read outside the array.
"""

import math

import big_arrays
import cases
import numpy as np
import pytest
from big_arrays import BLOCK, big

import crossent as ce

REPEATS = 2**31 // BLOCK + 1
ORDER = np.append(np.zeros(REPEATS, int), 1)
SIZE = len(ORDER) * BLOCK

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not big_arrays.AVAILABLE, reason="needs a 64-bit Linux"),
]

ELEMENTS = {
    "binary_cross_entropy": {},
    "binary_cross_entropy_with_logits": {},
    "kl_div": {},
    "mse_loss": {},
}


def blocks_of(name, dtype=np.float32):
    """(input, target) of two blocks; the second one has other losses."""
    rng = cases.rng_for("big", name)
    x, t = rng.random((2, BLOCK)), rng.random((2, BLOCK))
    x[1] = x[1] / 2 + 0.25
    if name.startswith("binary"):
        t = np.round(t)
    if name == "binary_cross_entropy_with_logits":
        x *= 8
    if name == "kl_div":
        x = -x
    return x.astype(dtype), t.astype(dtype)


def total(first, last):
    return REPEATS * first + last


def test_there_are_more_than_two_to_the_31():
    assert SIZE - BLOCK > 2**31
    x = big(ORDER, np.zeros(BLOCK, np.float32), np.ones(BLOCK, np.float32))
    assert x.size == SIZE
    assert x[2**31] == 0
    assert x[-BLOCK - 1] == 0
    assert x[-BLOCK] == x[-1] == 1


@pytest.mark.parametrize("name", ELEMENTS)
def test_sum_and_mean_of_elements(name):
    x, t = blocks_of(name)
    loss = getattr(ce, name)
    exact = total(*(loss(*pair, reduction="sum") for pair in zip(x, t, strict=True)))
    big_x, big_t = big(ORDER, *x), big(ORDER, *t)
    assert loss(big_x, big_t, reduction="sum") == pytest.approx(exact, rel=1e-13)
    if name == "mse_loss":
        assert loss(big_x, big_t) == pytest.approx(exact / SIZE, rel=1e-13)


def places(value=7.0):
    """Memory for a result that repeats as the input does, and its two blocks."""
    array = big(ORDER, *np.full((2, BLOCK), value, np.float32))
    return array, (array[:BLOCK], array[-BLOCK:])


def test_derivatives_of_elements():
    name = "binary_cross_entropy_with_logits"
    x, t = blocks_of(name)
    weight = np.array([1, 2, 3], np.float32)
    transform = ce.value_grad_and_hess(getattr(ce, name))
    (grad, grad_blocks), (hess, hess_blocks) = places(), places()
    shape = (-1, 3)
    loss, *_ = transform(
        big(ORDER, *x).reshape(shape), big(ORDER, *t).reshape(shape), pos_weight=weight, reduction="sum",
        out=grad.reshape(shape), hess_out=hess.reshape(shape),
    )  # fmt: skip
    small = [
        transform(a.reshape(shape), b.reshape(shape), pos_weight=weight, reduction="sum")
        for a, b in zip(x, t, strict=True)
    ]
    assert loss == pytest.approx(total(small[0][0], small[1][0]), rel=1e-13)
    for k in range(2):
        assert cases.same_bits(grad_blocks[k], small[k][1].ravel())
        assert cases.same_bits(hess_blocks[k], small[k][2].ravel())


@pytest.mark.parametrize("name", ["sigmoid", "mse_loss"])
def test_results_of_elements(name):
    """A map, and a loss without reduction."""
    x, t = blocks_of(name)
    result, result_blocks = places()
    function, arguments = getattr(ce, name), [(a,) for a in x]
    options = {}
    if name == "mse_loss":
        arguments, options = list(zip(x, t, strict=True)), {"reduction": "none"}
    function(*(big(ORDER, *pair) for pair in zip(*arguments, strict=True)), out=result, **options)
    for k in range(2):
        assert cases.same_bits(result_blocks[k], function(*arguments[k], **options))


# ---- rows ------------------------------------------------------------------------------------------------------------


def logits(n_blocks=2):
    return (cases.rng_for("big logits").standard_normal((n_blocks, BLOCK)) * 3).astype(np.float32)


def targets(n_classes, dtype=np.int64):
    """BLOCK class indices for each of two blocks."""
    return cases.rng_for("big targets").integers(0, n_classes, (2, BLOCK)).astype(dtype)


def test_more_rows_than_two_to_the_31():
    """Rows of one class, targets of one byte."""
    x = -np.abs(logits())
    t = np.where(cases.rng_for("ignored").random((2, BLOCK)) < 0.25, -1, 0).astype(np.int8)
    small = [ce.nll_loss(a[:, None], b, ignore_index=-1, reduction="sum") for a, b in zip(x, t, strict=True)]
    count = total(*(int(np.sum(b == 0)) for b in t))
    big_x, big_t = big(ORDER, *x)[:, None], big(ORDER, *t)
    assert ce.nll_loss(big_x, big_t, ignore_index=-1) == pytest.approx(total(*small) / count, rel=1e-13)
    assert ce.cross_entropy(big_x, big_t, ignore_index=-1) == 0.0
    bad = big(ORDER, t[0], np.append(t[1][:-1], np.int8(5)))
    with pytest.raises(IndexError, match=rf"target\[{SIZE - 1}\] is 5"):
        ce.nll_loss(big_x, bad, ignore_index=-1)


N_CLASSES = 1008
ROWS = BLOCK // N_CLASSES


def test_more_logits_than_two_to_the_31():
    """Rows of 1008 classes: loss, gradient over all of it, and maps."""
    x = logits()
    t = targets(N_CLASSES)[:, :ROWS]
    big_x, big_t = big(ORDER, *x).reshape(-1, N_CLASSES), np.concatenate([np.tile(t[0], REPEATS), t[1]])
    transform = ce.value_and_grad(ce.cross_entropy)
    small = [transform(a.reshape(ROWS, -1), b, reduction="sum") for a, b in zip(x, t, strict=True)]
    exact = total(small[0][0], small[1][0])
    assert ce.cross_entropy(big_x, big_t, reduction="sum") == pytest.approx(exact, rel=1e-13)
    assert ce.cross_entropy(big_x, big_t) == pytest.approx(exact / len(big_t), rel=1e-13)
    grad, grad_blocks = places()
    loss, _ = transform(big_x, big_t, reduction="sum", out=grad.reshape(big_x.shape))
    assert loss == pytest.approx(exact, rel=1e-13)
    for k in range(2):
        assert cases.same_bits(grad_blocks[k], small[k][1].ravel())
    for name in ("softmax", "log_softmax"):
        result, result_blocks = places()
        getattr(ce, name)(big_x, out=result.reshape(big_x.shape))
        for k in range(2):
            assert cases.same_bits(result_blocks[k], getattr(ce, name)(x[k].reshape(ROWS, -1)).ravel())
    lse = ce.logsumexp(big_x)
    assert cases.same_bits(lse[:ROWS], ce.logsumexp(x[0].reshape(ROWS, -1)))
    assert cases.same_bits(lse[-ROWS:], ce.logsumexp(x[1].reshape(ROWS, -1)))


def test_soft_targets_of_more_than_two_to_the_31():
    x = logits()
    q = cases.rng_for("big soft").random((2, BLOCK)).astype(np.float32)
    shape = (-1, N_CLASSES)
    small = [ce.cross_entropy(a.reshape(shape), b.reshape(shape), reduction="sum") for a, b in zip(x, q, strict=True)]
    got = ce.cross_entropy(big(ORDER, *x).reshape(shape), big(ORDER, *q).reshape(shape), reduction="sum")
    assert got == pytest.approx(total(*small), rel=1e-13)


@pytest.mark.parametrize("n_classes", [2, 9])
def test_class_axis_first(n_classes):
    """Classes lie hundreds of millions of elements apart."""
    columns = 2**31 // (n_classes * BLOCK) + 2
    x = logits(2 * n_classes)
    order = [2 * c + (k == columns - 1) for c in range(n_classes) for k in range(columns)]
    big_x = big(order, *x).reshape(n_classes, -1)
    assert big_x.size > 2**31
    t = targets(n_classes)
    big_t = np.concatenate([np.tile(t[0].astype(np.int8), columns - 1), t[1].astype(np.int8)])
    small = [ce.cross_entropy(x[k::2].T.copy(), t[k], reduction="sum") for k in range(2)]
    exact = (columns - 1) * small[0] + small[1]
    assert ce.cross_entropy(big_x, big_t, axis=0, reduction="sum") == pytest.approx(exact, rel=1e-13)


def test_long_rows():
    """Rows of a hundred million classes, together more than 2^31."""
    repeats, n_rows = 512, 17
    x = logits()
    row = [0] * (repeats - 1) + [1]
    big_x = big(row * n_rows, *x).reshape(n_rows, -1)
    assert big_x.size > 2**31
    first, last = (ce.logsumexp(a.astype(np.float64)) for a in x)
    exact = last + math.log((repeats - 1) * math.exp(first - last) + 1)
    np.testing.assert_allclose(ce.logsumexp(big_x), exact, rtol=1e-6)
    target = np.full(n_rows, big_x.shape[1] - 1)
    losses = ce.cross_entropy(big_x, target, reduction="none")
    np.testing.assert_allclose(losses, exact - float(x[1][-1]), rtol=1e-6)


def test_one_row_seen_many_times():
    """A broadcast view: stride 0."""
    row = logits()[0][:N_CLASSES]
    n = 2**31 // N_CLASSES + 5
    t = np.full(n, 3, np.uint16)
    t[-1] = 4
    each = ce.cross_entropy(np.stack([row, row]), [3, 4], reduction="none").astype(float)
    got = ce.cross_entropy(np.broadcast_to(row, (n, N_CLASSES)), t, reduction="sum")
    assert got == pytest.approx((n - 1) * each[0] + each[1], rel=1e-6)
