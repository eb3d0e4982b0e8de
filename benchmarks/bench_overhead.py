"""What a call costs when there is next to nothing to compute, and what the import costs."""

import sys

import numpy as np

from .common import LOSSES, MAPS, ROW_LOSSES, function, normal, row_data, value_and_grad, written


class TinyCalls:
    params = (*MAPS, *LOSSES)
    param_names = ("function",)

    def setup(self, name):
        self.function = function(name)
        if name in MAPS:
            self.arguments = (normal((1, 10), "float32"),)
        elif name in ROW_LOSSES:
            self.arguments = row_data(name, (1, 10), "float32")
        else:
            self.arguments = (np.full((1, 10), 0.25, np.float32), np.ones((1, 10), np.float32))

    def time_call(self, name):
        self.function(*self.arguments)


class TinyCrossEntropy:
    """The ways into cross_entropy that do more than the plain call."""

    def setup(self):
        self.input, self.target = row_data("cross_entropy", (1, 10), "float32")
        self.cross_entropy = function("cross_entropy")

    def time_keywords(self):
        self.cross_entropy(self.input, self.target, label_smoothing=0.1, reduction="sum", axis=1)

    def time_sliced_input(self):
        self.cross_entropy(self.input[:, ::2], self.target // 2)

    def time_lists(self):
        self.cross_entropy([[0.5, 1.5, 2.5]], [2])

    def time_axis_in_the_middle(self):
        self.cross_entropy(self.input.reshape(1, 5, 2), np.zeros((1, 2), np.int64))


class TinyGradient:
    def setup(self):
        self.input, self.target = row_data("cross_entropy", (1, 10), "float32")
        self.out = written(self.input.shape, "float32")
        self.value_and_grad = value_and_grad("cross_entropy")

    def time_new(self):
        self.value_and_grad(self.input, self.target)

    def time_out(self):
        self.value_and_grad(self.input, self.target, out=self.out)

    def time_transform(self):
        value_and_grad("cross_entropy")


class Import:
    """The time of a whole interpreter; subtract that of NumPy alone."""

    timeout = 60

    def timeraw_numpy(self):
        return "import numpy"

    def timeraw_crossent(self):
        return "import crossent"

    def track_modules(self):
        """How many modules the import adds to NumPy's."""
        import subprocess

        code = "import sys, numpy; before = len(sys.modules); import crossent; print(len(sys.modules) - before)"
        return int(subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1])

    track_modules.unit = "modules"
