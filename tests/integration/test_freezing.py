"""All processes of a frozen function stand still, and however it ends, none of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fcemu.instances.machine import try_control_groups
from fcemu.processes import cgroups, keeper, leftovers
from fcemu.processes.cgroups import NO_GROUPS, Groups, Parents
from fcemu.processes.identity import identity
from fcemu.processes.keeper_client import KeeperClient
from fcemu.processes.process import FunctionProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="who stands still is read from Linux's /proc")

ROOT = Path(__file__).parent.parent.parent
KINDS = ["signals", "cgroup v1", "cgroup v2"]

TICKING = """
import os, signal, sys, time

def tick(name):
    while True:
        os.write(1, f"{name}\\n".encode())
        time.sleep(0.005)

if os.fork() == 0:
    tick("child")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        tick("daemon")
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    while True:  # another process every time
        os.write(1, b"hopper\\n")
        time.sleep(0.002)
        if os.fork():
            os._exit(0)

def leave(*_):
    os.write(1, b"bye\\n")
    os._exit(3)

signal.signal(signal.SIGTERM, leave)
tick("main")
"""
TICKERS = {"main", "child", "daemon", "hopper"}


class Ticking:
    """A function of four processes that keep writing their names; one of them keeps forking and exiting."""

    def __init__(self, keeper: KeeperClient, groups: Groups, env: dict[str, str]) -> None:
        self.groups = groups
        self.heard: list[str] = []
        program = [sys.executable, "-I", "-S", "-c", TICKING]
        self.process: FunctionProcess = keeper.spawn(
            program, env, Path("/"), lambda _, line: self.heard.append(line), groups=groups
        )

    async def ticks(self) -> None:
        """Wait until each of its processes has written again."""
        self.heard.clear()
        await until(lambda: set(self.heard) >= TICKERS)

    def family(self) -> list[int]:
        """All its running processes."""
        assert self.process.guard is not None
        return [pid for pid in keeper.descendants(self.process.guard) if identity(pid)]

    def stands_still(self) -> bool:
        """Whether the kernel reports that none of its processes can run."""
        pids = self.family()
        if self.groups.freezer is None:
            return all(state(pid) == "T" for pid in pids)
        inside = (self.groups.freezer / "cgroup.procs").read_text().split()
        return cgroups.is_frozen(self.groups.freezer) and {str(pid) for pid in pids} <= set(inside)

    async def freeze(self) -> list[int]:
        """Freeze it and wait until it stands still; returns its processes."""
        self.process.freeze()
        assert self.process.frozen
        family: list[int] = []
        while True:
            await until(self.stands_still)
            # While we looked a process may have handed over to its child, whom we missed: see the same ones twice.
            if (seen := self.family()) == family:
                return family
            family = seen


def state(pid: int) -> str:
    """A process's state letter, "" if there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


async def until(happened: Callable[[], bool]) -> None:
    """Wait until a condition is true, with a generous limit."""
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.002)


def make_groups(kind: str, run: str) -> Groups:
    """Control groups of that kind for an instance; none for signals, or where they cannot be created."""
    for parent in cgroups.candidates("freezer"):
        if kind == f"cgroup v{parent.version}":
            return Parents(run, freezer=parent).make(uuid.uuid4().hex)
    return NO_GROUPS


@pytest.fixture(params=KINDS)
async def ticking(request: pytest.FixtureRequest) -> AsyncIterator[Ticking]:
    """A ticking function, frozen in each of the ways."""
    groups = make_groups(request.param, identity(os.getpid()) or "")
    if request.param != "signals" and groups == NO_GROUPS:
        pytest.skip(f"no freezer of {request.param} is writable here")
    keeper = KeeperClient()
    ticking = Ticking(keeper, groups, {})
    await ticking.process.started()
    await ticking.ticks()
    yield ticking
    ticking.process.kill()
    await ticking.process.exited
    await asyncio.to_thread(keeper.close)


def nothing_left(pids: list[int], groups: Groups) -> bool:
    """Whether processes and control groups are gone."""
    return not any(map(identity, pids)) and not any(map(os.path.exists, groups.folders))


# ---- the small program that the tests kill: python -m tests.integration.test_freezing KIND


