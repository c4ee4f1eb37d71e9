"""`fcemu exec`: serve an account, run a command with the addresses in its environment, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping

from fcemu import report
from fcemu.clock import ManualClock
from fcemu.configuration import access_keys
from fcemu.configuration.env_file import read_env_file
from fcemu.emulator import Emulator
from fcemu.model import Account
from fcemu.processes.command import Command
from fcemu.serving.admin import Admin
from fcemu.serving.printer import Printer
from fcemu.serving.run import running
from fcemu.serving.signals import Interrupted, Signals

_TAIL = 40
"""Lines of the log that are shown if the command fails."""


def environment(emulator: Emulator) -> dict[str, str]:
    """The environment of the command: that of fcemu, and the variables by which it reaches the emulator."""
    account = emulator.account
    addresses = {f.functionName: emulator.address_of(f.functionName) for f in account.functions}
    return {**os.environ, **variables(account, emulator.address_of(), addresses)}


def variables(account: Account, front: str, addresses: Mapping[str, str]) -> dict[str, str]:
    """The variables by which a command reaches the emulator. If two functions would share one, the first one has it.

    Args:
        front: `host:port` of the front.
        addresses: `host:port` of each function.
    """
    found = {"FCEMU_FRONT_URL": f"http://{front}"}
    for function in account.functions:
        at = addresses[function.functionName]
        for suffix in ("", "_" + function.functionName.upper().replace("-", "_")):
            found.setdefault(f"FCEMU_URL{suffix}", f"http://{at}")
            found.setdefault(f"FCEMU_WS_URL{suffix}", f"ws://{at}")
    if access_keys.verifies_signatures(account) and account.accessKeys:
        key = account.accessKeys[0]
        found |= {"FCEMU_ACCESS_KEY_ID": key.accessKeyId, "FCEMU_ACCESS_KEY_SECRET": key.accessKeySecret}
        found |= {"FCEMU_SECURITY_TOKEN": key.securityToken} if key.securityToken else {}
    return found


async def execute(account: Account, command: Command, config: str, log: Printer | None) -> int:
    """Serve an account as long as a command runs.

    While the command runs it gets the signals. A signal before that gives up the start; one while the functions stop
    exits at once.

    Args:
        config: where the account comes from, for `fcemu ps`.
        log: prints what happens; if None, the last lines are shown if the command fails.

    Returns:
        The command's exit code; 128 + n if signal n terminated it.

    Raises:
        Interrupted: a signal came before the command ran.
        FcemuError: the account could not be served, or the command could not be executed.
    """
    signals = Signals()
    tail: deque[str] = deque(maxlen=_TAIL)
    emulator = Emulator(account, clock=ManualClock(), env_file=read_env_file(account), ports=True)
    if log is None:
        emulator.journal.subscribe(lambda record: tail.extend(report.as_text(record)))
    async with running(emulator, config, log, signals.stop) as ready, contextlib.AsyncExitStack() as stack:
        if not ready:
            raise Interrupted(signals.came)
        admin = await stack.enter_async_context(Admin(emulator))
        await command.start({**environment(emulator), "FCEMU_ADMIN_URL": admin.url})
        signals.pass_to(command.send)
        code = await command.wait()
        signals.pass_to(None)
        signals.stop.set()  # the next signal counts as the second
        if code and log is None and not signals.came:
            _show(tail, code)
        return code


def _show(tail: deque[str], code: int) -> None:
    known = {signum.value: signum.name for signum in signal.Signals}
    ended = f"was terminated by {known[code - 128]}" if code - 128 in known else f"ended with exit code {code}"
    lines = [f"fcemu: the command {ended}. The end of fcemu's log (all of it: --log FILE):", *tail]
    print("\n".join(lines), file=sys.stderr, flush=True)
