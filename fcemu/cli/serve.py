"""What can be said on the command line?

`serve`, `exec`, `smoke`, `matrix`; `check`, `schema`; `sign`, `token`, `explain`; `ps`, `prune`.

Heavy modules are imported inside the commands that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.cli.options import (
    FILE,
    LAZY,
    LOG_FORMAT,
    LOOP,
    SCATTER,
    key_of_run,
    load_file,
    runner_for,
    with_key,
    with_options,
)

if TYPE_CHECKING:
    from fcemu.model import Account, OnReload


@click.command()
@FILE
@click.option("--example", is_flag=True, help="Serve the echo function that comes with fcemu instead of FILE.")
@click.option("--host", help="Address to listen on, instead of that in `fcemu.listen`.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.")
@LAZY
@SCATTER
@click.option("--reload", is_flag=True, help="Follow changes of FILE and of the functions' code.")
@click.option(
    "--on-reload",
    type=click.Choice(["drain", "cut", "pin"]),
    help="What becomes of open sockets when new code is ready, instead of `fcemu.onReload`.",
)
@click.option("--debug", is_flag=True, help="Start functions so that a debugger can attach; nothing times out.")
@click.option("--admin", metavar="HOST:PORT", help="Open the control plane there; port 0 takes any free one.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the addresses as JSON once ready.")
@LOG_FORMAT
@LOOP
def serve(
    file: Path,
    example: bool,
    host: str | None,
    port: int | None,
    lazy: bool,
    scatter: bool,
    reload: bool,
    on_reload: OnReload | None,
    debug: bool,
    admin: str | None,
    ready_file: Path | None,
    log_format: str,
    loop: str,
) -> None:
    """Serve the functions of FILE (default: trigger.yaml) behind their HTTP triggers.

    Ctrl-C stops: functions get SIGTERM and `fcemu.stopGrace` seconds; a second Ctrl-C ends everything at once.
    """
    if example and reload:
        raise click.UsageError("--reload follows FILE; the example has none of its own")
    from fcemu.serving import run as serving

    # Made once: what a client was told holds for the whole run, however often the file changes.
    key, was_made = key_of_run()

    def load() -> Account:
        account = _example_account() if example else load_file(file).account
        account = with_options(account, host=host, port=port, lazy=lazy, scatter=scatter, on_reload=on_reload)
        return with_key(account, key)

    account = load()
    run = serving.Run(
        config="(example)" if example else str(file.resolve()),
        made=key if was_made and key in account.accessKeys else None,
        ready_file=ready_file,
        log_format=log_format,
        debug=debug,
        admin=admin,
        reload=load if reload else None,
    )
    with runner_for(loop) as runner:
        runner.run(serving.serve(account, run))


def _example_account() -> Account:
    """The embedded example, run by the Python that runs fcemu: that one has the packages it needs."""
    package = Path(__file__).parent.parent
    installed = package / "_example"
    account = load_file(
        (installed if installed.is_dir() else package.parent / "examples" / "echo-python") / "trigger.yaml"
    ).account
    function = account.functions[0]
    runtime = function.customRuntimeConfig.model_copy(update={"command": [sys.executable, "server.py"]})
    function = function.model_copy(update={"customRuntimeConfig": runtime})
    return account.model_copy(update={"functions": [function]})
