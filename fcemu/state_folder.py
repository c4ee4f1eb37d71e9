"""The folder in which fcemu keeps files between runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def state_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/fcemu`, or `~/.local/state/fcemu` if the variable is not set. The folder need not exist.

    Args:
        environment: the environment variables.

    Raises:
        RuntimeError: the home folder is needed and not known.
    """
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "fcemu"
