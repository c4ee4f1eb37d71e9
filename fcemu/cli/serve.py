"""`fcemu serve` serves functions until it is stopped."""

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
    fallback_key,
    load_configuration,
    runner_for,
    with_fallback_key,
    with_options,
)

if TYPE_CHECKING:
    from fcemu.model import Account, OnReload


@click.command()
@FILE
@click.option("--example", is_flag=True, help="Serve the echo function that comes with fcemu; FILE is not read.")
@click.option("--host", help="Address to listen on; overrides `fcemu.listen`.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; overrides `fcemu.listen`; 0 picks a free port."
)
@LAZY
@SCATTER
@click.option("--reload", is_flag=True, help="Apply changes to FILE and to the functions' code while serving.")
@click.option(
    "--on-reload",
    type=click.Choice(["drain", "cut", "pin"]),
    help="What to do with open sockets when new code is ready; overrides `fcemu.onReload`.",
)
@click.option("--debug", is_flag=True, help="Let a debugger attach to the functions; nothing times out.")
@click.option("--admin", metavar="HOST:PORT", help="Open the control plane at this address; port 0 picks a free port.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    help="Write the addresses to this file, as JSON, once requests will succeed.",
)
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
    """Serve the functions of FILE behind their HTTP triggers.

    FILE is trigger.yaml unless you name another. Ctrl-C stops fcemu: functions get SIGTERM and have `fcemu.stopGrace`
    seconds to exit. A second Ctrl-C kills everything at once.
    """
    if example and reload:
        raise click.UsageError("--reload watches FILE, which --example does not use")
    from fcemu.serving import run as serving

    # Chosen once: clients keep using the key that was printed at the start, even if the file changes.
    key, was_generated = fallback_key()

    def load() -> Account:
        account = _example_account() if example else load_configuration(file).account
        account = with_options(account, host=host, port=port, lazy=lazy, scatter=scatter, on_reload=on_reload)
        return with_fallback_key(account, key)

    account = load()
    run = serving.Run(
        config="(example)" if example else str(file.resolve()),
        made=key if was_generated and key in account.accessKeys else None,
        ready_file=ready_file,
        log_format=log_format,
        debug=debug,
        admin=admin,
        reload=load if reload else None,
    )
    with runner_for(loop) as runner:
        runner.run(serving.serve(account, run))


def _example_account() -> Account:
    """The embedded example, run by the Python that runs fcemu, which has the packages that the example needs."""
    package = Path(__file__).parent.parent
    installed = package / "_example"
    account = load_configuration(
        (installed if installed.is_dir() else package.parent / "examples" / "echo-python") / "trigger.yaml"
    ).account
    function = account.functions[0]
    runtime = function.customRuntimeConfig.model_copy(update={"command": [sys.executable, "server.py"]})
    function = function.model_copy(update={"customRuntimeConfig": runtime})
    return account.model_copy(update={"functions": [function]})
