"""`fcemu check` and `fcemu schema`: validate a configuration, describe its keys."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fcemu.cli.options import FILE, load_file


@click.command()
@FILE
def check(file: Path) -> None:
    """Validate FILE, print what would be served where, and warn about what will hurt in the cloud."""
    from fcemu import report
    from fcemu.configuration.advice import advice

    configuration = load_file(file)
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
    """Print the JSON Schema of the configuration, for editors."""
    from fcemu.configuration.load import json_schema

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
