"""Where a session lives, and until when."""

from __future__ import annotations

from typing import Any

from fcemu.model import Function
from fcemu.scheduling.sessions import Sessions, sessions_of


def affine(kind: str, **config: Any) -> Sessions:
    """The sessions of a function with a kind of session affinity and a timeout of 50 seconds."""
    function = {"functionName": "fn", "timeout": 50, "sessionAffinity": kind, "sessionAffinityConfig": config}
    found = sessions_of(Function.model_validate(function))
    assert found is not None
    return found


def test_sessions_are_what_the_function_says() -> None:
    """The configuration's numbers are the sessions'; an MCP stream lives as long as the execution timeout."""
    assert sessions_of(Function(functionName="fn")) is None
    found = affine("GENERATED_COOKIE", sessionTTLInSeconds=100, sessionIdleTimeoutInSeconds=10)
    assert (found.per_instance, found.life, found.idle, found.reuse, found.streams) == (20, 100, 10, True, False)
    stream = affine("MCP_SSE", sessionConcurrencyPerInstance=3)
    assert (stream.per_instance, stream.life, stream.idle, stream.streams) == (3, 50, 0, True)


def test_session_is_found_until_it_ends() -> None:
    """A session is found by its id until it was idle for too long."""
    sessions = Sessions(per_instance=1, life=100, idle=10)
    sessions.begin("s", "i1", 0.0)
    assert sessions.instance("s", 9.9) == "i1"
    assert not sessions.has_slot("i1", 9.9)
    assert sessions.instance("s", 10.0) is None
    assert sessions.has_slot("i1", 10.0)


def test_request_keeps_a_session_from_being_idle() -> None:
    """While a request runs a session is not idle; its life is limited all the same."""
    sessions = Sessions(per_instance=1, life=100, idle=10)
    sessions.begin("s", "i1", 0.0)
    sessions.enter("s")
    assert sessions.instance("s", 99.0) == "i1"
    sessions.leave("s", 99.0)
    assert sessions.instance("s", 100.0) is None


def test_idle_time_of_zero_is_no_limit() -> None:
    """With an idle time of 0 only the life counts."""
    sessions = Sessions(per_instance=1, life=100, idle=0)
    sessions.begin("s", "i1", 0.0)
    assert sessions.until("i1") == 100.0


def test_spent_id_is_refused_for_three_days() -> None:
    """With disableSessionIdReuse an expired id is refused for three days, unless it was never used."""
    sessions = Sessions(per_instance=2, life=100, reuse=False)
    sessions.begin("s", "i1", 0.0)
    sessions.begin("t", "i2", 0.0)
    sessions.end_all("i2", 1.0, spent=False)
    sessions.end("s", 1.0)
    days = 3 * 24 * 3600
    assert [sessions.is_refused("s", at) for at in (1.0, days, days + 1.0)] == [True, True, False]
    assert not sessions.is_refused("t", 1.0)


def test_session_gets_the_name_that_the_function_tells() -> None:
    """A renamed session keeps instance and slot."""
    sessions = Sessions(per_instance=1, life=100)
    sessions.begin("r1", "i1", 0.0)
    sessions.rename("r1", "told")
    assert sessions.instance("r1", 1.0) is None
    assert sessions.instance("told", 1.0) == "i1"
    assert sessions.count("i1", 1.0) == 1


def test_rules_can_change_while_sessions_live() -> None:
    """Changed rules hold at once for idle times and slots; a life that has begun is as long as it was."""
    sessions = Sessions(per_instance=1, life=100, idle=10)
    sessions.begin("s", "i1", 0.0)
    sessions.change(Sessions(per_instance=2, life=5, idle=50))
    assert sessions.instance("s", 49.0) == "i1"
    assert sessions.has_slot("i1", 49.0)


def test_changes_to_unknown_sessions_are_ignored() -> None:
    """A session that has ended meanwhile is neither renamed, entered, left nor ended again."""
    sessions = Sessions(per_instance=1, life=100, reuse=False)
    sessions.rename("gone", "told")
    sessions.enter("gone")
    sessions.leave("gone", 1.0)
    sessions.end("gone", 1.0)
    assert sessions.instance("told", 1.0) is None
    assert not sessions.is_refused("gone", 1.0)


def test_session_that_has_expired_frees_its_slot() -> None:
    """Counting the sessions of an instance ends those whose time is up; the others keep their slots."""
    sessions = Sessions(per_instance=2, life=100, idle=10)
    sessions.begin("s", "i1", 0.0)
    sessions.begin("t", "i1", 5.0)
    assert [sessions.count("i1", at) for at in (9.0, 10.0, 15.0)] == [2, 1, 0]
    assert sessions.until("i1") == float("-inf")


def test_one_of_two_sessions_leaves_the_other() -> None:
    """A session that ends takes no other one of its instance with it."""
    sessions = Sessions(per_instance=2, life=100)
    sessions.begin("s", "i1", 0.0)
    sessions.begin("t", "i1", 0.0)
    sessions.end("s", 1.0)
    assert (sessions.instance("s", 1.0), sessions.instance("t", 1.0)) == (None, "i1")
