"""What does the gateway say to a browser of another origin? (D/04/002, "CORS": the default of every trigger)"""

from __future__ import annotations

from collections.abc import Collection

from fcemu.trigger.request import HeaderPairs, RequestHead

EXPOSED = b"Date,x-fc-request-id"
"""`Access-Control-Expose-Headers` of FC 3.0, seen in real responses (fc-semantics 1.4)."""


def is_preflight(head: RequestHead) -> bool:
    """A preflight request: OPTIONS with an Origin that asks for a method."""
    return (
        head.method == "OPTIONS"
        and head.first(b"origin") is not None
        and head.first(b"access-control-request-method") is not None
    )


def preflight_headers(head: RequestHead) -> HeaderPairs:
    """The gateway's own answer to a preflight, where the trigger's methods lack OPTIONS: echoed, 3600 s."""
    echoed = (
        (b"Access-Control-Allow-Methods", head.header("access-control-request-method")),
        (b"Access-Control-Allow-Headers", head.header("access-control-request-headers")),
    )
    pairs = tuple((name, value.encode("utf-8", "surrogateescape")) for name, value in echoed if value is not None)
    return (*pairs, (b"Access-Control-Max-Age", b"3600"))


def response_headers(head: RequestHead, present: Collection[bytes]) -> HeaderPairs:
    """What is added to a response whose lower-case header names are `present`: never over the function's own."""
    added: list[tuple[bytes, bytes]] = []
    origin = head.first(b"origin")
    if origin is not None and b"access-control-allow-origin" not in present:
        added.append((b"Access-Control-Allow-Origin", origin))
        if b"access-control-allow-credentials" not in present:
            added.append((b"Access-Control-Allow-Credentials", b"true"))
    if b"access-control-expose-headers" not in present:
        added.append((b"Access-Control-Expose-Headers", EXPOSED))
    return tuple(added)
