"""Where do results go? The terminal, a JUnit file, GitHub Actions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fcemu.errors import FcemuError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fcemu.outcomes import Outcome


def print_and_publish(found: Sequence[Outcome], title: str, junit: Path | None) -> None:
    """Print outcomes and publish them."""
    from fcemu import outcomes

    click.echo(outcomes.as_table(found))
    publish(found, title, junit)


def publish(found: Sequence[Outcome], title: str, junit: Path | None) -> None:
    """Write outcomes to `junit`, and in GitHub Actions mark the configuration and add to the summary.

    Raises:
        FcemuError: a file cannot be written.
    """
    import time

    from fcemu import outcomes

    try:
        if junit is not None:
            junit.write_text(outcomes.as_junit(found, title, time.time()), "utf-8")
        if "GITHUB_ACTIONS" in os.environ:
            for line in outcomes.as_annotations(found):
                click.echo(line)
            if page := os.environ.get("GITHUB_STEP_SUMMARY"):
                with open(page, "a", encoding="utf-8") as opened:
                    opened.write(outcomes.as_markdown(found, title))
    except OSError as error:
        raise FcemuError(f"the outcomes cannot be written: {error}") from error
