"""How does a running emulator follow its files? (`fcemu serve --reload`)"""

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
"""Settings that hold from the start to the end of a run."""


async def follow(
    emulator: Emulator,
    configuration: Path,
    load: Callable[[], Account],
    variables: Callable[[Account], Mapping[str, str]],
) -> None:
    """Update an emulator whenever its configuration or a function's code changes; runs until it is cancelled.

    A configuration that cannot be used is told, and the former one holds.

    Args:
        configuration: the file.
        load: reads it.
        variables: reads what `fcemu.envFile` names.
    """

    def tell(level: Literal["info", "error"], text: str) -> None:
        emulator.journal.write(Notice(emulator.clock.wall_now(), level, text))

    def take(changes: Changes) -> None:
        former = emulator.account
        try:
            current = load() if changes.configuration else former
            env_file = variables(current)
        except FcemuError as error:
            tell("error", f"the configuration cannot be used, the former one still holds:\n{error}")
            current, env_file = former, emulator.env_file
        if current == former and env_file == emulator.env_file and not changes.functions:
            return
        what = ["the configuration"] if current != former or env_file != emulator.env_file else []
        tell("info", f"changed: {', '.join([*what, *sorted(changes.functions)])}")
        for key in needing_restart(former, current):
            tell("info", f"`{key}` takes effect at the next start of fcemu")
        emulator.update(current, changes.functions, env_file)

    while True:
        watched = _watched(configuration, emulator.account)
        async with contextlib.aclosing(watch(*watched)) as batches:
            hearing = asyncio.ensure_future(anext(batches))
            try:
                await asyncio.sleep(0)  # from here on changes of the configuration are heard
                take(Changes(configuration=True, functions=frozenset()))  # it may have changed before
                while _watched(configuration, emulator.account) == watched:  # else: other folders from now on
                    take(await hearing)
                    hearing = asyncio.ensure_future(anext(batches))
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)


def needing_restart(former: Account, current: Account) -> list[str]:
    """The keys that differ, but hold for a whole run."""
    keys = [f"fcemu.{key}" for key in _NEEDS_RESTART if getattr(former.fcemu, key) != getattr(current.fcemu, key)]
    return keys + [key for key in ("quotas", "accountId") if getattr(former, key) != getattr(current, key)]


def _watched(configuration: Path, account: Account) -> tuple[Path, Path | None, dict[str, Path], tuple[str, ...]]:
    env_file = account.fcemu.envFile
    code = {function.functionName: Path(function.code) for function in account.functions}
    return configuration, Path(env_file) if env_file else None, code, tuple(account.fcemu.reloadIgnore)
