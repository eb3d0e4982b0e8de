"""Write docs/reference.md, all that a user can call, from the docstrings.

    python docs/make_reference.py            write the page
    python docs/make_reference.py --check    fail if the page is not what it would write

The source is parsed and nothing is imported: neither a build nor PyTorch is needed.
"""

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PAGE = Path(__file__).with_name("reference.md")
SOURCE = Path(__file__).parent.parent / "src"

INTRODUCTION = """\
# Reference

<!-- Written by docs/make_reference.py from the docstrings: change those, not this page. -->

All that can be called. `array_like` is an array, a list, a number, or whatever has `__array__` or `__dlpack__`;
arguments after `*` are keyword-only. What holds for all of it (accuracy, limits, threads, differences from PyTorch) is
in the [README](../README.md).
"""

# Of `crossent` itself: title, module, and what is said of it besides the docstrings.
GROUPS = (
    ("Maps", "functional", "An array in, an array of the same shape and dtype out."),
    (
        "Losses",
        "functional",
        """\
A float for `reduction="mean"` and `"sum"`, an array for `"none"`. Gradients of all of them come from `value_and_grad`,
diagonal Hessians of some from `value_grad_and_hess`.""",
    ),
    ("Gradients and Hessians", "transforms", ""),
    (
        "Objects",
        "losses",
        """\
The losses with their parameters bound, as in `torch.nn`. The parameters are keyword arguments of the constructor and
attributes of the object. Objects are equal if their classes and parameters are. Each has these methods:""",
    ),
    (
        "Threads",
        "_threading",
        """\
How many threads a call may use at most is said by its `num_threads`, else by `set_num_threads`, else by the environment
(`CROSSENT_NUM_THREADS`, then `OMP_NUM_THREADS`), else by the processors that the process may use.""",
    ),
    ("Configuration", "_config", "`crossent.__version__` is the version, a string."),
)

MAX_LINE = 120

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Entry:
    name: str  # as a user writes it
    node: Definition

    @property
    def anchor(self) -> str:
        return re.sub(r"[^\w\- ]", "", self.name.lower())

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.node) or ""


# ---- what there is ---------------------------------------------------------------------------------------------------


@cache
def parse(module: str) -> ast.Module:
    """The syntax tree of crossent/MODULE.py or of the package crossent/MODULE; "" is crossent."""
    path = SOURCE / "crossent" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def definitions(module: str) -> dict[str, Definition]:
    return {node.name: node for node in parse(module).body if isinstance(node, Definition)}


def public_names(module: str) -> set[str]:
    """The strings in __all__."""
    for node in parse(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise ValueError(f"crossent.{module} has no __all__")


def entries(prefix: str, module: str, names: set[str]) -> list[Entry]:
    """Those of the names that a module defines, in its order."""
    return [Entry(f"{prefix}.{name}", node) for name, node in definitions(module).items() if name in names]


def is_loss(entry: Entry) -> bool:
    return any(ast.unparse(decorator).startswith("_derivatives") for decorator in entry.node.decorator_list)


def sections() -> Iterator[tuple[str, str, list[Entry]]]:
    """(title, introduction, entries) of each section of the page; together they hold every public name."""
    names = public_names("") - {"__version__"}
    for title, module, text in GROUPS:
        found = entries("crossent", module, names)
        if module == "functional":
            found = [entry for entry in found if is_loss(entry) == (title == "Losses")]
        if title == "Objects":
            text += "\n\n" + "\n".join(methods(definitions("losses")["Loss"]))
        yield title, text, found
    for name, modules in (("keras", ("keras",)), ("torch", ("torch.functional", "torch.modules"))):
        public = public_names(name)
        found = [entry for module in modules for entry in entries(f"crossent.{name}", module, public)]
        yield f"crossent.{name}", to_markdown(ast.get_docstring(parse(name)) or ""), found


def check_complete(groups: list[tuple[str, str, list[Entry]]]) -> None:
    """No public name may be missing: one from a module that is not named above, say."""
    wanted = {f"crossent.{name}" for name in public_names("") - {"__version__"}}
    wanted |= {f"crossent.{module}.{name}" for module in ("keras", "torch") for name in public_names(module)}
    missing = wanted - {entry.name for _, _, found in groups for entry in found}
    if missing:
        raise ValueError(f"docs/make_reference.py does not find {', '.join(sorted(missing))}")


def methods(node: ast.ClassDef) -> Iterator[str]:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method):
            name = "" if method.name == "__call__" else f".{method.name}"
            yield f"- `{signature(f'criterion{name}', method)}`: {to_markdown(ast.get_docstring(method) or '')}"


