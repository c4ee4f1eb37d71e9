"""`fcemu smoke`: check what a configuration promises."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fcemu.cli.options import (
    FILE,
    LOG,
    LOG_FORMAT,
    LOOP,
    key_of_run,
    load_file,
    log_printer,
    name_in_repository,
    runner_for,
    with_key,
)
from fcemu.cli.publish import print_and_publish
from fcemu.errors import ConfigError


@click.command()
@FILE
@click.option("--function", "only", multiple=True, metavar="NAME", help="Check this one; may be repeated.")
@click.option("--path", default="/", show_default=True, help="The path of requests, with a query if need be.")
@click.option("--websocket", is_flag=True, help="Fail where a function does not take WebSockets.")
@click.option(
    "--timeout-scale",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Wait for so much of each timeout in truth, such as 0.01; by default the clock is put forward.",
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write the outcomes there, as JUnit XML.")
@LOG
@LOG_FORMAT
@LOOP
def smoke(
    file: Path,
    only: tuple[str, ...],
    path: str,
    websocket: bool,
    timeout_scale: float,
    junit: Path | None,
    log: str | None,
    log_format: str,
    loop: str,
) -> None:
    """Check what the configuration FILE (default: trigger.yaml) promises: each function starts, answers, stops.

    So are the refusals that its triggers promise, its limits and its timeout. Prints a table; in GitHub Actions also
    annotations and the job's summary. Exit code 0 if nothing failed, 1 if something did, 2 for a bad configuration.
    """
    from fcemu import outcomes
    from fcemu.configuration.source_lines import Places
    from fcemu.smoke import prober

    shown = name_in_repository(file)
    try:
        account = with_key(load_file(file).account, key_of_run()[0])
    except ConfigError as error:
        if "GITHUB_ACTIONS" in os.environ:
            for finding in error.findings:
                click.echo(outcomes.annotation(shown, finding.line, finding.key or "configuration", finding.text))
        raise
    known = [function.functionName for function in account.functions]
    if unknown := [name for name in only if name not in known]:
        raise click.BadParameter(f"no function {unknown[0]!r}; configured: {', '.join(known)}")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise click.BadParameter(f"{path!r} does not begin with / or is not percent-encoded")
    prepared, identity = prober.prepared(account, file)
    places = Places(file.read_text("utf-8"), os.environ)
    run = prober.Smoke(
        config=str(file.resolve()),
        shown=shown,
        account=prepared,
        identity=identity,
        path=path,
        only=frozenset(only),
        websocket=websocket,
        timeout_scale=timeout_scale,
        line=places.line,
    )
    with log_printer(log, log_format) as printer, runner_for(loop) as runner:
        found = runner.run(prober.probe(run, printer))
    print_and_publish(found, f"fcemu smoke {shown}", junit)
    sys.exit(1 if outcomes.count(found, "failed") else 0)
