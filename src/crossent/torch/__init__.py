"""The losses for CPU tensors of PyTorch, with autograd: functions of `torch.nn.functional`, modules of `torch.nn`.

Swap the import, and a training loop runs with crossent's kernels::

    import crossent.torch as F      # was: import torch.nn.functional as F

Tensors are neither copied nor modified. A loss whose input requires a gradient computes it in the forward pass, with
the value; the backward pass scales it.

Differences from PyTorch:

- Where PyTorch's numbers are wrong (a confident loss of 0, NaN gradients of ignored rows) these are right.
- Shapes have to fit: `mse_loss` and `kl_div` do not broadcast the target. `softmax` wants its `dim`. The deprecated
  `size_average` and `reduce` are a TypeError, and so is a tensor that is not on the CPU.
- Targets may be of any integer type, bool too, and of another floating type than the input.
- No gradient is taken of targets and weights: it is an error if they require one. The target of `mse_loss` may.
- A loss can be differentiated once. A second derivative is an error, as is forward mode; `softmax`, `log_softmax`,
  `logsumexp`, `sigmoid` and `logsigmoid` can be differentiated any number of times, in reverse mode.
- float16 and bfloat16 are computed in float32, and the result is rounded once. The gradient of a loss stays in float32
  until the backward pass has scaled it: small gradients survive where the loss is scaled up.
- `torch.func.grad` and `torch.func.vmap` work. `torch.compile` takes each function as one operator, with
  ``fullgraph=True`` too; `torch.func.grad` inside of it runs uncompiled, and not with ``fullgraph=True``.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("crossent.torch needs PyTorch, which is not installed: pip install torch") from error

from .functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    log_softmax,
    logsigmoid,
    logsumexp,
    mse_loss,
    nll_loss,
    sigmoid,
    softmax,
)
from .modules import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    KLDivLoss,
    LogSigmoid,
    LogSoftmax,
    MSELoss,
    NLLLoss,
    Sigmoid,
    Softmax,
)

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "KLDivLoss",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "NLLLoss",
    "Sigmoid",
    "Softmax",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "mse_loss",
    "nll_loss",
    "sigmoid",
    "softmax",
]
