"""What was built, what this machine can run of it, and what is in use."""

from __future__ import annotations

from typing import Any, Literal

from . import _kernels, _threading


def version() -> str:
    # Here, because it reads a file and costs more than the rest of the import.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("crossent")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Show the version, the instruction sets, OpenMP and the number of threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        Print it, or return it as a dict.

    Examples
    --------
    >>> import crossent as ce
    >>> config = ce.show_config("dicts")
    >>> config["active_isa"] in config["isas"]
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', got {mode!r}")
    config = {
        "version": version(),
        "isas": list(_kernels.isas()),
        "active_isa": _kernels.active_isa(),
        "openmp": bool(_kernels.openmp_enabled()),
        "num_threads": _threading.get_num_threads(),
    }
    if mode == "dicts":
        return config
    for name, value in config.items():
        print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    return None
