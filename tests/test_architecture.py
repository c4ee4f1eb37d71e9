"""The house stands: pure modules stay pure, layers point one way, tests mirror modules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fcemu"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

PURE = {
    Path(name)
    for name in (
        "model.py", "jwks.py", "errors.py", "journal.py", "report.py", "identifiers.py", "checks.py", "credentials.py",
        "mistakes.py", "faults.py", "variants.py", "smoke.py", "authentic.py", "outcomes.py", "places.py", "matrix.py",
        "serverless_devs.py", "yaml_lines.py",
        "instances/environment.py", "instances/debugging.py",
        "gateway/headers.py", "gateway/response.py", "gateway/frames.py",
    )
} | {path for path in MODULES if path.parts[0] in ("trigger", "scheduling")}  # fmt: skip

IMPURE_IMPORTS = {
    "asyncio", "aiohttp", "socket", "subprocess", "threading", "time", "random", "os", "signal", "select", "psutil",
    "uvloop", "shutil", "tempfile", "secrets", "ctypes",
}  # fmt: skip

# Folder → what it may import of ours besides the modules at the top that everybody may.
LAYERS = {
    "trigger": {"trigger"},
    "scheduling": {"scheduling", "trigger"},
    "instances": {"instances", "scheduling", "trigger"},
    "gateway": {"gateway", "instances", "trigger"},
}
FOUNDATION = {"errors", "model", "jwks", "journal", "clock", "identifiers", "faults"}


def imports(path: Path) -> set[str]:
    """The modules that a file imports at run time; those under TYPE_CHECKING are not."""
    found: set[str] = set()
    tree = ast.parse((PACKAGE / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_pure_modules_exist() -> None:
    """The list of pure modules names files that are there."""
    assert set(MODULES) >= PURE


@pytest.mark.parametrize("path", sorted(PURE), ids=str)
def test_pure_module_does_no_io(path: Path) -> None:
    """A pure module imports nothing that waits, talks, reads or rolls dice."""
    assert {name.partition(".")[0] for name in imports(path)} & IMPURE_IMPORTS == set()
    assert not re.search(r"\bopen\(|\basync def\b|\bprint\(", (PACKAGE / path).read_text())


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] in LAYERS], ids=str)
def test_layers_point_one_way(path: Path) -> None:
    """A folder imports itself, what stands before it, and the foundation."""
    allowed = LAYERS[path.parts[0]] | FOUNDATION
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("fcemu.") and name.count(".") >= 1}
    assert ours <= allowed


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_module_says_what_it_answers(path: Path) -> None:
    """Every module opens with a docstring."""
    assert ast.get_docstring(ast.parse((PACKAGE / path).read_text()))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_public_things_are_documented(path: Path) -> None:
    """Every public class and function at the top of a module, and every public method, has a docstring."""
    # What implements somebody else's interface is documented there.
    inherited = {
        "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing",
        "handle_error", "prepare", "write_eof",
    }  # fmt: skip
    missing = []
    for node in ast.parse((PACKAGE / path).read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else []
        for item in (node, *inner):
            if isinstance(item, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                private = item.name.startswith("_") or item.name in inherited
                trivial = isinstance(item, ast.FunctionDef) and len(item.body) == 1
                if not private and not trivial and not ast.get_docstring(item):
                    missing.append(item.name)
    assert missing == []


@pytest.mark.parametrize("path", sorted(PURE), ids=str)
def test_pure_module_has_a_unit_test(path: Path) -> None:
    """Each pure module has its mirror in tests/unit."""
    if path.name != "__init__.py":
        assert (ROOT / "tests" / "unit" / f"test_{path.name}").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_tests_are_sentences(path: Path) -> None:
    """Every test has a docstring of one sentence."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            sentence = ast.get_docstring(node)
            assert sentence, f"{node.name} has no sentence"
            assert sentence.endswith("."), f"{node.name}: {sentence}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("cli", {"aiohttp", "asyncio", "pydantic", "yaml", "psutil", "ssl"}),  # `fcemu --help`
        ("serving", {"aiohttp", "jwt", "watchfiles"}),  # `fcemu serve`
    ],
)
def test_nobody_waits_for_what_others_need(module: str, heavy: set[str]) -> None:
    """A command imports no heavy module that only other commands, or other configurations, need."""
    code = f"import sys, fcemu.{module}; print(sorted({heavy!r} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
