"""The gateway's CORS headers."""

from __future__ import annotations

from fcemu.trigger import cors
from fcemu.trigger.request import RequestHead

ORIGIN = RequestHead("GET", "/", ((b"Origin", b"https://a.test"),))


def test_origin_is_echoed_with_credentials() -> None:
    """A request with an Origin gets it echoed, credentials allowed, and FC's headers exposed."""
    assert cors.response_headers(ORIGIN, set()) == (
        (b"Access-Control-Allow-Origin", b"https://a.test"),
        (b"Access-Control-Allow-Credentials", b"true"),
        (b"Access-Control-Expose-Headers", b"Date,x-fc-request-id"),
    )


def test_headers_of_the_function_are_left_alone() -> None:
    """CORS headers that the function sets are not overridden."""
    assert cors.response_headers(ORIGIN, {b"access-control-allow-origin", b"access-control-expose-headers"}) == ()


def test_request_without_origin_gets_only_the_exposed_headers() -> None:
    """A client without Origin gets the expose header that real responses carry."""
    head = RequestHead("GET", "/", ())
    assert cors.response_headers(head, set()) == ((b"Access-Control-Expose-Headers", b"Date,x-fc-request-id"),)


def test_preflight_echoes_what_is_asked_for() -> None:
    """The gateway's preflight answer echoes the method and headers, for an hour."""
    head = RequestHead(
        "OPTIONS",
        "/",
        (
            (b"Origin", b"https://a.test"),
            (b"Access-Control-Request-Method", b"PUT"),
            (b"Access-Control-Request-Headers", b"x-a"),
        ),
    )
    assert cors.is_preflight(head)
    assert cors.preflight_headers(head) == (
        (b"Access-Control-Allow-Methods", b"PUT"),
        (b"Access-Control-Allow-Headers", b"x-a"),
        (b"Access-Control-Max-Age", b"3600"),
    )
    assert not cors.is_preflight(ORIGIN)
