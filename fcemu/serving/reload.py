"""How does a running emulator react to changes of its files? (`fcemu serve --reload`)"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from fcemu.emulator import Emulator
from fcemu.errors import FcemuError
from fcemu.journal import Notice
from fcemu.model import Account
from fcemu.serving.watching import Changes, watch

_NEEDS_RESTART = ("listen", "start", "portBinding", "scatter")
"""Settings that cannot change during a run."""


async def follow(
    emulator: Emulator,
    configuration: Path,
    load: Callable[[], Account],
    variables: Callable[[Account], Mapping[str, str]],
) -> None:
    """Update an emulator whenever its configuration or a function's code changes, until this is cancelled.

    A configuration that cannot be used is reported in a notice, and the previous one stays in force.

    Args:
        configuration: the configuration file.
        load: reads the configuration.
        variables: reads the file that `fcemu.envFile` names.

    Raises:
        StartError: the files cannot be watched.
    """

    def notice(level: Literal["info", "error"], text: str) -> None:
        emulator.journal.write(Notice(emulator.clock.wall_now(), level, text))

    def apply(changes: Changes) -> None:
        former = emulator.account
        try:
            current = load() if changes.configuration else former
            env_file = variables(current)
        except FcemuError as error:
            notice("error", f"the configuration cannot be used; the previous one stays in force:\n{error}")
            current, env_file = former, emulator.env_file
        if current == former and env_file == emulator.env_file and not changes.functions:
            return
        what = ["the configuration"] if current != former or env_file != emulator.env_file else []
        notice("info", f"changed: {', '.join([*what, *sorted(changes.functions)])}")
        for key in needing_restart(former, current):
            notice("info", f"`{key}` takes effect at the next start of fcemu")
        emulator.update(current, changes.functions, env_file)

    while True:
        watched = _watched(configuration, emulator.account)
        async with contextlib.aclosing(watch(*watched)) as batches:
            hearing = asyncio.ensure_future(anext(batches))
            try:
                await asyncio.sleep(0)  # start watching, so that no change after the next line is missed
                apply(Changes(configuration=True, functions=frozenset()))  # it may have changed since it was read
                while _watched(configuration, emulator.account) == watched:  # otherwise watch the other folders
                    apply(await hearing)
                    hearing = asyncio.ensure_future(anext(batches))
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)


def needing_restart(former: Account, current: Account) -> list[str]:
    """The keys that have changed and take effect only at the next start."""
    keys = [f"fcemu.{key}" for key in _NEEDS_RESTART if getattr(former.fcemu, key) != getattr(current.fcemu, key)]
    return keys + [key for key in ("quotas", "accountId") if getattr(former, key) != getattr(current, key)]


def _watched(configuration: Path, account: Account) -> tuple[Path, Path | None, dict[str, Path], tuple[str, ...]]:
    env_file = account.fcemu.envFile
    code = {function.functionName: Path(function.code) for function in account.functions}
    return configuration, Path(env_file) if env_file else None, code, tuple(account.fcemu.reloadIgnore)
