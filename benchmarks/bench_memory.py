"""Peak memory of the process around one call on 64 MB of logits; `peakmem_setup_alone` is what the logits cost."""

import numpy as np

from .common import function, row_data, value_and_grad

SHAPE = (16384, 1024)  # 64 MB of float32


class CrossEntropy:
    def setup(self):
        self.logits, self.target = row_data("cross_entropy", SHAPE, "float32")

    def peakmem_setup_alone(self):
        pass

    def peakmem_forward(self):
        function("cross_entropy")(self.logits, self.target)

    def peakmem_grad_new(self):
        value_and_grad("cross_entropy")(self.logits, self.target)

    def peakmem_grad_over_logits(self):
        value_and_grad("cross_entropy")(self.logits, self.target, out=self.logits)

    def peakmem_class_axis_first(self):
        function("cross_entropy")(self.logits.reshape(SHAPE[1], SHAPE[0]), self.target % SHAPE[1], axis=0)


class Maps:
    params = ("softmax", "log_softmax", "logsumexp", "sigmoid", "log_sigmoid")
    param_names = ("map",)

    def setup(self, name):
        self.logits, _ = row_data("cross_entropy", SHAPE, "float32")

    def peakmem_over_input(self, name):
        out = np.empty(SHAPE[0], np.float32) if name == "logsumexp" else self.logits
        function(name)(self.logits, out=out)
