"""`fcemu smoke` checks what a configuration promises."""

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
    fallback_key,
    load_configuration,
    open_log,
    repository_path,
    runner_for,
    with_fallback_key,
)
from fcemu.cli.publish import print_and_publish
from fcemu.errors import ConfigError


@click.command()
@FILE
@click.option("--function", "only", multiple=True, metavar="NAME", help="Check only this function; may be repeated.")
@click.option("--path", default="/", show_default=True, help="Path of the requests; may include a query.")
@click.option("--websocket", is_flag=True, help="Fail if a function does not accept WebSockets.")
@click.option(
    "--timeout-scale",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Fraction of each timeout to wait in real time, e.g. 0.01; by default only the clock is advanced.",
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write the results to this file as JUnit XML.")
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
    """Check that the functions of FILE do what it promises.

    FILE is trigger.yaml unless you name another. Each function must start, answer and stop; its triggers must refuse
    what they should; its limits and its timeout must hold. The results are printed as a table, in GitHub Actions also
    as annotations and in the job summary. The exit code is 0 if nothing failed, 1 if something failed, and 2 if the
    configuration is wrong.
    """
    from fcemu import outcomes
    from fcemu.configuration.source_lines import SourceLines
    from fcemu.smoke.prober import SmokeRun
    from fcemu.smoke.run import prepare, run_checks

    shown = repository_path(file)
    try:
        account = with_fallback_key(load_configuration(file).account, fallback_key()[0])
    except ConfigError as error:
        if "GITHUB_ACTIONS" in os.environ:
            for finding in error.findings:
                click.echo(outcomes.annotation(shown, finding.line, finding.key or "configuration", finding.text))
        raise
    known = [function.functionName for function in account.functions]
    if unknown := [name for name in only if name not in known]:
        raise click.BadParameter(f"no function {unknown[0]!r}; configured: {', '.join(known)}")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise click.BadParameter(f"{path!r} must begin with / and be percent-encoded")
    prepared, identity = prepare(account, file)
    lines = SourceLines(file.read_text("utf-8"), os.environ)
    run = SmokeRun(
        config=str(file.resolve()),
        shown=shown,
        account=prepared,
        identity=identity,
        path=path,
        only=frozenset(only),
        websocket=websocket,
        timeout_scale=timeout_scale,
        line=lines.line,
    )
    with open_log(log, log_format) as printer, runner_for(loop) as runner:
        results = runner.run(run_checks(run, printer))
    print_and_publish(results, f"fcemu smoke {shown}", junit)
    sys.exit(1 if outcomes.count(results, "failed") else 0)
