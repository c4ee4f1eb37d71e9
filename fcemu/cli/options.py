"""Which options do several commands share, and what do they do to an account?"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.errors import FcemuError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from fcemu.configuration.load import Configuration
    from fcemu.model import AccessKey, Account, OnReload
    from fcemu.serving.printer import Printer


FILE = click.argument("file", type=click.Path(path_type=Path), default=Path("trigger.yaml"))
LAZY = click.option("--lazy", is_flag=True, help="Start instances at the first request, as the cloud does.")
SCATTER = click.option(
    "--scatter", is_flag=True, help="Send consecutive connections to different instances, on purpose."
)
LOG_FORMAT = click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
LOG = click.option(
    "--log", metavar="FILE", help="Write what happens, and what the functions print, there; `-` is stderr."
)
LOOP = click.option(
    "--loop",
    type=click.Choice(["auto", "uvloop", "asyncio"]),
    default="auto",
    show_default=True,
    help="Event loop; auto takes uvloop where it is installed.",
)


class WithCommand(click.Command):
    """Takes what follows `--` as the command line of another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the arguments at `--`."""
        mark = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = args[mark + 1 :]
        rest = super().parse_args(ctx, args[:mark])
        if not ctx.meta["command"] and not ctx.resilient_parsing:
            raise click.UsageError(f"write the command behind `--`: {ctx.command_path} trigger.yaml -- npm test")
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND [ARGUMENT]..."]


class WithCommandOrList(WithCommand):
    """Like `WithCommand`, but `--list` needs no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the arguments at `--`, unless `--list` is among them."""
        if "--list" in args[: args.index("--") if "--" in args else None]:
            return click.Command.parse_args(self, ctx, args)
        return super().parse_args(ctx, args)


def load_file(file: Path) -> Configuration:
    """Load a configuration.

    Raises:
        ConfigError: it has mistakes.
    """
    from fcemu.configuration.load import load

    return load(file)


def with_options(
    account: Account,
    *,
    host: str | None = None,
    port: int | None = None,
    lazy: bool = False,
    scatter: bool = False,
    on_reload: OnReload | None = None,
) -> Account:
    """The account with what the command line says otherwise."""
    current_host, _, current_port = account.fcemu.listen.rpartition(":")
    update = {
        "listen": f"{host or current_host}:{current_port if port is None else port}",
        "start": "lazy" if lazy else account.fcemu.start,
        "scatter": scatter or account.fcemu.scatter,
        "onReload": on_reload or account.fcemu.onReload,
    }
    return account.model_copy(update={"fcemu": account.fcemu.model_copy(update=update)})


def key_of_run() -> tuple[AccessKey, bool]:
    """The key pair of a configuration that names none: the environment's, or one that is made; and whether it was."""
    from fcemu.configuration import access_keys

    known = access_keys.from_environment(os.environ)
    return known or access_keys.made(secrets.token_hex(24)), known is None


def with_key(account: Account, key: AccessKey) -> Account:
    """The account with a key pair, if somebody asks for signatures and it has none."""
    from fcemu.configuration import access_keys

    needs_key = not account.accessKeys and access_keys.wanted(account)
    return account.model_copy(update={"accessKeys": [key]}) if needs_key else account


def name_in_repository(file: Path) -> str:
    """The file as GitHub names it, relative to the repository; elsewhere as it was given."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and file.resolve().is_relative_to(Path(workspace).resolve()):
        return str(file.resolve().relative_to(Path(workspace).resolve()))
    return str(file)


@contextlib.contextmanager
def log_printer(log: str | None, log_format: str) -> Iterator[Printer | None]:
    """What writes the log; nothing if nobody wants it."""
    from fcemu.serving.printer import Printer

    with contextlib.ExitStack() as stack:
        try:
            stream = None if log is None else sys.stderr
            if log not in (None, "-"):
                stream = stack.enter_context(open(log, "w", encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise FcemuError(f"the log cannot be written: {error}") from error
        yield Printer(log_format, stream) if stream is not None else None


def runner_for(loop: str) -> asyncio.Runner:
    """A runner with the event loop that `--loop` names."""
    import asyncio

    return asyncio.Runner(loop_factory=loop_factory(loop))


def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop that `--loop` names; None for asyncio's own.

    Raises:
        FcemuError: uvloop is asked for, and is not installed.
    """
    if loop != "asyncio":
        try:
            import uvloop
        except ImportError as error:
            if loop == "uvloop":
                raise FcemuError("uvloop is not installed: pip install uvloop, or use --loop asyncio") from error
        else:
            return uvloop.new_event_loop
    return None
