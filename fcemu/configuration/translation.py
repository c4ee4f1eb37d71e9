"""What comes out of a translation to an account: keys, remarks, where each came from?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fcemu.model import Account

KeyPath = tuple[str | int, ...]
"""The keys and list positions that lead to a value: `("triggers", 0, "triggerName")`."""

ACCOUNT_KEYS = tuple(name for name in Account.model_fields if name != "functions")
"""The keys that stand beside `resources:` (or beside one function's props) and are about the whole account."""


@dataclass(frozen=True)
class Remark:
    """Something to say about one place of the file; `path` is the file's own key path."""

    path: KeyPath
    text: str


@dataclass
class Translation:
    """An account as plain data, not yet checked.

    Attributes:
        account: the data that `Account` takes.
        origins: where parts of `account` were written; a part that is not listed follows the nearest one above.
        problems: what makes the file unusable.
        ignored: what is left out, and why.
    """

    account: dict[str, Any]
    origins: dict[KeyPath, KeyPath]
    problems: list[Remark] = field(default_factory=list)
    ignored: list[Remark] = field(default_factory=list)

    def origin(self, path: KeyPath) -> KeyPath:
        """The file's key path of a path in `account`."""
        for length in range(len(path), -1, -1):
            if (source := self.origins.get(path[:length])) is not None:
                return (*source, *path[length:])
        return path
