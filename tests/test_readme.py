"""The README's code does what it says, and its main job runs."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language):
    """(line number, text) of the README's fenced blocks in a language."""
    return [(README.count("\n", 0, m.start(2)), m[2]) for m in BLOCK.finditer(README) if m[1] == language]


def test_python_blocks():
    """One after the other, in one namespace, as a reader would type them."""
    assert blocks("python")
    namespace = {"__name__": "__main__"}
    runner = doctest.DocTestRunner()
    parser = doctest.DocTestParser()
    for line, text in blocks("python"):
        if ">>>" in text:
            test = parser.get_doctest(text, namespace, f"README.md, line {line}", "README.md", line)
            report = []
            runner.run(test, out=report.append, clear_globs=False)
            assert runner.failures == 0, "".join(report)
            namespace = test.globs
        else:
            exec(compile(text, f"README.md, line {line}", "exec"), namespace)


def test_there_are_two_commands_and_one_is_marked():
    commands = [text.strip() for _, text in blocks("sh")]
    assert len(commands) == 2
    assert "<!-- test command -->\n```sh\n" + commands[1] in README
    for path in re.findall(r"\S+\.py", commands[0]):
        assert (ROOT / path).is_file()


def test_linked_files_exist():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("options", [[], ["--dtype", "float64", "--batch-size", "0"]], ids=" ".join)
def test_main_job(options):
    pytest.importorskip("sklearn")
    command = [sys.executable, "examples/digits.py", "--epochs", "3", *options]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    differences = re.findall(r"losses differ by (\S+);", run.stdout)
    assert len(differences) == 2
    assert all(float(difference) < 1e-6 for difference in differences)
