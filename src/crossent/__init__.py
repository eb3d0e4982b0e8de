"""Classification losses for NumPy on the CPU: softmax, cross-entropy, binary cross-entropy, gradients and Hessians.

The functions are those of `torch.nn.functional`, on arrays: see `cross_entropy`, and `value_and_grad` for gradients.
"""

from __future__ import annotations

from typing import Any

from ._config import show_config
from ._threading import get_num_threads, set_num_threads
from .functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    log_sigmoid,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    mse_loss,
    nll_loss,
    sigmoid,
    softmax,
    softmax_backward,
)
from .losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, KLDivLoss, MSELoss, NLLLoss
from .transforms import value_and_grad, value_grad_and_hess

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "KLDivLoss",
    "MSELoss",
    "NLLLoss",
    "__version__",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "get_num_threads",
    "kl_div",
    "log_sigmoid",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "mse_loss",
    "nll_loss",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "softmax",
    "softmax_backward",
    "value_and_grad",
    "value_grad_and_hess",
]

__version__: str


def __getattr__(name: str) -> Any:
    """`__version__`, read from the installed package's metadata when somebody asks for it."""
    if name == "__version__":
        from ._config import version

        globals()["__version__"] = version()
        return globals()["__version__"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
