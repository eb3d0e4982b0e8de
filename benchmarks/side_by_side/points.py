"""The problems, how long each library took for them, and comparisons."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

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

# The shapes named sweep, for the plot: so many elements in all for each number of classes; so many classes for each
# number of rows.
SWEEP_OPS = ["ce", "ce_grad", "log_softmax"]
SWEEP_ELEMENTS, SWEEP_CLASSES = 1 << 23, 1000
CLASSES = [2, 3, 5, 10, 17, 32, 64, 100, 256, 1000, 4096, 30522, 131072]
ROWS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536]


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
    machine: str = ""
    versions: dict = field(default_factory=dict)
    points: list = field(default_factory=list)

    def save(self, path):
        Path(path).write_text(json.dumps(asdict(self), indent=0), encoding="utf-8")


def load(paths):
    """The points of several files; where they have the same one, that of the last file."""
    merged, record = {}, Record(1)
    for path in paths:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        machine = data.get("machine") or record.machine
        record = Record(data["threads"], machine, record.versions | data["versions"])
        for row in data["points"]:
            point = Point(**row | {"shape": tuple(row["shape"])})
            merged[point.part, point.op, point.dtype, point.shape] = point
    record.points = list(merged.values())
    return record


def times(shape, sign):
    return sign.join(map(str, shape))


def shapes_of(op, names, quick=False):
    """(part, shape) of all that a comma-separated list of names and of shapes means for an operation."""
    named = ELEMENT_SHAPES if op.startswith("bce") else ROW_SHAPES
    for name in names.split(","):
        if name == "sweep":
            yield from sweep(quick) if op in SWEEP_OPS else ()
        elif name in ROW_SHAPES:
            yield from (("table", shape) for shape in named.get(name, []))
        elif len(shape := tuple(map(int, name.split("x")))) > 1 or op.startswith("bce"):
            yield "table", shape


def sweep(quick):
    elements, classes, rows = (1 << 14, CLASSES[:9:2], ROWS[:4]) if quick else (SWEEP_ELEMENTS, CLASSES, ROWS)
    yield from (("classes", (elements // c, c)) for c in classes)
    yield from (("rows", (n, SWEEP_CLASSES)) for n in rows)


def plan(ops, shapes, dtypes, quick):
    """The points to be measured; the sweep for the first dtype alone."""
    return [
        Point(part, op, dtype, shape)
        for dtype in dtypes
        for op in ops
        for part, shape in shapes_of(op, shapes, quick)
        if part == "table" or dtype == dtypes[0]
    ]


# ---- comparisons -----------------------------------------------------------------------------------------------------


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def compared(points, peer=None):
    """(ratio, point) against a peer, or against the best one at each point."""
    pairs = ((point.ratio(peer or point.best()), point) for point in points)
    return [(ratio, point) for ratio, point in pairs if ratio]
