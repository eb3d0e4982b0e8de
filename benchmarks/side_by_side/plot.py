"""Time per element against the number of classes and of rows."""

import math
import sys

from .points import NAMES, OPS, SWEEP_CLASSES, SWEEP_OPS


def draw(record, path):
    """Time per element against the number of classes and of rows, for each operation of the sweep."""
    from matplotlib import pyplot as plt

    points = [point for point in record.points if point.part in ("classes", "rows")]
    if not points:
        sys.exit("There is nothing to draw: measure with --shapes sweep")
    dtype = points[0].dtype
    columns = {"classes": f"classes, {most_elements(points):,} logits", "rows": f"rows of {SWEEP_CLASSES} classes"}
    figure, axes = plt.subplots(len(SWEEP_OPS), 2, figsize=(10, 10.5), sharex="col", sharey="row")
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.04)
    for line, op in zip(axes, SWEEP_OPS, strict=True):
        for panel, part in zip(line, columns, strict=True):
            draw_panel(panel, [p for p in points if (p.op, p.part, p.dtype) == (op, part, dtype)], part)
            limit = "one read" if op == "ce" else "one copy"
            panel.set_title(f"{OPS[op].replace('`', '')}; memory limit: {limit}", fontsize=10)
        line[0].set_ylabel(f"ns per element, {dtype}")
    for panel, label in zip(axes[-1], columns.values(), strict=True):
        panel.set_xlabel(label)
    labels = {}
    for panel in axes.flat:
        handles, names = panel.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    figure.legend(
        labels.values(),
        labels.keys(),
        loc="outside lower center",
        ncols=5,
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
