"""Which processes of fcemu are running, and which were left behind by a front that is gone?

A front writes a file about itself that exists as long as it runs. The processes of a function inherit `FCEMU_RUN`: it
identifies the front. A process whose front is no longer alive was left behind; that can happen if the front, the keeper
and a guard are killed at the same time.
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
    """A running front: `fcemu serve`, or a program that uses the emulator, whose address is not known."""

    run: str
    url: str = ""
    config: str = ""

    @property
    def pid(self) -> int:
        """The pid of its process."""
        return int(self.run.partition(":")[0])


@dataclass(frozen=True)
class Started:
    """A process that descends from an instance.

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
    """Write a file about this front to the state folder; returns the file, which the caller removes at the end.

    Args:
        folder: the state folder.
        url: of the front.
        config: where the account comes from.

    Raises:
        OSError: the file cannot be written.
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
    """Whether the front with this identity is still running."""
    return identity(int(run.partition(":")[0])) == run


def started() -> list[Started]:
    """Every process that descends from an instance and whose environment can be read."""
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
    """Every running front."""
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
    """The processes whose front is no longer alive, without this process and its ancestors."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in started() if process.pid not in spared and not is_alive(process.run)]


def listing(folder: Path) -> list[str]:
    """One line for each front, each of its processes, and each process that was left behind."""
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
    """Stop the processes that were left behind: SIGTERM, then SIGKILL after `grace` seconds.

    Also removes the files of dead fronts, and thaws and removes their control groups.

    Returns:
        The processes that have ended, and those that could not be killed.
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
        # Searched again each time, because they may start others.
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
            time.sleep(0.01)  # a process takes time to die, or another one is in the group


def _send(process: Started, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # Since it was found its pid may have been reused.
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
        return ""  # it exited meanwhile
    return f"{pid:>8} {kind:<10} {age:>7} s {memory:>7.0f} MB  {what}".rstrip()


def _in_our_namespace(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return not os.path.exists("/proc/self/ns/pid")
