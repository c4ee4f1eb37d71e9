"""The folder in which fcemu keeps files between runs."""

from __future__ import annotations

from pathlib import Path

from fcemu.state_folder import state_folder


def test_folder_follows_the_environment(tmp_path: Path) -> None:
    """XDG_STATE_HOME decides where files are kept; without it, the usual place in the home folder."""
    assert state_folder({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "fcemu"
    assert state_folder({}) == Path.home() / ".local" / "state" / "fcemu"
    assert state_folder({"XDG_STATE_HOME": ""}) == Path.home() / ".local" / "state" / "fcemu"
