"""`fcemu explain`, `fcemu ps` and `fcemu prune`: past refusals, running processes, and processes left behind."""

from __future__ import annotations

import os

import click

from fcemu.errors import FcemuError


@click.command()
@click.argument("request_id")
def explain(request_id: str) -> None:
    """Explain why a request was refused.

    REQUEST_ID is in the refusal: in the header X-Fc-Request-Id, and in the body as `RequestId`.
    """
    from fcemu.serving.refusals import Refusals, explained
    from fcemu.state_folder import state_folder

    record = Refusals(state_folder(os.environ)).find(request_id.strip())
    if record is None:
        raise FcemuError(f"no refusal with request id {request_id} is on record (fcemu keeps the last few thousand)")
    click.echo(explained(record))


@click.command()
def ps() -> None:
    """List the processes of fcemu.

    These are fronts, their keepers and guards, the functions' processes, and processes that were left behind.
    """
    from fcemu.processes import leftovers
    from fcemu.state_folder import state_folder

    lines = leftovers.listing(state_folder(os.environ))
    click.echo(
        "\n".join(["     PID KIND           AGE    MEMORY", *lines]) if lines else "no process of fcemu is running"
    )


@click.command()
def prune() -> None:
    """Stop the functions' processes whose front is gone.

    Processes of running fronts are left alone.
    """
    from fcemu.processes import leftovers
    from fcemu.state_folder import state_folder

    stopped, stubborn = leftovers.prune(state_folder(os.environ))
    for process in stopped:
        click.echo(f"stopped {process.pid}: {process.function} {process.instance}")
    if stubborn:
        raise FcemuError("could not stop " + ", ".join(str(process.pid) for process in stubborn))
    if not stopped:
        click.echo("nothing was left behind")
