"""The architecture: pure modules are pure, folders depend one way, tests mirror modules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fcemu"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
KNOWN = set(MODULES)

IMPURE_IMPORTS = {
    "asyncio", "aiohttp", "socket", "subprocess", "threading", "time", "random", "os", "signal", "select", "psutil",
    "uvloop", "shutil", "tempfile", "secrets", "ctypes",
}  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """A folder or top-level module, and its rules.

    Attributes:
        imports: the folders and modules at the top that it may import, besides itself.
        pure: its modules that do no I/O; True for all of them.
    """

    imports: str
    pure: str | bool = False


def _table() -> dict[str, Folder]:
    """The table of docs/explanation/architecture.md: one row for each folder and for each module at the top."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    table = {}
    for row in re.findall(r"^\| (`.*) \|$", page, re.MULTILINE):
        name, _, pure, imports = row.split(" | ")
        modules: str | bool = " ".join(re.findall(r"`(\w+)`", pure)) or pure == "all"
        table[name.strip("`")] = Folder(" ".join(re.findall(r"`([\w/]+)`", imports)), modules)
    return table


FOLDERS = _table()


def folder(path: Path) -> str:
    """The folder of a module that has a row; of a module at the top, its own name."""
    inner = "/".join(path.parts[:2])
    return inner if inner in FOLDERS else path.parts[0].removesuffix(".py")


def is_pure(path: Path) -> bool:
    """Whether the table calls a module pure; a folder's `__init__` is, which only re-exports."""
    pure = FOLDERS[folder(path)].pure
    return pure if isinstance(pure, bool) else path.stem in {"__init__", *pure.split()}


PURE = [path for path in MODULES if is_pure(path)]


def imported(path: Path) -> set[str]:
    """All that a file imports, anywhere in it and under TYPE_CHECKING, too: modules, and `module.name`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[Path]:
    """The modules of fcemu that a file imports, or imports names from."""
    found = set()
    for name in imported(path):
        first, *rest = name.split(".")
        if first == "fcemu":
            candidates = (Path(*rest[:end]) for end in range(len(rest), -1, -1))
            files = (file for place in candidates for file in (Path(f"{place}.py"), place / "__init__.py"))
            found.add(next(file for file in files if file in KNOWN))
    return found - {path}


def test_every_folder_has_a_row() -> None:
    """The table names each folder and each module at the top, and nothing else."""
    assert {folder(path) for path in MODULES} == FOLDERS.keys()


def test_rows_name_only_rows_above_them() -> None:
    """The table reads from the foundation to the command line."""
    above: set[str] = set()
    for name, row in FOLDERS.items():
        assert set(row.imports.split()) - {"__init__"} <= above, name
        above.add(name)


def test_pure_modules_exist() -> None:
    """Each pure module that the table names is a file."""
    for name, row in FOLDERS.items():
        for module in row.pure.split() if isinstance(row.pure, str) else ():
            assert (PACKAGE / name / f"{module}.py").exists()


@pytest.mark.parametrize("path", PURE, ids=str)
def test_pure_module_does_no_io(path: Path) -> None:
    """A pure module imports nothing that does I/O or is random, and of fcemu only pure modules."""
    assert {name.partition(".")[0] for name in imported(path)} & IMPURE_IMPORTS == set()
    assert not re.search(r"\bopen\(|\basync def\b|\bprint\(", (PACKAGE / path).read_text())
    assert [str(other) for other in ours(path) if not is_pure(other)] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_folders_depend_one_way(path: Path) -> None:
    """A module imports from its own folder and from those in its folder's row."""
    allowed = {folder(path), *FOLDERS[folder(path)].imports.split()}
    assert {folder(other) for other in ours(path)} - {"__init__"} <= allowed - {"__init__"}
    if "__init__" not in allowed:
        assert Path("__init__.py") not in ours(path)


def test_no_modules_import_each_other() -> None:
    """There is no circle of imports between files, not even for types alone."""
    graph = {path: {other for other in ours(path) if other != Path("__init__.py")} for path in MODULES}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", [path for path in MODULES if path.name == "__init__.py"][1:], ids=str)
def test_package_lists_its_modules(package: Path) -> None:
    """A package's docstring has one line for each of its modules."""
    listed = re.findall(r"^(\w+) {1,}\S", ast.get_docstring(ast.parse((PACKAGE / package).read_text())) or "", re.M)
    modules = {path.stem for path in MODULES if path.parent == package.parent} - {"__init__"}
    assert modules <= set(listed)


def test_files_stay_small() -> None:
    """At most four files have over 450 lines, and at most eleven modules stand at the top."""
    large = [str(path) for path in MODULES if len((PACKAGE / path).read_text().splitlines()) > 450]
    assert len(large) <= 4, large
    assert len([path for path in MODULES if len(path.parts) == 1]) <= 11


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


@pytest.mark.parametrize(
    "path",
    [path for path in PURE if path.name != "__init__.py"],
    ids=str,
)
def test_pure_module_has_a_unit_test(path: Path) -> None:
    """Each pure module has its mirror in tests/unit, in the same folder."""
    assert (ROOT / "tests" / "unit" / path.parent / f"test_{path.name}").exists()