async def frozen_front(kind: str) -> None:
    """Freeze a function, print the processes, and wait to be killed."""
    run = identity(os.getpid()) or ""
    keeper = KeeperClient()
    groups = make_groups(kind, run)
    ticking = Ticking(keeper, groups, {"FCEMU_RUN": run, "FC_INSTANCE_ID": "c-1"})
    await ticking.process.started()
    await ticking.ticks()
    family = await ticking.freeze()
    (keeper_pid,) = (child.pid for child in psutil.Process().children())
    print(
        json.dumps(
            {"keeper": keeper_pid, "guard": ticking.process.guard, "family": family, "groups": groups}, default=str
        )
    )
    sys.stdout.flush()
    await asyncio.sleep(300)


if __name__ == "__main__":
    asyncio.run(frozen_front(sys.argv[1]))


@contextlib.contextmanager
def a_front(kind: str) -> Any:
    """The small program, its frozen function's processes, and its control groups."""
    command = [sys.executable, "-m", "tests.integration.test_freezing", kind]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as front:
        try:
            assert front.stdout is not None
            facts = json.loads(front.stdout.readline())
            groups = Groups(*(path and Path(path) for path in facts["groups"]))
            if kind != "signals" and groups == NO_GROUPS:
                pytest.skip(f"no freezer of {kind} is writable here")
            yield front, facts, groups
        finally:
            front.kill()


# ---- the tests


async def test_frozen_tree_stands_still_and_goes_on(ticking: Ticking) -> None:
    """Main process, child, daemon and a process that keeps forking all stop when frozen, and continue when thawed."""
    for _ in range(3):
        family = await ticking.freeze()
        assert len(family) >= len(TICKERS)
        ticking.process.freeze()
        assert ticking.stands_still()
        assert ticking.family() == family
        ticking.process.thaw()
        assert not ticking.process.frozen
        ticking.process.thaw()
        await ticking.ticks()


async def test_last_word_counts(ticking: Ticking) -> None:
    """After freezing and thawing in quick succession, the last one decides."""
    for _ in range(20):
        ticking.process.freeze()
        ticking.process.thaw()
    await ticking.ticks()
    ticking.process.freeze()
    ticking.process.thaw()
    await ticking.freeze()


async def test_frozen_function_says_good_bye_when_stopped(ticking: Ticking) -> None:
    """The SIGTERM handler of a frozen function runs, and nothing of it is left."""
    family = await ticking.freeze()
    ticking.process.stop(20)
    ticking.process.freeze()  # too late: it is about to end
    assert (await ticking.process.exited).code == 3
    assert "bye" in ticking.heard
    assert nothing_left(family, ticking.groups)


async def test_frozen_function_can_be_killed(ticking: Ticking) -> None:
    """A killed frozen function is gone with all its processes."""
    family = await ticking.freeze()
    ticking.process.kill()
    assert (await ticking.process.exited).code == 137
    assert nothing_left(family, ticking.groups)


async def test_frozen_function_does_not_outlive_its_guard(ticking: Ticking) -> None:
    """When the guard of a frozen function is killed, the function and its control groups go too."""
    family = await ticking.freeze()
    assert ticking.process.guard is not None
    psutil.Process(ticking.process.guard).kill()
    assert (await ticking.process.exited).code == 137
    await until(lambda: nothing_left(family, ticking.groups))


async def test_front_ends_frozen_function_when_guard_and_keeper_are_gone(ticking: Ticking) -> None:
    """A function in a control group does not outlive keeper and guard: the front ends what is in the group."""
    if ticking.groups == NO_GROUPS:
        return  # without a group the front does not know its daemons; `fcemu prune` finds them
    family = await ticking.freeze()
    assert ticking.process.guard is not None
    guard = psutil.Process(ticking.process.guard)
    for process in (guard.parent(), guard):
        assert process is not None
        process.kill()
    await ticking.process.exited
    await until(lambda: nothing_left(family, ticking.groups))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["", "keeper", "guard"])
def test_frozen_function_does_not_outlive_the_front(kind: str, first: str) -> None:
    """SIGKILL to the front, alone or after keeper or guard, leaves nothing of a frozen function."""
    with a_front(kind) as (front, facts, groups):
        if first == "guard":
            psutil.Process(front.pid).suspend()  # so that it does not tidy up itself
        if first:
            psutil.Process(facts[first]).kill()
        front.kill()
        front.wait()
        asyncio.run(until(lambda: nothing_left([*facts["family"], facts["keeper"], facts["guard"]], groups)))


