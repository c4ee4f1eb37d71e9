"""Control groups of instances. They freeze an instance as a whole and let the kernel enforce its memory limit.

The front makes an instance's group as a folder below its own group, so that the limits of the front also apply to its
functions. With v1 there is one group for the freezer and one for memory. With v2 there is one for both if memory can be
limited: below a group that has processes of its own, as a terminal or a container has, v2 offers the freezer only.
Often nothing is writable; then an instance is frozen and watched process by process.
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
"""pid namespace, pid and start of the front, instance. The name shows which front has left a group."""


class Groups(NamedTuple):
    """The control groups of one instance; None if it has none. With v2 both can be the same."""

    freezer: Path | None = None
    memory: Path | None = None

    @property
    def folders(self) -> list[str]:
        """Each folder once, as the keeper expects them."""
        return [str(folder) for folder in dict.fromkeys(self) if folder is not None]


NO_GROUPS = Groups()


class Parent(NamedTuple):
    """The front's own group in a hierarchy of control groups; `version` is 1 or 2."""

    folder: Path
    version: int


@dataclass(frozen=True)
class Parents:
    """Where groups of instances can be made.

    Attributes:
        run: identity of the front.
        freezer, memory: the group below which they are made; None if that is not possible.
    """

    run: str
    freezer: Parent | None = None
    memory: Parent | None = None

    def make(self, instance: str, memory_limit_mb: int | None = None) -> Groups:
        """Make the groups of an instance; a group that cannot be made is None. The guard removes them at the end.

        Args:
            instance: its id.
            memory_limit_mb: the kernel kills the instance if it uses more; None for no limit and no memory group.
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
    """Let the kernel kill the processes of a group when they use more memory than this, including swap.

    Raises:
        OSError: memory cannot be limited here.
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
    """Whether every process in a group is frozen."""
    with contextlib.suppress(OSError):
        return "frozen 1" in (folder / "cgroup.events").read_text()
    with contextlib.suppress(OSError):
        return (folder / "freezer.state").read_text() == "FROZEN\n"
    return False


def candidates(ability: Literal["freezer", "memory"]) -> list[Parent]:
    """The front's own groups in the hierarchies that may offer an ability, the better one first. A self-test decides.

    v2's freezer is the better one, because processes that it has frozen can be killed.
    """
    try:
        own = own_groups(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except OSError:
        return []
    return [Parent(own[key], version) for key, version in (("", 2), (ability, 1)) if key in own]


def own_groups(mountinfo: str, cgroup: str) -> dict[str, Path]:
    """The folders of a process's own groups, by controller; the key "" is v2.

    Args:
        mountinfo, cgroup: the texts of these files in the process's folder in /proc.
    """
    paths = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    found: dict[str, Path] = {}
    for root, mounted, able in _hierarchies(mountinfo):
        for controller in able & paths.keys():
            # A container may see only a part of the hierarchy, and a process may be outside of that part.
            path, prefix = paths[controller], root.rstrip("/")
            if f"{path}/".startswith(f"{prefix}/") and ".." not in path:
                found.setdefault(controller, Path(mounted, path[len(prefix) :].lstrip("/")))
    return found


def abandoned(is_alive: Callable[[str], bool]) -> list[Path]:
    """The groups on this machine whose front is no longer alive."""
    found = []
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return []
    for _, mounted, able in _hierarchies(mountinfo):
        for folder, names, _ in os.walk(mounted) if able & {"", "freezer", "memory"} else ():
            for name in names:
                known = _NAME.fullmatch(name)
                # In another pid namespace the front's pid means another process.
                if known and int(known[1]) == _pid_namespace() and not is_alive(f"{known[2]}:{known[3]}"):
                    found.append(Path(folder, name))
    return found


def _hierarchies(mountinfo: str) -> list[tuple[str, str, set[str]]]:
    """Root, mount point and controllers of each mounted hierarchy; the controller of v2 is ""."""
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
