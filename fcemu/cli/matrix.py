"""`fcemu matrix` runs a client's test once per documented failure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.cli.options import (
    FILE,
    LOOP,
    TrailingCommandOrList,
    fallback_key,
    load_configuration,
    loop_factory,
    repository_path,
    with_fallback_key,
    with_options,
)
from fcemu.cli.publish import publish

if TYPE_CHECKING:
    from fcemu.matrix.trial import Trial


@click.command(cls=TrailingCommandOrList)
@FILE
@click.option("--list", "list_only", is_flag=True, help="List the scenarios and exit.")
@click.option(
    "--only", multiple=True, metavar="SCENARIO", help="Run only the baseline and this scenario; may be repeated."
)
@click.option("--skip", multiple=True, metavar="SCENARIO", help="Skip this scenario; may be repeated.")
@click.option(
    "--after",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds that a connection lasts or is idle before a scenario that depends on time acts on it.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Seconds that COMMAND may run in one scenario; then it is stopped and counts as hung.",
)
@click.option("--strict", is_flag=True, help="Fail if COMMAND does not meet a scenario.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for random choices.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the results to this file as JUnit XML.")
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
    """Run your client's test once per documented failure.

    COMMAND is the test. For each scenario, fcemu serves the functions of FILE (default: trigger.yaml) from scratch and
    runs COMMAND as `fcemu exec` does, with the scenario's name in FCEMU_SCENARIO. The client survives the scenario if
    COMMAND exits with 0. The baseline, in which nothing goes wrong, runs first; if it fails, the other scenarios are
    not run. The exit code is 0 if the client survived every failure that it met.
    """
    from fcemu.matrix.scenarios import listing, scenarios, select
    from fcemu.matrix.trial import as_outcomes, as_text, passed

    account = with_fallback_key(with_options(load_configuration(file).account, port=0), fallback_key()[0])
    try:
        chosen = select(scenarios(account, after), only, skip)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if list_only:
        click.echo(listing(chosen))
        return
    from fcemu.matrix.runner import Matrix, run_all

    run = Matrix(account, context.meta["command"], str(file.resolve()), limit, seed, loop_factory(loop))
    trials: list[Trial] = []
    try:
        for trial in run_all(run, chosen):
            trials.append(trial)
            if sys.stderr.isatty():
                click.echo(f"{len(trials)} of {len(chosen)}: {trial.scenario.name} {trial.verdict}", err=True)
    finally:  # after an interruption, too, report the scenarios that have run
        if trials:
            click.echo(as_text(trials, strict))
            shown, names = repository_path(file), (function.functionName for function in account.functions)
            publish(as_outcomes(trials, ", ".join(names), shown, strict), f"fcemu matrix {shown}", junit)
    sys.exit(0 if passed(trials, strict) else 1)
