"""A function over its memory limit is killed with all its processes; one below the limit is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import textwrap
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fcemu.clock import Due, SystemClock, Timer
from fcemu.instances.machine import try_control_groups
from fcemu.processes import cgroups, keeper, memory
from fcemu.processes.cgroups import NO_GROUPS, Parent, Parents
from fcemu.processes.identity import identity
from fcemu.processes.keeper_client import KeeperClient
from fcemu.processes.process import FunctionProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups and PSS are Linux's")

LIMIT = 64
"""MB."""

GREEDY = """
block = []
for _ in range(400):
    block.append(bytearray(b"x") * 2**20)
    time.sleep(step)
"""
IN_CHILD = f"""
if os.fork() == 0:
{textwrap.indent(GREEDY, "    ")}
    os._exit(0)
os.wait()
signal.pause()
"""
MODEST = """
block = bytearray(b"x") * (2**20 * 32)
print("modest", flush=True)
signal.pause()
"""
SHARING = """
block = bytearray(b"x") * (2**20 * 32)
for _ in range(4):
    if os.fork() == 0:
        signal.signal(signal.SIGUSR1, lambda *_: block.__setitem__(slice(None), b"y" * len(block)))
        print("up", flush=True)
        while True:
            signal.pause()
signal.pause()
"""


class CountingClock(SystemClock):
    """The machine's clock, which counts timers and remembers the last one."""

    asked = 0
    last: Due

    def call_at(self, when: float, callback: Due) -> Timer:
        self.asked += 1
        self.last = callback
        return super().call_at(when, callback)


class Limited:
    """Runs programs under a memory limit, enforced by the kernel or by sampling."""

    def __init__(self, parents: Parents) -> None:
        self.clock = CountingClock()
        self.lines: list[str] = []
        self.groups = NO_GROUPS
        self._parents = parents
        self._keeper = KeeperClient()
        self._watch = memory.MemoryWatch(self.clock)
        self._processes: list[FunctionProcess] = []

    async def run(self, program: str, limit: int = LIMIT) -> FunctionProcess:
        """Start a program; with sampling, it allocates memory slowly enough to be noticed."""
        self.groups = self._parents.make(uuid.uuid4().hex, limit)
        step = 0 if self.groups.memory else 0.01
        command = [sys.executable, "-I", "-S", "-c", f"import os, signal, time\nstep = {step}\n{program}"]
        process = self._keeper.spawn(
            command, {}, Path("/"), lambda _, line: self.lines.append(line), groups=self.groups
        )
        self._processes.append(process)
        if self.groups.memory is None:
            self._watch.add(process, limit)
        await process.started()
        return process

    async def looked_at(self) -> None:
        """With sampling, wait until it has been sampled several times."""
        if self.groups.memory is None:
            begin = self.clock.asked
            await until(lambda: self.clock.asked >= begin + 4)

    async def close(self) -> None:
        """End everything."""
        self._watch.close()
        for process in self._processes:
            process.kill()
            await process.exited
        await asyncio.to_thread(self._keeper.close)


async def until(happened: Callable[[], bool]) -> None:
    """Wait until a condition is true, with a generous limit."""
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.005)


async def memory_parent() -> Parent:
    """Where groups with a memory limit can be created, as the self-test reports."""
    keeper = KeeperClient()
    parents = await try_control_groups(keeper, identity(os.getpid()) or "")
    await asyncio.to_thread(keeper.close)
    if parents.memory is None:
        pytest.skip("no control group of memory is writable here")
    return parents.memory


@pytest.fixture(params=["cgroup", "sampled"])
async def limited(request: pytest.FixtureRequest) -> AsyncIterator[Limited]:
    """The limit, enforced in each way."""
    parent = await memory_parent() if request.param == "cgroup" else None
    limited = Limited(Parents(identity(os.getpid()) or "", memory=parent))
    yield limited
    await limited.close()


@pytest.fixture
async def sampled() -> AsyncIterator[Limited]:
    """The limit, enforced by sampling."""
    limited = Limited(Parents(""))
    yield limited
    await limited.close()


