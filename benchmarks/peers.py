"""crossent beside its peers: how long a call takes, each library in a process of its own, measured in turn.

    python benchmarks/peers.py                        # everything, float32, one thread: about an hour
    python benchmarks/peers.py --only crossent        # crossent's own numbers: minutes
    python benchmarks/peers.py --ops ce,ce_grad --shapes 8192x10,4x19x160x160 --peers torch,jax
    python benchmarks/peers.py --json times.json --readme --plot         # measures, writes the README's tables, draws
    python benchmarks/peers.py --load times.json --readme --plot         # the same from an earlier measurement

The libraries take turns, and the shortest time of each counts: what else the machine does disturbs all of them alike.
Peers that are not installed are skipped. A shape is rows x classes, or N x C x d1 x ...: the classes are on axis 1. The
binary losses take the same shapes as they are. Named shapes: table, odd (sizes that nobody tuned for), axis.
"""

import argparse
import contextlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OPS = {
    "log_softmax": "`log_softmax`",
    "softmax": "`softmax`",
    "nll": "`nll_loss`",
    "ce": "`cross_entropy`",
    "ce_grad": "`cross_entropy`, value and gradient",
    "bce": "`binary_cross_entropy`",
    "bcel": "`binary_cross_entropy_with_logits`",
    "bcel_grad": "`binary_cross_entropy_with_logits`, value and gradient",
}
NAMES = {
    "crossent": "crossent",
    "crossent_new": "crossent, new arrays",
    "memory": "memory limit",
    "numpy": "NumPy",
    "scipy": "SciPy",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "inductor": "torch.compile",
    "jax": "JAX",
    "ort": "ONNX Runtime",
}
NO_PEERS = ("crossent", "crossent_new", "memory")

