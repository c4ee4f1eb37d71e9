"""`fcemu check` validates a configuration; `fcemu schema` describes its keys."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fcemu.cli.options import FILE, load_configuration


@click.command()
@FILE
def check(file: Path) -> None:
    """Validate FILE and print what it would serve.

    FILE is trigger.yaml unless you name another. Also warns about settings that will cause trouble in the cloud.
    """
    from fcemu import report
    from fcemu.configuration.advice import advice

    configuration = load_configuration(file)
    account = configuration.account
    port = account.fcemu.listen.rpartition(":")[2]
    click.echo(report.url_map(account, int(port)))
    for note in configuration.ignored:
        click.echo(f"ignored: {note}")
    for finding in advice(account):
        click.echo(f"warning: {finding.subject}: {finding.text}")
    click.echo(f"{file}: OK")


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for use in editors."""
    from fcemu.configuration.load import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
