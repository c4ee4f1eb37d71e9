"""`fcemu exec` serves functions while a command runs."""

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
    TrailingCommand,
    fallback_key,
    load_configuration,
    open_log,
    runner_for,
    with_fallback_key,
    with_options,
)


@click.command("exec", cls=TrailingCommand)
@FILE
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; by default a free port.")
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
    """Serve the functions of FILE while COMMAND runs.

    FILE is trigger.yaml unless you name another. COMMAND starts once requests will succeed. It finds the addresses in
    the variables FCEMU_URL and FCEMU_WS_URL, and those of each function in FCEMU_URL_NAME and FCEMU_WS_URL_NAME (the
    name in upper case, with `_` for `-`). COMMAND keeps its stdin, stdout and stderr, and fcemu exits with its exit
    code. If COMMAND fails, the last lines of fcemu's log follow on stderr.
    """
    from fcemu.processes.command import Command
    from fcemu.serving.execution import execute

    account = with_fallback_key(
        with_options(load_configuration(file).account, port=port, lazy=lazy, scatter=scatter), fallback_key()[0]
    )
    with (
        contextlib.closing(Command(context.meta["command"])) as command,  # first, because it forks
        open_log(log, log_format) as printer,
        runner_for(loop) as runner,
    ):
        code = runner.run(execute(account, command, str(file.resolve()), printer))
    sys.exit(code)
