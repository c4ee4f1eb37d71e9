"""Where does fcemu keep what outlives a run?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def folder(environment: Mapping[str, str]) -> Path:
    """Where fcemu keeps what outlives a run: `$XDG_STATE_HOME/fcemu`, or `~/.local/state/fcemu`."""
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "fcemu"
