"""Headers that are dropped and added on the way to the function and back."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from fcemu.errors import FCError, Refusal
from fcemu.gateway import headers
from fcemu.gateway.response import Body, ResponseHead, lines
from fcemu.instances.environment import common_headers
from fcemu.model import Account
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route, Router

ACCOUNT = Account.model_validate(
    {
        "functions": [
            {"functionName": "fn", "triggers": [{"triggerName": "t", "triggerConfig": {"methods": ["GET"]}}]}
        ],
        "customDomains": [{"domainName": "a.test", "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]}}],
    }
)


def request(*pairs: tuple[bytes, bytes], host: bytes = b"fn.localhost", method: str = "GET") -> RequestHead:
    """A request for the path /a%2Fb?c."""
    return RequestHead(method, "/a%2Fb?c", ((b"Host", host), *pairs))


def route(host: bytes = b"fn.localhost") -> Route:
    """Where a request to that host goes."""
    return Router(ACCOUNT).route(request(host=host))


def sent(head: RequestHead, websocket: bool = False) -> list[bytes]:
    """The lines that the instance gets."""
    common = lines(common_headers(ACCOUNT.functions[0], "LATEST", "42"))
    start = headers.request_start(head, common, base_path="", websocket=websocket)
    return headers.request_bytes(start, "1-a").split(b"\r\n")


def test_request_line_and_headers_stay_as_they_were_sent() -> None:
    """Method, raw target and header pairs pass in their order, case and number."""
    lines = sent(request((b"X-A", b"1"), (b"x-a", b"2")))
    assert lines[:4] == [b"GET /a%2Fb?c HTTP/1.1", b"Host: fn.localhost", b"X-A: 1", b"x-a: 2"]


def test_clients_platform_and_hop_by_hop_headers_are_dropped() -> None:
    """x-fc-* of a client, hop-by-hop headers and what Connection names do not reach the function."""
    lines = sent(
        request(
            (b"X-Fc-Request-Id", b"forged"), (b"Connection", b"keep-alive, X-Hop"), (b"Keep-Alive", b"1"),
            (b"X-Hop", b"1"), (b"TE", b"trailers"), (b"Upgrade", b"h2c"), (b"X-Kept", b"1"),
        )
    )  # fmt: skip
    names = [line.partition(b":")[0].lower() for line in lines]
    assert {b"connection", b"keep-alive", b"x-hop", b"te", b"upgrade"} & set(names) == set()
    assert lines.count(b"X-Fc-Request-Id: 1-a") == 1
    assert b"x-kept" in names


def test_connection_cannot_name_away_what_frames_the_body() -> None:
    """A client that names the framing headers in Connection does not turn its body into a second request."""
    head = request(
        (b"Connection", b"content-length, transfer-encoding, content-type, host"),
        (b"Content-Length", b"5"),
        (b"Content-Type", b"text/plain"),
        method="POST",
    )
    lines = sent(head)
    for line in (b"Host: fn.localhost", b"Content-Length: 5", b"Content-Type: text/plain"):
        assert lines.count(line) == 1
    chunked = request((b"Connection", b"transfer-encoding"), (b"Transfer-Encoding", b"chunked"), method="POST")
    assert b"Transfer-Encoding: chunked" in sent(chunked)


def test_platform_headers_are_set_and_empty_ones_too() -> None:
    """The common headers are all there; those without a value are sent empty."""
    lines = sent(request())
    for line in (b"X-Fc-Function-Name: fn", b"X-Fc-Access-Key-Id: ", b"X-Fc-Control-Path: /http-invoke",
                 b"X-Fc-Base-Path: /a%2Fb", b"X-Fc-Qualifier: LATEST", b"X-Forwarded-Proto: http"):  # fmt: skip
        assert line in lines
    assert not any(line.lower().startswith(b"x-forwarded-for") for line in lines)


def test_upgrade_keeps_the_headers_that_make_it_one() -> None:
    """A WebSocket handshake keeps its upgrade and its key."""
    lines = sent(request((b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"websocket"),
                         (b"Sec-WebSocket-Key", b"k")), websocket=True)  # fmt: skip
    assert lines.count(b"Connection: Upgrade") == 1
    assert lines.count(b"Upgrade: websocket") == 1
    assert b"Sec-WebSocket-Key: k" in lines


def answered(head: ResponseHead, to: RequestHead | None = None) -> list[bytes]:
    """The lines that the client gets."""
    to = to or request()
    body = Body(head, to.method, rechunk=True)
    return headers.response_bytes(
        head, body, to, route(to.host.encode()), request_id="1-a", date="now", close=False
    ).split(b"\r\n")


FUNCTIONS_OWN = ResponseHead(
    200,
    b"OK",
    (
        (b"Server", b"x"), (b"Date", b"x"), (b"X-Fc-Foo", b"x"), (b"Content-Disposition", b"inline"),
        (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Content-Length", b"3"),
    ),
)  # fmt: skip


def test_reserved_response_headers_are_replaced() -> None:
    """Reserved headers of a function are dropped, and the gateway's own are set."""
    lines = answered(FUNCTIONS_OWN)
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert [line for line in lines if line.startswith(b"Set-Cookie")] == [b"Set-Cookie: a=1", b"Set-Cookie: b=2"]
    assert not any(line.startswith((b"Server", b"X-Fc-Foo")) for line in lines)
    for line in (b"Content-Disposition: attachment", b"X-Fc-Request-Id: 1-a", b"Date: now", b"Content-Length: 3"):
        assert lines.count(line) == 1


