"""What runs that fcemu started, and what was left behind?

A front notes itself in a file for as long as it runs. Whatever a function's process starts inherits `FCEMU_RUN`, which
names the front; where that one is no longer alive, the process was left behind, as can be when the front, the keeper
and a guard are all killed at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from fcemu.processes import cgroups, keeper
from fcemu.processes.identity import identity


@dataclass(frozen=True)
class Front:
    """A front that runs: `fcemu serve`, or a program that uses the emulator (of which no address is known)."""

    run: str
    url: str = ""
    config: str = ""

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self.run.partition(":")[0])


@dataclass(frozen=True)
class Started:
    """A process that has its environment from fcemu.

    Attributes:
        identity: pid and start.
        run: identity of the front that started it.
    """

    pid: int
    identity: str
    run: str
    function: str
    instance: str


def note(folder: Path, url: str, config: str) -> Path:
    """Note in the state folder that this process is a front; returns the file, to be removed at the end.

    Raises:
        OSError: it cannot be written.
    """
    file = folder / "runs" / f"{os.getpid()}.json"
    for made in (folder, file.parent):
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
    process = psutil.Process()
    facts = {
        "pid": process.pid,
        "started": process.create_time(),
        "run": identity(process.pid),
        "url": url,
        "config": config,
    }
    draft = file.with_suffix(".draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(json.dumps(facts) + "\n")
    draft.replace(file)
    return file


def is_alive(run: str) -> bool:
    """Whether the very front that this names is still running."""
    return identity(int(run.partition(":")[0])) == run


def started() -> list[Started]:
    """Every process that has its environment from fcemu, as far as we may look."""
    found = []
    for process in psutil.process_iter():
        known = identity(process.pid)
        try:
            environment = process.environ()
        except (OSError, psutil.Error):
            continue
        run, instance = environment.get("FCEMU_RUN", ""), environment.get("FC_INSTANCE_ID")
        # In another container's pid namespace the front's pid would mean another process.
        if known and instance and re.fullmatch(r"\d+:[\d.]+", run) and _in_our_namespace(process.pid):
            found.append(Started(process.pid, known, run, environment.get("FC_FUNCTION_NAME", ""), instance))
    return found


def fronts(folder: Path) -> list[Front]:
    """Every front that runs."""
    found: dict[str, Front] = {}
    for file in sorted((folder / "runs").glob("*.json")):
        front = _noted(file)
        if front is not None and is_alive(front.run):
            found[front.run] = front
    for process in started():
        if process.run not in found and is_alive(process.run):
            found[process.run] = Front(process.run)
    return list(found.values())


def left_behind() -> list[Started]:
    """The processes whose front is no longer alive; never this one or one that it descends from."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in started() if process.pid not in spared and not is_alive(process.run)]


def listing(folder: Path) -> list[str]:
    """What runs, a line each: fronts, their processes, and what was left behind."""
    lines = []
    everything = started()
    for front in fronts(folder):
        where = "  ".join(filter(None, (front.url, front.config))) or "a program that uses fcemu"
        lines.append(_line(front.pid, "front", where))
        mine = {process.pid: process for process in everything if process.run == front.run}
        for pid, kind in _helpers(front.pid, set(mine)).items():
            lines.append(_line(pid, f"  {kind}", ""))
        lines += [_line(p.pid, "  function", f"{p.function} {p.instance}") for p in mine.values()]
    lost = [_line(p.pid, "left over", f"{p.function} {p.instance}") for p in left_behind()]
    return [line for line in lines + lost if line]


def prune(folder: Path, grace: float = 2.0) -> tuple[list[Started], list[Started]]:
    """End what was left behind: SIGTERM, and SIGKILL after `grace` seconds.

    Removes the notes of dead fronts, and the control groups that they made, which are thawed first.

    Returns:
        What was ended, and what could not be.
    """
    for file in (folder / "runs").glob("*.json"):
        front = _noted(file)
        if front is None or not is_alive(front.run):
            file.unlink(missing_ok=True)
    groups = cgroups.abandoned(is_alive)
    for group in groups:
        keeper.set_frozen(str(group), False)
    signalled: dict[str, Started] = {}
    begun = time.monotonic()
    while time.monotonic() < begun + grace + 5:
        # Looked for anew each time: they may start others.
        found = left_behind()
        if not found:
            break
        kill = time.monotonic() >= begun + grace
        for process in found:
            if kill or process.identity not in signalled:
                _send(process, signal.SIGKILL if kill else signal.SIGTERM)
            signalled[process.identity] = process
        time.sleep(0.05)
    for group in groups:
        _remove(group)
    ended = [process for process in signalled.values() if identity(process.pid) != process.identity]
    return ended, [process for process in signalled.values() if process not in ended]


def _remove(group: Path) -> None:
    for _ in range(100):
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)  # dying takes time; or somebody else is in it


def _send(process: Started, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # Between finding it and now its pid may have become somebody else's.
        if identity(process.pid) == process.identity:
            os.kill(process.pid, signum)
            os.kill(process.pid, signal.SIGCONT)  # it may have been frozen


def _noted(file: Path) -> Front | None:
    try:
        facts = json.loads(file.read_text())
        front = Front(str(facts["run"]), str(facts["url"]), str(facts["config"]))
        return front if front.pid else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _helpers(front: int, functions: set[int]) -> dict[int, str]:
    """The keeper and the guards of a front."""
    helpers: dict[int, str] = {}
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(front).children():
            if any(part.endswith("keeper.py") for part in child.cmdline()):
                helpers[child.pid] = "keeper"
                helpers |= {guard.pid: "guard" for guard in child.children() if guard.pid not in functions}
    return helpers


def _line(pid: int, kind: str, what: str) -> str:
    try:
        process = psutil.Process(pid)
        age = max(0, round(time.time() - process.create_time()))
        memory = process.memory_info().rss / 2**20
    except psutil.Error:
        return ""  # ended while we looked
    return f"{pid:>8} {kind:<10} {age:>7} s {memory:>7.0f} MB  {what}".rstrip()


def _in_our_namespace(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return not os.path.exists("/proc/self/ns/pid")