@pytest.mark.parametrize("program", [GREEDY, IN_CHILD], ids=["main", "child"])
async def test_function_beyond_its_limit_is_ended(limited: Limited, program: str) -> None:
    """If the function's process or a child uses too much, the whole instance is killed, and the reason is known."""
    process = await limited.run(program)
    ended = await process.exited
    assert process.out_of_memory
    assert ended.code == 137
    assert not any(map(os.path.exists, limited.groups.folders))


async def test_function_that_gives_up_when_its_child_is_killed_ends_with_137() -> None:
    """When the limit kills a child, the reported exit code is 137, whatever code the function exits with."""
    front, guard = socket.socketpair()
    process = FunctionProcess(front, {}, lambda *_: None)
    guard.sendall(b'{"exit": 5, "peak": 1024, "oom": true}\n')
    assert (await process.exited).code == 137
    assert process.out_of_memory
    guard.close()


async def test_function_below_its_limit_is_left_alone(limited: Limited) -> None:
    """A function below the limit keeps running and exits by itself; its peak is known."""
    process = await limited.run(MODEST)
    await until(lambda: "modest" in limited.lines)
    await limited.looked_at()
    process.stop(20)
    ended = await process.exited
    assert (ended.code, process.out_of_memory) == (128 + signal.SIGTERM, False)
    assert 32 < ended.peak_memory_mb < LIMIT


async def test_shared_pages_count_once(sampled: Limited) -> None:
    """Workers that share their parent's pages are within the limit; once they have written to them they are not."""
    process = await sampled.run(SHARING, 100)
    await until(lambda: sampled.lines == ["up"] * 4)
    assert memory.memory_mb(process.guard) > 5 * 32
    assert memory.proportional_mb(process.guard) < 100
    await sampled.looked_at()
    assert not process.exited.done()
    assert not process.out_of_memory
    assert process.pid is not None
    for worker in keeper.descendants(process.pid):
        os.kill(worker, signal.SIGUSR1)
    assert (await process.exited).code == 137
    assert process.out_of_memory


async def test_watch_looks_only_while_there_is_something_to_watch(sampled: Limited) -> None:
    """One timer serves all instances, and ends with the last of them."""
    first, second = await sampled.run(MODEST), await sampled.run(MODEST)
    begin = sampled.clock.asked
    await until(lambda: sampled.clock.asked >= begin + 2)
    for process in (first, second):
        process.kill()
        await process.exited
    asked = sampled.clock.asked
    sampled.clock.last()  # now, rather than when it is due
    assert sampled.clock.asked == asked


async def test_limit_further_out_is_not_the_functions_own() -> None:
    """A kill that a group around the front's causes is not attributed to the function's limit."""
    around = await memory_parent()
    if around.version == 2:
        pytest.skip("below a group of v2 with processes there is no other with a memory limit")
    run = identity(os.getpid()) or ""
    outer = Parents(run, memory=around).make(uuid.uuid4().hex, LIMIT).memory
    assert outer is not None
    limited = Limited(Parents(run, memory=Parent(outer, around.version)))
    try:
        process = await limited.run(GREEDY, 1024)
        assert (await process.exited).code == 137
        assert not process.out_of_memory
    finally:
        await limited.close()
        outer.rmdir()


def test_limit_of_v2_includes_swap_and_takes_the_whole_group(tmp_path: Path) -> None:
    """With v2 the limit is memory.max, without swap, and the kernel ends the group as a whole."""
    for name in ("memory.max", "memory.swap.max", "memory.oom.group"):
        (tmp_path / name).touch()
    cgroups.set_memory_limit(tmp_path, 512)
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written == {"memory.max": "536870912", "memory.swap.max": "0", "memory.oom.group": "1"}


@pytest.mark.parametrize(
    ("events", "ours"),
    [
        ("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n", True),
        ("low 0\nhigh 0\nmax 7\noom 0\noom_kill 1\noom_group_kill 0\n", False),
        ("low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\n", False),
    ],
)
def test_kill_by_v2_is_read_from_its_events(tmp_path: Path, events: str, ours: bool) -> None:
    """An OOM kill counts if the group itself was out of memory."""
    (tmp_path / "memory.events").write_text(events)
    assert keeper._killed_at_limit(str(tmp_path)) is ours