@pytest.mark.xdist_group("prune")
@pytest.mark.parametrize("kind", KINDS)
def test_prune_ends_what_was_left_frozen(kind: str, tmp_path: Path, only_pruner: None) -> None:
    """If front, keeper and guard were killed at once, `prune` thaws and stops the rest, and removes the groups."""
    with a_front(kind) as (front, facts, groups):
        processes = [psutil.Process(pid) for pid in (front.pid, facts["keeper"], facts["guard"])]
        for process in processes:
            process.suspend()  # so that none of them sees another's end
        asyncio.run(until(lambda: all(state(process.pid) == "T" for process in processes)))
        for process in processes:
            process.kill()
        front.wait()
        left = [pid for pid in facts["family"] if identity(pid)]
        assert left
        assert all(map(os.path.exists, groups.folders))
        leftovers.prune(tmp_path)
        assert nothing_left(facts["family"], groups)


@pytest.mark.xdist_group("prune")
def test_group_of_a_living_front_is_not_abandoned(only_pruner: None) -> None:
    """Only groups of fronts that have ended count as left behind, and none of another pid namespace."""
    parents = [
        Parents(run, freezer=parent)
        for run in (identity(os.getpid()) or "", f"{os.getpid()}:1")
        for parent in cgroups.candidates("freezer")
    ]
    groups = [each.make(uuid.uuid4().hex).freezer for each in parents]
    if None in groups:
        pytest.skip("no freezer is writable here")
    mine, dead = groups[: len(groups) // 2], groups[len(groups) // 2 :]
    elsewhere = [Path(str(group).replace("/fcemu-", "/fcemu-1")) for group in dead]
    try:
        for folder in elsewhere:
            folder.mkdir()
        found = cgroups.abandoned(leftovers.is_alive)
        assert set(dead) <= set(found)
        assert not set(found) & {*mine, *elsewhere}
    finally:
        for group in (*groups, *elsewhere):
            assert group is not None
            group.rmdir()


async def test_what_the_function_has_stopped_itself_stays_stopped() -> None:
    """Thawing by signals continues only processes that were running before."""
    keeper, lines = KeeperClient(), list[str]()
    program = "import os, signal; os.fork() or signal.pause(); print(os.getpid(), flush=True); signal.pause()"
    process = keeper.spawn(
        [sys.executable, "-I", "-S", "-c", program], {}, Path("/"), lambda _, line: lines.append(line)
    )
    await until(lambda: bool(lines))
    assert process.pid is not None
    other = psutil.Process(process.pid).children()[0]
    other.suspend()
    await until(lambda: state(other.pid) == "T")
    process.freeze()
    await until(lambda: state(process.pid or 0) == "T")
    process.thaw()
    await until(lambda: state(process.pid or 0) == "S")
    assert state(other.pid) == "T"
    process.kill()
    await process.exited
    await asyncio.to_thread(keeper.close)


async def test_self_test_leaves_no_trace_and_tells_the_truth() -> None:
    """The self-test reports only what is possible, and removes its own groups."""

    def there() -> list[str]:
        alive = run.replace(":", "-")
        parents = (*cgroups.candidates("freezer"), *cgroups.candidates("memory"))
        return sorted(name for parent in parents for name in os.listdir(parent.folder) if alive in name)

    keeper = KeeperClient()
    run = identity(os.getpid()) or ""
    before = there()  # emulators of other tests may live as long as the session
    parents = await try_control_groups(keeper, run)
    await asyncio.to_thread(keeper.close)
    groups = parents.make("c-1", 64)
    assert (groups.freezer is None, groups.memory is None) == (parents.freezer is None, parents.memory is None)
    for folder in groups.folders:
        os.rmdir(folder)
    assert there() == before


async def test_self_test_answers_where_nothing_is_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without usable groups the self-test reports none and raises nothing, and instances still start."""
    nowhere = [cgroups.Parent(tmp_path / "missing", 2), cgroups.Parent(tmp_path, 1)]
    monkeypatch.setattr(cgroups, "candidates", lambda _: nowhere)
    keeper = KeeperClient()
    parents = await try_control_groups(keeper, "1:1")
    assert (parents.freezer, parents.memory) == (None, None)
    assert parents.make("c-1", 64) == NO_GROUPS
    assert list(tmp_path.iterdir()) == []
    await asyncio.to_thread(keeper.close)
