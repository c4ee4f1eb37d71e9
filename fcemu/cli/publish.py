"""Prints the outcomes of checks, and writes them to a JUnit file and to GitHub Actions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.errors import FcemuError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fcemu.outcomes import Outcome


def print_and_publish(results: Sequence[Outcome], title: str, junit: Path | None) -> None:
    """Print outcomes as a table, and publish them."""
    from fcemu import outcomes

    click.echo(outcomes.as_table(results))
    publish(results, title, junit)


def publish(results: Sequence[Outcome], title: str, junit: Path | None) -> None:
    """Write outcomes to `junit`; in GitHub Actions also annotate the configuration and add to the job summary.

    Raises:
        FcemuError: a file could not be written.
    """
    import time

    from fcemu import outcomes

    try:
        if junit is not None:
            junit.write_text(outcomes.as_junit(results, title, time.time()), "utf-8")
        if "GITHUB_ACTIONS" in os.environ:
            for line in outcomes.as_annotations(results):
                click.echo(line)
            if page := os.environ.get("GITHUB_STEP_SUMMARY"):
                with open(page, "a", encoding="utf-8") as opened:
                    opened.write(outcomes.as_markdown(results, title))
    except OSError as error:
        raise FcemuError(f"the results cannot be written: {error}") from error
