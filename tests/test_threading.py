"""How many threads a call may use: the order of the settings, the processors of a container, bad values."""

import math
import os

import numpy as np
import pytest

from crossent import _kernels, _threading

MOUNTS_V2 = "30 25 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNTS_V1 = (
    "30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "31 25 0:28 / /sys/fs/cgroup/cpuset rw,nosuid shared:10 - cgroup cgroup rw,cpuset\n"
)


def tree(root, files):
    """Files under `root`, as {path: text}."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def kernel_default(monkeypatch):
    """A build with OpenMP, of 3 threads; the list of the defaults that the kernels are given."""
    given = []
    for name, value in (("_initial", 3), ("_initial_is_limited", False), ("_serial", False)):
        monkeypatch.setattr(_threading, name, value)
    keep = _kernels.set_default_threads

    def set_default_threads(n, limited):
        given.append(n)
        keep(n, limited)

    monkeypatch.setattr(_kernels, "set_default_threads", set_default_threads)
    yield given
    monkeypatch.undo()
    _threading.set_num_threads(None)


class TestPrecedence:
    def test_argument_then_set_num_threads_then_default(self, kernel_default):
        _threading.set_num_threads(None)
        assert (_threading.resolve(None), _threading.get_num_threads()) == (3, 3)
        _threading.set_num_threads(5)
        assert (_threading.resolve(None), _threading.get_num_threads()) == (5, 5)
        assert _threading.resolve(2) == 2
        assert _threading.resolve(None) == 5
        _threading.set_num_threads(None)
        assert _threading.resolve(None) == 3
        assert kernel_default == [3, 5, 3]

    def test_a_serial_build_has_one_thread(self, kernel_default, monkeypatch):
        monkeypatch.setattr(_threading, "_serial", True)
        _threading.set_num_threads(5)
        assert (_threading.resolve(None), _threading.resolve(4), _threading.get_num_threads()) == (1, 1, 1)
        assert kernel_default == [1]

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({}, 6),
            ({"OMP_NUM_THREADS": "2"}, 2),
            ({"OMP_NUM_THREADS": " 4,2"}, 4),
            ({"OMP_NUM_THREADS": "12"}, 12),  # more than there are: the user's choice
            ({"OMP_NUM_THREADS": "999999"}, _threading.MAX_THREADS),
            ({"OMP_NUM_THREADS": "many"}, 6),
            ({"OMP_NUM_THREADS": "0"}, 6),
            ({"OMP_NUM_THREADS": ""}, 6),
            ({"CROSSENT_NUM_THREADS": "7", "OMP_NUM_THREADS": "2"}, 7),
            ({"CROSSENT_NUM_THREADS": "", "OMP_NUM_THREADS": "2"}, 2),
        ],
    )
    def test_environment(self, monkeypatch, environ, expected):
        monkeypatch.setattr(_threading, "usable_processors", lambda: 6)
        assert _threading._from_environment(environ) == expected

    @pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "1,2", "99999"])
    def test_bad_environment(self, value):
        with pytest.raises(ValueError, match=f"CROSSENT_NUM_THREADS must be an integer from 1 to 1024, got '{value}'"):
            _threading._from_environment({"CROSSENT_NUM_THREADS": value})


class TestArguments:
    @pytest.mark.parametrize("n", [np.int8(2), np.uint64(2), 2])
    def test_integers(self, kernel_default, n):
        _threading.set_num_threads(n)
        assert (_threading.get_num_threads(), _threading.resolve(n)) == (2, 2)
        assert type(_threading.resolve(n)) is int

    @pytest.mark.parametrize("n", [True, 2.0, "2", [2]])
    def test_not_an_integer(self, kernel_default, n):
        with pytest.raises(TypeError, match="^n must be an integer or None, got .* of type"):
            _threading.set_num_threads(n)
        with pytest.raises(TypeError, match="^num_threads must be an integer or None, got .* of type"):
            _threading.resolve(n)
        assert kernel_default == []

    @pytest.mark.parametrize("n", [0, -1, 1025, 2**70])
    def test_out_of_range(self, kernel_default, n):
        with pytest.raises(ValueError, match=f"^n must be from 1 to 1024, got {n}"):
            _threading.set_num_threads(n)
        with pytest.raises(ValueError, match=f"^num_threads must be from 1 to 1024, got {n}"):
            _threading.resolve(n)
        assert kernel_default == []


class TestQuota:
    def test_version_2(self, tmp_path):
        files = {
            "proc/self/cgroup": "0::/user/app\n",
            "proc/self/mountinfo": MOUNTS_V2,
            "sys/fs/cgroup/user/app/cpu.max": "max 100000\n",
        }
        assert _threading._cgroup_quota(tree(tmp_path, files)) == math.inf
        # a group around the process's own limits it too
        tree(tmp_path, {"sys/fs/cgroup/user/cpu.max": "250000 100000\n"})
        assert _threading._cgroup_quota(tmp_path) == 2.5
        tree(tmp_path, {"sys/fs/cgroup/user/app/cpu.max": "50000 100000\n"})
        assert _threading._cgroup_quota(tmp_path) == 0.5

    def test_version_1(self, tmp_path):
        files = {
            "proc/self/cgroup": "4:cpuset:/app\n3:cpu,cpuacct:/app\n0::/\n",
            "proc/self/mountinfo": MOUNTS_V1,
            "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "150000\n",
            "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
        assert _threading._cgroup_quota(tree(tmp_path, files)) == 3

    @pytest.mark.parametrize(
        ("mounted_group", "own_group"),
        [("/docker/abc", "/docker/abc"), ("/", "/docker/abc"), ("/", "/../../other"), ("/docker/abc", "/elsewhere")],
    )
    def test_inside_a_container(self, tmp_path, mounted_group, own_group):
        """The group's name is the host's; all that is mounted is the container's own folder."""
        files = {
            "proc/self/cgroup": f"0::{own_group}\n",
            "proc/self/mountinfo": MOUNTS_V2.replace("0:27 /", f"0:27 {mounted_group}"),
            "sys/fs/cgroup/cpu.max": "200000 100000\n",
        }
        assert _threading._cgroup_quota(tree(tmp_path, files)) == 2

    @pytest.mark.parametrize("text", ["", "max\n", "0 100000\n", "100000 0\n", "nonsense\n"])
    def test_unreadable_is_unlimited(self, tmp_path, text):
        files = {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": MOUNTS_V2,
            "sys/fs/cgroup/cpu.max": text,
        }
        assert _threading._cgroup_quota(tree(tmp_path, files)) == math.inf

    def test_no_proc(self, tmp_path):
        assert _threading._cgroup_quota(tmp_path) == math.inf

    def test_strange_proc(self, tmp_path):
        files = {"proc/self/cgroup": "what\n", "proc/self/mountinfo": "is - this\n"}
        assert _threading._cgroup_quota(tree(tmp_path, files)) == math.inf

    @pytest.mark.parametrize(("quota", "expected"), [(math.inf, 4), (16.0, 4), (2.0, 2), (1.5, 2), (0.1, 1)])
    def test_usable_processors(self, monkeypatch, quota, expected):
        monkeypatch.setattr(_threading, "_affinity", lambda: 4)
        monkeypatch.setattr(_threading, "_cgroup_quota", lambda: quota)
        assert _threading.usable_processors() == expected

    def test_this_machine(self):
        assert 1 <= _threading.usable_processors() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not _kernels.openmp_enabled(), reason="a build without OpenMP has one thread")
def test_the_kernels_know_the_default():
    try:
        _threading.set_num_threads(2)
        assert _kernels.get_default_threads() == 2
    finally:
        _threading.set_num_threads(None)
