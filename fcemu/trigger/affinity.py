"""Which session does a request belong to? (D/04/010-013, D/04/057; semantics 7)

Where the id of the session is:

HEADER_FIELD       in the configured header; the client chooses it, or else the gateway
GENERATED_COOKIE   in the cookie `x-fc-cookie-session-id`; the gateway chooses it
MCP_SSE            in `sessionId` of the query; the function chooses it and sends it in the first event of the stream
MCP_STREAMABLE     in the header `Mcp-Session-Id`; the function chooses it and sends it in an answer
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
"""The form of a session id (D/04/015)."""

_SSE_ID = re.compile(rb"session_?id[\"']?\s*[=:]\s*[\"']?([^\s\"'&,}]+)", re.IGNORECASE)
"""The id in the first event: `data: /message?sessionId=…`, or in JSON (D/04/012). Some SDKs write session_id."""

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(frozen=True)
class SessionClaim:
    """What a request says about its session.

    Attributes:
        id: of the session; None if the function will send it in its answer.
        begins: an unknown id begins a session; otherwise the request is refused.
        is_new: the gateway chose the id for this request, so the answer has to carry it.
        ends: a successful answer ends the session.
    """

    id: str | None
    begins: bool = False
    is_new: bool = False
    ends: bool = False


def claim(function: Function, head: RequestHead, new_id: str) -> SessionClaim | None:
    """The session of a request; None if it needs none.

    Args:
        new_id: the id of the session if the gateway has to choose one.

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
            # INF: an id that the gateway cannot have chosen counts as no cookie.
            if id is None or not _ID.fullmatch(id):
                return SessionClaim(new_id, begins=True, is_new=True)
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
        return SessionClaim(new_id, begins=True, is_new=True)
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


def session_header(function: Function, claim: SessionClaim) -> tuple[bytes, bytes] | None:
    """The response header with the id that the gateway chose for a client; None if it chose none."""
    config = function.affinity
    if config is None or claim.id is None or not claim.is_new:
        return None
    if function.sessionAffinity == "GENERATED_COOKIE":
        return b"Set-Cookie", f"{COOKIE}={claim.id}; Max-Age={config.sessionTTLInSeconds}".encode()
    return (config.affinityHeaderFieldName or "").lower().encode(), claim.id.encode()


class FirstEvent:
    """Finds the session id in the first event of an MCP stream, which arrives in pieces.

    Args:
        found: called with the id, at most once.
    """

    _LONGEST = 4096

    def __init__(self, found: Callable[[str], None]) -> None:
        self._found: Callable[[str], None] | None = found
        self._data = b""

    def __call__(self, part: bytes) -> None:
        """Search one more piece of the stream."""
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
