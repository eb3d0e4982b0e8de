"""Libraries take turns in processes of their own; each point is printed as it is measured."""

import contextlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .points import NO_PEERS, Record, compared, geometric_mean, plan

WORKER = Path(__file__).with_name("worker.py")


class Peer:
    """A library in its own process."""

    def __init__(self, name, threads):
        self.name, self.errors = name, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment(threads),
            text=True,
        )

    def answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended: {self.last_words()}", "dead": True}

    def ask(self, **request):
        with contextlib.suppress(BrokenPipeError):  # then the answer tells
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self.answer()

    def last_words(self):
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["without a word"])[-1]

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def environment(threads):
    """The environment, with the number of threads in it."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CROSSENT_NUM_THREADS")
    return os.environ | {name: str(threads) for name in names} | {"PYTHONUNBUFFERED": "1"}


def start(names, threads):
    """The peers that are installed, and their versions."""
    peers, versions = [], {}
    for peer in [Peer(name, threads) for name in names]:
        first = peer.answer()
        if "version" in first:
            versions[peer.name] = first["version"]
            peers.append(peer)
        else:
            print(f"{peer.name} is skipped: {first.get('missing') or first['error']}", flush=True)
            peer.close()
    return peers, versions


def measure_point(point, peers, rounds, seconds):
    """Fills in the shortest time of each peer. What failed once is not asked again; who died leaves the peers."""
    silent = set()
    for number in range(rounds):
        for peer in list(peers):
            if peer.name in silent:
                continue
            progress(f"  {point.title}: round {number + 1} of {rounds}, {peer.name}")
            answer = peer.ask(op=point.op, shape=point.shape, dtype=point.dtype, seconds=seconds)
            if "seconds" in answer:
                point.seconds[peer.name] = min(answer["seconds"], point.seconds.get(peer.name, math.inf))
                continue
            silent.add(peer.name)
            if "error" in answer:
                print(f"{peer.name} failed at {point.title}: {answer['error']}", file=sys.stderr)
            if "dead" in answer:
                peers.remove(peer)
                peer.close()


def progress(text):
    """What is going on, on a terminal only; the next line overwrites it."""
    if sys.stderr.isatty():
        print(f"{text:100.100}", end="\r", file=sys.stderr, flush=True)


def cpu_model():
    """As the processor calls itself; on systems without /proc/cpuinfo what Python knows."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def measure(args):
    points = plan(args.ops.split(","), args.shapes, args.dtypes.split(","), args.quick)
    peers, versions = start(args.only.split(",") if args.only else [*NO_PEERS, *args.peers.split(",")], args.threads)
    record = Record(args.threads, cpu_model(), versions)
    print(f"microseconds, the shortest of {args.rounds} rounds; {args.threads} thread(s)")
    print(table_header(versions), flush=True)
    try:
        for number, point in enumerate(points, 1):
            measure_point(point, peers, args.rounds, args.seconds)
            record.points.append(point)
            print(table_line(point, versions, f"{number}/{len(points)}"), flush=True)
            if args.json:
                record.save(args.json)
    finally:
        for peer in peers:
            peer.close()
    return record


# ---- on the terminal -------------------------------------------------------------------------------------------------


def table_header(names):
    columns = "".join(f"{name:>13}" for name in names)
    return f"{'':8}{'':38}{columns}{'vs best':>10}{'vs torch':>10}{'ns/element':>12}"


def table_line(point, names, number):
    columns = "".join(f"{1e6 * point.seconds[n]:13.2f}" if n in point.seconds else f"{'-':>13}" for n in names)
    ratios = "".join(f"{ratio:9.2f}x" if ratio else f"{'-':>10}" for ratio in map(point.ratio, (point.best(), "torch")))
    per_element = 1e9 * point.seconds.get("crossent", math.nan) / math.prod(point.shape)
    return f"{number:>7} {point.title:38}{columns}{ratios}{per_element:12.4f}"


def print_summary(points):
    """Geometric mean and least ratio of each operation, and the points at which a peer is ahead."""
    for op in dict.fromkeys(point.op for point in points):
        mine = [point for point in points if point.op == op]
        best, torch = ([ratio for ratio, _ in compared(mine, peer)] for peer in (None, "torch"))
        if best:
            text = (
                f"{op:12} {geometric_mean(best):6.2f}x the best peer in the geometric mean, at least {min(best):.2f}x"
            )
            print(text + (f"; {geometric_mean(torch):.2f}x PyTorch, at least {min(torch):.2f}x" if torch else ""))
    every = compared(points)
    if every:
        mean, (least, where) = geometric_mean([ratio for ratio, _ in every]), min(every, key=lambda pair: pair[0])
        print(f"all {len(every)} points: {mean:.2f}x the best peer in the geometric mean")
        print(f"least: {least:.2f}x {where.best()} at {where.title}")
    for ratio, point in every:
        if ratio < 1:
            print(f"behind {point.best()} at {point.title}: {ratio:.2f}x")
