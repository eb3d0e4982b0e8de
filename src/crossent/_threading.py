"""How many threads a call may use.

In order: the call's own ``num_threads``, ``set_num_threads``, the environment's ``CROSSENT_NUM_THREADS``, then
``OMP_NUM_THREADS``, then the processors that this process may really use: those of its affinity mask, and no more than
the quota of its container. OpenMP's own default knows nothing of the quota, and a container with one processor of 64
would start 64 threads that wait for each other.

A limit put on OpenMP while the process runs (``threadpoolctl.threadpool_limits``, ``omp_set_num_threads``) ranks
with ``OMP_NUM_THREADS``, as it does in scikit-learn: it holds for calls that none of the first three speaks of.

How many of them a call does use is for the kernels to say: a small call runs in the caller's thread.

After ``fork`` a child runs everything in one thread, whatever it asks for: GNU OpenMP's threads do not survive a fork,
and the child's first parallel region would wait for them for ever (GCC bugs 58378 and 60035). A process that is started
afresh (the ``spawn`` and ``forkserver`` methods of ``multiprocessing``) has all its threads.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple, SupportsIndex

from . import _kernels

# GNU OpenMP ends the process when a thread cannot be started, so no request of a caller may be that large.
MAX_THREADS = 1024


# ---- the processors that this process may use ------------------------------------------------------------------------


class _Mount(NamedTuple):
    kind: str  # "cgroup2", or "cgroup" for version 1
    options: list[str]  # of version 1: the controllers
    root: str  # the group that is mounted
    point: str  # where it is mounted

    def limits(self, controllers: str) -> bool:
        """Whether the processors of a group with these controllers (none in version 2) are limited here."""
        if not controllers:
            return self.kind == "cgroup2"
        return "cpu" in controllers.split(",") and "cpu" in self.options


# Not pathlib: importing it takes longer than the rest of this package.
def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _cgroup_mounts(root: str) -> Iterator[_Mount]:
    """The control group file systems in /proc/self/mountinfo (its format: proc_pid_mountinfo(5))."""
    for line in _read(root, "proc/self/mountinfo").splitlines():
        place, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            _, _, _, group, point = place.split()[:5]
            yield _Mount(kind, options.split(","), group, os.path.join(root, point.strip("/")))


def _group_folders(mount: _Mount, group: str) -> Iterator[str]:
    """The folder of a group and those of the groups around it: each may have a limit of its own.

    In a container the group's name is often one of the host's, of which only the part below the mount is visible.
    """
    inside = os.path.relpath(group, mount.root)
    if inside.startswith(".."):
        inside = "."
    while inside not in ("", "."):
        yield os.path.join(mount.point, inside)
        inside = os.path.dirname(inside)
    yield mount.point


def _read_quota(folder: str, kind: str) -> float:
    """Processors that a group grants, from microseconds of run time in each period; infinite without a limit."""
    try:
        if kind == "cgroup2":
            quota, period = _read(folder, "cpu.max").split()
        else:
            quota = _read(folder, "cpu.cfs_quota_us")
            period = _read(folder, "cpu.cfs_period_us")
        granted = int(quota) / int(period)  # "max" is no integer, and version 1 says -1
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
    return granted if granted > 0 else math.inf


def _cgroup_quota(root: str = "/") -> float:
    """Processors that the container's control groups, version 1 or 2, grant to this process; infinite if unlimited."""
    try:
        mounts = list(_cgroup_mounts(root))
        groups = [line.split(":", 2) for line in _read(root, "proc/self/cgroup").splitlines()]
        quotas = [
            _read_quota(folder, mount.kind)
            for _, controllers, group in groups
            for mount in mounts
            if mount.limits(controllers)
            for folder in _group_folders(mount, group)
        ]
    except (OSError, ValueError):  # not Linux, or a /proc that is not what we know
        return math.inf
    return min(quotas, default=math.inf)


def _affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_processors() -> int:
    """Processors of the affinity mask, at most the container's quota, a begun one counted whole."""
    return max(1, math.ceil(min(_affinity(), _cgroup_quota())))


# ---- the numbers that users set --------------------------------------------------------------------------------------


def _check(value: SupportsIndex, name: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer or None, got {value!r} of type {type(value).__name__}") from None
    if not 1 <= n <= MAX_THREADS:
        raise ValueError(f"{name} must be from 1 to {MAX_THREADS}, got {n}")
    return n


def _from_environment(environ: Mapping[str, str]) -> int:
    own = environ.get("CROSSENT_NUM_THREADS", "").strip()
    if own:
        if not (own.isdecimal() and 1 <= int(own) <= MAX_THREADS):
            raise ValueError(f"CROSSENT_NUM_THREADS must be an integer from 1 to {MAX_THREADS}, got {own!r}")
        return int(own)
    # A list gives the threads of nested regions; ours are never nested. A bad value is OpenMP's to complain about.
    openmp = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if openmp.isdecimal() and int(openmp) >= 1:
        return min(int(openmp), MAX_THREADS)
    return min(usable_processors(), MAX_THREADS)


_initial = _from_environment(os.environ)
_initial_is_limited = not os.environ.get("CROSSENT_NUM_THREADS", "").strip()
_serial = not _kernels.openmp_enabled()  # and from a fork on


def _set_default(n: int, limited: bool) -> None:
    """Tell the kernels the number of a call that names none; limited: OpenMP's own number may lower it."""
    _kernels.set_default_threads(1 if _serial else n, limited)


def set_num_threads(n: SupportsIndex | None) -> None:
    """Set how many threads a call may use that is given no ``num_threads``; None goes back to the default.

    It holds for the whole process. Results do not depend on it: they are the same to the last bit.
    """
    if n is None:
        _set_default(_initial, _initial_is_limited)
    else:
        _set_default(_check(n, "n"), False)


def get_num_threads() -> int:
    """How many threads a call may use that is given no ``num_threads``; 1 in a build without OpenMP and after fork.

    A limit on OpenMP's threads (``threadpoolctl``) counts, unless the number was set for this library.
    """
    return _kernels.get_default_threads()


def resolve(num_threads: SupportsIndex | None) -> int:
    """How many threads a call may use whose argument is `num_threads`."""
    if num_threads is None:
        return _kernels.get_default_threads()
    n = _check(num_threads, "num_threads")
    return 1 if _serial else n


def _after_fork_in_child() -> None:
    global _serial
    _serial = True
    _kernels.set_forked()
    _set_default(1, False)


set_num_threads(None)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
