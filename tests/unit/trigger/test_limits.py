"""The documented sizes."""

from __future__ import annotations

import pytest

from fcemu.errors import FCError
from fcemu.trigger import limits
from fcemu.trigger.request import RequestHead


def test_size_of_headers_is_names_and_values_together() -> None:
    """Names and values count, separators do not."""
    assert RequestHead("GET", "/", ((b"ab", b"cde"), (b"f", b""))).size == 6


def test_target_is_measured_in_bytes() -> None:
    """A target of raw UTF-8 is measured in the bytes that were sent."""
    head = RequestHead("GET", "/" + "ü" * 2048, ((b"Host", b"a"),))
    with pytest.raises(FCError, match="4097 bytes"):
        limits.enforce_request(head)


def test_http10_needs_no_host() -> None:
    """A client of HTTP/1.0 may leave the Host header out."""
    limits.enforce_host(RequestHead("GET", "/", (), version=(1, 0)))


@pytest.mark.parametrize("host", [b"a", b"A-b_c.test:80", b"127.0.0.1:1", b"[::1]:80", b"a.test:", b" a "])
def test_well_formed_host_is_accepted(host: bytes) -> None:
    """Names, addresses and ports are valid hosts."""
    limits.enforce_host(RequestHead("GET", "/", ((b"Host", host),)))


@pytest.mark.parametrize(
    ("hosts", "version", "why"),
    [
        ((), (1, 1), "no Host header"),
        ((b"a", b"a"), (1, 1), "more than one Host header"),
        ((b"a", b"b"), (1, 0), "more than one Host header"),
        ((), (1, 0), None),
        ((b"a",), (1, 1), None),
        ((b"a b",), (1, 1), None),
    ],
)
def test_request_names_one_host(hosts: tuple[bytes, ...], version: tuple[int, int], why: str | None) -> None:
    """A request has exactly one Host header, which HTTP/1.0 may leave out; what it says is another question."""
    head = RequestHead("GET", "/", tuple((b"Host", host) for host in hosts), version)
    assert limits.wrong_hosts(head) == why


@pytest.mark.parametrize(
    ("hosts", "detail"),
    [
        ((), "no Host header"),
        ((b"a", b"b"), "more than one Host header"),
        ((b"a b",), "invalid Host header"),
        ((b"",), "invalid Host header"),
        ((b"a@b",), "invalid Host header"),
    ],
)
def test_refusal_says_what_is_wrong_with_the_host(hosts: tuple[bytes, ...], detail: str) -> None:
    """A host that is missing, doubled or malformed is refused in words."""
    with pytest.raises(FCError, match=detail):
        limits.enforce_host(RequestHead("GET", "/", tuple((b"Host", host) for host in hosts)))


@pytest.mark.parametrize(
    ("head", "detail"),
    [
        (RequestHead("POST", "/", ((b"Transfer-Encoding", b"gzip"),)), "can only be `chunked`"),
        (RequestHead("POST", "/", ((b"Transfer-Encoding", b"chunked"),) * 2), "can only be `chunked`"),
        (RequestHead("POST", "/", ((b"Transfer-Encoding", b"chunked"),), (1, 0)), "in HTTP/1.1"),
        (RequestHead("GET", "ftp://a/", ()), "invalid request target"),
        (RequestHead("GET", "*", ()), "invalid request target"),
        (RequestHead("CONNECT", "a:80", ()), "invalid request target"),
    ],
)
def test_ambiguous_message_is_refused(head: RequestHead, detail: str) -> None:
    """A transfer coding besides `chunked`, and a target that is no path, are refused."""
    with pytest.raises(FCError, match=detail):
        limits.enforce_message(head)


@pytest.mark.parametrize(
    "head",
    [
        RequestHead("GET", "/", ()),
        RequestHead("OPTIONS", "*", ()),
        RequestHead("POST", "/", ((b"Transfer-Encoding", b" Chunked "),)),
    ],
)
def test_unambiguous_message_is_accepted(head: RequestHead) -> None:
    """A path, the asterisk of OPTIONS and chunks are accepted."""
    limits.enforce_message(head)


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (RequestHead("GET", "/" + "x" * limits.TARGET, ()), "4097 bytes"),
        (RequestHead("GET", "/", ((b"X", b"x" * limits.HEADERS),)), "8193 bytes"),
        (RequestHead("POST", "/", ((b"Content-Length", b"%d" % (limits.BODY + 1)),)), str(limits.BODY)),
    ],
)
def test_request_over_a_limit_is_refused(head: RequestHead, text: str) -> None:
    """One byte more than a limit is too much."""
    with pytest.raises(FCError, match=text):
        limits.enforce_request(head)


@pytest.mark.parametrize(
    "head",
    [
        RequestHead("GET", "/" + "x" * (limits.TARGET - 1), ()),
        RequestHead("GET", "/", ((b"X", b"x" * (limits.HEADERS - 1)),)),
        RequestHead("POST", "/", ((b"Content-Length", b"%d" % limits.BODY),)),
    ],
)
def test_request_at_a_limit_is_accepted(head: RequestHead) -> None:
    """Exactly the limit is accepted."""
    limits.enforce_request(head)
