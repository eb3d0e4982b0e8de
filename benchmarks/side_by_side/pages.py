"""The tables of README.md and docs/performance.md, from the times."""

import math
import re
import textwrap
from pathlib import Path

from .points import NAMES, NO_PEERS, OPS, compared, geometric_mean, times

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs/speed.png"
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
# What docs/performance.md shows: short rows, first-level and second-level caches, memory.
PAGE_ROW_SHAPES = [(8192, 10), (1024, 1000), (65536, 1000)]
PAGE_ELEMENT_SHAPES = [(10000,), (1000000,), (67108864,)]
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def write_between(path, parts):
    """The parts between the markers, paragraphs apart."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    path.write_text(before + "\n\n".join([BEGIN, *filter(None, parts), END]) + after, encoding="utf-8")
    print("wrote the tables of", path.relative_to(ROOT))


def table(header, alignment, rows):
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, alignment, *rows])


def one_thread(record):
    return "one thread" if record.threads == 1 else f"{record.threads} threads"


# ---- the README ------------------------------------------------------------------------------------------------------


def write_readme(record, results):
    """From the times, and from benchmarks/accuracy.py's results."""
    write_between(ROOT / "README.md", [speed_table(record), speed_notes(record), accuracy_table(results)])


def table_points(record, dtype="float32"):
    return [point for point in record.points if (point.part, point.dtype) == ("table", dtype) and point.best()]


def shown_in_readme(point):
    return point.shape in README_SHAPES[point.op] or point.ratio(point.best()) < 1


def speed_table(record):
    points = [point for point in table_points(record) if shown_in_readme(point)]
    header = [f"µs a call, float32, {one_thread(record)}", "shape", "crossent", "fastest peer", "", "", "PyTorch", ""]
    return table(header, ["---", "---", "--:", "--:", "---", "--:", "--:", "--:"], map(speed_row, points))


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
        "[Performance](docs/performance.md) has what limits each kernel, and a plot.",
        "Measure again with `python benchmarks/peers.py`.",
    ]
    return wrapped(" ".join(sentences))


def wrapped(text, width=120):
    code = re.sub("`[^`]+`", lambda match: match[0].replace(" ", "\0"), text)  # code stays on one line
    return textwrap.fill(code, width, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


# ---- docs/performance.md ---------------------------------------------------------------------------------------------


def write_performance(record):
    picture = "![Time per element against the number of classes and of rows](speed.png)" if PICTURE.is_file() else ""
    write_between(ROOT / "docs/performance.md", [reached_table(record), reached_notes(record), picture])


def shown_on_page(point):
    shapes = PAGE_ELEMENT_SHAPES if point.op.startswith("bce") else PAGE_ROW_SHAPES
    return point.part == "table" and point.shape in shapes and "crossent" in point.seconds


def reached_table(record):
    """One row for each operation and shape; for each dtype the time, and how many passes over the memory that is."""
    points = {(point.op, point.shape, point.dtype): point for point in record.points if shown_on_page(point)}
    dtypes = [dtype for dtype in ("float32", "float64") if any(key[2] == dtype for key in points)]
    header = ["ns an element", "shape", *(text for dtype in dtypes for text in (dtype, "memory", "ratio"))]
    keys = sorted({key[:2] for key in points}, key=lambda key: (list(OPS).index(key[0]), math.prod(key[1])))
    rows = [reached_row(op, shape, [points.get((op, shape, dtype)) for dtype in dtypes]) for op, shape in keys]
    return table(header, ["---", "---", *["--:"] * (3 * len(dtypes))], rows)


def reached_row(op, shape, points):
    """nll_loss reads one element of a row: its time is that of a row."""
    per = shape[0] if op == "nll" else math.prod(shape)
    cells = [OPS[op] + (", a row" if op == "nll" else ""), times(shape, " x ")]
    for point in points:
        seconds = point.seconds if point else {}
        ours, memory = seconds.get("crossent"), seconds.get("memory")
        cells += [nanoseconds(ours, per), nanoseconds(memory, per), f"{ours / memory:.2f}" if ours and memory else ""]
    return cells


def nanoseconds(seconds, per):
    return f"{1e9 * seconds / per:.3f}" if seconds else ""


def reached_notes(record):
    kernels = record.versions["crossent"].split(", ")[-1]
    sentences = [
        f"{record.machine}: {one_thread(record)}, {kernels} kernels." if record.machine else f"Kernels: {kernels}.",
        "`memory` is a pass over the same arrays that computes next to nothing, measured in turn with `crossent`:",
        "`np.max` of what is only read, `np.copyto` of logits into the output, which exists. It is no lower bound: `np.max`",
        "does not ask for memory ahead, and `np.copyto` may read the lines of the output before it writes them.",
    ]
    return wrapped(" ".join(sentences))


# ---- accuracy, for the README ----------------------------------------------------------------------------------------


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


def accuracy_results(path, show):
    """From the file that benchmarks/accuracy.py --json wrote, or measured now with few numbers."""
    import accuracy

    if path:
        return accuracy.load(path)
    return accuracy.measure(accuracy.competitors(accuracy.PEERS), ["float32"], quick=True, show=show)
