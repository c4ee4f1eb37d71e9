"""Which CORS headers does the gateway add? (D/04/002, "CORS": the default of every trigger)"""

from __future__ import annotations

from collections.abc import Collection

from fcemu.trigger.request import HeaderPairs, RequestHead

EXPOSED = b"Date,x-fc-request-id"
"""`Access-Control-Expose-Headers` of FC 3.0, seen in real responses (semantics 1.4)."""

_EXPOSED: HeaderPairs = ((b"Access-Control-Expose-Headers", EXPOSED),)
_CREDENTIALS: HeaderPairs = ((b"Access-Control-Allow-Credentials", b"true"),)


def is_preflight(head: RequestHead) -> bool:
    """Whether this is a preflight: OPTIONS with `Origin` and `Access-Control-Request-Method`."""
    return (
        head.method == "OPTIONS"
        and head.first(b"origin") is not None
        and head.first(b"access-control-request-method") is not None
    )


def preflight_headers(head: RequestHead) -> HeaderPairs:
    """The headers of the gateway's own answer to a preflight: it allows what was asked for, for 3600 s."""
    echoed = (
        (b"Access-Control-Allow-Methods", head.header("access-control-request-method")),
        (b"Access-Control-Allow-Headers", head.header("access-control-request-headers")),
    )
    pairs = tuple((name, value.encode("utf-8", "surrogateescape")) for name, value in echoed if value is not None)
    return (*pairs, (b"Access-Control-Max-Age", b"3600"))


def response_headers(head: RequestHead, present: Collection[bytes]) -> HeaderPairs:
    """The CORS headers to add to a response. Headers that the function has set stay.

    Args:
        present: the response's header names in lower case.
    """
    added = () if b"access-control-expose-headers" in present else _EXPOSED
    origin = head.first(b"origin")
    if origin is None or b"access-control-allow-origin" in present:
        return added
    credentials = () if b"access-control-allow-credentials" in present else _CREDENTIALS
    return ((b"Access-Control-Allow-Origin", origin), *credentials, *added)
