"""Serves an account, carries out all checks, and stops it again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from fcemu.clients.tokens import KeyPair
from fcemu.clock import ManualClock
from fcemu.configuration.env_file import read_env_file
from fcemu.configuration.overrides import with_overrides
from fcemu.emulator import Emulator
from fcemu.model import Account
from fcemu.outcomes import Outcome
from fcemu.processes.identity import identity
from fcemu.serving.printer import Printer
from fcemu.serving.run import running
from fcemu.serving.signals import Interrupted, Signals
from fcemu.smoke import checks
from fcemu.smoke.credentials import Identity
from fcemu.smoke.prober import REPORT, Prober, Result, SmokeRun
from fcemu.smoke.records import Records

_KILLED = 137
"""The exit code of a process that SIGKILL has killed."""


def prepare(account: Account, config: Path) -> tuple[Account, Identity]:
    """Adapt an account for the checks.

    It listens on a free port, starts instances when they are needed, and has no faults. If there are sessions, requests
    without one are scattered; otherwise they, too, would all reach one instance. Wherever a JWT is accepted, so are
    those of a key pair made for this run, because the configuration has only public keys.

    Args:
        account: the account as configured.
        config: the file of the configuration.

    Returns:
        The adapted account, and the keys that requests to it are authenticated with.
    """
    pair = KeyPair.generate(kid=f"fcemu-smoke-{secrets.token_hex(4)}")
    sessions = any(function.affinity is not None for function in account.functions)
    settings = {"listen": "127.0.0.1:0", "start": "lazy", "scatter": sessions, "faults": []}
    account = with_overrides(account, {"fcemu": settings}, folder=config.parent, where=(str(config), 1), jwks=pair.jwks)
    key = account.accessKeys[0] if account.accessKeys else None
    return account, Identity(key, pair, forger=KeyPair.generate(kid=pair.kid))


async def run_checks(run: SmokeRun, log: Printer | None) -> list[Outcome]:
    """Serve an account, check it and stop it. A signal ends the checks early.

    Args:
        run: what to check; its account as `prepare` returns it.
        log: prints the journal; None for no log.

    Returns:
        The outcome of each check, in order.

    Raises:
        FcemuError: the account could not be served.
        Interrupted: a signal came.
    """
    others = psutil.Process().children(recursive=True)  # processes of a program that uses this as a library
    signals = Signals()
    stop = signals.stop
    planned = checks.planned_checks(run.account, run.path, run.only)
    emulator = Emulator(run.account, clock=ManualClock(), env_file=read_env_file(run.account))
    prober = Prober(run, emulator)
    outcomes: list[Outcome] = []
    stopped = asyncio.create_task(stop.wait())
    if log is not None:
        emulator.journal.subscribe(log.record)  # without bills, which are forgotten between checks
    async with running(emulator, run.config, None, stop) as ready:
        for check in planned if ready else ():
            if not isinstance(check, checks.Stops | checks.NothingLeft):
                probing = asyncio.create_task(prober.carry_out(check))
                await asyncio.wait((probing, stopped), return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    probing.cancel()
                    await asyncio.wait([probing])
                    raise Interrupted(signals.came)
                outcomes.append(probing.result())
        stopped.cancel()
        if not ready:
            raise Interrupted(signals.came)
        processes = [child for child in psutil.Process().children(recursive=True) if child not in others]
        before, begun = len(prober.records.all), time.perf_counter()
    seconds = time.perf_counter() - begun
    for check in planned:
        if isinstance(check, checks.Stops):
            result = _stops(prober.records, before, check.function, run.account.fcemu.stopGrace)
            outcomes.append(run.outcome(check, result, 0.0))
        elif isinstance(check, checks.NothingLeft):
            outcomes.append(run.outcome(check, _nothing_left(processes, seconds), seconds))
    return outcomes


def _stops(records: Records, before: int, function: str, grace: float) -> Result:
    """Whether the instances of a function exited on SIGTERM.

    Args:
        before: how many of the records are older than the stop.
    """
    if unexpected := records.unexpected_exits(function, before):
        text = f"an instance exited by itself during the checks: {unexpected[0].detail}"
        return Result("failed", text, "look at its output (--log -)")
    exits = records.exits(function)
    if not exits:
        return Result("skipped", "no instance was running")
    codes = sorted({record.detail for record in exits})
    detail = f"{len(exits)} instance{'s' * (len(exits) > 1)}: {', '.join(codes)}"
    if any(record.exit_code == _KILLED and record.reason is None for record in exits):
        return Result(
            "failed", f"{detail}; killed {grace:g} s after SIGTERM", "exit on SIGTERM, or raise fcemu.stopGrace"
        )
    return Result("passed", detail)


def _nothing_left(processes: Sequence[psutil.Process], seconds: float) -> Result:
    """Whether all processes are gone, this many seconds after the stop began."""
    alive = [process for process in processes if process.is_running() and identity(process.pid) is not None]
    if not alive:
        return Result("passed", f"{len(processes)} processes were gone after {seconds:.1f} s")
    return Result("failed", f"alive: {', '.join(str(process.pid) for process in alive)}", REPORT)
