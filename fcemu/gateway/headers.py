"""What is dropped, what is added, on the way to the function and back? (fc-semantics 1.3, 1.4, 1.5, 5.3)"""

from __future__ import annotations

import json
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlsplit

from fcemu.errors import FCError, Refusal
from fcemu.gateway.response import Body, ResponseHead, bad_response, is_reserved
from fcemu.trigger import cors, limits
from fcemu.trigger.request import HeaderPairs, RequestHead
from fcemu.trigger.routing import Route

_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_NEVER_NAMED = frozenset((b"host", b"content-length", b"content-type", b"transfer-encoding"))
_APK = b"application/vnd.android.package-archive"


def without_hops(head: RequestHead) -> RequestHead:
    """The request without `Connection` and what it names (RFC 9110 7.6.1).

    It is done before authentication, so that a client cannot name, and so remove, what authentication sets. What says
    where the body ends and what it is stays, whoever names it: without it the body would pass for a request.
    """
    named = {
        token.strip().lower()
        for name, value in head.headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    if not named:
        return head
    dropped = (named | {b"connection"}) - _NEVER_NAMED
    return replace(head, headers=tuple(pair for pair in head.headers if pair[0].lower() not in dropped))


def request_bytes(head: RequestHead, common: HeaderPairs, *, request_id: str, base_path: str, websocket: bool) -> bytes:
    """The head that the instance gets: method, raw target and header pairs in their order.

    Dropped: `x-fc-*` of the client, hop-by-hop headers (all but the upgrade's own), what `Connection` names.
    """
    if not websocket:
        head = without_hops(head)
    dropped = {b"content-length", *_HOP_BY_HOP}
    lines = [f"{head.method} {head.target} HTTP/1.1".encode("utf-8", "surrogateescape")]
    for name, value in head.headers:
        lower = name.lower()
        if lower not in dropped and not lower.startswith(b"x-fc-"):
            lines.append(b"%b: %b" % (name, value))
    if websocket:
        lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
    elif head.is_chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.content_length is not None:
        lines.append(b"Content-Length: %d" % head.content_length)
    if head.header("host") is None:
        lines.append(b"Host: localhost")
    if head.header("x-forwarded-proto") is None:
        lines.append(b"X-Forwarded-Proto: " + head.scheme.encode())
    lines += [b"%b: %b" % pair for pair in common]
    lines += [
        b"X-Fc-Base-Path: " + (base_path or head.path).encode("utf-8", "surrogateescape"),
        b"X-Fc-Control-Path: /http-invoke",
        b"X-Fc-Request-Id: " + request_id.encode(),
        b"",
        b"",
    ]
    return b"\r\n".join(lines)


def check_response(head: ResponseHead, request: RequestHead, route: Route, redirects: str) -> None:
    """Refuse what the gateway does not pass on.

    Args:
        redirects: `fcemu.redirects`: external, every or allow; observers differ (fc-semantics 1.4).

    Raises:
        FCError: BAD_RESPONSE, EXTERNAL_REDIRECT or APK_DOWNLOAD.
    """
    size = limits.headers_size(head.headers)
    if size > limits.HEADERS:
        raise bad_response(f"the response headers are {size} bytes; at most {limits.HEADERS} are allowed")
    if not route.default_domain:
        return
    location = next(iter(head.values(b"location")), None)
    if location is not None and 300 <= head.status < 400 and _is_forbidden(location, request, redirects):
        raise FCError(
            Refusal.EXTERNAL_REDIRECT,
            reason=f"the function redirects to {location.decode('latin-1')}",
            remedy="redirect from a custom domain (customDomains:), or answer with a page",
        )
    if route.public and any(value.lower().startswith(_APK) for value in head.values(b"content-type")):
        raise FCError(Refusal.APK_DOWNLOAD, remedy="serve the APK from a custom domain")


def _is_forbidden(location: bytes, request: RequestHead, redirects: str) -> bool:
    if redirects != "external":
        return redirects == "every"
    try:
        return urlsplit(location.decode("latin-1")).netloc.lower() not in ("", request.host)
    except ValueError:  # who knows what a browser makes of it
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
    told: tuple[bytes, bytes] | None = None,
) -> bytes:
    """The head that the client gets: the function's, less what is reserved, plus what the gateway adds.

    Args:
        told: the header that tells a client its session's id.
    """
    dropped = head.connection_options
    if route.default_domain:
        dropped.add(b"content-disposition")
    kept = [pair for pair in head.headers if not is_reserved(pair[0]) and pair[0].lower() not in dropped]
    added = list(cors.response_headers(request, {name.lower() for name, _ in kept}))
    if told is not None:
        added.append(told)
    if body.chunked_out:
        added.append((b"Transfer-Encoding", b"chunked"))
    elif head.status == 304 or request.method == "HEAD":
        added += [(b"Content-Length", value) for value in head.values(b"content-length")[:1]]
    elif head.content_length is not None and not head.chunked and head.status != 204:
        added.append((b"Content-Length", b"%d" % head.content_length))
    return _head(head.status, head.reason, kept + added, route, request, request_id, date, close)


