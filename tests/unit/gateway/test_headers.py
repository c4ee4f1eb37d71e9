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


def test_headers_that_connection_names_are_dropped_before_authentication() -> None:
    """The headers that `Connection` names go, except those that frame and describe the body."""
    head = request((b"Connection", b"X-Claim, content-length"), (b"X-Claim", b"forged"), (b"Content-Length", b"3"))
    assert headers.without_hops(head).headers == ((b"Host", b"fn.localhost"), (b"Content-Length", b"3"))
    assert headers.without_hops(plain := request((b"X-Claim", b"own"))) is plain


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        (((b"Transfer-Encoding", b"chunked"),), b"Transfer-Encoding: chunked"),
        (((b"Content-Length", b"007"),), b"Content-Length: 7"),
    ],
)
def test_body_of_a_request_is_framed_once(pairs: tuple[tuple[bytes, bytes], ...], line: bytes) -> None:
    """The function gets one header that frames the body, written by the gateway."""
    lines = sent(request(*pairs, method="POST"))
    assert [each for each in lines if each.lower().startswith((b"transfer-", b"content-length"))] == [line]


def test_request_without_host_gets_one() -> None:
    """A client of HTTP/1.0 may leave out the Host header; the function always gets one."""
    assert b"Host: localhost" in sent(RequestHead("GET", "/", (), version=(1, 0)))


def test_scheme_of_a_proxy_in_front_is_kept() -> None:
    """`X-Forwarded-Proto` is set if the client sent none."""
    assert b"X-Forwarded-Proto: http" in sent(request())
    lines = sent(request((b"X-Forwarded-Proto", b"https")))
    assert [line for line in lines if line.startswith(b"X-Forwarded-Proto")] == [b"X-Forwarded-Proto: https"]


def test_apk_is_refused_on_the_public_default_domain() -> None:
    """A download of an Android package is refused on the vendor's public domain only."""
    head = ResponseHead(200, b"OK", ((b"Content-Type", b"application/vnd.android.package-archive"),))
    with pytest.raises(FCError) as caught:
        headers.enforce_response(head, request(), route(), "external")
    assert caught.value.refusal is Refusal.APK_DOWNLOAD
    for host in (b"fn-vpc.localhost", b"a.test"):
        headers.enforce_response(head, request(host=host), route(host), "external")


LENGTH = (b"Content-Length", b"5")


@pytest.mark.parametrize(
    ("status", "pairs", "method", "framing"),
    [
        (200, (LENGTH,), "GET", [b"Content-Length: 5"]),
        (200, (), "GET", [b"Transfer-Encoding: chunked"]),
        (200, (LENGTH,), "HEAD", [b"Content-Length: 5"]),
        (200, (), "HEAD", []),
        (304, (LENGTH,), "GET", [b"Content-Length: 5"]),
        (304, (), "GET", []),
        (204, (LENGTH,), "GET", []),
    ],
)
def test_response_is_framed_as_its_body_needs(
    status: int, pairs: tuple[tuple[bytes, bytes], ...], method: str, framing: list[bytes]
) -> None:
    """A known length is announced, an unknown one is chunked, and an answer without a body has neither by itself."""
    lines = answered(ResponseHead(status, b"X", pairs), request(method=method))
    assert [line for line in lines if line.startswith((b"Content-Length", b"Transfer-Encoding"))] == framing


def test_session_header_is_added() -> None:
    """A client gets the header that names its session."""
    head, to = ResponseHead(200, b"OK", ()), request()
    raw = headers.response_bytes(
        head, Body(head, "GET", rechunk=True), to, route(), request_id="1-a", date="now", close=False,
        session_header=(b"Set-Cookie", b"s=1"),
    )  # fmt: skip
    assert b"\r\nSet-Cookie: s=1\r\n" in raw


def test_client_of_http10_is_told_that_the_connection_stays() -> None:
    """To a client of HTTP/1.0 the connection that stays open is announced."""
    head = ResponseHead(200, b"OK", (LENGTH,))
    old = RequestHead("GET", "/", ((b"Host", b"fn.localhost"), (b"Connection", b"keep-alive")), version=(1, 0))
    assert b"Connection: keep-alive" in answered(head, old)


def test_interim_answer_passes_unchanged() -> None:
    """A 1xx answer reaches the client as the function sent it."""
    head = ResponseHead(103, b"Early Hints", ((b"Link", b"</a>"),))
    assert headers.interim_bytes(head) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_preflight_is_answered_by_the_gateway() -> None:
    """The answer to a preflight is an empty 200 that allows what was asked for."""
    asked = request((b"Origin", b"https://x.test"), (b"Access-Control-Request-Method", b"PUT"), method="OPTIONS")
    raw = headers.preflight_bytes(asked, route(), request_id="1-a", date="now", close=False)
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0\r\n" in raw
    assert b"Access-Control-Allow-Origin: https://x.test" in raw


def test_failed_initializer_answers_in_the_functions_form() -> None:
    """The body of a failed initializer has the function's error message instead of the three keys."""
    error = FCError(Refusal.INITIALIZATION_FAILED, detail="it failed")
    raw = headers.refusal_bytes(error, request(), route(), request_id="1-a", date="now", close=False)
    assert json.loads(raw.partition(b"\r\n\r\n")[2]) == {"errorMessage": "it failed"}
