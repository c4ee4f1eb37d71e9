"""Which control groups can an instance have here? They freeze it as a whole, and let the kernel hold its memory limit.

A group of an instance is a folder that the front makes below its own group, so that the limits around the front count
for its functions too. With v1 there is one for the freezer and one for memory, with v2 one for both, where memory can
be limited at all: below a group that has processes of its own, as a terminal's or a container's, v2 has the freezer
only. Often nothing is writable; then an instance is frozen and watched process by process.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from fcemu.processes.keeper import write

_NAME = re.compile(r"fcemu-(\d+)-(\d+)-(\d+)-.+")
"""pid namespace, pid and start of the front, instance: what a dead front has left is recognised by it."""


class Groups(NamedTuple):
    """The control groups of one instance; None where there is none. With v2 both can be the same."""

    freezer: Path | None = None
    memory: Path | None = None

    @property
    def folders(self) -> list[str]:
        """Each once, as the keeper wants them."""
        return [str(folder) for folder in dict.fromkeys(self) if folder is not None]


NO_GROUPS = Groups()


class Parent(NamedTuple):
    """The front's own group in a hierarchy; version is 1 or 2."""

    folder: Path
    version: int


@dataclass(frozen=True)
class Parents:
    """Where groups of instances can be made.

    Attributes:
        run: identity of the front.
        freezer, memory: below which group; None where it cannot be done.
    """

    run: str
    freezer: Parent | None = None
    memory: Parent | None = None

    def make(self, instance: str, memory_limit_mb: int | None = None) -> Groups:
        """Make the groups of an instance; what cannot be made is None. They end with the process that they go to.

        Args:
            memory_limit_mb: the kernel ends the instance beyond it; None for no limit, and no group of memory.
        """
        name = f"fcemu-{_pid_namespace()}-{self.run.replace(':', '-')}-{instance}"
        freezer = _made(self.freezer.folder / name) if self.freezer is not None else None
        if self.memory is None or memory_limit_mb is None:
            return Groups(freezer)
        memory = self.memory.folder / name
        if memory != freezer and _made(memory) is None:
            return Groups(freezer)
        try:
            set_memory_limit(memory, memory_limit_mb)
        except OSError:
            if memory != freezer:
                memory.rmdir()
            return Groups(freezer)
        return Groups(freezer, memory)


def set_memory_limit(folder: Path, megabytes: int) -> None:
    """Have the kernel end what is in a group when it takes more, swap included.

    Raises:
        OSError: it cannot be limited here.
    """
    text = str(megabytes * 2**20)
    if (folder / "memory.max").exists():
        write(f"{folder}/memory.max", text)
        for file, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            with contextlib.suppress(OSError):  # without swap accounting; before Linux 4.19
                write(f"{folder}/{file}", value)
    else:
        write(f"{folder}/memory.limit_in_bytes", text)
        with contextlib.suppress(OSError):
            write(f"{folder}/memory.memsw.limit_in_bytes", text)


def is_frozen(folder: Path) -> bool:
    """Whether every process in a group stands still."""
    with contextlib.suppress(OSError):
        return "frozen 1" in (folder / "cgroup.events").read_text()
    with contextlib.suppress(OSError):
        return (folder / "freezer.state").read_text() == "FROZEN\n"
    return False


def candidates(ability: Literal["freezer", "memory"]) -> list[Parent]:
    """Our own groups in the hierarchies that could do it, the better one first; whether they can, the self-test knows.

    v2's freezer is the better one: what it has frozen can be killed.
    """
    try:
        own = own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except OSError:
        return []
    return [Parent(own[key], version) for key, version in (("", 2), (ability, 1)) if key in own]


def own_groups(mountinfo: str, cgroup: str) -> dict[str, Path]:
    """The folders of a process's own groups by controller, "" for v2, from these two files of its folder in /proc."""
    paths = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    found: dict[str, Path] = {}
    for root, mounted, able in _hierarchies(mountinfo):
        for controller in able & paths.keys():
            # A container may see a part of the hierarchy only, and a process be outside of that part.
            path, prefix = paths[controller], root.rstrip("/")
            if f"{path}/".startswith(f"{prefix}/") and ".." not in path:
                found.setdefault(controller, Path(mounted, path[len(prefix) :].lstrip("/")))
    return found


def abandoned(is_alive: Callable[[str], bool]) -> list[Path]:
    """The groups of this machine that fronts made which are no longer alive."""
    found = []
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return []
    for _, mounted, able in _hierarchies(mountinfo):
        for folder, names, _ in os.walk(mounted) if able & {"", "freezer", "memory"} else ():
            for name in names:
                known = _NAME.fullmatch(name)
                # In another container's pid namespace the front's pid would mean another process.
                if known and int(known[1]) == _pid_namespace() and not is_alive(f"{known[2]}:{known[3]}"):
                    found.append(Path(folder, name))
    return found


def _hierarchies(mountinfo: str) -> list[tuple[str, str, set[str]]]:
    """Root and mount point of each mounted hierarchy, and its controllers; "" for v2."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, mounted = fields.split()[3:5]
            found.append((root, mounted, {""} if kind == "cgroup2" else set(options.split(","))))
    return found


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def _made(folder: Path) -> Path | None:
    try:
        folder.mkdir()
    except OSError:
        return None
    return folder
