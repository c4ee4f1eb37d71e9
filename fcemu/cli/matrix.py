"""`fcemu matrix`: run a client's test once per documented failure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.cli.options import (
    FILE,
    LOOP,
    WithCommandOrList,
    key_of_run,
    load_file,
    loop_factory,
    name_in_repository,
    with_key,
    with_options,
)
from fcemu.cli.publish import publish

if TYPE_CHECKING:
    from fcemu.matrix.trial import Trial


@click.command(cls=WithCommandOrList)
@FILE
@click.option("--list", "list_only", is_flag=True, help="Print the scenarios and run nothing.")
@click.option("--only", multiple=True, metavar="SCENARIO", help="Run this one, after the baseline; may be repeated.")
@click.option("--skip", multiple=True, metavar="SCENARIO", help="Leave this one out; may be repeated.")
@click.option(
    "--after",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds that a connection lasts, or is idle, until what is a matter of time happens to it.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds after which COMMAND is ended; then it hung.",
)
@click.option("--strict", is_flag=True, help="A scenario that COMMAND does not meet fails the run.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides what is drawn by chance.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write what came of it there, as JUnit XML.")
@LOOP
@click.pass_context
def matrix(
    context: click.Context,
    file: Path,
    list_only: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    after: float,
    limit: float,
    strict: bool,
    seed: int,
    junit: Path | None,
    loop: str,
) -> None:
    """Run COMMAND, your client's test, once per documented failure, and print which it survives.

    In each scenario the functions of FILE (default: trigger.yaml) are served anew, and COMMAND runs as `fcemu exec`
    runs it, with the scenario's name in FCEMU_SCENARIO. It survives if it exits with 0. The baseline, in which nothing
    happens, comes first; where that fails the others are not run. The exit code is 0 if whatever was met was survived.
    """
    from fcemu.matrix.scenarios import listing, scenarios, select
    from fcemu.matrix.trial import as_outcomes, as_text, passed

    account = with_key(with_options(load_file(file).account, port=0), key_of_run()[0])
    try:
        chosen = select(scenarios(account, after), only, skip)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if list_only:
        click.echo(listing(chosen))
        return
    from fcemu.matrix.trials import Matrix, run_all

    how = Matrix(account, context.meta["command"], str(file.resolve()), limit, seed, loop_factory(loop))
    trials: list[Trial] = []
    try:
        for trial in run_all(how, chosen):
            trials.append(trial)
            if sys.stderr.isatty():
                click.echo(f"{len(trials)} of {len(chosen)}: {trial.scenario.name} {trial.outcome}", err=True)
    finally:  # what is known when it is interrupted is told as well
        if trials:
            click.echo(as_text(trials, strict))
            shown, names = name_in_repository(file), (function.functionName for function in account.functions)
            publish(as_outcomes(trials, ", ".join(names), shown, strict), f"fcemu matrix {shown}", junit)
    sys.exit(0 if passed(trials, strict) else 1)
