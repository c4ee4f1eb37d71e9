"""What can be said on the command line? `serve`, `check`, `schema`.

Heavy modules are imported inside the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from fcemu import __version__
from fcemu.errors import ConfigError, FcemuError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fcemu.config import Configuration
    from fcemu.emulator import Emulator
    from fcemu.journal import Record
    from fcemu.model import Account

_FILE = click.argument("file", type=click.Path(path_type=Path), default=Path("trigger.yaml"))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fcemu")
def cli() -> None:
    """Run Function Compute HTTP and WebSocket functions locally, with their trigger enforced."""


def main() -> NoReturn:
    """The console script: set-up errors are printed, not traced; exit code 1, or 2 for a bad configuration."""
    try:
        cli.main(standalone_mode=True)
    except FcemuError as error:
        click.echo(f"fcemu: {error}" if not isinstance(error, ConfigError) else str(error), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


@cli.command()
@_FILE
@click.option("--example", is_flag=True, help="Serve the echo function that comes with fcemu instead of FILE.")
@click.option("--host", help="Address to listen on, instead of that in `fcemu.listen`.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.")
@click.option("--lazy", is_flag=True, help="Start instances at the first request, as the cloud does.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the addresses as JSON once ready.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--loop",
    type=click.Choice(["auto", "uvloop", "asyncio"]),
    default="auto",
    show_default=True,
    help="Event loop; auto takes uvloop where it is installed.",
)
def serve(
    file: Path,
    example: bool,
    host: str | None,
    port: int | None,
    lazy: bool,
    ready_file: Path | None,
    log_format: str,
    loop: str,
) -> None:
    """Serve the functions of FILE (default: trigger.yaml) behind their HTTP triggers.

    Ctrl-C stops: functions get SIGTERM and `fcemu.stopGrace` seconds; a second Ctrl-C ends everything at once.
    """
    account = _example_account() if example else _load(file).account
    current_host, _, current_port = account.fcemu.listen.rpartition(":")
    settings = account.fcemu.model_copy(
        update={
            "listen": f"{host or current_host}:{current_port if port is None else port}",
            "start": "lazy" if lazy else account.fcemu.start,
        }
    )
    account = account.model_copy(update={"fcemu": settings})
    with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
        runner.run(_serve(account, ready_file, log_format))


@cli.command()
@_FILE
def check(file: Path) -> None:
    """Validate FILE, print what would be served where, and warn about what will hurt in the cloud."""
    from fcemu import report
    from fcemu.checks import findings

    configuration = _load(file)
    account = configuration.account
    port = account.fcemu.listen.rpartition(":")[2]
    click.echo(report.url_map(account, int(port)))
    for note in configuration.ignored:
        click.echo(f"ignored: {note}")
    for finding in findings(account):
        click.echo(f"warning: {finding.subject}: {finding.text}")
    click.echo(f"{file}: OK")


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from fcemu.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _load(file: Path) -> Configuration:
    from fcemu.config import load

    return load(file)


def _example_account() -> Account:
    """The embedded example, run by the Python that runs fcemu: that one has the packages it needs."""
    here = Path(__file__).parent
    installed = here / "_example"
    account = _load(
        (installed if installed.is_dir() else here.parent / "examples" / "echo-python") / "trigger.yaml"
    ).account
    function = account.functions[0]
    runtime = function.customRuntimeConfig.model_copy(update={"command": [sys.executable, "server.py"]})
    function = function.model_copy(update={"customRuntimeConfig": runtime})
    return account.model_copy(update={"functions": [function]})


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop != "asyncio":
        try:
            import uvloop
        except ImportError as error:
            if loop == "uvloop":
                raise FcemuError("uvloop is not installed: pip install uvloop, or use --loop asyncio") from error
        else:
            return uvloop.new_event_loop
    return None


def _env_file(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    if not Path(path).is_file():
        raise FcemuError(f"fcemu.envFile: {path} does not exist")
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


class _Printer:
    """Writes records to stdout; a reader that went away ends the printing, not the serving."""

    def __init__(self, log_format: str) -> None:
        from fcemu import report

        self._as_lines = report.as_text if log_format == "text" else lambda record: [report.as_json(record)]
        self.text = log_format == "text"
        self._open = True

    def record(self, record: Record) -> None:
        self.lines(self._as_lines(record))

    def lines(self, lines: list[str]) -> None:
        if not self._open:
            return
        try:
            sys.stdout.write("\n".join([*lines, ""]))
            sys.stdout.flush()
        except OSError:
            self._open = False
            # What is still buffered must not raise when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _serve(account: Account, ready_file: Path | None, log_format: str) -> None:
    from fcemu import report
    from fcemu.emulator import Emulator
    from fcemu.journal import InvocationEnded

    printer = _Printer(log_format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, _on_signal, stop, signum)

    refused = 0

    def count(record: Record) -> None:
        nonlocal refused
        if isinstance(record, InvocationEnded) and record.instance_id is None:
            refused += 1

    emulator = Emulator(account, env_file=_env_file(account.fcemu.envFile))
    emulator.journal.subscribe(printer.record)
    emulator.journal.subscribe(count)
    starting = asyncio.create_task(emulator.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    try:
        if not starting.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        if not stop.is_set():
            _announce(emulator, printer, ready_file)
            await stop.wait()
    finally:
        stopping.cancel()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        await emulator.stop()
    bills = {function.functionName: emulator.bill(function.functionName) for function in account.functions}
    if printer.text:
        printer.lines([report.billing(account, bills.__getitem__, refused)])
    else:
        printer.lines([json.dumps({"record": "Billing", "functions": {n: b.milliseconds for n, b in bills.items()}})])


def _on_signal(stop: asyncio.Event, signum: int) -> None:
    if stop.is_set():
        # The keeper sees the end of this process and ends every function's.
        os._exit(128 + signum)
    stop.set()


def _announce(emulator: Emulator, printer: _Printer, ready_file: Path | None) -> None:
    """Say where requests will succeed: on stdout, and in the ready file."""
    from fcemu import report

    account, port = emulator.account, emulator.port
    addresses = {
        function.functionName: dict(
            zip(("wsUrl", "url"), report.urls(account, function, port, emulator.host), strict=True)
        )
        for function in account.functions
    }
    facts = {"url": emulator.url, "port": port, "pid": os.getpid(), "functions": addresses}
    if printer.text:
        first = next(iter(addresses.values()))
        printer.lines(
            [
                "",
                report.url_map(account, port, emulator.host),
                "",
                f"try: npx wscat -c {first['wsUrl']}    or: curl -i {first['url']}",
                f"ready: {emulator.url}",
            ]
        )
    else:
        printer.lines([json.dumps({"record": "Ready", **facts})])
    if ready_file is not None:
        # Whoever waits for the file must never see half of it.
        draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        draft.write_text(json.dumps(facts, indent=2) + "\n")
        draft.replace(ready_file)
