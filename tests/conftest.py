"""Fixtures shared by all tests, and the promise that a full run exercises every kernel set of the processor."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import crossent as ce
from crossent import _kernels

settings.register_profile(
    "crossent", deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck)
)
settings.load_profile("crossent")

EXERCISED = pytest.StashKey[set]()


@pytest.fixture(params=_kernels.isas())
def isa(request):
    """Every kernel set that this processor can run, switched to for the test."""
    before = _kernels.use_isa(request.param)
    request.config.stash[EXERCISED].add(_kernels.active_isa())
    yield request.param
    _kernels.use_isa(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=[1, 2, 3])
def num_threads(request):
    """Set for all calls of the test that do not say otherwise."""
    ce.set_num_threads(request.param)
    yield request.param
    ce.set_num_threads(None)


def pytest_configure(config):
    config.stash[EXERCISED] = set()


def pytest_report_header(config):
    return f"crossent {ce.__version__}: kernel sets of this processor: {', '.join(_kernels.isas())}"


def is_full(config):
    """Nobody chose among the tests."""
    option = config.option
    chosen = option.keyword or option.markexpr or getattr(option, "lf", False) or getattr(option, "deselect", None)
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS
    return everything and not chosen and not option.collectonly


def forgotten(config):
    return sorted(set(_kernels.isas()) - config.stash[EXERCISED]) if is_full(config) else []


def pytest_sessionfinish(session, exitstatus):
    if hasattr(session.config, "workeroutput"):  # one of several processes (pytest-xdist)
        session.config.workeroutput["exercised"] = sorted(session.config.stash[EXERCISED])
    elif forgotten(session.config) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    node.config.stash[EXERCISED].update(getattr(node, "workeroutput", {}).get("exercised", ()))


def pytest_terminal_summary(terminalreporter, config):
    exercised = ", ".join(sorted(config.stash[EXERCISED])) or "none"
    terminalreporter.write_line(f"kernel sets exercised: {exercised}")
    for isa in forgotten(config):
        terminalreporter.write_line(f"FAILED: this processor runs the {isa} kernels, but no test did", red=True)
