"""Which documented failure of the cloud do some rules cause?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECONNECT = "reconnect after 1006, and resend what was not answered"
"""How a client survives a broken connection."""


@dataclass(frozen=True)
class Failure:
    """A documented failure, and the rules that cause it; `fcemu matrix` has a scenario for each.

    Attributes:
        happens: what happens, in a few words.
        source: where the failure is documented (docs/explanation/sources.md).
        advice: how a client survives it.
        rules: the keys of each rule that causes it, without `name`.
        missed: why a client has not met it.
        of_credentials: it happens only where requests are authenticated.
    """

    name: str
    happens: str
    source: str
    advice: str
    rules: tuple[Mapping[str, Any], ...]
    missed: str = "it sent no request"
    of_credentials: bool = False


def first(kind: str | None = None, after: Mapping[str, Any] | None = None, **keys: Any) -> Mapping[str, Any]:
    """The keys of a rule for the first request, start or connection.

    Args:
        kind: `http` or `websocket`; None for both.
        after: when it happens; None for at once.
        keys: the action, and the rule's other keys.
    """
    return {"match": {"kind": kind, "nth": "1"}, "after": after, **keys}


def first_connection(after: Mapping[str, Any], **keys: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Two rules: one for the first WebSocket, `after` something; one for the first plain request, at once."""
    return first("websocket", after, **keys), first("http", **keys)
