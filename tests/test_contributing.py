"""CONTRIBUTING.md, the justfile, the lock and the workflow agree with pyproject.toml and with the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements-dev.txt").read_text()
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def stated(requirements: list[Any]) -> set[tuple[str, str]]:
    """Name and versions of each requirement in a list of pyproject.toml; included groups are resolved."""
    found: set[tuple[str, str]] = set()
    for item in requirements:
        if isinstance(item, dict):
            found |= stated(PROJECT["dependency-groups"][item["include-group"]])
        else:
            requirement = Requirement(item)
            found.add((requirement.name.lower(), str(requirement.specifier)))
    return found


def test_lock_fits_the_requirements() -> None:
    """Each requirement of fcemu and of its developers is locked to a version that it allows."""
    locked = {found[1].lower(): found[2] for found in re.finditer(r"^([\w.-]+)==([^ ;]+)", LOCK, re.MULTILINE)}
    required = stated(PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"])
    assert [
        (name, versions) for name, versions in required if locked.get(name, "0") not in SpecifierSet(versions)
    ] == []


def test_lock_has_hashes_and_no_addresses() -> None:
    """Every locked version has its hashes, and no package is tied to the address that it was loaded from."""
    versions = re.findall(r"^[\w.-]+==[^\n]*\n(    --hash=sha256:)?", LOCK, re.MULTILINE)
    assert versions
    assert "" not in versions
    assert "://" not in LOCK


def test_gate_runs_on_every_supported_python() -> None:
    """The workflow runs the gate on each version of the classifiers; the first is the lowest that can install fcemu."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "gate.yml").read_text())
    prefix = "Programming Language :: Python :: "
    named = [line.removeprefix(prefix) for line in PROJECT["project"]["classifiers"] if line.startswith(prefix)]
    assert workflow["jobs"]["gate"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"


def test_every_job_has_a_timeout() -> None:
    """Each job of the workflow stops after 45 minutes at the latest."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "gate.yml").read_text())
    assert all(0 < job["timeout-minutes"] <= 45 for job in workflow["jobs"].values())


@pytest.mark.parametrize("recipe", ["test", "unit", "style", "types", "gate", "bench"])
def test_recipe_is_described(recipe: str) -> None:
    """CONTRIBUTING.md shows each recipe, and a comment in the justfile describes it."""
    assert re.search(rf"`just [^`]*\b{recipe}\b", PAGE)
    assert re.search(rf"^# .+\n{recipe}\b.*:$", (ROOT / "justfile").read_text(), re.MULTILINE)


def test_every_folder_has_a_row() -> None:
    """CONTRIBUTING.md says what each folder is for."""
    folders = {path.parent.name for path in (ROOT / "fcemu").glob("*/__init__.py")}
    assert {name for name in folders if not re.search(rf"^\|.*`{name}/`.*\|", PAGE, re.MULTILINE)} == set()
