"""How large may a request or a response be? (D/04/002; 1 KB = 1024 bytes)"""

from __future__ import annotations

import re

from fcemu.errors import FCError, Refusal
from fcemu.trigger.request import RequestHead

HEADERS = 8 * 1024
"""Bytes of all header names and values together, of a request and of a response."""

TARGET = 4 * 1024
"""Bytes of the path including the query."""

BODY = 32 * 1024 * 1024
"""Bytes of a synchronous request's body."""

# RFC 9110 7.2, 4.2: the form of a Host. A looser form could reach a function that the router does not mean.
_HOST = re.compile(rb"([A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]*)?")


def wrong_hosts(head: RequestHead) -> str | None:
    """Why a request does not name exactly one host (RFC 9112 3.2); None if it does. HTTP/1.0 may name none."""
    hosts = len(head.values(b"host"))
    if hosts > 1:
        return "more than one Host header"
    return "no Host header" if not hosts and head.version >= (1, 1) else None


def enforce_host(head: RequestHead) -> None:
    """Refuse a request whose host is not certain (RFC 9112 3.2).

    Raises:
        FCError: BAD_REQUEST.
    """
    detail = wrong_hosts(head)
    if detail is None:
        host = head.first(b"host")
        if host is None or _HOST.fullmatch(host.strip()):
            return
        detail = "invalid Host header"
    raise FCError(Refusal.BAD_REQUEST, detail=detail, remedy="send exactly one Host header: name[:port]")


def enforce_message(head: RequestHead) -> None:
    """Refuse a request that the parser accepts, but that two servers could read differently (RFC 9112 11.2).

    Raises:
        FCError: BAD_REQUEST.
    """
    codings = [value.strip().lower() for value in head.values(b"transfer-encoding")] if head.is_chunked else ()
    if codings and (codings != [b"chunked"] or head.version < (1, 1)):
        detail = "Transfer-Encoding can only be `chunked`, in HTTP/1.1"
    elif not head.target.startswith("/") and (head.method, head.target) != ("OPTIONS", "*"):
        detail = "invalid request target"
    else:
        return
    raise FCError(Refusal.BAD_REQUEST, detail=detail, remedy="send HTTP/1.1 as RFC 9112 has it")


def enforce_request(head: RequestHead) -> None:
    """Refuse a request that exceeds the trigger's limits.

    Raises:
        FCError: TARGET_TOO_LARGE, HEADERS_TOO_LARGE or BODY_TOO_LARGE.
    """
    target = len(head.target)
    if target > TARGET // 4 and not head.target.isascii():
        target = len(head.target.encode("utf-8", "surrogateescape"))
    if target > TARGET:
        raise FCError(
            Refusal.TARGET_TOO_LARGE, size=target, limit=TARGET, remedy="move data from the query to the body"
        )
    if head.size > HEADERS:
        raise FCError(
            Refusal.HEADERS_TOO_LARGE,
            size=head.size,
            limit=HEADERS,
            remedy="send fewer or shorter headers or cookies",
        )
    if head.content_length is not None and head.content_length > BODY:
        raise body_too_large()


def body_too_large() -> FCError:
    """The error for a body over the limit, whether its length was announced or counted."""
    return FCError(
        Refusal.BODY_TOO_LARGE, limit=BODY, remedy="send large data through OSS and pass its address instead"
    )
