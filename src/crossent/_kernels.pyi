from typing import Any, final

from numpy.typing import NDArray

ELEMENT_BLOCK_SIZE: int

def isas() -> tuple[str, ...]: ...
def active_isa() -> str: ...
def use_isa(name: str) -> str | None: ...
def kernel_names() -> dict[str, str]: ...
def kernel_id(name: str, signature: str) -> int: ...
def openmp_enabled() -> bool: ...
def set_default_threads(n: int, limited: bool) -> None: ...
def get_default_threads() -> int: ...
def set_streaming_threads(n: int) -> int: ...
def set_forked() -> None: ...

@final
class Derivatives:
    order: int
    out: NDArray[Any] | None
    hess_out: NDArray[Any] | None
    grad_output: Any
    def __init__(
        self, order: int, out: NDArray[Any] | None, hess_out: NDArray[Any] | None, grad_output: Any
    ) -> None: ...

# The drivers: checked arguments.
def row_map(kernel: int, input: NDArray[Any], output: NDArray[Any], num_threads: int) -> None: ...
def row_map_backward(
    kernel: int, grad_output: NDArray[Any], output: NDArray[Any], grad_input: NDArray[Any], num_threads: int
) -> None: ...
def check_targets(
    target: NDArray[Any], n_classes: int, ignore_index: int, class_weight: NDArray[Any] | None, num_threads: int
) -> tuple[int, float]: ...
def row_loss(
    kernel: int,
    input: NDArray[Any],
    target: NDArray[Any] | None,
    prob: NDArray[Any] | None,
    class_weight: NDArray[Any] | None,
    ignore_index: int,
    label_smoothing: float,
    loss: NDArray[Any] | None,
    grad_scale: float,
    grad_output: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    hess: NDArray[Any] | None,
    num_threads: int,
) -> float: ...
def element_map(kernel: int, input: NDArray[Any], output: NDArray[Any], num_threads: int) -> None: ...
def element_loss(
    kernel: int,
    input: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any] | None,
    weight_period: int,
    pos_weight: NDArray[Any] | None,
    pos_weight_period: int,
    label_smoothing: float,
    log_floor: float,
    eps: float,
    log_target: bool,
    check_unit: bool,
    check_first: bool,
    loss: NDArray[Any] | None,
    grad_scale: float,
    grad_output: NDArray[Any] | None,
    grad: NDArray[Any] | None,
    hess: NDArray[Any] | None,
    num_threads: int,
) -> float | None: ...

# The fast lanes: any arguments, None for those that need the slow lane.
def fast_row_map(kernel: int, input: Any, axis: Any, keepdims: bool, wide: bool, out: Any, num_threads: Any) -> Any: ...
def fast_row_loss(
    kernel: int,
    prob_kernel: int,
    input: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    reduction: Any,
    label_smoothing: Any,
    axis: Any,
    out: Any,
    num_threads: Any,
) -> Any: ...
def fast_element_map(kernel: int, input: Any, out: Any, num_threads: Any) -> Any: ...
def fast_element_loss(
    kernel: int,
    input: Any,
    target: Any,
    reduction: Any,
    label_smoothing: Any,
    log_floor: Any,
    eps: Any,
    log_target: bool,
    check_unit: bool,
    out: Any,
    num_threads: Any,
) -> Any: ...
