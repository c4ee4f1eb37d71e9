"""The caches of the gateway: what they keep, how long, and how much."""

from __future__ import annotations

import pytest

from fcemu.errors import FCError
from fcemu.gateway import memory
from fcemu.gateway.memory import Admitted, Memory
from fcemu.model import Account
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route, Router

HEAD = RequestHead("GET", "/", ((b"Host", b"fn.localhost"),))


def route(**function: object) -> Route:
    """The route of HEAD to this function."""
    description = {
        "functionName": "fn",
        "customRuntimeConfig": {"command": ["x"]},
        "triggers": [{"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}],
        **function,
    }
    return Router(Account.model_validate({"functions": [description]})).route(HEAD)


def admitted() -> Admitted:
    """An admission of HEAD."""
    return Admitted(route(), None, False, b"common", b"start")


def raw(number: int) -> bytes:
    """The bytes of a request, or of a response's head: one for each number."""
    return b"HTTP/1.1 200 OK\r\nX-Number: %d\r\n\r\n" % number


def test_request_is_found_by_its_bytes_alone() -> None:
    """A request that was kept is found by identical bytes, and by no others."""
    kept = Memory()
    kept.keep(raw(0), HEAD)
    assert kept.request(bytes(bytearray(raw(0)))) is HEAD
    assert kept.request(raw(1)) is None
    assert kept.request(raw(0) + b"x") is None


def test_request_that_is_too_long_is_not_kept() -> None:
    """A request of as many bytes as the bound is kept, and a longer one is not."""
    kept = Memory()
    longest = b"x" * memory.LONGEST
    kept.keep(longest, HEAD)
    kept.keep(longest + b"x", HEAD)
    assert kept.request(longest) is HEAD
    assert kept.request(longest + b"x") is None


def test_full_cache_of_requests_is_emptied() -> None:
    """As many requests are kept as the bound allows; the next one is kept alone."""
    kept = Memory()
    for number in range(memory.REQUESTS):
        kept.keep(raw(number), HEAD)
    kept.keep(raw(0), HEAD)  # it is there already
    assert all(kept.request(raw(number)) for number in range(memory.REQUESTS))
    kept.keep(raw(memory.REQUESTS), HEAD)
    assert [number for number in range(memory.REQUESTS + 1) if kept.request(raw(number))] == [memory.REQUESTS]


def test_full_cache_of_admissions_is_emptied() -> None:
    """As many admissions are kept as requests; the next one is kept alone."""
    kept, decided = Memory(), admitted()
    for number in range(memory.REQUESTS + 1):
        kept.keep_admitted(raw(number), decided)
    assert [number for number in range(memory.REQUESTS + 1) if kept.admitted(raw(number))] == [memory.REQUESTS]


def test_changed_configuration_is_never_answered_from_memory() -> None:
    """When the configuration changes, admissions and common lines are gone; what bytes mean is not."""
    kept = Memory()
    kept.keep(raw(0), HEAD)
    kept.keep_admitted(raw(0), admitted())
    before = kept.common_lines(route(), "1")
    kept.drop_configuration()
    assert kept.request(raw(0)) is HEAD
    assert kept.admitted(raw(0)) is None
    assert kept.common_lines(route(timeout=7), "1") != before
    assert b"X-Fc-Function-Timeout: 7\r\n" in kept.common_lines(route(timeout=7), "1")


def test_common_lines_are_made_once_for_each_function_and_qualifier() -> None:
    """Functions and qualifiers have lines of their own, which are the same object the next time."""
    kept = Memory()
    lines = kept.common_lines(route(), "1")
    assert kept.common_lines(route(), "1") is lines
    first = route()
    other = Route(first.function, "2", True, first.trigger)
    assert b"X-Fc-Qualifier: 2\r\n" in kept.common_lines(other, "1")
    other = Route(first.function.model_copy(update={"functionName": "gn"}), "2", True, first.trigger)
    assert b"X-Fc-Function-Name: gn\r\n" in kept.common_lines(other, "1")


def test_response_is_parsed_once() -> None:
    """Identical bytes give the same head; other bytes give another one."""
    kept = Memory()
    head = kept.response(raw(1))
    assert head.first(b"x-number") == b"1"
    assert kept.response(bytes(bytearray(raw(1)))) is head
    assert kept.response(raw(2)).first(b"x-number") == b"2"


def test_full_cache_of_responses_is_emptied() -> None:
    """A function whose answers all differ does not fill the memory."""
    kept = Memory()
    heads = [kept.response(raw(number)) for number in range(memory.RESPONSES + 1)]
    assert kept.response(raw(memory.RESPONSES)) is heads[-1]
    assert kept.response(raw(0)) is not heads[0]


def test_long_response_is_parsed_but_not_kept() -> None:
    """A head of more bytes than the bound is parsed each time."""
    kept, long = Memory(), b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"x" * memory.LONGEST)
    head = kept.response(long)
    assert head.status == 200
    assert kept.response(long) is not head


def test_response_that_is_no_http_is_refused_each_time() -> None:
    """An error is not kept as if it were an answer."""
    kept = Memory()
    for _ in range(2):
        with pytest.raises(FCError):
            kept.response(b"HELLO\r\n\r\n")


def test_date_is_that_of_the_second() -> None:
    """The date changes with the second, forwards and backwards, and not within it."""
    kept = Memory()
    first = kept.date(1_700_000_000.0)
    assert first == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert kept.date(1_700_000_000.9) is first
    assert kept.date(1_700_000_001.0) == "Tue, 14 Nov 2023 22:13:21 GMT"
    assert kept.date(1_700_000_000.0) == first