# For each module that does I/O and has no test file of its name: the file that tests it, and what that file says of it.
TESTED_IN = {
    "__main__": ("integration/test_cli.py", '"-m", "fcemu"'),
    "cli/check": ("integration/test_cli.py", 'fcemu("check"'),
    "cli/credentials": ("integration/test_cli.py", 'fcemu("sign"'),
    "cli/execute": ("integration/test_exec.py", '"exec"'),
    "cli/group": ("docs/test_docs.py", "fcemu.cli.group"),
    "cli/options": ("integration/test_exec.py", '"--log-format"'),
    "cli/processes": ("integration/test_leftovers.py", '"prune"'),
    "cli/publish": ("integration/test_smoke.py", "GITHUB_STEP_SUMMARY"),
    "cli/serve": ("integration/test_cli.py", 'fcemu("serve"'),
    "clients/client": ("integration/test_kit.py", "close_code"),
    "clients/raw": ("integration/test_smoke.py", "run_checks"),
    "configuration/env_file": ("integration/test_cli.py", "envFile"),
    "emulator": ("integration/test_reload.py", "emulator.update"),
    "faults/injected": ("integration/test_faults.py", "FaultFired"),
    "gateway/exchange": ("integration/test_http.py", "InvocationEnded"),
    "gateway/faulty_request": ("integration/test_faults.py", '"refuse"'),
    "gateway/faulty_tunnel": ("integration/test_faults.py", "bandwidth"),
    "gateway/forward": ("integration/test_websocket.py", "forward"),
    "gateway/gateway": ("integration/test_http.py", "gateway"),
    "gateway/request_body": ("unit/gateway/test_connection.py", "request_body"),
    "gateway/upstream": ("integration/test_websocket.py", "Upstream"),
    "instances/debugger": ("integration/test_debugging.py", "debug"),
    "instances/faulty_start": ("integration/test_faults.py", '"coldStartDelay"'),
    "instances/health": ("integration/test_health_checks.py", "healthCheckConfig"),
    "instances/hooks": ("integration/test_lifecycle.py", "HookCalled"),
    "instances/launcher": ("integration/test_lifecycle.py", "InstanceChanged"),
    "instances/machine": ("integration/test_port_binding.py", "try_port_binding"),
    "instances/pool": ("integration/test_instances.py", "instanceConcurrency"),
    "matrix/runner": ("integration/test_matrix.py", '"matrix"'),
    "processes/command": ("integration/test_exec.py", "command"),
    "processes/keeper": ("integration/test_freezing.py", "keeper"),
    "processes/keeper_client": ("integration/test_freezing.py", "KeeperClient"),
    "processes/memory": ("integration/test_memory_limit.py", "MemoryWatch"),
    "processes/process": ("integration/test_freezing.py", "FunctionProcess"),
    "serving/run": ("integration/test_lifetime.py", "Billing"),
    "serving/signals": ("integration/test_lifetime.py", "SIGHUP"),
    "smoke/prober": ("integration/test_smoke.py", "prober"),
    "smoke/run": ("integration/test_smoke.py", "run_checks"),
    "testing/accounts": ("integration/test_kit.py", "ConfigError"),
    "testing/clock": ("integration/test_kit.py", "clock.advance"),
    "testing/pytest_fixtures": ("integration/test_pytest_plugin.py", "fcemu_config"),
}


def test_table_of_tests_names_modules() -> None:
    """Each row of the table is about a module that does I/O and has no test file of its name."""
    for path in (Path(f"{name}.py") for name in TESTED_IN):
        assert path in KNOWN - set(PURE)
        assert own_tests(path) == []


def own_tests(path: Path) -> list[Path]:
    """The test files of a module's name: in its folder of unit tests, and among the integration tests."""
    tests = (ROOT / "tests" / "unit" / path.parent, ROOT / "tests" / "integration")
    return [file for folder in tests if (file := folder / f"test_{path.name}").exists()]


@pytest.mark.parametrize("path", [p for p in MODULES if p not in PURE and p.name != "__init__.py"], ids=str)
def test_io_module_has_its_tests(path: Path) -> None:
    """Each module that does I/O has a test file of its name, or the table names the file that tests it."""
    name = str(path.with_suffix(""))
    if name in TESTED_IN:
        file, mentioned = TESTED_IN[name]
        assert mentioned in (ROOT / "tests" / file).read_text()
    else:
        assert own_tests(path), f"{name} has no test file of its name; write one, or add a row to TESTED_IN"


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
        ("cli.group", {"aiohttp", "asyncio", "pydantic", "yaml", "psutil", "ssl"}),  # `fcemu --help`
        ("serving.run", {"aiohttp", "jwt", "watchfiles"}),  # `fcemu serve`
    ],
)
def test_nobody_waits_for_what_others_need(module: str, heavy: set[str]) -> None:
    """A command imports no heavy module that only other commands or configurations need."""
    code = f"import sys, fcemu.{module}; print(sorted({heavy!r} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
