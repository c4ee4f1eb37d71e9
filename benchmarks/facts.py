"""What were the figures measured with? Facts about the machine, the fronts and the options."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.fronts import program
from benchmarks.machine import Machine, Missing

_VERSIONS = {"nginx": "-v", "haproxy": "-v", "node": "--version", "wrk": "--version", "cc": "--version"}


def facts(machine: Machine, seconds: float, rounds: int) -> dict[str, str]:
    """Name and value of each."""
    found = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "runs": f"{rounds} rounds of {seconds:g} s",
        "machine": f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "cores": "one for everything"
        if machine.front_core is None
        else f"fronts on {machine.front_core}, client and backend together on {machine.client_core}",
        "python": f"{platform.python_version()}, " + ", ".join(map(_package, ("fcemu", "aiohttp", "uvloop", "PyJWT"))),
    }
    return found | {name: _version(name, option) for name, option in _VERSIONS.items()}


def _processor() -> str:
    match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def _version(name: str, option: str) -> str:
    """The first number with a dot that a program says of itself."""
    try:
        said = subprocess.run([program(name), option], capture_output=True, text=True, timeout=10)
    except Missing:
        return "not installed"
    match = re.search(r"\d+\.[\w.+-]*\w", said.stdout + said.stderr)
    return match[0] if match else "unknown"
