# SPDX-License-Identifier: Apache-2.0
"""Links lead somewhere, verbs of make exist, and what the program can say is explained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from p4ct.offload import reasons

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in (ROOT / "README.md", *DOCS.rglob("*.md")) if p.exists())

LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:`|^[ $]*)make ([a-z][a-z0-9-]*)", re.MULTILINE)


def anchor(heading: str) -> str:
    """The anchor that a Markdown renderer gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    return {anchor(line.lstrip("#")) for line in text.splitlines() if line.startswith("#")}


def broken_links(page: Path) -> Iterator[str]:
    """Relative links of a page that lead nowhere."""
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        missing = not found.exists()
        if missing or (fragment and found.suffix == ".md" and fragment not in anchors(found)):
            yield f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](gone.md) [b](#one) [c](#two) [d](page.md)\n", encoding="utf-8")
    assert list(broken_links(page)) == ["page.md: gone.md", "page.md: #two"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_verbs_of_make_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    assert {"run", "test"} <= verbs
    assert set(MAKE.findall(page.read_text(encoding="utf-8"))) - verbs == set()


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    listed = {(DOCS / link).resolve() for link in LINK.findall(index) if "://" not in link}
    assert set(DOCS.rglob("*.md")) - {DOCS / "README.md"} - listed == set()


def test_every_reason_is_explained() -> None:
    """Whoever reads `p4ct offload why` finds each of its texts on the page."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    texts = [getattr(reasons, name) for name in reasons.__all__]
    assert len(texts) > 10
    assert [text for text in texts if text not in page] == []


def literals(source: Path, call: str) -> set[str]:
    """Beginnings, up to the first value, of the texts that a module or folder passes to a call."""
    files = [source] if source.is_file() else sorted(source.glob("*.py"))
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return set(re.findall(call + r'f?"([^"{]{6,})', text))


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("pipeline/blockers.py", r"(?:blockers\.append\(\s*|blockers \+= \[)"),
        ("offload/manager.py", r"self\.remove\([a-z]+, "),
        ("offload/decide.py", r"return "),
        ("daemon", r"manager\.remove\([a-z]+, "),
    ],
)
def test_every_other_reason_is_explained(module: str, call: str) -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    found = literals(ROOT / "controller" / "p4ct" / module, call)
    assert found
    assert sorted(text for text in found if text.strip(" :") not in page) == []
