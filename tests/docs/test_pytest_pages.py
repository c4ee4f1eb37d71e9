"""The pages on the test kit show code that the sample project runs, and document all of the kit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fcemu.clients.client import Response
from fcemu.instances.pool import InstanceState
from fcemu.testing.clock import KitClock
from fcemu.testing.kit import Kit

ROOT = Path(__file__).parent.parent.parent
HOW_TO = (ROOT / "docs" / "how-to" / "pytest.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "pytest.md").read_text()
SAMPLE = ROOT / "examples" / "pytest"
BLOCKS = re.findall(r"^```python\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)


def public(kind: type) -> set[str]:
    """The public attributes of a class, including those that only its docstring lists."""
    listed = re.search(r"Attributes:\n(.*?)(\n\n|\Z)", kind.__doc__ or "", re.DOTALL)
    fields = re.findall(r"^\s+(\w+(?:, \w+)*): ", listed[1], re.MULTILINE) if listed else []
    names = {name for line in fields for name in line.split(", ")}
    return {name for name in {*vars(kind), *getattr(kind, "__annotations__", {}), *names} if not name.startswith("_")}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_block_is_run(block: str) -> None:
    """Every Python block of the page is part of a file of the sample project, which test_pytest_plugin.py runs."""
    assert any(block in path.read_text() for path in SAMPLE.rglob("*.py"))


@pytest.mark.parametrize("name", sorted(public(Kit)))
def test_attribute_is_documented(name: str) -> None:
    """Every public attribute of `fc` is in the reference."""
    assert re.search(rf"^\|.*`(await )?(fc|Kit)\.{name}\b.*\|", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(public(KitClock)))
def test_clock_is_documented(name: str) -> None:
    """Every public attribute of the clock of `fc` is in the reference."""
    assert f"`fc.clock.{name}(" in REFERENCE


@pytest.mark.parametrize("kind", [Response, InstanceState], ids=lambda kind: kind.__name__)
def test_fields_are_documented(kind: type) -> None:
    """Every field of what `fc` returns is in the reference."""
    assert {name for name in public(kind) if not re.search(rf"`{name}(\(\))?`", REFERENCE)} == set()


def test_every_file_of_the_sample_is_told() -> None:
    """The sample's README names each of its files."""
    page = (SAMPLE / "README.md").read_text()
    names = {str(path.relative_to(SAMPLE)) for path in SAMPLE.rglob("*.py")}
    assert {name for name in names if f"`{name}`" not in page} == set()
