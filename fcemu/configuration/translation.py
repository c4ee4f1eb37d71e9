"""The result of translating a file: the data of an account, its findings, and where each part was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fcemu.errors import Finding, KeyPath
from fcemu.model import Account

ACCOUNT_KEYS = tuple(name for name in Account.model_fields if name != "functions")
"""Top-level keys about the whole account, next to `resources:`, `functions:` or one function's props."""


@dataclass
class Translation:
    """An account as plain data, not yet validated.

    Attributes:
        account: the data to validate as an `Account`.
        origins: from a path in `account` to the path in the file; other paths follow their nearest ancestor.
        mistakes: findings that make the file unusable.
        ignored: findings about parts of the file that are left out.
    """

    account: dict[str, Any]
    origins: dict[KeyPath, KeyPath]
    mistakes: list[Finding] = field(default_factory=list)
    ignored: list[Finding] = field(default_factory=list)

    def origin(self, path: KeyPath) -> KeyPath:
        """The path in the file of a path in `account`."""
        for length in range(len(path), -1, -1):
            if (source := self.origins.get(path[:length])) is not None:
                return (*source, *path[length:])
        return path