# ---- how it is written -----------------------------------------------------------------------------------------------


def signature(name: str, node: Definition) -> str:
    """The call as a user writes it, without the types, which the parameters' descriptions have."""
    if isinstance(node, ast.ClassDef):
        constructors = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        if not constructors:  # a class of PyTorch's, whose signature is documented there
            return f"{name}(...)"
        node = constructors[0]
    arguments = ast.parse(ast.unparse(node.args).join(("def f(", "): pass"))).body[0].args  # a copy to change
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        argument.annotation = None
    if arguments.args and arguments.args[0].arg == "self":
        del arguments.args[0]
    arguments = ast.unparse(arguments).replace("'", '"')
    line = f"{name}({arguments})"
    return line if len(line) <= MAX_LINE else f"{name}(\n    {arguments}\n)"


def to_markdown(text: str) -> str:
    """Literal blocks become fenced ones, double backticks single ones, doctests Python blocks."""
    text = re.sub(r"::\n\n((?:    .*\n?|\n)+)", lambda m: ":\n\n" + fenced("text", m[1]), text)
    text = re.sub(r"(?:^>>> .*\n(?:.+\n?)*\n?)+", lambda m: fenced("python", m[0]), text, flags=re.MULTILINE)
    return re.sub(r"``(.+?)``", r"`\1`", text).rstrip()


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{textwrap.dedent(text).rstrip()}\n```\n\n"


def parts(docstring: str) -> Iterator[tuple[str, str]]:
    """(title, text) of a docstring's sections in numpydoc's format; what comes before the first has no title."""
    pieces = re.split(r"^(\w[\w ]*)\n-{3,}\n", docstring, flags=re.MULTILINE)
    yield "", pieces[0]
    yield from zip(pieces[1::2], pieces[2::2], strict=True)


def items(text: str, named: bool = True) -> Iterator[str]:
    """A section's definitions as a list: names, type, description; a description may hold definitions of its own."""
    for head, body in re.findall(r"^(\S.*)\n((?:(?: .*)?\n)*)", text.rstrip() + "\n", re.MULTILINE):
        names, _, kind = head.partition(" : ")
        if named:
            names = ", ".join(f"`{name}`" for name in names.split(", "))
        description = to_markdown(textwrap.dedent(body).strip())
        nested = re.search(r"^\w+ : .*\n ", description, re.MULTILINE)
        if nested:
            inner = "\n".join(items(description[nested.start() :]))
            description = description[: nested.start()] + inner
        line = f"- {names}" + f" : {kind}" * bool(kind) + ("  \n" + description) * bool(description)
        yield line.replace("\n", "\n  ").replace("\n  \n", "\n\n")


def body(docstring: str) -> str:
    pieces = []
    for title, text in parts(docstring):
        if title in ("Parameters", "Returns", "Raises", "See Also"):
            pieces.append(f"**{title}**\n\n" + "\n".join(items(text, named=title != "Returns")))
        else:
            heading = f"**{title}**\n\n" if title else ""
            pieces.append(heading + to_markdown(text))
    return "\n\n".join(pieces)


def linked(text: str, module: str, anchors: dict[str, str], here: str = "") -> str:
    """Names of this page in backticks become links, looked up first in the module that mentions them."""

    def link(match: re.Match[str]) -> str:
        for name in (f"{module}.{match[1]}", match[1], f"crossent.{match[1]}"):
            if name in anchors and name != here:
                return f"[`{match[1]}`](#{anchors[name]})"
        return match[0]

    return re.sub(r"(?<!\[)`([\w.]+)`", link, text)


def page() -> str:
    groups = list(sections())
    check_complete(groups)
    anchors = {entry.name: entry.anchor for _, _, found in groups for entry in found}
    lines = [INTRODUCTION]
    for title, _, found in groups:
        links = ", ".join(f"[`{entry.name.rpartition('.')[2]}`](#{entry.anchor})" for entry in found)
        lines.append(f"- {title}: {links}")
    for title, text, found in groups:
        module = title if title.startswith("crossent.") else "crossent"
        lines += ["", f"## {title}"]
        if text:
            lines += ["", linked(text, module, anchors)]
        for entry in found:
            call = fenced("python", signature(entry.name, entry.node)).rstrip()
            text = linked(body(entry.docstring), module, anchors, entry.name)
            lines += ["", f"### {entry.name}", "", call, "", text]
    return "\n".join(lines) + "\n"


def main() -> int:
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.name} is stale: python docs/make_reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
