"""Every section of semantics.md that is cited exists, and sources.md explains every source that is cited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SEMANTICS = ROOT / "docs" / "explanation" / "semantics.md"
SOURCES = ROOT / "docs" / "explanation" / "sources.md"

_HEADING = re.compile(r"^#{2,3} ((\d+(?:\.\d+)?) .+)$", re.MULTILINE)
_NUMBER = r"\d+(?:\.\d+)?"
_GAP = r"\s+(?:#\s+)?"  # a comment may be wrapped here
_CITATION = re.compile(rf"\bsemantics{_GAP}({_NUMBER}(?:(?:,|{_GAP}and|, and){_GAP}{_NUMBER}(?![\w.]))*)")
_SECTION = re.compile(rf"\bsections? ({_NUMBER}(?:(?:,| and)\s+{_NUMBER})*)")
_CODE = re.compile(r"\b(?:PAGE\b|code table\b|(?:HELP|SDK|TOOL|RT|OBS)/[a-z0-9-]*[a-z0-9]|D/\d\d/\d+(?:-\d+)?)")
_LINK = re.compile(r"\]\((?:[\w./-]*/)?semantics\.md#([^)]+)\)")


def texts() -> Iterator[tuple[Path, str]]:
    """The files that cite: our Python and Markdown."""
    for folder in ("fcemu", "tests", "docs", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md") and "node_modules" not in path.parts:
                yield path, path.read_text()


def headings() -> dict[str, str]:
    """The sections of the page: number to title, with the number."""
    return {number: title for title, number in _HEADING.findall(SEMANTICS.read_text())}


def citations(text: str) -> list[str]:
    """The sections that a text cites, such as 1.1 and 12 for `semantics 1.1, 12`."""
    return [number for listed in _CITATION.findall(text) for number in re.findall(_NUMBER, listed)]


def codes(text: str) -> set[str]:
    """The sources that a text cites; `D/04/010-012` is three."""
    found = set()
    for code in _CODE.findall(text):
        if pages := re.fullmatch(r"(D/\d\d/)(\d+)-(\d+)", code):
            numbers = range(int(pages[2]), int(pages[3]) + 1)
            found |= {f"{pages[1]}{number:0{len(pages[2])}}" for number in numbers}
        else:
            found.add(code)
    return found


def anchor(title: str) -> str:
    """The fragment by which a heading is linked to, as GitHub and GitLab make it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(semantics 2.3).", ["2.3"]),
        ("semantics 1.1, 12)", ["1.1", "12"]),
        ("semantics 1.3, 1.4 and 5.3", ["1.3", "1.4", "5.3"]),
        ("semantics 2.3; 4 KB in total", ["2.3"]),
        ("as in semantics\n    # 7.1", ["7.1"]),
        ("semantics of HTTP", []),
    ],
)
def test_citations_are_read(text: str, expected: list[str]) -> None:
    """Citations are found alone, in lists and across lines."""
    assert citations(text) == expected


def test_sections_are_numbered_once() -> None:
    """No two sections have the same number."""
    numbers = [number for _, number in _HEADING.findall(SEMANTICS.read_text())]
    assert len(numbers) == len(set(numbers))


def test_cited_sections_exist() -> None:
    """Every section that the code, the tests or the docs cite is a heading of the page."""
    cited = [(str(path.relative_to(ROOT)), number) for path, text in texts() for number in citations(text)]
    there = headings()
    assert [citation for citation in cited if citation[1] not in there] == []
    assert any(path.startswith("fcemu/") for path, _ in cited)


def test_sections_that_the_page_names_exist() -> None:
    """Every section that the page itself refers to exists."""
    text = SEMANTICS.read_text()
    named = [number for listed in _SECTION.findall(text) for number in re.findall(_NUMBER, listed)]
    assert named
    assert set(named) <= set(headings())


def test_linked_sections_exist() -> None:
    """A link to a section of the page leads to an existing heading."""
    anchors = {anchor(title) for title in headings().values()}
    linked = [(str(path.relative_to(ROOT)), target) for path, text in texts() for target in _LINK.findall(text)]
    assert linked
    assert [link for link in linked if link[1] not in anchors] == []


def test_cited_sources_are_explained() -> None:
    """Every source that the page, the code or the docs cite has a row in the page on sources."""
    explained = set(re.findall(r"^\| `([^`]+)` \|", SOURCES.read_text(), re.MULTILINE))
    cited = {code for path, text in texts() if path != SOURCES for code in codes(text)}
    assert cited - explained == set()
    assert {"PAGE", "D/04/002"} <= cited


def test_explained_sources_are_cited() -> None:
    """The page on sources has no source that nothing cites."""
    explained = set(re.findall(r"^\| `([^`]+)` \|", SOURCES.read_text(), re.MULTILINE))
    assert explained - {code for path, text in texts() if path != SOURCES for code in codes(text)} == set()


def test_every_part_of_the_page_has_a_source() -> None:
    """Each section names a source, a mark, or the section that has it."""
    parts = re.split(r"^(?=#{2,3} \d)", SEMANTICS.read_text(), flags=re.MULTILINE)[1:]
    marked = re.compile(rf"{_CODE.pattern}|\bINF\b|\bUNK\b|\b[Ss]ections? \d")
    bare = [part.splitlines()[0] for part in parts if len(part.splitlines()) > 2 and not marked.search(part)]
    assert bare == []
