"""`fcemu exec`: serve while a command runs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from fcemu.cli.options import (
    FILE,
    LAZY,
    LOG,
    LOG_FORMAT,
    LOOP,
    SCATTER,
    WithCommand,
    key_of_run,
    load_file,
    log_printer,
    runner_for,
    with_key,
    with_options,
)


@click.command("exec", cls=WithCommand)
@FILE
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the front; any free one by default.")
@LAZY
@SCATTER
@LOG
@LOG_FORMAT
@LOOP
@click.pass_context
def exec_(
    context: click.Context,
    file: Path,
    port: int,
    lazy: bool,
    scatter: bool,
    log: str | None,
    log_format: str,
    loop: str,
) -> None:
    """Serve the functions of FILE (default: trigger.yaml) while COMMAND runs, and exit as it does.

    COMMAND starts when requests will succeed, and finds the addresses in FCEMU_URL and FCEMU_WS_URL; of each function
    in FCEMU_URL_NAME and FCEMU_WS_URL_NAME (upper case, `_` for `-`). Its input and output are untouched; should it
    fail, the end of fcemu's log follows on stderr.
    """
    from fcemu.processes.command import Command
    from fcemu.serving.execution import execute

    account = with_key(with_options(load_file(file).account, port=port, lazy=lazy, scatter=scatter), key_of_run()[0])
    with (
        contextlib.closing(Command(context.meta["command"])) as command,  # first: it forks
        log_printer(log, log_format) as printer,
        runner_for(loop) as runner,
    ):
        code = runner.run(execute(account, command, str(file.resolve()), printer))
    sys.exit(code)
