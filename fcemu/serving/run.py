"""A run of the emulator as a program: start, print what happens, stop at a signal, print the bill.

`running` is what all commands that serve have in common; `serve` adds the announcement, the control plane and reload.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from fcemu import report
from fcemu.clock import ManualClock, SystemClock
from fcemu.configuration.env_file import read_env_file
from fcemu.emulator import Emulator
from fcemu.journal import InvocationEnded, Notice, Record
from fcemu.model import AccessKey, Account
from fcemu.processes import leftovers
from fcemu.serving.printer import Printer
from fcemu.serving.refusals import Refusals
from fcemu.serving.signals import Signals
from fcemu.state_folder import state_folder


@dataclass(frozen=True)
class Run:
    """The options of `fcemu serve`.

    Attributes:
        config: where the account comes from, for `fcemu ps`.
        made: the key pair that was made for this run, to be printed.
        ready_file: the file to which the addresses are written once requests succeed.
        log_format: text or json.
        debug: let debuggers attach.
        admin: where the control plane listens, host:port; None for no control plane.
        reload: reads the account again when its files have changed; None to ignore changes.
    """

    config: str
    made: AccessKey | None = None
    ready_file: Path | None = None
    log_format: str = "text"
    debug: bool = False
    admin: str | None = None
    reload: Callable[[], Account] | None = None


@contextlib.asynccontextmanager
async def running(emulator: Emulator, config: str, printer: Printer | None, stop: asyncio.Event) -> AsyncIterator[bool]:
    """Start an emulator, yield whether it is ready, and stop it; `fcemu ps` and `fcemu explain` know it.

    Args:
        config: where its account comes from.
        printer: prints what happens, and at the end what the cloud would have billed.
        stop: if it is set before the emulator is ready, the start is given up and this yields False.

    Raises:
        FcemuError: the emulator could not be started.
    """
    refused = 0
    noted: Path | None = None

    def count(record: Record) -> None:
        nonlocal refused
        if isinstance(record, InvocationEnded) and record.instance_id is None:
            refused += 1

    if printer is not None:
        emulator.journal.subscribe(printer.record)
    emulator.journal.subscribe(count)
    emulator.journal.subscribe(_keep_refusals(emulator))
    starting = asyncio.create_task(emulator.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if ready := not stop.is_set():
            noted = _note(emulator, config)
        yield ready
    finally:
        stopping.cancel()
        await emulator.stop()
        if printer is not None:
            printer.lines()  # the pending records
        if noted is not None:
            with contextlib.suppress(OSError):  # `fcemu prune` removes it as well
                noted.unlink()
    for name in emulator.faults.never_fired():
        emulator.journal.write(Notice(emulator.clock.wall_now(), "warning", f"fault {name} never fired"))
    if printer is not None:
        printer.lines(_summary(emulator, refused, printer.text))


def _summary(emulator: Emulator, refused: int, text: bool) -> list[str]:
    """What the cloud would have billed."""
    account = emulator.account
    bills = {function.functionName: emulator.bill(function.functionName) for function in account.functions}
    if text:
        return [report.billing(account, bills.__getitem__, refused)]
    return [json.dumps({"record": "Billing", "functions": {n: b.milliseconds for n, b in bills.items()}})]


async def serve(account: Account, run: Run) -> None:
    """Serve an account until a signal stops it.

    Raises:
        FcemuError: it could not be started.
    """
    printer = Printer(run.log_format, sys.stdout)
    stop = Signals().stop
    following: asyncio.Task[None] | None = None
    # Only the control plane can advance the clock.
    clock = ManualClock() if run.admin is not None else SystemClock()
    emulator = Emulator(account, clock=clock, env_file=read_env_file(account), debug=run.debug)
    async with running(emulator, run.config, printer, stop) as ready, contextlib.AsyncExitStack() as stack:
        try:
            admin = None
            if ready and run.admin is not None:
                from fcemu.serving.admin import Admin  # imported only if used

                admin = (await stack.enter_async_context(Admin(emulator, run.admin))).url
            if ready:
                gc.collect()
                gc.freeze()  # these objects live to the end: the garbage collector need not examine them again
                _announce(emulator, run, printer, admin)
            if ready and run.reload is not None:
                from fcemu.serving.reload import follow  # imports watchfiles, which only this needs

                following = asyncio.create_task(follow(emulator, Path(run.config), run.reload, read_env_file))
                following.add_done_callback(lambda task: _notice_end(emulator, task))
            await stop.wait()
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait([following])
            if run.ready_file is not None:
                run.ready_file.unlink(missing_ok=True)


def _notice_end(emulator: Emulator, following: asyncio.Task[None]) -> None:
    """Write a notice if files are no longer watched because of an error."""
    if not following.cancelled() and (error := following.exception()) is not None:
        text = f"changes are no longer noticed (--reload): {error}"
        emulator.journal.write(Notice(emulator.clock.wall_now(), "error", text))


def _keep_refusals(emulator: Emulator) -> Callable[[Record], None]:
    """A subscriber that keeps refusals for `fcemu explain`. If they cannot be written, one notice says so."""
    refusals = Refusals(state_folder(os.environ))
    works = True

    def keep(record: Record) -> None:
        nonlocal works
        if works:
            try:
                refusals.keep(record)
            except OSError as error:
                works = False
                text = f"`fcemu explain` will not know the refusals of this run: {error}"
                emulator.journal.write(Notice(emulator.clock.wall_now(), "warning", text))

    return keep


def _note(emulator: Emulator, config: str) -> Path | None:
    """Write the file about this run for `fcemu ps`. If it cannot be written, a notice says so."""
    try:
        return leftovers.note(state_folder(os.environ), emulator.url, config)
    except OSError as error:
        text = f"`fcemu ps` will not know the address of this run: {error}"
        emulator.journal.write(Notice(emulator.clock.wall_now(), "warning", text))
        return None


def _announce(emulator: Emulator, run: Run, printer: Printer, admin: str | None) -> None:
    """Print where requests succeed, and write it to the ready file."""
    account, port, made, ready_file = emulator.account, emulator.port, run.made, run.ready_file
    addresses = {
        function.functionName: dict(
            zip(("wsUrl", "url"), report.urls(account, function, port, emulator.host), strict=True)
        )
        for function in account.functions
    }
    facts = {"url": emulator.url, "port": port, "pid": os.getpid(), "functions": addresses}
    if admin is not None:
        facts["admin"] = admin
    if made is not None:
        facts |= {"accessKeyId": made.accessKeyId, "accessKeySecret": made.accessKeySecret}
    if printer.text:
        first = next(iter(addresses.values()))
        printer.lines(
            [
                "",
                report.url_map(account, port, emulator.host, debug=run.debug),
                "",
                f"try: npx wscat -c {first['wsUrl']}    or: curl -i {first['url']}",
                *(
                    [f"access key made for this run: id {made.accessKeyId} secret {made.accessKeySecret}"]
                    if made is not None
                    else []
                ),
                *([f"control plane: {admin}"] if admin is not None else []),
                f"ready: {emulator.url}",
            ]
        )
    else:
        printer.lines([json.dumps({"record": "Ready", **facts})])
    if ready_file is not None:
        # A reader that waits for the file must never see half of it.
        draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(json.dumps(facts, indent=2) + "\n")
        draft.replace(ready_file)
