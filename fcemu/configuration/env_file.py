"""Reads the variables in `fcemu.envFile`."""

from __future__ import annotations

from pathlib import Path

from dotenv import dotenv_values

from fcemu.errors import FcemuError
from fcemu.model import Account


def read_env_file(account: Account) -> dict[str, str]:
    """The variables that `fcemu.envFile` gives to every function.

    Raises:
        FcemuError: the file does not exist.
    """
    path = account.fcemu.envFile
    if path is None:
        return {}
    if not Path(path).is_file():
        raise FcemuError(f"fcemu.envFile: {path} does not exist")
    return {name: value for name, value in dotenv_values(path).items() if value is not None}
