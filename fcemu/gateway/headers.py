"""Which headers are dropped and added, on the way to the function and back? (semantics 1.3, 1.4, 1.5, 5.3)"""

from __future__ import annotations

import json
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlsplit

from fcemu.errors import FCError, Refusal
from fcemu.gateway.response import Body, ResponseHead, bad_response, lines
from fcemu.trigger import cors, limits
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_NEVER_NAMED = frozenset((b"host", b"content-length", b"content-type", b"transfer-encoding"))
_DROPPED = _HOP_BY_HOP | {b"content-length"}


def without_hops(head: RequestHead) -> RequestHead:
    """The request without `Connection` and the headers that it names (RFC 9110 7.6.1).

    This happens before authentication. Otherwise a client could name headers that authentication sets, and so remove
    them. The headers that frame and describe the body always stay: without them the body would be read as a request.
    """
    if head.first(b"connection") is None:
        return head
    dropped = _named(head) | {b"connection"}
    kept = (pair for pair, lower in zip(head.headers, head.names, strict=True) if lower not in dropped)
    return replace(head, headers=tuple(kept))


def _named(head: RequestHead) -> frozenset[bytes]:
    """The headers that a client asks to drop, and may."""
    return head.tokens(b"connection") - _NEVER_NAMED


def request_start(head: RequestHead, common: bytes, *, base_path: str, websocket: bool) -> bytes:
    """The head that the instance gets, up to the request id: method, raw target and header pairs in their order.

    The client's `x-fc-*`, hop-by-hop headers (except those of an upgrade) and the headers that `Connection` names are
    dropped.

    Args:
        common: the header lines that every request to the function carries.
        base_path: the FC 2.0 prefix; empty if the function sees the bare path.
        websocket: the request opens a socket.
    """
    path = (base_path or head.path).encode("utf-8", "surrogateescape")
    return b"%b%bX-Fc-Base-Path: %b\r\nX-Fc-Control-Path: /http-invoke\r\n" % (
        _request_lines(head, websocket),
        common,
        path,
    )


def request_bytes(start: bytes, request_id: str) -> bytes:
    """The whole head that the instance gets."""
    return b"%bX-Fc-Request-Id: %b\r\n\r\n" % (start, request_id.encode())


def _request_lines(head: RequestHead, websocket: bool) -> bytes:
    """The request line, and the header lines that depend on the client's request alone."""
    dropped = _DROPPED
    if not websocket and head.first(b"connection") is not None:
        dropped = _DROPPED | _named(head)
    pairs = [
        pair
        for pair, lower in zip(head.headers, head.names, strict=True)
        if lower not in dropped and not lower.startswith(b"x-fc-")
    ]
    if websocket:
        pairs += ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    elif head.is_chunked:
        pairs.append((b"Transfer-Encoding", b"chunked"))
    elif head.content_length is not None:
        pairs.append((b"Content-Length", b"%d" % head.content_length))
    if head.first(b"host") is None:
        pairs.append((b"Host", b"localhost"))
    if head.first(b"x-forwarded-proto") is None:
        pairs.append((b"X-Forwarded-Proto", head.scheme.encode()))
    return f"{head.method} {head.target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape") + lines(pairs)


def enforce_response(head: ResponseHead, request: RequestHead, route: Route, redirects: str) -> None:
    """Refuse a response that the gateway does not forward.

    Args:
        redirects: `fcemu.redirects`: external, every or allow; observations differ (semantics 1.4).

    Raises:
        FCError: BAD_RESPONSE, EXTERNAL_REDIRECT or APK_DOWNLOAD.
    """
    if head.size > limits.HEADERS:
        raise bad_response(f"the response headers are {head.size} bytes; at most {limits.HEADERS} are allowed")
    if not route.default_domain:
        return
    location = head.first(b"location")
    if location is not None and 300 <= head.status < 400 and _is_forbidden(location, request, redirects):
        raise FCError(
            Refusal.EXTERNAL_REDIRECT,
            reason=f"the function redirects to {location.decode('latin-1')}",
            remedy="redirect from a custom domain (customDomains:), or answer with a page",
        )
    if head.is_apk and route.public:
        raise FCError(Refusal.APK_DOWNLOAD, remedy="serve the APK from a custom domain")


