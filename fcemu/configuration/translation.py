"""What does a translation give? An account's data, its findings, and where each part was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fcemu.errors import Finding, KeyPath
from fcemu.model import Account

ACCOUNT_KEYS = tuple(name for name in Account.model_fields if name != "functions")
"""The keys that stand beside `resources:` (or beside one function's props) and are about the whole account."""


@dataclass
class Translation:
    """An account as plain data, not yet checked.

    Attributes:
        account: the data that `Account` takes.
        origins: where parts of `account` were written; a part that is not listed follows the nearest one above.
        mistakes: what makes the file unusable.
        ignored: what is left out, and why.
    """

    account: dict[str, Any]
    origins: dict[KeyPath, KeyPath]
    mistakes: list[Finding] = field(default_factory=list)
    ignored: list[Finding] = field(default_factory=list)

    def origin(self, path: KeyPath) -> KeyPath:
        """The file's key path of a path in `account`."""
        for length in range(len(path), -1, -1):
            if (source := self.origins.get(path[:length])) is not None:
                return (*source, *path[length:])
        return path
