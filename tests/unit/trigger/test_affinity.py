"""The session of a request."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.errors import FCError
from fcemu.model import Function
from fcemu.trigger.affinity import FirstEvent, SessionClaim, claim, session_header
from fcemu.trigger.request import RequestHead

NEW = "made-here"


def affine(kind: str, **config: Any) -> Function:
    """A function with a kind of session affinity."""
    return Function.model_validate({"functionName": "fn", "sessionAffinity": kind, "sessionAffinityConfig": config})


def by_header(**config: Any) -> Function:
    """HEADER_FIELD by the header X-My-Session."""
    return affine("HEADER_FIELD", affinityHeaderFieldName="X-My-Session", **config)


def head(target: str = "/", method: str = "GET", **headers: str) -> RequestHead:
    """A request with headers; `_` in a name stands for `-`."""
    return RequestHead(method, target, tuple((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()))


def test_without_affinity_there_is_no_session() -> None:
    """A function without session affinity has no sessions, whatever a client sends."""
    assert claim(Function(functionName="fn"), head(x_my_session="a"), NEW) is None


def test_header_of_the_client_begins_or_continues_a_session() -> None:
    """The client's own id counts, in any case of the header's name."""
    assert claim(by_header(), head(x_my_session="room_1-a"), NEW) == SessionClaim("room_1-a", begins=True)


def test_request_without_the_header_is_given_an_id() -> None:
    """Without the header, the gateway generates an id, which the answer has in the lower-case header."""
    found = claim(by_header(), head(), NEW)
    assert found == SessionClaim(NEW, begins=True, is_new=True)
    assert session_header(by_header(), found) == (b"x-my-session", b"made-here")


@pytest.mark.parametrize("id", ["", "-a", "a b", "a" * 65, "ä", "a;b"])
def test_header_that_is_no_id_is_refused(id: str) -> None:
    """An id has 1 to 64 letters, digits, `_` and `-`, the first one not `-`; else 400."""
    with pytest.raises(FCError) as caught:
        claim(by_header(), head(x_my_session=id), NEW)
    assert caught.value.status == 400
    assert claim(by_header(), head(x_my_session="a" * 64), NEW) is not None


def test_cookie_is_chosen_by_the_gateway_and_sent_once() -> None:
    """The first answer sets the cookie with the session's life; an answer to a request with the cookie does not."""
    function = affine("GENERATED_COOKIE", sessionTTLInSeconds=3600, sessionIdleTimeoutInSeconds=60)
    first = claim(function, head(), NEW)
    assert first == SessionClaim(NEW, begins=True, is_new=True)
    assert session_header(function, first) == (b"Set-Cookie", b"x-fc-cookie-session-id=made-here; Max-Age=3600")
    second = claim(function, head(cookie="a=b; x-fc-cookie-session-id=made-here; c=d"), "other")
    assert second == SessionClaim("made-here", begins=True)
    assert session_header(function, second) is None


def test_cookie_that_cannot_be_ours_counts_as_none() -> None:
    """A cookie that is not a valid session id is replaced by a new one."""
    found = claim(affine("GENERATED_COOKIE"), head(cookie="x-fc-cookie-session-id=a b"), NEW)
    assert found == SessionClaim(NEW, begins=True, is_new=True)


def test_unknown_cookie_does_not_begin_a_session_where_ids_are_not_used_again() -> None:
    """With disableSessionIdReuse, an unknown id does not start a session."""
    function = affine("GENERATED_COOKIE", disableSessionIdReuse=True)
    assert claim(function, head(cookie="x-fc-cookie-session-id=old"), NEW) == SessionClaim("old", begins=False)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/sse", SessionClaim(None)),
        ("POST", "/message?sessionId=abc", SessionClaim("abc")),
        ("POST", "/messages/?session_id=abc&x=1", SessionClaim("abc")),
        ("POST", "/sse", None),
        ("GET", "/health", None),
    ],
)
def test_mcp_stream_is_found_by_path_and_query(method: str, target: str, expected: SessionClaim | None) -> None:
    """GET on the stream's path starts a session, a sessionId in the query continues it; other requests have none."""
    assert claim(affine("MCP_SSE"), head(target, method), NEW) == expected


def test_mcp_stream_takes_no_query() -> None:
    """The stream's path with a query is refused."""
    with pytest.raises(FCError) as caught:
        claim(affine("MCP_SSE", sseEndpointPath="/events"), head("/events?x=1"), NEW)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (head(method="POST"), SessionClaim(None)),
        (head(method="POST", mcp_session_id="s"), SessionClaim("s")),
        (head(method="DELETE", mcp_session_id="s"), SessionClaim("s", ends=True)),
        (head(method="DELETE"), SessionClaim(None)),
    ],
)
def test_mcp_streamable_is_found_by_its_header(request_head: RequestHead, expected: SessionClaim) -> None:
    """A request without the header may begin a session; DELETE with it ends one."""
    assert claim(affine("MCP_STREAMABLE"), request_head, NEW) == expected


@pytest.mark.parametrize(
    "event",
    [
        b"event: endpoint\ndata: /message?sessionId=abc-1\n\n",
        b"event: endpoint\r\ndata: /messages/?session_id=abc-1&x=2\r\n\r\n",
        b'event: endpoint\ndata: {"uri": "/message", "sessionId": "abc-1"}\n\n',
    ],
)
def test_id_is_in_the_first_event(event: bytes) -> None:
    """The function's id is found in the first event, however it is cut into pieces, and only there."""
    for size in (1, 7, len(event)):
        found: list[str] = []
        tap = FirstEvent(found.append)
        for at in range(0, len(event), size):
            tap(event[at : at + size])
        tap(b"data: /message?sessionId=other\n\n")
        assert found == ["abc-1"]


def test_first_event_without_an_id_names_none() -> None:
    """A stream has no session if its first event has no id, or never ends."""
    found: list[str] = []
    first = FirstEvent(found.append)
    first(b": hello\n\n")
    first(b"data: sessionId=late\n\n")
    endless = FirstEvent(found.append)
    for _ in range(100):
        endless(b"x" * 100)
    assert found == []
