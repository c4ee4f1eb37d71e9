"""The head of a request."""

from __future__ import annotations

import pytest

from fcemu.trigger.request import RequestHead


def test_headers_are_found_in_any_case_and_the_first_one_counts() -> None:
    """A header is found in any case; of several, the first one counts."""
    head = RequestHead("GET", "/", ((b"X-A", b"1"), (b"x-a", b"2")))
    assert head.header("x-A") == "1"
    assert head.header("x-b") is None


def test_path_and_query_are_split_at_the_first_question_mark() -> None:
    """The target is split into path and query, escapes untouched."""
    head = RequestHead("GET", "/a%2Fb;c?d=e?f", ())
    assert (head.path, head.query) == ("/a%2Fb;c", "d=e?f")


@pytest.mark.parametrize(
    ("host", "name"), [(b"A.test:80", "a.test"), (b"[::1]:80", "[::1]"), (b"[::1]", "[::1]"), (b"a", "a")]
)
def test_host_name_is_lower_case_and_without_port(host: bytes, name: str) -> None:
    """The host name is in lower case and has no port."""
    assert RequestHead("GET", "/", ((b"Host", host),)).host_name == name


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")), True),
        ("GET", ((b"connection", b"keep-alive, upgrade"), (b"upgrade", b"WebSocket")), True),
        ("GET", ((b"Connection", b"keep-alive"), (b"Connection", b"upgrade"), (b"Upgrade", b"websocket")), True),
        ("POST", ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")), False),
        ("GET", ((b"Upgrade", b"websocket"),), False),
        ("GET", ((b"Connection", b"Upgrade"), (b"Upgrade", b"h2c")), False),
    ],
)
def test_websocket_upgrade_is_recognised(method: str, headers: tuple[tuple[bytes, bytes], ...], expected: bool) -> None:
    """An upgrade to WebSocket is a GET with both headers, in any case."""
    assert RequestHead(method, "/", headers).is_websocket is expected


def test_content_length_is_a_number_or_nothing() -> None:
    """A length that is not a number counts as none."""
    assert RequestHead("GET", "/", ((b"Content-Length", b"12"),)).content_length == 12
    assert RequestHead("GET", "/", ((b"Content-Length", b"+1"),)).content_length is None


def test_first_value_of_a_header_is_found_by_its_lower_case_name() -> None:
    """A header is found whatever its case, an absent one is None, and all values keep their order."""
    head = RequestHead("GET", "/", ((b"X-A", b"1"), (b"x-a", b"2")))
    assert (head.first(b"x-a"), head.first(b"x-b")) == (b"1", None)
    assert head.values(b"x-a") == [b"1", b"2"]
    assert RequestHead("GET", "/", ((b"X-A", b"1"),)).values(b"x-a") == [b"1"]