def test_custom_domain_does_not_force_a_download() -> None:
    """On a custom domain the function's Content-Disposition stays."""
    lines = answered(FUNCTIONS_OWN, request(host=b"a.test"))
    assert b"Content-Disposition: inline" in lines
    assert b"Content-Disposition: attachment" not in lines


@pytest.mark.parametrize(
    ("location", "redirects", "refused"),
    [
        (b"/here", "external", False), (b"https://other.test/", "external", True), (b"//other.test/", "external", True),
        (b"http://fn.localhost/x", "external", False), (b"/here", "every", True),
        (b"https://other.test/", "allow", False),
        (b"http://[bad", "external", True),
    ],
)  # fmt: skip
def test_redirect_on_the_default_domain(location: bytes, redirects: str, refused: bool) -> None:
    """A redirect to another host is refused on a default domain, or every one, or none, as configured."""
    head = ResponseHead(302, b"Found", ((b"Location", location),))
    expectation: Any = pytest.raises(FCError) if refused else contextlib.nullcontext()
    with expectation as caught:
        headers.enforce_response(head, request(), route(), redirects)
    assert not refused or caught.value.refusal is Refusal.EXTERNAL_REDIRECT
    headers.enforce_response(head, request(host=b"a.test"), route(b"a.test"), redirects)


def test_large_response_headers_are_a_bad_response() -> None:
    """Response headers over 8 KB are 502, on every domain."""
    head = ResponseHead(200, b"OK", ((b"X", b"x" * 8192),))
    with pytest.raises(FCError, match="8193 bytes"):
        headers.enforce_response(head, request(host=b"a.test"), route(b"a.test"), "external")


def test_switching_answer_keeps_the_functions_headers() -> None:
    """A 101 carries the function's own headers and our request id."""
    head = ResponseHead(
        101, b"Switching Protocols", ((b"Upgrade", b"websocket"), (b"X-Fc-A", b"x"), (b"Server", b"mine"))
    )
    assert headers.switching_bytes(head, request_id="1-a").split(b"\r\n") == [
        b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Server: mine", b"X-Fc-Request-Id: 1-a", b"", b"",
    ]  # fmt: skip


def test_refusal_has_the_clouds_body_and_headers() -> None:
    """A refusal is a whole response with the three keys in the cloud's order."""
    error = FCError(Refusal.METHOD_NOT_ALLOWED, method="PUT")
    raw = headers.refusal_bytes(error, request(), route(), request_id="1-a", date="now", close=True)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"X-Fc-Error-Type: FCCommonError" in head
    assert b"Connection: close" in head
    assert list(json.loads(body)) == ["RequestId", "Code", "Message"]


def test_refusal_of_head_has_no_body() -> None:
    """The answer to HEAD ends with its headers."""
    error = FCError(Refusal.METHOD_NOT_ALLOWED, method="HEAD")
    raw = headers.refusal_bytes(error, request(method="HEAD"), None, request_id="1-a", date="now", close=False)
    assert raw.endswith(b"\r\n\r\n")
