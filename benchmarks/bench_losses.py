"""The losses: forward, with the gradient, with the diagonal Hessian."""

import numpy as np

from .common import (
    DTYPES,
    ISAS,
    LOSSES,
    LOSSES_WITH_HESS,
    ROW_LOSSES,
    ROW_SHAPES,
    SHORT_ROWS_OF_MEMORY,
    data,
    force_isa,
    function,
    row_data,
    value_and_grad,
    value_grad_and_hess,
    written,
)

SIZES = list(ROW_SHAPES)


class _Loss:
    def prepare(self, loss, size, dtype):
        if size == "short" and loss not in ROW_LOSSES:
            raise NotImplementedError("a loss over elements has no rows")
        self.loss = function(loss)
        self.input, self.target = data(loss, size, dtype)


class Forward(_Loss):
    params = (LOSSES, SIZES, DTYPES)
    param_names = ("loss", "size", "dtype")

    def setup(self, loss, size, dtype):
        self.prepare(loss, size, dtype)

    def time_mean(self, loss, size, dtype):
        self.loss(self.input, self.target)


class Reductions(_Loss):
    params = (LOSSES, ["sum", "none"], DTYPES)
    param_names = ("loss", "reduction", "dtype")

    def setup(self, loss, reduction, dtype):
        self.prepare(loss, "cache", dtype)

    def time_reduction(self, loss, reduction, dtype):
        self.loss(self.input, self.target, reduction=reduction)


class ValueAndGrad(_Loss):
    params = (LOSSES, SIZES, DTYPES)
    param_names = ("loss", "size", "dtype")

    def setup(self, loss, size, dtype):
        self.prepare(loss, size, dtype)
        self.value_and_grad = value_and_grad(loss)
        self.out = written(self.input.shape, dtype)

    def time_out(self, loss, size, dtype):
        self.value_and_grad(self.input, self.target, out=self.out)


class NewGrad(_Loss):
    """A gradient in memory that is new in each call: what the missing `out` costs."""

    params = (LOSSES, DTYPES)
    param_names = ("loss", "dtype")

    def setup(self, loss, dtype):
        self.prepare(loss, "memory", dtype)
        self.value_and_grad = value_and_grad(loss)

    def time_new(self, loss, dtype):
        self.value_and_grad(self.input, self.target)


class GradOverInput(_Loss):
    """The gradient written over the input: the next call's input is this gradient, which is as good as any other."""

    params = (["cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"], SIZES, DTYPES)
    param_names = ("loss", "size", "dtype")

    def setup(self, loss, size, dtype):
        self.prepare(loss, size, dtype)
        self.value_and_grad = value_and_grad(loss)

    def time_in_place(self, loss, size, dtype):
        self.value_and_grad(self.input, self.target, out=self.input)


class ShortRowsOfMemory:
    """Rows that are transposed: asked for ahead of their turn, the gradient stored past the cache."""

    params = (DTYPES,)
    param_names = ("dtype",)

    def setup(self, dtype):
        self.loss, self.value_and_grad = function("cross_entropy"), value_and_grad("cross_entropy")
        self.input, self.target = row_data("cross_entropy", SHORT_ROWS_OF_MEMORY, dtype)
        self.grad = written(SHORT_ROWS_OF_MEMORY, dtype)

    def time_value(self, dtype):
        self.loss(self.input, self.target)

    def time_value_and_grad(self, dtype):
        self.value_and_grad(self.input, self.target, out=self.grad)


class ValueGradAndHess(_Loss):
    params = (LOSSES_WITH_HESS, SIZES, DTYPES)
    param_names = ("loss", "size", "dtype")

    def setup(self, loss, size, dtype):
        self.prepare(loss, size, dtype)
        self.value_grad_and_hess = value_grad_and_hess(loss)
        self.out, self.hess_out = written(self.input.shape, dtype), written(self.input.shape, dtype)

    def time_out(self, loss, size, dtype):
        self.value_grad_and_hess(self.input, self.target, out=self.out, hess_out=self.hess_out)


class SoftTargets:
    """Cross-entropy with label smoothing, and of probabilities."""

    params = (["smoothed", "probabilities"], ["short", "cache"], DTYPES)
    param_names = ("targets", "size", "dtype")

    def setup(self, targets, size, dtype):
        self.input, self.target = data("cross_entropy", size, dtype)
        self.options = {"label_smoothing": 0.1}
        if targets == "probabilities":
            self.target, self.options = function("softmax")(self.input[::-1]), {}
        self.loss, self.value_and_grad = function("cross_entropy"), value_and_grad("cross_entropy")
        self.out = written(self.input.shape, dtype)

    def time_mean(self, targets, size, dtype):
        self.loss(self.input, self.target, **self.options)

    def time_value_and_grad(self, targets, size, dtype):
        self.value_and_grad(self.input, self.target, out=self.out, **self.options)


class LossesByIsa(_Loss):
    params = (LOSSES, DTYPES, ISAS)
    param_names = ("loss", "dtype", "isa")

    def setup(self, loss, dtype, isa):
        force_isa(isa)
        self.prepare(loss, "cache", dtype)

    def time_mean(self, loss, dtype, isa):
        self.loss(self.input, self.target)


class ValueAndGradByIsa(_Loss):
    params = (LOSSES, DTYPES, ISAS)
    param_names = ("loss", "dtype", "isa")

    def setup(self, loss, dtype, isa):
        force_isa(isa)
        self.prepare(loss, "cache", dtype)
        self.value_and_grad = value_and_grad(loss)
        self.out = written(self.input.shape, dtype)

    def time_out(self, loss, dtype, isa):
        self.value_and_grad(self.input, self.target, out=self.out)


class ClassAxisFirst:
    """The class axis with a stride, as in (N, C, height, width) images."""

    params = (ROW_LOSSES, ["short", "cache", "memory"], DTYPES)
    param_names = ("loss", "size", "dtype")

    def setup(self, loss, size, dtype):
        self.loss = function(loss)
        self.input, self.target = row_data(loss, ROW_SHAPES[size], dtype, axis=0)

    def time_mean(self, loss, size, dtype):
        self.loss(self.input, self.target, axis=0)


class CrossEntropyArguments:
    """What each argument of cross_entropy costs on the cache-sized array."""

    params = (("plain", "weight", "label_smoothing", "ignore_index", "int32 target", "one-hot target"), DTYPES)
    param_names = ("argument", "dtype")

    def setup(self, argument, dtype):
        self.loss = function("cross_entropy")
        self.input, self.target = row_data("cross_entropy", ROW_SHAPES["cache"], dtype)
        n_classes = self.input.shape[1]
        self.options = {}
        if argument == "weight":
            self.options["weight"] = np.linspace(0.5, 2, n_classes).astype(dtype)
        elif argument == "label_smoothing":
            self.options["label_smoothing"] = 0.1
        elif argument == "ignore_index":
            self.target[::2] = -100
        elif argument == "int32 target":
            self.target = self.target.astype(np.int32)
        elif argument == "one-hot target":
            self.target = np.eye(n_classes, dtype=dtype)[self.target]

    def time_argument(self, argument, dtype):
        self.loss(self.input, self.target, **self.options)


class Threads:
    """One thread and two on the memory-sized arrays; elsewhere the environment decides: one, by asv.conf.json."""

    params = (LOSSES, [1, 2])
    param_names = ("loss", "threads")

    def setup(self, loss, threads):
        self.loss = function(loss)
        self.input, self.target = data(loss, "memory", "float32")

    def time_mean(self, loss, threads):
        self.loss(self.input, self.target, num_threads=threads)
