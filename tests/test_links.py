"""Links in the Markdown files lead to files and headings that exist.

No test follows those that lead out of the project: `python tests/test_links.py` lists them.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|<(https?://[^>\s]+)>|^\[[^\]]+\]: (\S+)", re.MULTILINE)
CODE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def links(page):
    return [next(filter(None, found)) for found in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))]


def is_external(link):
    return re.match(r"[a-z]+:", link) is not None


def anchors(page):
    """As GitHub makes them: of headings without punctuation, in lower case, the second of a name with -1 behind it."""
    found = {}
    text = re.sub(r"^( *)(```|~~~).*?^\1\2 *$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*?)#*$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{i}" if i else slug for slug, last in found.items() for i in range(last + 1)}


def test_there_are_links():
    assert ROOT / "README.md" in PAGES
    assert any(not is_external(link) for link in links(ROOT / "README.md"))


def test_anchors(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# `ce.softmax`: a map\n```sh\n# no heading\n```\n## Twice\n## Twice\n")
    assert anchors(page) == {"cesoftmax-a-map", "twice", "twice-1"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_targets_exist(page):
    broken = []
    for link in links(page):
        if is_external(link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


if __name__ == "__main__":
    print("\n".join(sorted({link for page in PAGES for link in links(page) if is_external(link)})))
