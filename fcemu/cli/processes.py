"""`fcemu explain`, `fcemu ps` and `fcemu prune`: what ran, what runs, what was left."""

from __future__ import annotations

import os

import click

from fcemu.errors import FcemuError


@click.command()
@click.argument("request_id")
def explain(request_id: str) -> None:
    """Say why the request with this id (header X-Fc-Request-Id, or `RequestId` in the body) was refused."""
    from fcemu.serving.refusals import Refusals, explained
    from fcemu.state_folder import state_folder

    record = Refusals(state_folder(os.environ)).find(request_id.strip())
    if record is None:
        raise FcemuError(f"no refusal with request id {request_id} is known here (the last few thousand are kept)")
    click.echo(explained(record))


@click.command()
def ps() -> None:
    """List what fcemu runs: fronts, their keepers and guards, the functions' processes, and leftovers."""
    from fcemu.processes import leftovers
    from fcemu.state_folder import state_folder

    lines = leftovers.listing(state_folder(os.environ))
    click.echo("\n".join(["     PID KIND           AGE    MEMORY", *lines]) if lines else "nothing of fcemu runs")


@click.command()
def prune() -> None:
    """End the functions' processes whose front is no longer alive; those of living fronts are left alone."""
    from fcemu.processes import leftovers
    from fcemu.state_folder import state_folder

    ended, stubborn = leftovers.prune(state_folder(os.environ))
    for process in ended:
        click.echo(f"ended {process.pid}: {process.function} {process.instance}")
    if stubborn:
        raise FcemuError("could not end " + ", ".join(str(process.pid) for process in stubborn))
    if not ended:
        click.echo("nothing was left behind")
