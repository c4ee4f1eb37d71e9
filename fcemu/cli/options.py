"""Options that several commands share, and what commands make of them: an account, a log, an event loop."""

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
SCATTER = click.option("--scatter", is_flag=True, help="Send consecutive connections to different instances.")
LOG_FORMAT = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log lines for people, or one JSON object per line.",
)
LOG = click.option(
    "--log", metavar="FILE", help="Write the log, with the functions' output, to this file; `-` means stderr."
)
LOOP = click.option(
    "--loop",
    type=click.Choice(["auto", "uvloop", "asyncio"]),
    default="auto",
    show_default=True,
    help="Event loop; `auto` uses uvloop if it is installed.",
)


class TrailingCommand(click.Command):
    """A command that takes the command line of another program after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the arguments at `--`."""
        mark = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = args[mark + 1 :]
        rest = super().parse_args(ctx, args[:mark])
        if not ctx.meta["command"] and not ctx.resilient_parsing:
            raise click.UsageError(f"write the command after `--`: {ctx.command_path} trigger.yaml -- npm test")
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- COMMAND [ARGUMENT]..."]


class TrailingCommandOrList(TrailingCommand):
    """A `TrailingCommand` that needs no other program with `--list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the arguments at `--`, unless `--list` is among them."""
        if "--list" in args[: args.index("--") if "--" in args else None]:
            return click.Command.parse_args(self, ctx, args)
        return super().parse_args(ctx, args)


def load_configuration(file: Path) -> Configuration:
    """Load a configuration file.

    Raises:
        ConfigError: the file has mistakes.
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
    """The account with the settings that the command line overrides."""
    current_host, _, current_port = account.fcemu.listen.rpartition(":")
    update = {
        "listen": f"{host or current_host}:{current_port if port is None else port}",
        "start": "lazy" if lazy else account.fcemu.start,
        "scatter": scatter or account.fcemu.scatter,
        "onReload": on_reload or account.fcemu.onReload,
    }
    return account.model_copy(update={"fcemu": account.fcemu.model_copy(update=update)})


def fallback_key() -> tuple[AccessKey, bool]:
    """The key pair for a configuration without `accessKeys`.

    Returns:
        The key pair of the environment, or a new one; and whether it is new.
    """
    from fcemu.configuration import access_keys

    known = access_keys.from_environment(os.environ)
    return known or access_keys.generate(secrets.token_hex(24)), known is None


def with_fallback_key(account: Account, key: AccessKey) -> Account:
    """The account with `key`, if it verifies signatures and has no key of its own."""
    from fcemu.configuration import access_keys

    needs_key = not account.accessKeys and access_keys.verifies_signatures(account)
    return account.model_copy(update={"accessKeys": [key]}) if needs_key else account


def repository_path(file: Path) -> str:
    """The path of a file relative to the repository, as annotations of GitHub Actions need it; elsewhere as given."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and file.resolve().is_relative_to(Path(workspace).resolve()):
        return str(file.resolve().relative_to(Path(workspace).resolve()))
    return str(file)


@contextlib.contextmanager
def open_log(log: str | None, log_format: str) -> Iterator[Printer | None]:
    """Open the log that --log names; None without --log.

    Raises:
        FcemuError: the file cannot be written.
    """
    from fcemu.serving.printer import Printer

    with contextlib.ExitStack() as stack:
        try:
            stream = None if log is None else sys.stderr
            if log not in (None, "-"):
                stream = stack.enter_context(open(log, "w", encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise FcemuError(f"the log file cannot be written: {error}") from error
        yield Printer(log_format, stream) if stream is not None else None


def runner_for(loop: str) -> asyncio.Runner:
    """An asyncio runner with the event loop that --loop names."""
    import asyncio

    return asyncio.Runner(loop_factory=loop_factory(loop))


def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """A factory of the event loop that --loop names; None for asyncio's default.

    Raises:
        FcemuError: --loop uvloop was given, and uvloop is not installed.
    """
    if loop != "asyncio":
        try:
            import uvloop
        except ImportError as error:
            if loop == "uvloop":
                raise FcemuError("uvloop is not installed; run `pip install uvloop`, or pass --loop asyncio") from error
        else:
            return uvloop.new_event_loop
    return None
