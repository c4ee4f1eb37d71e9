"""Which session does a request belong to? (D/04/010-013, D/04/057; fc-semantics 7)

What the four kinds look at:

HEADER_FIELD       the header that is configured; a client makes its own ids, or is given one
GENERATED_COOKIE   the cookie `x-fc-cookie-session-id`, which only the gateway makes
MCP_SSE            `sessionId` in the query; the function makes it and tells it in the first event of the stream
MCP_STREAMABLE     the header `Mcp-Session-Id`; the function makes it and tells it in an answer
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fcemu.errors import FCError, Refusal
from fcemu.model import Function, SessionAffinityConfig
from fcemu.trigger.request import RequestHead

COOKIE = "x-fc-cookie-session-id"
MCP_HEADER = "mcp-session-id"

_ID = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,63}")
"""What can be a session id (D/04/015)."""

_SSE_ID = re.compile(rb"session_?id[\"']?\s*[=:]\s*[\"']?([^\s\"'&,}]+)", re.IGNORECASE)
"""The id in the first event: `data: /message?sessionId=…`, or JSON with it (D/04/012); some SDKs write session_id."""

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True)
class SessionClaim:
    """What a request says of its session.

    Attributes:
        id: of the session; None if the function will tell it in its answer.
        begins: an id that is not known begins a session; else it is refused.
        told: the id was made for this request, and the answer has to tell it.
        ends: an answer of success ends the session.
    """

    id: str | None
    begins: bool = False
    told: bool = False
    ends: bool = False


def claim(function: Function, head: RequestHead, new_id: str) -> SessionClaim | None:
    """The session of a request; None if it needs none.

    Args:
        new_id: what to call the session if the gateway has to make one.

    Raises:
        FCError: SESSION_ID_INVALID.
    """
    config = function.affinity
    match function.sessionAffinity:
        case "HEADER_FIELD":
            assert config is not None
            return _by_header(config, head, new_id)
        case "GENERATED_COOKIE":
            assert config is not None
            id = _cookie(head)
            # INF: what the gateway cannot have made counts as no cookie.
            if id is None or not _ID.fullmatch(id):
                return SessionClaim(new_id, begins=True, told=True)
            return SessionClaim(id, begins=not config.disableSessionIdReuse)
        case "MCP_SSE":
            assert config is not None
            return _by_stream(config, head)
        case "MCP_STREAMABLE":
            id = head.header(MCP_HEADER)
            return SessionClaim(id or None, ends=bool(id) and head.method == "DELETE")
        case _:
            return None


def _by_header(config: SessionAffinityConfig, head: RequestHead, new_id: str) -> SessionClaim:
    name = config.affinityHeaderFieldName or ""
    id = head.header(name)
    if id is None:
        return SessionClaim(new_id, begins=True, told=True)
    if not _ID.fullmatch(id):
        raise FCError(
            Refusal.SESSION_ID_INVALID,
            reason=f"the header {name.lower()} is no session id",
            remedy="send 1 to 64 letters, digits, `_` and `-`; the first one not `-`",
        )
    return SessionClaim(id, begins=True)


def _by_stream(config: SessionAffinityConfig, head: RequestHead) -> SessionClaim | None:
    if head.method == "GET" and head.path == config.sseEndpointPath:
        if head.query:
            raise FCError(
                Refusal.SESSION_ID_INVALID,
                reason=f"{config.sseEndpointPath} begins an MCP session and takes no query",
                remedy="open the stream without a query (D/04/012)",
            )
        return SessionClaim(None)
    query = dict(parse_qsl(head.query))
    id = query.get("sessionId") or query.get("session_id")
    return SessionClaim(id) if id else None


def _cookie(head: RequestHead) -> str | None:
    for name, value in head.headers:
        if name.lower() == b"cookie":
            for pair in value.decode("latin-1").split(";"):
                key, _, id = pair.strip().partition("=")
                if key == COOKIE:
                    return id
    return None


def told_by(function: Function, claim: SessionClaim) -> tuple[bytes, bytes] | None:
    """The response header that tells a client the id that was made for it; None if nothing is to be told."""
    config = function.affinity
    if config is None or claim.id is None or not claim.told:
        return None
    if function.sessionAffinity == "GENERATED_COOKIE":
        return b"Set-Cookie", f"{COOKIE}={claim.id}; Max-Age={config.sessionTTLInSeconds}".encode()
    return (config.affinityHeaderFieldName or "").lower().encode(), claim.id.encode()


class FirstEvent:
    """Finds the session id in the first event of an MCP stream that passes in pieces.

    Args:
        found: told the id, once.
    """

    _LONGEST = 4096

    def __init__(self, found: Callable[[str], None]) -> None:
        self._found: Callable[[str], None] | None = found
        self._data = b""

    def __call__(self, part: bytes) -> None:
        """Look at one more piece of the stream."""
        if self._found is None:
            return
        self._data += part
        end = _EVENT_END.search(self._data)
        if end is None and len(self._data) <= self._LONGEST:
            return
        match = _SSE_ID.search(self._data, 0, end.start() if end else self._LONGEST)
        if match is not None:
            self._found(match[1].decode("latin-1"))
        self._found, self._data = None, b""
