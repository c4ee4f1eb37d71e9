"""The group of all commands, and the entry point of the console script."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from fcemu import __version__
from fcemu.cli.check import check, schema
from fcemu.cli.credentials import sign, token
from fcemu.cli.execute import exec_
from fcemu.cli.matrix import matrix
from fcemu.cli.processes import explain, prune, ps
from fcemu.cli.serve import serve
from fcemu.cli.smoke import smoke
from fcemu.errors import ConfigError, FcemuError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fcemu")
def cli() -> None:
    """Run Alibaba Cloud Function Compute HTTP and WebSocket functions locally, behind their HTTP trigger."""


for _command in (serve, exec_, smoke, matrix, check, schema, sign, token, explain, ps, prune):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command line. Set-up errors are printed without a traceback.

    The exit code is then 1, or 2 if the configuration is wrong.
    """
    try:
        cli.main(standalone_mode=True)
    except FcemuError as error:
        click.echo(f"fcemu: {error}" if not isinstance(error, ConfigError) else str(error), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
