"""How much of each pure module does its own test file cover? `python -m tests.mirror_coverage`

A module whose lines are only covered by other modules' tests is not tested by its own. So each mirror runs alone, and
counts for its module alone: lines and branches, in percent. Fails below the floor, which is 100 or what FLOORS says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.test_architecture import PACKAGE, PURE, ROOT

FLOORS = {
    "configuration/overrides.py": 97.7,
    "configuration/serverless_devs.py": 99.4,
    "configuration/validation.py": 97.3,
    "configuration/yaml_lines.py": 99.3,
    "gateway/response.py": 98.0,
    "matrix/trial.py": 99.3,
    "scheduling/scheduler.py": 99.0,
    "smoke/checks.py": 99.4,
    "trigger/affinity.py": 98.4,
    "trigger/signature.py": 98.9,
}
"""Percent that a module's own tests reach, where that is not everything. Raise a floor when you can, never lower it."""


def covered(module: Path) -> float:
    """Percent of a module's lines and branches that its mirror runs.

    Raises:
        RuntimeError: the mirror failed.
    """
    mirror = ROOT / "tests" / "unit" / module.parent / f"test_{module.name}"
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"--data-file={folder}/data", Path(folder, "report.json")
        coverage = [sys.executable, "-m", "coverage"]
        run = [*coverage, "run", "--branch", f"--include={PACKAGE / module}", data]
        # A folder of its own for each run: pytest's shared one is cleaned by whichever run ends first.
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", f"--basetemp={folder}/tmp"]
        pytest = ["-m", "pytest", *options, str(mirror)]
        ran = subprocess.run([*run, *pytest], cwd=ROOT, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{mirror.relative_to(ROOT)} failed:\n{ran.stdout[-3000:]}{ran.stderr[-1000:]}")
        subprocess.run([*coverage, "json", "-q", data, "-o", str(report)], cwd=ROOT, check=True, capture_output=True)
        percent: float = json.loads(report.read_text())["totals"]["percent_covered"]
        return percent


def main() -> int:
    """Print a line for each pure module; 1 if one is below its floor."""
    modules = [module for module in PURE if module.name != "__init__.py"]
    unknown = FLOORS.keys() - {str(module) for module in modules}
    below = [f"{name} has a floor and is no pure module" for name in sorted(unknown)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for module, percent in zip(modules, pool.map(covered, modules), strict=True):
            floor = FLOORS.get(str(module), 100.0)
            print(f"{percent:6.1f} %  {module}", flush=True)
            if round(percent, 1) < floor:
                below.append(f"{module}: {percent:.1f} % of it is covered by its own tests, not {floor} %")
    print("\n".join(below) or f"{len(modules)} pure modules, each covered by its own tests as far as its floor")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