def switching_bytes(head: ResponseHead, *, request_id: str) -> bytes:
    """The 101 that the client gets: the function's own headers, its `x-fc-*` replaced by the request id."""
    kept = [(name, value) for name, value in head.headers if not name.lower().startswith(b"x-fc-")]
    return _lines(head.status, head.reason, [*kept, (b"X-Fc-Request-Id", request_id.encode())])


def interim_bytes(head: ResponseHead) -> bytes:
    """A 1xx answer, passed on as it is."""
    return _lines(head.status, head.reason, list(head.headers))


def preflight_bytes(request: RequestHead, route: Route, *, request_id: str, date: str, close: bool) -> bytes:
    """The gateway's own 200 to a preflight (D/04/002)."""
    pairs = [
        *cors.response_headers(request, frozenset()),
        *cors.preflight_headers(request),
        (b"Content-Length", b"0"),
    ]
    return _head(200, b"OK", pairs, route, request, request_id, date, close)


def refusal_bytes(
    error: FCError,
    request: RequestHead | None,
    route: Route | None,
    *,
    request_id: str,
    date: str,
    close: bool,
) -> bytes:
    """A whole response for an error of the gateway: `{"RequestId", "Code", "Message"}` (fc-semantics 2.1)."""
    told = {"RequestId": request_id, "Code": error.code, "Message": error.message}
    if error.refusal is Refusal.INITIALIZATION_FAILED:
        told = {"errorMessage": error.message}
    body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    pairs = [
        *(cors.response_headers(request, frozenset()) if request else ()),
        (b"Content-Length", b"%d" % len(body)),
        (b"Content-Type", b"application/json"),
        (b"X-Fc-Error-Type", error.error_type.encode()),
    ]
    reason = HTTPStatus(error.status).phrase.encode()
    head = _head(error.status, reason, pairs, route, request, request_id, date, close)
    return head if request is not None and request.method == "HEAD" else head + body


def _head(
    status: int,
    reason: bytes,
    pairs: list[tuple[bytes, bytes]],
    route: Route | None,
    request: RequestHead | None,
    request_id: str,
    date: str,
    close: bool,
) -> bytes:
    pairs = list(pairs)
    if route is None or route.default_domain:
        # Forced download on the vendor's domains, errors included (D/04/002, D/08/106).
        pairs.append((b"Content-Disposition", b"attachment"))
    pairs += [(b"X-Fc-Request-Id", request_id.encode()), (b"Date", date.encode())]
    if close:
        pairs.append((b"Connection", b"close"))
    elif request is not None and request.version < (1, 1):
        pairs.append((b"Connection", b"keep-alive"))
    return _lines(status, reason, pairs)


def _lines(status: int, reason: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (status, reason), *(b"%b: %b" % pair for pair in pairs), b"", b""]
    return b"\r\n".join(lines)
