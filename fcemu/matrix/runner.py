"""Runs the client's test once in each scenario of `scenarios.py`.

Each scenario has a new emulator, new instances and its own event loop. That takes about 0.3 s, but instances that were
reused would keep traces of the scenario before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from fcemu import report
from fcemu.configuration.env_file import read_env_file
from fcemu.emulator import Emulator
from fcemu.journal import FaultFired, InvocationEnded, InvocationStarted, Record
from fcemu.matrix.scenarios import BASELINE, Scenario, account_in
from fcemu.matrix.trial import Trial
from fcemu.model import Account
from fcemu.processes.command import Command
from fcemu.serving.execution import environment
from fcemu.serving.run import running
from fcemu.serving.signals import Interrupted, Signals

_GRACE = 1.0
"""Seconds after SIGTERM in which a command that took too long must exit."""

_LINES = 20
"""Lines to keep of the command's output and of the emulator's log."""

_TAIL = 64 * 1024
"""Bytes to read from the end of the command's output."""


@dataclass(frozen=True)
class Matrix:
    """What to run, and how.

    Attributes:
        argv: the command and its arguments.
        config: where the account comes from, for `fcemu ps`.
        limit: seconds that the command may run in one scenario.
        seed: seed for the random choices of fault rules.
        loop_factory: creates an event loop; None for asyncio's default.
    """

    account: Account
    argv: Sequence[str]
    config: str
    limit: float
    seed: int = 0
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None


def run_all(matrix: Matrix, scenarios: Iterable[Scenario]) -> Iterator[Trial]:
    """Run the command in each scenario. If the baseline fails, the other scenarios are not run.

    Raises:
        As `run`.
    """
    for scenario in scenarios:
        trial = run(matrix, scenario)
        yield trial
        if scenario.name == BASELINE and trial.verdict != "survived":
            return


def run(matrix: Matrix, scenario: Scenario) -> Trial:
    """Run the command in a scenario. Call it without a running event loop, from the only thread.

    Raises:
        Interrupted: a signal came; the command and the functions are stopped.
        FcemuError: the account could not be served, or the command could not be executed.
    """
    with tempfile.TemporaryFile() as output:
        with _standard_streams(output):
            command = Command(matrix.argv)
        with contextlib.closing(command), asyncio.Runner(loop_factory=matrix.loop_factory) as runner:
            return runner.run(_run(matrix, scenario, command, output))


async def _run(matrix: Matrix, scenario: Scenario, command: Command, output: IO[bytes]) -> Trial:
    signals = Signals()
    account = account_in(scenario, matrix.account, matrix.seed)
    emulator = Emulator(account, env_file=read_env_file(account), ports=True)
    records: list[Record] = []
    log: deque[str] = deque(maxlen=_LINES)

    def note(record: Record) -> None:
        log.extend(report.as_text(record))
        if isinstance(record, FaultFired | InvocationStarted | InvocationEnded):
            records.append(record)

    emulator.journal.subscribe(note)
    if scenario.redeploys:
        _redeploy(emulator)
    async with running(emulator, matrix.config, None, signals.stop) as ready:
        if not ready:
            raise Interrupted(signals.came)
        began = time.monotonic()
        await command.start({**environment(emulator), "FCEMU_SCENARIO": scenario.name})
        signals.pass_to(command.send)
        code, hung = await _wait(command, matrix.limit)
        seconds, log_lines = time.monotonic() - began, tuple(log)
        signals.pass_to(None)
        signals.stop.set()  # so that a signal from now on counts as the second
    if signals.came:
        raise Interrupted(signals.came)
    return Trial(scenario, code, hung, seconds, records, tuple(_last_lines(output)), log_lines)


async def _wait(command: Command, limit: float) -> tuple[int, bool]:
    """The exit code of the command, and whether it had to be stopped."""
    waiting = asyncio.create_task(command.wait())
    for timeout, signum in ((limit, signal.SIGTERM), (_GRACE, signal.SIGKILL)):
        if (await asyncio.wait([waiting], timeout=timeout))[0]:
            return await waiting, signum == signal.SIGKILL
        command.send(signum)
    return await waiting, True


def _redeploy(emulator: Emulator) -> None:
    """Give every function new instances as soon as a request has got an old one."""
    once = iter([[function.functionName for function in emulator.account.functions]])

    def started(record: Record) -> None:
        if isinstance(record, InvocationStarted) and (changed := next(once, None)) is not None:
            # Later, because the pool is still handling this request.
            asyncio.get_running_loop().call_soon(emulator.update, emulator.account, changed)

    emulator.journal.subscribe(started)


def _last_lines(output: IO[bytes]) -> Iterator[str]:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL))
    yield from output.read().decode(errors="replace").splitlines()[-_LINES:]


@contextlib.contextmanager
def _standard_streams(output: IO[bytes]) -> Iterator[None]:
    """Processes started in the meantime have no input, and write to `output`."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    kept = [os.dup(fd) for fd in range(3)]
    try:
        for fd, instead in enumerate((nothing, output.fileno(), output.fileno())):
            os.dup2(instead, fd)
        yield
    finally:
        for fd, former in enumerate(kept):
            os.dup2(former, fd)
            os.close(former)
        os.close(nothing)