def _is_forbidden(location: bytes, request: RequestHead, redirects: str) -> bool:
    if redirects != "external":
        return redirects == "every"
    try:
        return urlsplit(location.decode("latin-1")).netloc.lower() not in ("", request.host)
    except ValueError:  # a browser may read it as any host
        return True


def response_bytes(
    head: ResponseHead,
    body: Body,
    request: RequestHead,
    route: Route,
    *,
    request_id: str,
    date: str,
    close: bool,
    session_header: tuple[bytes, bytes] | None = None,
) -> bytes:
    """The head that the client gets: the function's without reserved headers, and the headers that the gateway adds.

    Args:
        session_header: gives a client the id of its session.
    """
    own = head.passed_lines
    if route.default_domain and b"content-disposition" in head.passed_names:
        own = lines(pair for pair in head.passed_on if pair[0].lower() != b"content-disposition")
    own += lines(cors.response_headers(request, head.passed_names)) + _framing(head, request.method, body)
    if session_header is not None:
        own += lines((session_header,))
    return _head(head.status, head.reason, own, route, request, request_id, date, close)


def _framing(head: ResponseHead, method: str, body: Body) -> bytes:
    """The header line that tells the client where the body ends; empty if there is none."""
    if body.chunked_out:
        return b"Transfer-Encoding: chunked\r\n"
    if head.status == 304 or method == "HEAD":
        length = head.first(b"content-length")
        return b"" if length is None else b"Content-Length: %b\r\n" % length
    if head.content_length is None or head.chunked or head.status == 204:
        return b""
    return b"Content-Length: %d\r\n" % head.content_length


def switching_bytes(head: ResponseHead, *, request_id: str) -> bytes:
    """The 101 that the client gets: the function's own headers, its `x-fc-*` replaced by the request id."""
    kept = [(name, value) for name, value in head.headers if not name.lower().startswith(b"x-fc-")]
    return _message(head.status, head.reason, lines([*kept, (b"X-Fc-Request-Id", request_id.encode())]))


def interim_bytes(head: ResponseHead) -> bytes:
    """A 1xx answer, unchanged."""
    return _message(head.status, head.reason, lines(head.headers))


def preflight_bytes(request: RequestHead, route: Route, *, request_id: str, date: str, close: bool) -> bytes:
    """The gateway's own 200 to a preflight (D/04/002)."""
    pairs = [
        *cors.response_headers(request, frozenset()),
        *cors.preflight_headers(request),
        (b"Content-Length", b"0"),
    ]
    return _head(200, b"OK", lines(pairs), route, request, request_id, date, close)


def refusal_bytes(
    error: FCError,
    request: RequestHead | None,
    route: Route | None,
    *,
    request_id: str,
    date: str,
    close: bool,
) -> bytes:
    """The whole response for an error of the gateway: `{"RequestId", "Code", "Message"}` (semantics 2.1)."""
    fields = {"RequestId": request_id, "Code": error.code, "Message": error.message}
    if error.refusal is Refusal.INITIALIZATION_FAILED:
        fields = {"errorMessage": error.message}
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    pairs = [
        *(cors.response_headers(request, frozenset()) if request else ()),
        (b"Content-Length", b"%d" % len(body)),
        (b"Content-Type", b"application/json"),
        (b"X-Fc-Error-Type", error.error_type.encode()),
    ]
    reason = HTTPStatus(error.status).phrase.encode()
    head = _head(error.status, reason, lines(pairs), route, request, request_id, date, close)
    return head if request is not None and request.method == "HEAD" else head + body


def _head(
    status: int,
    reason: bytes,
    own: bytes,
    route: Route | None,
    request: RequestHead | None,
    request_id: str,
    date: str,
    close: bool,
) -> bytes:
    # Forced download on the vendor's domains, errors included (D/04/002, D/08/106).
    forced = b"Content-Disposition: attachment\r\n" if route is None or route.default_domain else b""
    connection = b""
    if close:
        connection = b"Connection: close\r\n"
    elif request is not None and request.version < (1, 1):
        connection = b"Connection: keep-alive\r\n"
    added = b"%bX-Fc-Request-Id: %b\r\nDate: %b\r\n%b" % (forced, request_id.encode(), date.encode(), connection)
    return _message(status, reason, own + added)


def _message(status: int, reason: bytes, lines: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines)
