"""The modules of `torch.nn` that crossent has. Each is a subclass of PyTorch's: its buffers, state and repr are."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from . import functional as F
from .functional import Reduction, refuse_deprecated


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss`; see `crossent.torch.cross_entropy`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        refuse_deprecated(size_average, reduce)
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,  # type: ignore[arg-type]
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(nn.NLLLoss):
    """`torch.nn.NLLLoss`; see `crossent.torch.nll_loss`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: Reduction = "mean",
    ) -> None:
        refuse_deprecated(size_average, reduce)
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,  # type: ignore[arg-type]
        )


class BCELoss(nn.BCELoss):
    """`torch.nn.BCELoss`; see `crossent.torch.binary_cross_entropy`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: Reduction = "mean",
    ) -> None:
        refuse_deprecated(size_average, reduce)
        super().__init__(weight, reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,  # type: ignore[arg-type]
        )


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """`torch.nn.BCEWithLogitsLoss`; see `crossent.torch.binary_cross_entropy_with_logits`."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        reduce: None = None,
        reduction: Reduction = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        refuse_deprecated(size_average, reduce)
        super().__init__(weight, reduction=reduction, pos_weight=pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            weight=self.weight,
            reduction=self.reduction,  # type: ignore[arg-type]
            pos_weight=self.pos_weight,
        )


class KLDivLoss(nn.KLDivLoss):
    """`torch.nn.KLDivLoss`; see `crossent.torch.kl_div`."""

    def __init__(
        self,
        size_average: None = None,
        reduce: None = None,
        reduction: Literal["none", "mean", "sum", "batchmean"] = "mean",
        log_target: bool = False,
    ) -> None:
        refuse_deprecated(size_average, reduce)
        super().__init__(reduction=reduction, log_target=log_target)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(
            input,
            target,
            reduction=self.reduction,  # type: ignore[arg-type]
            log_target=self.log_target,
        )


class MSELoss(nn.MSELoss):
    """`torch.nn.MSELoss`; see `crossent.torch.mse_loss`."""

    def __init__(self, size_average: None = None, reduce: None = None, reduction: Reduction = "mean") -> None:
        refuse_deprecated(size_average, reduce)
        super().__init__(reduction=reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)  # type: ignore[arg-type]


class Softmax(nn.Softmax):
    """`torch.nn.Softmax`; see `crossent.torch.softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)


class LogSoftmax(nn.LogSoftmax):
    """`torch.nn.LogSoftmax`; see `crossent.torch.log_softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Sigmoid(nn.Sigmoid):
    """`torch.nn.Sigmoid`; see `crossent.torch.sigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(nn.LogSigmoid):
    """`torch.nn.LogSigmoid`; see `crossent.torch.logsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)
