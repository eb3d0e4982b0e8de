"""docs/reference.md: fresh, with everything that a user can call, its parameters described; and examples that work."""

import ast
import doctest
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import crossent
import crossent.keras

DOCS = Path(__file__).parent.parent / "docs"
SCRIPT = runpy.run_path(str(DOCS / "make_reference.py"))
PAGE = (DOCS / "reference.md").read_text(encoding="utf-8")
ENTRIES = [entry for _, _, found in SCRIPT["sections"]() for entry in found]


def arguments(node):
    spec = node.args
    return [argument.arg for argument in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]]


def described(docstring):
    """The names of the section Parameters; one line may have several."""
    text = dict(SCRIPT["parts"](docstring)).get("Parameters", "")
    heads = re.findall(r"^(\S.*)$", text, re.MULTILINE)
    return [name for head in heads for name in head.partition(" : ")[0].split(", ")]


def test_fresh():
    """After a change of a docstring: python docs/make_reference.py"""
    check = subprocess.run([sys.executable, DOCS / "make_reference.py", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_complete():
    wanted = {f"crossent.{name}" for name in crossent.__all__ if name != "__version__"}
    wanted |= {f"crossent.keras.{name}" for name in crossent.keras.__all__}
    headings = re.findall(r"^### (\S+)$", PAGE, re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert {name for name in headings if not name.startswith("crossent.torch.")} == wanted


def test_every_module_is_known():
    """A new public module has to be named in docs/make_reference.py, unless crossent itself exports all of it."""
    package = DOCS.parent / "src" / "crossent"
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    public = {name for name in modules if not name.startswith("_")}
    assert public == {"functional", "keras", "losses", "torch", "transforms"}


def test_complete_torch():
    torch = pytest.importorskip("crossent.torch", exc_type=ImportError)
    headings = re.findall(r"^### crossent\.torch\.(\S+)$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(torch.__all__)


def test_missing_name_is_an_error():
    rest = [entry for entry in ENTRIES if entry.name != "crossent.softmax"]
    with pytest.raises(ValueError, match=r"does not find crossent\.softmax$"):
        SCRIPT["check_complete"]([("All", "", rest)])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_described(entry):
    """A summary of one line; and for a function with several parameters each of them, in order."""
    summary, *rest = entry.docstring.splitlines()
    assert summary.endswith((".", "::"))
    assert not rest or not rest[0]
    if isinstance(entry.node, ast.FunctionDef) and len(arguments(entry.node)) > 1:
        names = described(entry.docstring)
        assert sorted(names) == sorted(arguments(entry.node))


@pytest.mark.parametrize("module", ["_config", "functional", "keras", "losses", "transforms", "torch.functional"])
def test_examples(module):
    if module.startswith("torch"):
        pytest.importorskip("torch")
    results = doctest.testmod(importlib.import_module(f"crossent.{module}"))
    assert results.attempted > 0
    assert results.failed == 0  # what differed was printed