ROW_SHAPES = {
    "table": [(1, 10), (128, 10), (8192, 10), (1024, 1000), (65536, 1000), (32, 50257), (2048, 32000), (512, 128256)],
    "odd": [
        *((2**20 // c, c) for c in (1, 2, 3, 5, 7, 17, 31, 33, 100, 1537, 30522)),
        *((n, 1000) for n in (1, 7, 20000)),
    ],
    "axis": [(4, 19, 160, 160), (8, 1000, 49)],
}
ELEMENT_SHAPES = {"table": [(100,), (10000,), (1000000,), (67108864,)], "odd": [(1,), (7,), (1537,), (20000,)]}

# What the README shows, beside the points at which a peer is ahead.
README_SHAPES = {
    "log_softmax": [(128, 10), (1024, 1000), (65536, 1000)],
    "softmax": [(1024, 1000)],
    "nll": [(65536, 1000)],
    "ce": [(1, 10), (8192, 10), (1024, 1000), (65536, 1000), (512, 128256)],
    "ce_grad": [(8192, 10), (1024, 1000), (65536, 1000)],
    "bce": [(1000000,), (67108864,)],
    "bcel": [(1000000,), (67108864,)],
    "bcel_grad": [(1000000,), (67108864,)],
}
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

# What the plot shows: the number of classes with so many elements in all, and the number of rows with so many classes.
SWEEP_OPS = ["ce", "ce_grad"]
SWEEP_ELEMENTS, SWEEP_CLASSES = 1 << 23, 1000
CLASSES = [2, 3, 5, 10, 17, 32, 64, 100, 256, 1000, 4096, 30522, 131072]
ROWS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]


# ---- points ----------------------------------------------------------------------------------------------------------


@dataclass
class Point:
    """One problem and the seconds that each library took; part is "table", "classes" or "rows"."""

    part: str
    op: str
    dtype: str
    shape: tuple
    seconds: dict = field(default_factory=dict)

    @property
    def title(self):
        return f"{self.op} {self.dtype} {times(self.shape, 'x')}"

    @property
    def peers(self):
        return {name: s for name, s in self.seconds.items() if name not in NO_PEERS}

    def best(self):
        """The fastest peer; None without any."""
        return min(self.peers, key=self.peers.get, default=None)

    def ratio(self, peer):
        """How many times as long as crossent the peer takes."""
        if peer in self.seconds and "crossent" in self.seconds:
            return self.seconds[peer] / self.seconds["crossent"]
        return None


@dataclass
class Record:
    threads: int
    versions: dict = field(default_factory=dict)
    points: list = field(default_factory=list)

    def save(self, path):
        Path(path).write_text(json.dumps(asdict(self), indent=0), encoding="utf-8")


def load(paths):
    """The points of several files; where they have the same one, that of the last file."""
    merged, record = {}, None
    for path in paths:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        versions = (record.versions if record else {}) | data["versions"]
        record = Record(data["threads"], versions)
        for row in data["points"]:
            point = Point(**row | {"shape": tuple(row["shape"])})
            merged[point.part, point.op, point.dtype, point.shape] = point
    record.points = list(merged.values())
    return record


def times(shape, sign):
    return sign.join(map(str, shape))


def shapes_of(op, names):
    """The shapes that a comma-separated list of names and of shapes means for an operation."""
    named = ELEMENT_SHAPES if op.startswith("bce") else ROW_SHAPES
    found = []
    for name in names.split(","):
        if name in ROW_SHAPES:
            found += named.get(name, [])
        elif len(shape := tuple(map(int, name.split("x")))) > 1 or op.startswith("bce"):
            found.append(shape)
    return found


def plan(args):
    """The points to be measured."""
    points = []
    for dtype in args.dtypes.split(","):
        if args.readme or not args.plot:
            points += [
                Point("table", op, dtype, shape) for op in args.ops.split(",") for shape in shapes_of(op, args.shapes)
            ]
        if args.plot:
            points += sweep(dtype, args.quick)
    return points


def sweep(dtype, quick):
    elements, classes, rows = (1 << 14, CLASSES[:9:2], ROWS[:4]) if quick else (SWEEP_ELEMENTS, CLASSES, ROWS)
    for op in SWEEP_OPS:
        yield from (Point("classes", op, dtype, (elements // c, c)) for c in classes)
        yield from (Point("rows", op, dtype, (n, SWEEP_CLASSES)) for n in rows)


# ---- measuring -------------------------------------------------------------------------------------------------------


class Peer:
    """A library in its own process."""

    def __init__(self, name, threads):
        self.name, self.errors = name, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "peer_worker.py"), name, str(threads)],
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


def measure(args):
    points = plan(args)
    peers, versions = start(args.only.split(",") if args.only else [*NO_PEERS, *args.peers.split(",")], args.threads)
    record = Record(args.threads, versions)
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


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def compared(points, peer=None):
    """(ratio, point) against a peer, or against the best one at each point."""
    pairs = ((point.ratio(peer or point.best()), point) for point in points)
    return [(ratio, point) for ratio, point in pairs if ratio]


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


# ---- the README ------------------------------------------------------------------------------------------------------


def write_readme(record, results):
    """The text between the markers, from the times and from benchmarks/accuracy.py's results."""
    path = ROOT / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    parts = [BEGIN, speed_table(record), speed_notes(record), accuracy_table(results), END]
    path.write_text(before + "\n\n".join(parts) + after, encoding="utf-8")
    print("wrote the tables of", path.name)


def table_points(record, dtype="float32"):
    return [point for point in record.points if (point.part, point.dtype) == ("table", dtype) and point.best()]


def shown_in_readme(point):
    return point.shape in README_SHAPES[point.op] or point.ratio(point.best()) < 1


def speed_table(record):
    points = [point for point in table_points(record) if shown_in_readme(point)]
    threads = "one thread" if record.threads == 1 else f"{record.threads} threads"
    header = [f"µs a call, float32, {threads}", "shape", "crossent", "fastest peer", "", "", "PyTorch", ""]
    lines = [header, ["---", "---", "--:", "--:", "---", "--:", "--:", "--:"], *map(speed_row, points)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_row(point):
    """The fastest time in bold, be it ours or not."""
    best = point.best()
    ours, theirs = microseconds(point.seconds["crossent"]), microseconds(point.seconds[best])
    ours, theirs = (ours, f"**{theirs}**") if point.ratio(best) < 1 else (f"**{ours}**", theirs)
    cells = [OPS[point.op], times(point.shape, " x "), ours, theirs, NAMES[best], multiple(point.ratio(best))]
    torch = point.seconds.get("torch")
    return [*cells, microseconds(torch), multiple(point.ratio("torch"))] if torch else [*cells, "", ""]


def microseconds(seconds):
    """Three digits."""
    us = 1e6 * seconds
    return f"{us:,.0f}" if us >= 100 else f"{us:#.3g}"


def multiple(ratio):
    if ratio < 1:
        return f"slower: {ratio:.2f} x"
    return f"{ratio:.1f} x" if ratio < 9.95 else f"{ratio:.0f} x"


def speed_notes(record):
    """How to read the table, what the rest of the points say, and how to measure again."""
    every = compared(table_points(record))
    ratios = [ratio for ratio, _ in every]
    least, where = min(every, key=lambda pair: pair[0])
    ahead = sum(ratio > 1 for ratio in ratios)
    peers = {name: version.split("+")[0] for name, version in record.versions.items() if name not in NO_PEERS}
    versions = ", ".join(f"{NAMES[name]} {version}" for name, version in peers.items() if name != "inductor")
    sentences = [
        "The last number of each pair is how many times as long as `crossent` takes.",
        f"Of all {len(every)} points measured, `crossent` is ahead at {ahead},",
        f"{geometric_mean(ratios):.1f} times as fast as the fastest peer at each in the geometric mean,",
        f"and {least:.2f} times at worst ({OPS[where.op]}, {times(where.shape, ' x ')}).",
        "Each library runs in its own process, the shortest of several turns counts, and `crossent`, ONNX Runtime and",
        "scikit-learn write arrays into memory that exists.",
        f"Kernels: {record.versions['crossent'].split(', ')[-1]}. Peers: {versions}.",
        "Measure again with `python benchmarks/peers.py`.",
    ]
    picture = "![Time per element](docs/speed.png)" if (ROOT / "docs/speed.png").is_file() else ""
    return wrapped(" ".join(sentences)) + ("\n\n" + picture if picture else "")


def wrapped(text, width=120):
    code = re.sub("`[^`]+`", lambda match: match[0].replace(" ", "\0"), text)  # code stays on one line
    return textwrap.fill(code, width, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def accuracy_table(results):
    """The worst errors in float32 (see docs/accuracy.md)."""
    import accuracy

    sentences = [
        "The largest error in ulp over inputs chosen to hurt, against 200-bit arithmetic; the least possible is 0.5.",
        "**Bold**: within what `crossent` promises. *Italics*: off by 1000 ulp or more, and what that means.",
        "[Accuracy](docs/accuracy.md) has float64, every case, and a plot.",
    ]
    return (
        accuracy.summary_table(results, "float32", "largest error, ulp, float32")
        + "\n\n"
        + wrapped(" ".join(sentences))
    )


def accuracy_results(path):
    """From the file that benchmarks/accuracy.py --json wrote, or measured now with few numbers."""
    import accuracy

    if path:
        return accuracy.load(path)
    return accuracy.measure(accuracy.competitors(accuracy.PEERS), ["float32"], quick=True, show=progress)


# ---- the plot --------------------------------------------------------------------------------------------------------


def draw(record, path):
    """Time per element against the number of classes and of rows, for the loss and for its gradient."""
    from matplotlib import pyplot as plt

    points = [point for point in record.points if point.part in ("classes", "rows")]
    if not points:
        sys.exit("There is nothing to draw: measure with --plot")
    dtype = points[0].dtype
    columns = {"classes": f"classes, {most_elements(points):,} logits", "rows": f"rows of {SWEEP_CLASSES} classes"}
    figure, axes = plt.subplots(len(SWEEP_OPS), 2, figsize=(10, 7.5), sharex="col", sharey="row")
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.04)
    for line, op in zip(axes, SWEEP_OPS, strict=True):
        for panel, part in zip(line, columns, strict=True):
            draw_panel(panel, [p for p in points if (p.op, p.part, p.dtype) == (op, part, dtype)], part)
            limit = "one copy" if op.endswith("grad") else "one read"
            panel.set_title(f"{OPS[op].replace('`', '')}; memory limit: {limit}", fontsize=10)
        line[0].set_ylabel(f"ns per element, {dtype}")
    for panel, label in zip(axes[-1], columns.values(), strict=True):
        panel.set_xlabel(label)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=8,
        columnspacing=1.2,
        handletextpad=0.5,
        frameon=False,
    )
    figure.savefig(path, dpi=100, metadata={"Software": None})
    print("drew", path)


def most_elements(points):
    return max(math.prod(point.shape) for point in points if point.part == "classes")


def draw_panel(panel, points, part):
    axis = 1 if part == "classes" else 0
    for name in NAMES:
        mine = sorted((p for p in points if name in p.seconds), key=lambda p: p.shape[axis])
        if mine and name != "crossent_new":
            xs = [p.shape[axis] for p in mine]
            ys = [1e9 * p.seconds[name] / math.prod(p.shape) for p in mine]
            panel.loglog(xs, ys, label=NAMES[name], **style(name))
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def style(name):
    """A colour and a marker for each library."""
    import accuracy

    if name == "memory":
        return {"color": "0.45", "linestyle": "--", "linewidth": 1.5}
    colours = accuracy.COLOURS | {"inductor": "#0072B2", "ort": "#B8A800"}
    markers = {"numpy": "s", "scipy": "v", "sklearn": "D", "torch": "^", "inductor": "P", "jax": "X", "ort": "<"}
    wide = 2.6 if name == "crossent" else 1.3
    return {"color": colours[name], "marker": markers.get(name, "o"), "markersize": 5, "linewidth": wide}


# ---- the command -----------------------------------------------------------------------------------------------------


def parse_arguments():
    parser = argparse.ArgumentParser(description="crossent beside its peers.")
    peers = ",".join(name for name in NAMES if name not in NO_PEERS)
    parser.add_argument("--peers", default=peers, help=f"beside crossent and the memory limit (default: {peers})")
    parser.add_argument("--only", metavar="NAMES", help="these and nothing beside them: --only crossent")
    parser.add_argument("--ops", default=",".join(OPS), help=f"default: {','.join(OPS)}")
    parser.add_argument("--shapes", default="table", help="as 8192x10,4x19x160x160; or by name: table, odd, axis")
    parser.add_argument("--dtypes", default="float32", help="float32, float64 or both, with a comma")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.15, help="of a library's turn")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run? Its times mean little.")
    parser.add_argument("--json", metavar="FILE", help="write the times there")
    parser.add_argument("--load", metavar="FILE", nargs="+", help="take the times from there and measure nothing")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md")
    parser.add_argument("--accuracy", metavar="FILE", type=Path, help="for --readme: from accuracy.py --json")
    parser.add_argument("--plot", nargs="?", const=ROOT / "docs/speed.png", type=Path, help="default: docs/speed.png")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 1, 0.002
    return args


def main():
    args = parse_arguments()
    record = load(args.load) if args.load else measure(args)
    print_summary(record.points)
    if args.plot:
        draw(record, args.plot)
    if args.readme:
        write_readme(record, accuracy_results(args.accuracy))


if __name__ == "__main__":
    main()
