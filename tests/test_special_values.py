"""Infinities, NaN, zeros and ties: one table of calls and of the value, gradient and Hessian that must come out.

The numbers are written by hand from the contract: a logit of -inf is probability 0, 0 * log 0 = 0, a weight of 0 makes
an infinite loss 0, a NaN stays in its row, an ignored row is never read. Every line runs on every kernel set and in
both dtypes: alone, among ordinary neighbours, forward and with derivatives, and a row also in longer rows and in
columns. Behind the table, all combinations of such numbers are compared with the oracles.
"""

import functools
import inspect
import itertools
from typing import NamedTuple

import cases
import numpy as np
import oracles
import pytest

import crossent as ce

INF, NAN = np.inf, np.nan
LN2, LN3 = np.log(2), np.log(3)
TINY = "the smallest subnormal number of the dtype"
ANY_NAN = (NAN, [NAN, NAN], [NAN, NAN])


class Line(NamedTuple):
    """Of a row-wise loss input, grad and hess are rows and target is a class or a row; else all are numbers."""

    name: str
    input: object
    target: object
    options: dict
    loss: float
    grad: object
    hess: object = None  # where the loss has none


LOSSES = [
    # ---- cross_entropy of a class index
    Line("cross_entropy", [0.0], 0, {}, 0, [0], [0]),
    Line("cross_entropy", [-1e30], 0, {}, 0, [0], [0]),
    Line("cross_entropy", [-INF], 0, {}, NAN, [NAN], [NAN]),
    Line("cross_entropy", [NAN], 0, {}, NAN, [NAN], [NAN]),
    Line("cross_entropy", [INF], 0, {}, NAN, [NAN], [NAN]),
    Line("cross_entropy", [0.0, 0.0], 0, {}, LN2, [-0.5, 0.5], [0.25, 0.25]),
    Line("cross_entropy", [7.0, 7.0, 7.0], 2, {}, LN3, [1 / 3, 1 / 3, -2 / 3], [2 / 9, 2 / 9, 2 / 9]),
    Line(
        "cross_entropy",
        [60.0, 60.0, 0.0],
        0,
        {},
        LN2,
        [-0.5, 0.5, np.exp(-60) / 2],
        [0.25, 0.25, np.exp(-60) / 2],
    ),
    Line("cross_entropy", [TINY, 0.0], 0, {}, LN2, [-0.5, 0.5], [0.25, 0.25]),
    Line("cross_entropy", [0.0, -INF], 0, {}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [0.0, -INF], 1, {}, INF, [1, -1], [0, 0]),
    Line("cross_entropy", [-INF, 0.0, 0.0], 0, {}, INF, [-1, 0.5, 0.5], [0, 0.25, 0.25]),
    Line("cross_entropy", [-INF, 0.0, 0.0], 1, {}, LN2, [0, -0.5, 0.5], [0, 0.25, 0.25]),
    Line("cross_entropy", [-INF, -INF], 0, {}, *ANY_NAN),
    Line("cross_entropy", [INF, 0.0], 0, {}, *ANY_NAN),
    Line("cross_entropy", [INF, 0.0], 1, {}, *ANY_NAN),
    Line("cross_entropy", [INF, INF], 1, {}, *ANY_NAN),
    Line("cross_entropy", [INF, -INF], 1, {}, *ANY_NAN),
    Line("cross_entropy", [NAN, 0.0], 0, {}, *ANY_NAN),
    Line("cross_entropy", [NAN, 0.0], 1, {}, *ANY_NAN),
    Line("cross_entropy", [NAN, -INF], 1, {}, *ANY_NAN),
    Line("cross_entropy", [NAN, INF], 1, {}, *ANY_NAN),
    Line("cross_entropy", [0.0, -1e4], 0, {}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [0.0, -1e4], 1, {}, 1e4, [1, -1], [0, 0]),
    Line("cross_entropy", [1e30, 1e30], 1, {}, LN2, [0.5, -0.5], [0.25, 0.25]),
    Line("cross_entropy", [1e30, -1e30], 1, {}, 2e30, [1, -1], [0, 0]),
    # ... of a row that is ignored
    Line("cross_entropy", [NAN, INF], -100, {}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [-INF, -INF], -100, {}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [NAN, INF], 1, {"ignore_index": 1}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [NAN, INF], -1, {"ignore_index": -1, "label_smoothing": 0.5}, 0, [0, 0], [0, 0]),
    # ... with weights
    Line("cross_entropy", [-INF, 0.0], 0, {"weight": [0, 1]}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [-INF, 0.0], 0, {"weight": [2, 0]}, INF, [-2, 2], [0, 0]),
    Line("cross_entropy", [0.0, 0.0], 1, {"weight": [0, 3]}, 3 * LN2, [1.5, -1.5], [0.75, 0.75]),
    Line("cross_entropy", [NAN, 0.0], 0, {"weight": [0, 1]}, *ANY_NAN),
    # ... smoothed
    Line("cross_entropy", [0.0, 0.0], 0, {"label_smoothing": 0.5}, LN2, [-0.25, 0.25], [0.25, 0.25]),
    Line("cross_entropy", [0.0, 0.0], 0, {"label_smoothing": 1.0}, LN2, [0, 0], [0.25, 0.25]),
    Line("cross_entropy", [0.0, -INF], 0, {"label_smoothing": 0.5}, INF, [0.25, -0.25], [0, 0]),
    Line("cross_entropy", [0.0, -INF], 0, {"label_smoothing": 0.5, "weight": [1, 0]}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [-INF, -INF], 0, {"label_smoothing": 0.5}, *ANY_NAN),
    Line("cross_entropy", [NAN, 0.0], 0, {"label_smoothing": 0.5}, *ANY_NAN),
    # ---- cross_entropy of probabilities
    Line("cross_entropy", [0.0], [1.0], {}, 0, [0], [0]),
    Line("cross_entropy", [0.0, 0.0], [0.5, 0.5], {}, LN2, [0, 0], [0.25, 0.25]),
    Line("cross_entropy", [0.0, 0.0], [0.0, 0.0], {}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [-INF, 0.0], [0.0, 1.0], {}, 0, [0, 0], [0, 0]),
    Line("cross_entropy", [-INF, 0.0], [1.0, 0.0], {}, INF, [-1, 1], [0, 0]),
    Line("cross_entropy", [0.0, 0.0, -INF], [0.5, 0.5, 0.0], {}, LN2, [0, 0, 0], [0.25, 0.25, 0]),
    Line("cross_entropy", [0.0, 0.0, -INF], [0.5, 0.25, 0.25], {}, INF, [0, 0.25, -0.25], [0.25, 0.25, 0]),
    Line("cross_entropy", [0.0, 0.0, -INF], [0.5, 0.25, 0.25], {"weight": [1, 2, 0]}, LN2, [0, 0, 0], [0.25, 0.25, 0]),
    Line("cross_entropy", [0.0, -INF], [1.0, 0.0], {"label_smoothing": 0.5}, INF, [0.25, -0.25], [0, 0]),
    Line("cross_entropy", [-INF, -INF], [0.5, 0.5], {}, *ANY_NAN),
    Line("cross_entropy", [INF, 0.0], [0.0, 1.0], {}, *ANY_NAN),
    Line("cross_entropy", [NAN, 0.0], [0.0, 1.0], {}, *ANY_NAN),
    Line("cross_entropy", [0.0, 0.0], [NAN, 1.0], {}, *ANY_NAN),
    # ---- nll_loss: reads nothing but the target's number
    Line("nll_loss", [-3.0], 0, {}, 3, [-1]),
    Line("nll_loss", [NAN, -1.0, INF], 1, {}, 1, [0, -1, 0]),
    Line("nll_loss", [-INF, 0.0], 0, {}, INF, [-1, 0]),
    Line("nll_loss", [INF, 0.0], 0, {}, -INF, [-1, 0]),
    Line("nll_loss", [NAN, 0.0], 0, {}, NAN, [-1, 0]),
    Line("nll_loss", [NAN, NAN], -100, {}, 0, [0, 0]),
    Line("nll_loss", [NAN, NAN], 0, {"ignore_index": 0}, 0, [0, 0]),
    Line("nll_loss", [-INF, 0.0], 0, {"weight": [0, 1]}, 0, [0, 0]),
    Line("nll_loss", [-INF, 0.0], 0, {"weight": [2, 0]}, INF, [-2, 0]),
    # ---- binary_cross_entropy
    Line("binary_cross_entropy", 0.5, 1, {}, LN2, -2),
    Line("binary_cross_entropy", 0.5, 0.5, {}, LN2, 0),
    Line("binary_cross_entropy", 0, 0, {}, 0, 1),
    Line("binary_cross_entropy", 1, 1, {}, 0, -1),
    Line("binary_cross_entropy", 0, 1, {}, 100, 0),
    Line("binary_cross_entropy", 1, 0, {}, 100, 0),
    Line("binary_cross_entropy", 0, 0.5, {}, 50, 0.5),
    Line("binary_cross_entropy", 1, 0.5, {}, 50, -0.5),
    Line("binary_cross_entropy", NAN, 0, {}, NAN, NAN),
    Line("binary_cross_entropy", NAN, 1, {}, NAN, NAN),
    Line("binary_cross_entropy", NAN, 1, {"eps": 0.125}, NAN, NAN),
    Line("binary_cross_entropy", 0.5, NAN, {}, NAN, NAN),
    Line("binary_cross_entropy", 0, 0, {"log_floor": -INF}, 0, 1),
    Line("binary_cross_entropy", 1, 1, {"log_floor": -INF}, 0, -1),
    Line("binary_cross_entropy", 0, 1, {"log_floor": -INF}, INF, -INF),
    Line("binary_cross_entropy", 1, 0, {"log_floor": -INF}, INF, INF),
    Line("binary_cross_entropy", 0, 0.25, {"log_floor": -INF}, INF, -INF),
    Line("binary_cross_entropy", 1, 0.25, {"log_floor": -INF}, INF, INF),
    Line("binary_cross_entropy", 0, 1, {"log_floor": -3.0}, 3, 0),
    Line("binary_cross_entropy", 0.01, 1, {"log_floor": -3.0}, 3, 0),
    Line("binary_cross_entropy", 0.5, 1, {"log_floor": 0.0}, 0, 0),
    Line("binary_cross_entropy", 0, 1, {"eps": 0.125}, np.log(8), 0),
    Line("binary_cross_entropy", 1, 0, {"eps": 0.125}, np.log(8), 0),
    Line("binary_cross_entropy", 1, 1, {"eps": 0.125}, -np.log(0.875), 0),
    Line("binary_cross_entropy", 0, 0, {"eps": 0.125}, -np.log(0.875), 0),
    Line("binary_cross_entropy", 0.5, 0.5, {"eps": 0.125}, LN2, 0),
    Line("binary_cross_entropy", 0.5, 1, {"eps": 0.125}, LN2, -2),
    Line("binary_cross_entropy", 0, 1, {"eps": 0.125, "log_floor": -1.0}, 1, 0),
    Line("binary_cross_entropy", 0, 1, {"weight": 0}, 0, 0),
    Line("binary_cross_entropy", 0, 1, {"weight": 2}, 200, 0),
    Line("binary_cross_entropy", 0, 1, {"weight": 0, "log_floor": -INF}, 0, 0),
    Line("binary_cross_entropy", 1, 0.25, {"weight": 0, "log_floor": -INF}, 0, 0),
    Line("binary_cross_entropy", 0, 1, {"weight": 2, "log_floor": -INF}, INF, -INF),
    Line("binary_cross_entropy", NAN, 1, {"weight": 0}, NAN, NAN),
    # ---- binary_cross_entropy_with_logits
    Line("binary_cross_entropy_with_logits", 0, 0, {}, LN2, 0.5, 0.25),
    Line("binary_cross_entropy_with_logits", -0.0, 1, {}, LN2, -0.5, 0.25),
    Line("binary_cross_entropy_with_logits", TINY, 1, {}, LN2, -0.5, 0.25),
    Line("binary_cross_entropy_with_logits", INF, 1, {}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", -INF, 0, {}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", INF, 0, {}, INF, 1, 0),
    Line("binary_cross_entropy_with_logits", -INF, 1, {}, INF, -1, 0),
    Line("binary_cross_entropy_with_logits", INF, 0.5, {}, INF, 0.5, 0),
    Line("binary_cross_entropy_with_logits", -INF, 0.5, {}, INF, -0.5, 0),
    Line("binary_cross_entropy_with_logits", 1e4, 1, {}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", -1e4, 0, {}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", -1e4, 1, {}, 1e4, -1, 0),
    Line("binary_cross_entropy_with_logits", 1e30, 0, {}, 1e30, 1, 0),
    Line("binary_cross_entropy_with_logits", NAN, 0, {}, NAN, NAN, NAN),
    Line("binary_cross_entropy_with_logits", NAN, 1, {}, NAN, NAN, NAN),
    Line("binary_cross_entropy_with_logits", 0, NAN, {}, NAN, NAN, NAN),
    Line("binary_cross_entropy_with_logits", INF, 1, {"label_smoothing": 0.5}, INF, 0.25, 0),
    Line("binary_cross_entropy_with_logits", 0, 1, {"label_smoothing": 1.0}, LN2, 0, 0.25),
    Line("binary_cross_entropy_with_logits", INF, 1, {"pos_weight": 3}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", -INF, 1, {"pos_weight": 3}, INF, -3, 0),
    Line("binary_cross_entropy_with_logits", -INF, 1, {"pos_weight": 0}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", 0, 1, {"pos_weight": 0}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", -INF, 1, {"weight": 0}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", INF, 0, {"weight": 0}, 0, 0, 0),
    Line("binary_cross_entropy_with_logits", INF, 0, {"weight": 2}, INF, 2, 0),
    Line("binary_cross_entropy_with_logits", NAN, 0, {"weight": 0}, NAN, NAN, NAN),
    # ---- kl_div
    Line("kl_div", -1, 0, {}, 0, 0),
    Line("kl_div", 0, 1, {}, 0, -1),
    Line("kl_div", -INF, 0, {}, 0, 0),
    Line("kl_div", -INF, 0.5, {}, INF, -0.5),
    Line("kl_div", INF, 0.5, {}, -INF, -0.5),
    Line("kl_div", NAN, 0.5, {}, NAN, -0.5),
    Line("kl_div", -1, NAN, {}, NAN, NAN),
    Line("kl_div", -1, -INF, {"log_target": True}, 0, 0),
    Line("kl_div", -INF, -INF, {"log_target": True}, 0, 0),
    Line("kl_div", -INF, 0, {"log_target": True}, INF, -1),
    Line("kl_div", -2, 0, {"log_target": True}, 2, -1),
    Line("kl_div", NAN, 0, {"log_target": True}, NAN, -1),
    Line("kl_div", -1, NAN, {"log_target": True}, NAN, NAN),
    # ---- mse_loss
    Line("mse_loss", 3, 1, {}, 4, 4, 2),
    Line("mse_loss", INF, 0, {}, INF, INF, 2),
    Line("mse_loss", 0, INF, {}, INF, -INF, 2),
    Line("mse_loss", -INF, INF, {}, INF, -INF, 2),
    Line("mse_loss", INF, INF, {}, NAN, NAN, 2),
    Line("mse_loss", NAN, 0, {}, NAN, NAN, 2),
    Line("mse_loss", 0, NAN, {}, NAN, NAN, 2),
    Line("mse_loss", 3, 1, {"weight": 0}, 0, 0, 0),
    Line("mse_loss", INF, 0, {"weight": 0}, 0, 0, 0),
    Line("mse_loss", INF, INF, {"weight": 0}, NAN, NAN, 0),
    Line("mse_loss", INF, 0, {"weight": 2}, INF, INF, 4),
]

# name, arguments of one row or one element, what comes out
MAPS = [
    ("sigmoid", (-INF,), 0),
    ("sigmoid", (INF,), 1),
    ("sigmoid", (NAN,), NAN),
    ("sigmoid", (-0.0,), 0.5),
    ("sigmoid", (TINY,), 0.5),
    ("sigmoid", (-1e30,), 0),
    ("sigmoid", (1e30,), 1),
    ("log_sigmoid", (-INF,), -INF),
    ("log_sigmoid", (INF,), 0),
    ("log_sigmoid", (NAN,), NAN),
    ("log_sigmoid", (-0.0,), -LN2),
    ("log_sigmoid", (TINY,), -LN2),
    ("log_sigmoid", (-1e30,), -1e30),
    ("log_sigmoid", (1e30,), 0),
]
# row -> logsumexp, softmax, log_softmax
ROWS = [
    ([0.0], 0, [1], [0]),
    ([5.5], 5.5, [1], [0]),
    ([TINY, 0.0], LN2, [0.5, 0.5], [-LN2, -LN2]),
    ([0.0, 0.0], LN2, [0.5, 0.5], [-LN2, -LN2]),
    ([7.0, 7.0, 7.0], 7 + LN3, [1 / 3, 1 / 3, 1 / 3], [-LN3, -LN3, -LN3]),
    ([-INF, 0.0], 0, [0, 1], [-INF, 0]),
    ([-INF, 3.0, 3.0], 3 + LN2, [0, 0.5, 0.5], [-INF, -LN2, -LN2]),
    ([-INF], -INF, [NAN], [NAN]),
    ([-INF, -INF], -INF, [NAN, NAN], [NAN, NAN]),
    ([INF], INF, [NAN], [NAN]),
    ([INF, 0.0], INF, [NAN, NAN], [NAN, NAN]),
    ([INF, INF], INF, [NAN, NAN], [NAN, NAN]),
    ([INF, -INF], INF, [NAN, NAN], [NAN, NAN]),
    ([NAN], NAN, [NAN], [NAN]),
    ([NAN, 0.0], NAN, [NAN, NAN], [NAN, NAN]),
    ([0.0, NAN], NAN, [NAN, NAN], [NAN, NAN]),
    ([NAN, INF], NAN, [NAN, NAN], [NAN, NAN]),
    ([NAN, -INF], NAN, [NAN, NAN], [NAN, NAN]),
    ([0.0, -1e4], 0, [1, 0], [0, -1e4]),
    ([1e30, 1e30], 1e30, [0.5, 0.5], [-LN2, -LN2]),
    ([1e30, -1e30], 1e30, [1, 0], [0, -2e30]),
    ([-1e30, -1e30], -1e30, [0.5, 0.5], [-LN2, -LN2]),
]
MAPS += [
    (name, (row,), value)
    for row, *values in ROWS
    for name, value in zip(("logsumexp", "softmax", "log_softmax"), values, strict=True)
]
# grad_output, what the map returned -> the gradient
MAPS += [
    ("softmax_backward", ([3.0], [1.0]), [0]),
    ("softmax_backward", ([1.0, 0.0], [0.5, 0.5]), [0.25, -0.25]),
    ("softmax_backward", ([5.0, 2.0], [0.0, 1.0]), [0, 0]),
    ("softmax_backward", ([NAN, 0.0], [0.5, 0.5]), [NAN, NAN]),
    ("softmax_backward", ([1.0, 0.0], [NAN, NAN]), [NAN, NAN]),
    ("log_softmax_backward", ([3.0], [0.0]), [0]),
    ("log_softmax_backward", ([1.0, 0.0], [-LN2, -LN2]), [0.5, -0.5]),
    ("log_softmax_backward", ([5.0, 2.0], [-INF, 0.0]), [5, -5]),
    ("log_softmax_backward", ([NAN, 0.0], [-LN2, -LN2]), [NAN, NAN]),
    ("log_softmax_backward", ([1.0, 0.0], [NAN, NAN]), [NAN, NAN]),
]


# ---- how a line is run -----------------------------------------------------------------------------------------------


def in_dtype(values, dtype):
    """The values as an array, with TINY what it is in the dtype."""
    values = np.array(values, object)
    values[values == TINY] = float(np.finfo(dtype).smallest_subnormal)
    return values.astype(dtype)


def assert_close(got, wanted, dtype, what):
    np.testing.assert_allclose(got, wanted, rtol=4 * np.finfo(dtype).eps, err_msg=what)


def results_of(name, arguments, options):
    """(what, numbers) of every way to ask for the unreduced loss and its derivatives."""
    loss = getattr(ce, name)
    yield "loss", loss(*arguments, reduction="none", **options)
    yield from zip(("loss", "grad"), ce.value_and_grad(loss)(*arguments, reduction="none", **options), strict=True)
    if cases.BY_NAME[name].hessian:
        three = ce.value_grad_and_hess(loss)(*arguments, reduction="none", **options)
        yield from zip(("loss", "grad", "hess"), three, strict=True)


def check(line, arguments, options, dtype, place, count, wanted):
    """Every result at `place`, a function of it, is `count` times what the line says; the sum is that of the losses."""
    with cases.Every() as one:
        for what, numbers in results_of(line.name, arguments, options):
            with one(what):
                repeated = np.broadcast_to(wanted[what], (count, *np.shape(wanted[what])))
                assert_close(place(what, numbers), repeated, dtype, what)
        with one("sum"):
            each = getattr(ce, line.name)(*arguments, reduction="none", **options)
            total = getattr(ce, line.name)(*arguments, reduction="sum", **options)
            assert_close(total, each.sum(dtype=float), dtype, "sum")


def row_arguments(line, n_classes, dtype):
    """Row, target, options and results of a line with impossible classes behind it: they change nothing."""
    more = n_classes - len(line.input)
    row = np.append(in_dtype(line.input, dtype), np.full(more, -INF, dtype))
    soft = isinstance(line.target, list)
    target = np.append(line.target, np.zeros(more)).astype(dtype) if soft else line.target
    options = dict(line.options)
    if "weight" in options:
        options["weight"] = np.append(options["weight"], np.ones(more)).astype(dtype)
    wanted = {"loss": line.loss}
    for what in ("grad", "hess"):
        numbers = getattr(line, what)
        if numbers is not None:
            undefined = line.name == "cross_entropy" and np.isnan(numbers).all()
            wanted[what] = np.append(numbers, np.full(more, NAN if undefined else 0.0))
    return row, target, options, wanted


def identities(table):
    return [" ".join(str(part) for part in line[:4]) for line in table]


ROW_LOSSES = [line for line in LOSSES if isinstance(line.input, list)]
ELEMENT_LOSSES = [line for line in LOSSES if not isinstance(line.input, list)]


def check_rows(line, n_classes, dtype):
    """The row alone; among ordinary rows, that must not notice; and the same rows as columns."""
    row, target, options, wanted = row_arguments(line, n_classes, dtype)
    check(line, (row, target), options, dtype, lambda what, a: a[None], 1, wanted)

    ordinary = np.linspace(-1, 0, n_classes)
    calm = np.eye(n_classes)[0] if np.ndim(target) else 0
    x, t = np.array([ordinary, row, ordinary] * 7, dtype), np.array([calm, target, calm] * 7)
    t = t.astype(dtype) if np.ndim(target) else t
    check(line, (x, t), options, dtype, lambda what, a: a[1::3], 7, wanted)
    for _, numbers in results_of(line.name, (x, t), options):
        assert np.isfinite(numbers[::3]).all(), "an ordinary row noticed"

    place = lambda what, a: a[1::3] if what == "loss" else a.T[1::3]  # noqa: E731
    check(line, (x.T.copy(), t.T.copy()), {**options, "axis": 0}, dtype, place, 7, wanted)


@pytest.mark.parametrize("line", ROW_LOSSES, ids=identities(ROW_LOSSES))
def test_loss_of_a_row(line, dtype, isa):
    """As it is, and in longer rows; a smoothed one not, of which further classes would take a part."""
    with cases.Every() as one:
        for n_classes in (len(line.input), *(() if "label_smoothing" in line.options else (16, 37, 100, 1500))):
            with one(n_classes, "classes"):
                check_rows(line, n_classes, dtype)


@pytest.mark.parametrize("line", ELEMENT_LOSSES, ids=identities(ELEMENT_LOSSES))
@pytest.mark.parametrize("n", [1, 40])
def test_loss_of_an_element(line, n, dtype, isa):
    """One element, or every third of many: vector and remainder."""
    x, t = np.full(n, 0.5, dtype), np.full(n, 0.0, dtype)
    x[::3], t[::3] = in_dtype(line.input, dtype), line.target
    options = dict(line.options)
    for name in {"weight", "pos_weight"} & set(options):
        options[name] = np.ones(n, dtype)
        options[name][::3] = line.options[name]
    wanted = {"loss": line.loss, "grad": line.grad, "hess": line.hess}
    check(line, (x, t), options, dtype, lambda what, a: a[::3], len(x[::3]), wanted)
    for _, numbers in results_of(line.name, (x, t), options):
        assert np.isfinite(numbers[1::3]).all(), "an ordinary element noticed"


@pytest.mark.parametrize(("name", "arguments", "wanted"), MAPS, ids=[f"{name} {args}" for name, args, _ in MAPS])
def test_map(name, arguments, wanted, dtype, isa):
    """A row or an element among ordinary ones, alone, and for rows as a column."""
    arguments = [in_dtype(a, dtype) for a in arguments]
    function, row_wise = getattr(ce, name), cases.BY_NAME[name].is_row_wise
    assert_close(function(*(np.atleast_1d(a) for a in arguments)), wanted if row_wise else [wanted], dtype, "alone")
    many = [np.stack([np.full_like(a, 0.25), a, np.full_like(a, 0.5)] * 7) for a in arguments]
    got = function(*many)
    assert_close(got[1::3], np.broadcast_to(wanted, got[1::3].shape), dtype, "among others")
    assert np.isfinite(got[::3]).all(), "an ordinary neighbour noticed"
    if row_wise:
        columns = function(*(a.T.copy() for a in many), axis=0)
        assert cases.same_bits(columns.T, got)


@pytest.mark.parametrize(("row", "lse", "p", "log_p"), ROWS, ids=[str(row[0]) for row in ROWS])
@pytest.mark.parametrize("width", [16, 37, 100, 1500])
def test_maps_of_a_longer_row(row, lse, p, log_p, width, dtype, isa):
    """With impossible classes behind it."""
    row, here = np.append(in_dtype(row, dtype), np.full(width - len(row), -INF, dtype)), slice(0, len(row))
    x = np.stack([np.zeros_like(row), row, np.linspace(-1, 1, width, dtype=dtype)] * 7)
    for name, wanted in (("logsumexp", lse), ("softmax", p), ("log_softmax", log_p)):
        got = getattr(ce, name)(x)
        numbers = got[1::3] if name == "logsumexp" else got[1::3, here]
        assert_close(numbers, np.broadcast_to(wanted, numbers.shape), dtype, name)
        assert np.isfinite(got[::3]).all(), "an ordinary row noticed"


def test_the_table_is_complete():
    """Every map; every loss and option, with NaN, inf and -inf, and with the Hessian where there is one."""
    for case in cases.CASES:
        if not case.is_loss:
            assert case.name in {name for name, _, _ in MAPS}, f"no line for {case.name}"
            continue
        lines = [line for line in LOSSES if line.name == case.name]
        assert lines, f"no line for {case.name}"
        inputs = np.concatenate([in_dtype(np.ravel(line.input), np.float64) for line in lines])
        assert np.isnan(inputs).any(), case.name
        if case.domain != "probability":
            assert {INF, -INF} <= set(inputs), case.name
        assert all((line.hess is not None) == case.hessian for line in lines), f"Hessians of {case.name}"
        options = set().union(*(line.options for line in lines))
        ours = {option for variant in case.variants for option in cases.make_call(case, variant, (4, 3), "f8").options}
        assert ours - {"axis"} <= options, f"no line of {case.name} sets {sorted(ours - {'axis'} - options)}"


# ---- all combinations ------------------------------------------------------------------------------------------------

LOGITS = [-INF, -1e4, 0.0, 1.0, 1e30, INF, NAN]
ROW_OPTIONS = {
    "plain": {},
    "weight": {"weight": [1, 0, 2]},
    "no weight": {"weight": [0, 0, 0]},
    "smoothing": {"label_smoothing": 0.25},
    "smoothing and weight": {"label_smoothing": 0.25, "weight": [1, 0, 2]},
}
SOFT_TARGETS = [[0, 0.5, 0.5], [1, 0, 0], [0, 0, 0], [0.25, 0.25, 0.5], [0, 0, NAN]]


def against_the_oracle(name, arguments, options, dtype, limit=2.0):
    parts = _exact(name, *map(_key, arguments), tuple((k, _key(v)) for k, v in options.items()))
    with cases.Every() as one:
        for what, numbers in results_of(name, arguments, options):
            with one(what, options):
                exact, scale = getattr(parts, what), None if what == "hess" else getattr(parts, f"{what}_scale")
                oracles.assert_ulp(numbers, exact, dtype, limit, scale)


_arrays = {}


def _key(value):
    """A hashable word for an array, under which _exact finds it."""
    if not isinstance(value, np.ndarray):
        return value
    key = (value.dtype.str, value.shape, value.tobytes())
    _arrays[key] = value
    return key


@functools.cache
def _exact(name, input, target, options):
    """oracles.parts, once for all kernel sets."""
    back = lambda v: _arrays.get(v, v) if isinstance(v, tuple) else v  # noqa: E731
    return oracles.parts(name, back(input), back(target), **{k: back(v) for k, v in options})


@pytest.mark.parametrize("options", ROW_OPTIONS.values(), ids=ROW_OPTIONS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_row_of_special_logits(n_classes, options, dtype, isa):
    """All 49 or 343 of them with every target, indices and probabilities."""
    options = {k: np.array(v[:n_classes], dtype) if isinstance(v, list) else v for k, v in options.items()}
    x = np.array(list(itertools.product(LOGITS, repeat=n_classes)), dtype)
    for target in range(n_classes):
        against_the_oracle("cross_entropy", (x, np.full(len(x), target)), options, dtype)
    for target in SOFT_TARGETS:
        soft = np.tile(np.array(target[-n_classes:], dtype), (len(x), 1))
        against_the_oracle("cross_entropy", (x, soft), options, dtype)


def test_maps_of_every_pair_of_special_logits(dtype, isa):
    """As with an impossible class behind it, where the kernels are others."""
    pairs = np.array(list(itertools.product(LOGITS, repeat=2)), dtype)
    three = np.column_stack([pairs, np.full(len(pairs), -INF, dtype)])
    for name in ("softmax", "log_softmax"):
        assert_close(getattr(ce, name)(pairs), getattr(ce, name)(three)[:, :2], dtype, name)


ELEMENT_AXES = {
    # input, target, options that are numbers
    "binary_cross_entropy": (
        [0.0, TINY, 0.25, 0.5, 1 - 2.0**-20, 1.0, NAN],
        [0.0, 0.25, 1.0, NAN],
        [{"log_floor": floor, "eps": eps} for floor in (-100.0, -3.0, 0.0, -INF) for eps in (0.0, 2.0**-6)],
    ),
    "binary_cross_entropy_with_logits": (
        [-INF, -1e30, -1e4, -1.0, -0.0, 0.0, TINY, 1.0, 1e4, 1e30, INF, NAN],
        [0.0, 0.25, 1.0, NAN],
        [{}, {"label_smoothing": 0.25}, {"label_smoothing": 1.0}],
    ),
    "kl_div": ([-INF, -1e4, -1.0, 0.0, 1.0, INF, NAN], [0.0, TINY, 0.25, 1.0, NAN], [{}]),
    "kl_div of logarithms": ([-INF, -1e4, -1.0, 0.0, INF, NAN], [-INF, -50.0, 0.0, NAN], [{"log_target": True}]),
    "mse_loss": ([-INF, -1e4, 0.0, 1.0, INF, NAN], [-INF, -1e4, 0.0, 1.0, INF, NAN], [{}]),
}


@pytest.mark.parametrize("name", ELEMENT_AXES)
def test_every_pair_of_special_elements(name, dtype, isa):
    """All combinations of input, target, weight and pos_weight, with every option."""
    inputs, targets, choices = ELEMENT_AXES[name]
    name = name.split()[0]
    weights = [k for k in ("weight", "pos_weight") if k in inspect.signature(getattr(ce, name)).parameters]
    for used in itertools.chain.from_iterable(itertools.combinations(weights, k) for k in range(len(weights) + 1)):
        columns = zip(*itertools.product(inputs, targets, *([0.0, 2.0] for _ in used)), strict=True)
        x, t, *values = (in_dtype(column, dtype) for column in columns)
        for options in choices:
            against_the_oracle(name, (x, t), {**options, **dict(zip(used, values, strict=True))}, dtype)
