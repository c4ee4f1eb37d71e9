"""The scheduler, as a pure state machine."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.actions import Action, Assign, Refuse, Start, Stop
from fcemu.scheduling.billing import BillingMeter
from fcemu.scheduling.fleet import Terms
from fcemu.scheduling.scheduler import Scheduler
from fcemu.scheduling.sessions import Sessions
from fcemu.trigger.affinity import SessionClaim

CRASH = FCError(Refusal.CA_EXITED, cause="code 3", command="node index.js", logs="")
NOT_STARTED = FCError(Refusal.CA_FILE_NOT_FOUND, file="/code/bootstrap")


def scheduler(
    concurrency: int = 1,
    reserved: int | None = None,
    account: int = 300,
    scatter: bool = False,
    sessions: Sessions | None = None,
    **terms: Any,
) -> Scheduler:
    """A scheduler with one function `fn`, idle timeout 60 s, instances i1, i2 …"""
    numbers = itertools.count(1)
    machine = Scheduler(account, lambda: f"i{next(numbers)}", scatter)
    machine.configure("fn", Terms(concurrency, 60.0, reserved, **terms), sessions)
    return machine


def with_an_instance(**terms: Any) -> Scheduler:
    """A scheduler whose instance i1 is ready and idle."""
    machine = scheduler(**terms)
    machine.warm("fn", 0.0)
    machine.ready("i1", 0.0)
    return machine


def stops(actions: Iterable[Action]) -> list[str]:
    """The instances that are ended."""
    return [action.instance for action in actions if isinstance(action, Stop)]


def starts(actions: Iterable[Action]) -> list[str]:
    """The instances that are started."""
    return [action.instance for action in actions if isinstance(action, Start)]


def refusals(actions: Iterable[Action]) -> list[tuple[str, int]]:
    """The refused invocations and their statuses."""
    return [(action.invocation, action.error.status) for action in actions if isinstance(action, Refuse)]


def test_first_invocation_starts_an_instance_and_waits_for_it() -> None:
    """The first invocation of a function is a cold start."""
    machine = scheduler()
    assert machine.submit("a", "fn", 0.0) == [Start("fn", "i1")]
    assert machine.ready("i1", 0.0) == [Assign("a", "i1", cold_start=True)]


def test_instance_is_filled_before_a_new_one_is_created() -> None:
    """An instance takes instanceConcurrency invocations before a second one starts."""
    machine = scheduler(concurrency=2)
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    assert machine.submit("b", "fn", 0.0) == [Assign("b", "i1", cold_start=False)]
    assert machine.submit("c", "fn", 0.0) == [Start("fn", "i2")]


def test_fullest_instance_is_preferred() -> None:
    """Of two instances with room the fuller one is taken, so that the other can become idle."""
    machine = scheduler(concurrency=2)
    for invocation in "abc":
        machine.submit(invocation, "fn", 0.0)
    machine.ready("i1", 0.0)
    machine.ready("i2", 0.0)
    machine.release("a", 1.0)
    machine.release("c", 1.0)
    assert machine.submit("d", "fn", 0.0) == [Assign("d", "i1", cold_start=False)]


def test_burst_starts_as_many_instances_as_it_needs() -> None:
    """Invocations that arrive during a cold start share the instances that are starting."""
    machine = scheduler(concurrency=2)
    actions = [action for name in "abcde" for action in machine.submit(name, "fn", 0.0)]
    assert actions == [Start("fn", "i1"), Start("fn", "i2"), Start("fn", "i3")]


def test_waiting_invocation_takes_a_slot_that_becomes_free() -> None:
    """An invocation that waits for a cold start takes a slot of an older instance if that is free first."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    machine.submit("b", "fn", 0.0)
    assert machine.release("a", 1.0) == [Assign("b", "i1", cold_start=False)]
    assert machine.ready("i2", 2.0) == []


def test_account_quota_refuses_with_429() -> None:
    """Over the account's instances an invocation is refused at once."""
    machine = scheduler(account=1)
    machine.submit("a", "fn", 0.0)
    assert refusals(machine.submit("b", "fn", 0.0)) == [("b", 429)]


def test_reserved_concurrency_limits_and_zero_disables() -> None:
    """ReservedConcurrency limits the instances of a function; 0 disables it."""
    assert refusals(scheduler(reserved=0).submit("a", "fn", 0.0)) == [("a", 429)]
    machine = scheduler(reserved=1)
    machine.submit("a", "fn", 0.0)
    assert refusals(machine.submit("b", "fn", 0.0)) == [("b", 429)]


def test_failed_start_refuses_those_that_waited_for_it() -> None:
    """An instance that does not start fails its own invocations, and no others."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    machine.submit("b", "fn", 0.0)
    error = FCError(Refusal.CA_FILE_NOT_FOUND, file="/code/bootstrap")
    assert refusals(machine.failed("i1", error, 0.0)) == [("a", 412)]
    assert machine.ready("i2", 0.0) == [Assign("b", "i2", cold_start=True)]


def test_waiting_invocation_can_give_up() -> None:
    """A client that disconnects during a cold start no longer waits for an instance."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    assert machine.release("a", 0.0) == []
    assert machine.ready("i1", 0.0) == []


def test_idle_instance_is_released_after_the_idle_timeout() -> None:
    """An instance is released when it has been idle for the whole timeout, not before."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    assert machine.next_tick() is None
    machine.release("a", 10.0)
    assert machine.next_tick() == 70.0
    assert machine.tick(69.9) == []
    assert machine.tick(70.0) == [Stop("i1", "idle for 60 s")]
    assert machine.submit("b", "fn", 0.0) == [Start("fn", "i2")]


def test_ended_instance_gets_nothing_more() -> None:
    """An instance whose process is gone is forgotten; the next invocation starts a new one."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    assert machine.ended("i1", CRASH, 0.0) == []
    assert machine.release("a", 1.0) == []
    assert machine.submit("b", "fn", 0.0) == [Start("fn", "i2")]


def test_retired_instance_stops_after_its_last_invocation() -> None:
    """A retired instance finishes what it has, takes nothing new, and stops."""
    machine = scheduler(concurrency=2)
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    machine.submit("b", "fn", 0.0)
    assert machine.release("a", 1.0, retire=True) == []
    assert machine.submit("c", "fn", 0.0) == [Start("fn", "i2")]
    assert machine.release("b", 2.0) == [Stop("i1", "replaced")]


def test_cap_gives_up_surplus_instances_and_refuses_who_waited() -> None:
    """A function that can have one instance only serves those who fit and refuses the rest."""
    machine = scheduler()
    for name in "abc":
        machine.submit(name, "fn", 0.0)
    actions = machine.cap("fn", 1, "port 9000 is fixed", 0.0)
    assert [action for action in actions if isinstance(action, Stop)] == [
        Stop("i3", "no second instance is possible"),
        Stop("i2", "no second instance is possible"),
    ]
    assert refusals(actions) == [("b", 429), ("c", 429)]
    assert machine.ready("i1", 0.0) == [Assign("a", "i1", cold_start=True)]


def test_warm_starts_one_instance_within_the_limits() -> None:
    """Warming starts an instance without an invocation, unless none is allowed."""
    assert scheduler().warm("fn", 0.0) == [Start("fn", "i1")]
    assert scheduler(reserved=0).warm("fn", 0.0) == []


def test_scatter_sends_consecutive_invocations_to_different_instances() -> None:
    """With scatter a second instance comes with the second invocation, and they take turns."""
    machine = scheduler(concurrency=10, scatter=True)
    assert machine.submit("a", "fn", 0.0) == [Start("fn", "i1")]
    assert machine.submit("b", "fn", 0.0) == [Start("fn", "i2")]
    assert machine.ready("i1", 0.0) == [Assign("a", "i1", cold_start=True)]
    assert machine.ready("i2", 0.0) == [Assign("b", "i2", cold_start=True)]
    where = []
    for name in "cdef":
        (action,) = machine.submit(name, "fn", 0.0)
        assert isinstance(action, Assign)
        where.append(action.instance)
    assert where == ["i1", "i2", "i1", "i2"]


def test_scatter_makes_do_with_one_instance_where_there_can_be_no_second() -> None:
    """At the limit of instances scatter serves from the one there is."""
    machine = scheduler(concurrency=10, account=1, scatter=True)
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    assert machine.submit("b", "fn", 0.0) == [Assign("b", "i1", cold_start=False)]


def test_minimum_is_started_and_kept() -> None:
    """The minimum of instances is started at once, and not released when idle; what is beyond it is."""
    machine = scheduler(minimum=2)
    assert starts(machine.warm("fn", 0.0)) == ["i1", "i2"]
    machine.ready("i1", 0.0)
    machine.ready("i2", 0.0)
    assert machine.next_tick() is None
    for name in "abc":
        machine.submit(name, "fn", 0.0)
    machine.ready("i3", 0.0)
    for name in "abc":
        machine.release(name, 1.0)
    assert len(stops(machine.tick(61.0))) == 1
    assert machine.tick(1000.0) == []


def test_instance_of_the_minimum_that_ends_is_replaced() -> None:
    """An instance of the minimum that dies is followed by another."""
    machine = with_an_instance(minimum=1)
    assert machine.ended("i1", CRASH, 5.0) == [Start("fn", "i2")]


def test_crash_loop_backs_off_longer_each_time_and_says_why() -> None:
    """After three failures in a row starts are put off for 1, 2, 4 … 60 seconds; the answer is the failure's."""
    machine = scheduler()
    waits = []
    now = 0.0
    for number in range(1, 12):
        assert starts(machine.submit(f"r{number}", "fn", now)) == [f"i{number}"]
        machine.failed(f"i{number}", NOT_STARTED, now)
        waits.append(max(0.0, machine.retry_at("fn") - now))
        if waits[-1]:
            (refused,) = machine.submit("early", "fn", now)
            assert isinstance(refused, Refuse)
            assert refused.error.code == "CAFileNotFound"
            assert f"{number} instances in a row" in refused.error.reason
            now = machine.retry_at("fn")
    assert waits == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_minimum_comes_back_when_the_back_off_is_over() -> None:
    """Instances of the minimum that keep failing are tried again by the clock."""
    machine = scheduler(minimum=1)
    machine.warm("fn", 0.0)
    machine.failed("i1", NOT_STARTED, 0.0)
    machine.failed("i2", NOT_STARTED, 0.0)
    assert machine.failed("i3", NOT_STARTED, 0.0) == []
    assert machine.next_tick() == 1.0
    assert starts(machine.tick(1.0)) == ["i4"]
    assert machine.next_tick() is None


def test_death_of_an_instance_that_was_of_use_is_no_failure_to_start() -> None:
    """An instance that has run an invocation, or runs one, may die without putting off the next start."""
    machine = scheduler()
    for number in range(1, 6):
        name = f"r{number}"
        assert starts(machine.submit(name, "fn", 0.0)) == [f"i{number}"]
        machine.ready(f"i{number}", 0.0)
        machine.ended(f"i{number}", CRASH, 0.0)
        machine.release(name, 0.0)
    assert machine.failures("fn") == 0


def test_instance_that_dies_before_it_was_of_use_is_a_failure() -> None:
    """Instances that get ready and die without having been asked for anything are a crash loop, too."""
    machine = scheduler(minimum=1)
    machine.warm("fn", 0.0)
    for number in (1, 2):
        machine.ready(f"i{number}", 0.0)
        assert starts(machine.ended(f"i{number}", CRASH, 0.0)) == [f"i{number + 1}"]
    machine.ready("i3", 0.0)
    assert machine.ended("i3", CRASH, 0.0) == []
    assert machine.retry_at("fn") == 1.0


def test_unhealthy_instance_gets_nothing_new() -> None:
    """Requests go elsewhere while an instance is unhealthy, and come back when it is healthy again."""
    machine = with_an_instance(concurrency=10)
    unhealthy = FCError(Refusal.HEALTH_CHECK_FAILED, status=500)
    machine.health("i1", unhealthy, 0.0)
    assert starts(machine.submit("a", "fn", 0.0)) == ["i2"]
    assert machine.health("i1", None, 1.0) == [Assign("a", "i1", cold_start=False)]


def test_unhealthy_instance_at_the_limit_answers_with_its_check() -> None:
    """Where no other instance may exist, the answer is that of the health check, not 429."""
    machine = with_an_instance(concurrency=10, reserved=1)
    machine.health("i1", FCError(Refusal.HEALTH_CHECK_FAILED, status=500), 0.0)
    assert refusals(machine.submit("a", "fn", 0.0)) == [("a", 412)]


def test_new_code_takes_over_when_it_is_ready() -> None:
    """After a reload the old instance serves until the new one is ready, then finishes what it has and ends."""
    machine = with_an_instance(concurrency=10)
    machine.submit("old", "fn", 0.0)
    assert machine.reload("fn", 0.0) == [Start("fn", "i2")]
    assert machine.submit("meanwhile", "fn", 0.0) == [Assign("meanwhile", "i1", cold_start=False)]
    assert machine.ready("i2", 0.0) == []
    assert machine.submit("new", "fn", 0.0) == [Assign("new", "i2", cold_start=False)]
    assert machine.release("old", 1.0) == []
    assert stops(machine.release("meanwhile", 1.0)) == ["i1"]


def test_idle_old_instance_ends_at_once() -> None:
    """An old instance without an invocation ends when new code is ready, limits notwithstanding."""
    machine = with_an_instance(reserved=1)
    assert machine.reload("fn", 0.0) == [Start("fn", "i2")]
    assert stops(machine.ready("i2", 0.0)) == ["i1"]


def test_new_code_that_fails_leaves_the_old_serving() -> None:
    """A start that fails after a reload changes nothing for those who call."""
    machine = with_an_instance(concurrency=10)
    machine.reload("fn", 0.0)
    assert machine.failed("i2", NOT_STARTED, 0.0) == []
    assert machine.submit("a", "fn", 0.0) == [Assign("a", "i1", cold_start=False)]


@pytest.mark.parametrize(("drain", "when"), [(0.0, "ready"), (30.0, "tick"), (math.inf, "never")])
def test_old_invocations_have_so_long_to_finish(drain: float, when: str) -> None:
    """Old instances are cut at once, after the limit, or never."""
    machine = with_an_instance(concurrency=10, drain=drain)
    machine.submit("old", "fn", 0.0)
    machine.reload("fn", 0.0)
    cut = {"ready": stops(machine.ready("i2", 1.0))}
    cut["tick"] = stops(machine.tick(30.9)) + stops(machine.tick(31.0))
    assert [moment for moment, instances in cut.items() if instances == ["i1"]] == ([when] if when in cut else [])
    assert "i1" not in stops(machine.release("old", 100.0)) or when == "never"


def test_reload_of_a_function_that_can_have_one_instance_ends_that_first() -> None:
    """Where a second instance is impossible the old one goes before the new one comes; who waits goes on waiting."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    machine.ready("i1", 0.0)
    actions = machine.reload("fn", 0.0, alone=True)
    assert (stops(actions), starts(actions)) == (["i1"], ["i2"])
    assert stops(machine.reload("fn", 0.0, alone=True)) == ["i2"]


def test_reload_during_a_cold_start_loses_nobody() -> None:
    """Invocations that wait for an instance of the old code are served by it; then the new code takes over."""
    machine = scheduler()
    machine.submit("a", "fn", 0.0)
    assert starts(machine.reload("fn", 0.0)) == ["i2"]
    assert machine.ready("i2", 0.0) == [Assign("a", "i2", cold_start=True)]
    assert stops(machine.ready("i1", 0.0)) == ["i1"]


def test_function_that_is_no_longer_configured_finishes() -> None:
    """A forgotten function takes nothing new, finishes what it has, and is gone."""
    machine = with_an_instance()
    machine.submit("a", "fn", 0.0)
    assert machine.forget("fn", 0.0) == []
    assert refusals(machine.submit("b", "fn", 0.0)) == [("b", 429)]
    assert stops(machine.release("a", 1.0)) == ["i1"]


def test_events_of_unknown_instances_are_ignored() -> None:
    """An instance that was dropped meanwhile may still report; nothing follows from it."""
    machine = scheduler()
    assert machine.ready("gone", 0.0) == []
    assert machine.failed("gone", NOT_STARTED, 0.0) == []
    assert machine.ended("gone", CRASH, 0.0) == []
    assert machine.health("gone", None, 0.0) == []


def test_old_code_serves_until_new_code_is_ready() -> None:
    """The caller can ask whether a failed start leaves older code serving; before the first instance nothing serves."""
    machine = scheduler()
    assert not machine.serves_old_code("fn")
    machine.warm("fn", 0.0)
    machine.ready("i1", 0.0)
    machine.reload("fn", 0.0)
    assert machine.serves_old_code("fn")
    machine.ready("i2", 0.0)
    assert not machine.serves_old_code("fn")


def test_clear_forgets_failed_starts_and_sessions() -> None:
    """After a reset nothing delays a start, and a session's id begins a new session."""
    machine = with_an_instance(concurrency=200, sessions=sessions(reuse=False))
    machine.configure("other", Terms(1, 60.0))
    machine.warm("other", 0.0)
    for number in (2, 3, 4):
        machine.failed(f"i{number}", NOT_STARTED, 0.0)
        machine.submit(f"again{number}", "other", 0.0)
    assert machine.failures("other") == 3
    machine.configure("plain", Terms(1, 60.0))
    machine.warm("plain", 0.0)
    machine.submit("a", "fn", 0.0, named("s1"))
    machine.clear(1.0)
    assert (machine.failures("other"), machine.retry_at("other")) == (0, -math.inf)
    machine.release("a", 1.0)
    assert machine.submit("b", "fn", 1.0, named("s1")) == [Assign("b", "i1", cold_start=False)]


# ---- sessions


def test_sessions_continue_when_their_rules_change() -> None:
    """A session lives on with new rules; without session affinity its requests go anywhere, and end as usual."""
    machine = with_an_instance(concurrency=200, sessions=sessions(per_instance=1))
    machine.submit("a", "fn", 0.0, named("s1"))
    machine.configure("fn", Terms(200, 60.0), sessions(per_instance=3))
    assert machine.submit("b", "fn", 1.0, named("s1")) == [Assign("b", "i1", cold_start=False)]
    machine.configure("fn", Terms(200, 60.0))
    assert machine.submit("c", "fn", 1.0, named("s1")) == [Assign("c", "i1", cold_start=False)]
    assert machine.release("a", 2.0) == []


def test_session_is_named_and_ended_by_its_own_invocation_only() -> None:
    """An invocation without a session, or in one that has its id already, changes no session."""
    machine = with_an_instance(concurrency=200, sessions=sessions())
    machine.submit("plain", "fn", 0.0)
    machine.submit("a", "fn", 0.0, named("s1"))
    machine.tell_session("plain", "told")
    machine.tell_session("a", "told")
    machine.end_session("plain", 0.0)
    assert machine.submit("b", "fn", 1.0, named("s1")) == [Assign("b", "i1", cold_start=False)]
    assert refusals(machine.submit("c", "fn", 1.0, SessionClaim("told"))) == [("c", 401)]


def named(id: str) -> SessionClaim:
    """A session that the client names."""
    return SessionClaim(id, begins=True)


def sessions(**rules: Any) -> Sessions:
    """Two sessions an instance, 100 seconds each, 10 of them idle."""
    return Sessions(**{"per_instance": 2, "life": 100.0, "idle": 10.0, **rules})


def test_requests_of_a_session_run_in_one_instance() -> None:
    """A session stays in its instance, though others fill up and start around it."""
    machine = scheduler(concurrency=200, sessions=sessions())
    where: dict[str, str] = {}
    for id in ("s1", "s2", "s3", "s1", "s3", "s2"):
        name = f"{id}-{len(where)}-{id in where}"
        for action in machine.submit(name, "fn", 0.0, named(id)):
            if isinstance(action, Start):
                (assigned,) = machine.ready(action.instance, 0.0)
                assert isinstance(assigned, Assign)
                action = assigned
            assert isinstance(action, Assign)
            assert where.setdefault(id, action.instance) == action.instance
    assert where == {"s1": "i1", "s2": "i1", "s3": "i2"}


def test_session_waits_for_its_own_instance() -> None:
    """A request of a session whose instance is starting waits for that one, and fails with it."""
    machine = scheduler(concurrency=200, sessions=sessions(per_instance=1))
    assert starts(machine.submit("a", "fn", 0.0, named("s1"))) == ["i1"]
    assert starts(machine.submit("b", "fn", 0.0, named("s2"))) == ["i2"]
    assert machine.submit("c", "fn", 0.0, named("s1")) == []
    assert machine.ready("i2", 0.0) == [Assign("b", "i2", cold_start=True)]
    assert refusals(machine.failed("i1", NOT_STARTED, 0.0)) == [("a", 412), ("c", 412)]
    assert starts(machine.submit("d", "fn", 0.0, named("s1"))) == ["i3"]


def test_session_slots_and_request_slots_run_out_with_429() -> None:
    """No session slot in the instances that may exist, or no request slot in the session's instance, is 429."""
    machine = with_an_instance(concurrency=2, reserved=1, sessions=sessions(per_instance=1))
    machine.submit("a", "fn", 0.0, named("s1"))
    assert refusals(machine.submit("b", "fn", 0.0, named("s2"))) == [("b", 429)]
    machine.submit("c", "fn", 0.0, named("s1"))
    assert refusals(machine.submit("d", "fn", 0.0, named("s1"))) == [("d", 429)]


@pytest.mark.parametrize(("at", "lives"), [(9.9, True), (10.0, False)])
def test_idle_session_ends(at: float, lives: bool) -> None:
    """A session without a request for its idle time frees its slot; an open request keeps it."""
    machine = with_an_instance(concurrency=200, reserved=1, sessions=sessions(per_instance=1))
    machine.submit("a", "fn", 0.0, named("s1"))
    assert refusals(machine.submit("b", "fn", 50.0, named("s2"))) == [("b", 429)]
    machine.release("a", 50.0)
    assert bool(refusals(machine.submit("b", "fn", 50.0 + at, named("s2")))) is lives


def test_session_has_a_longest_life() -> None:
    """The life of a session is counted from its beginning, whatever happens in it."""
    machine = with_an_instance(concurrency=200, sessions=sessions(reuse=False))
    for now in range(0, 100, 5):
        machine.submit(f"r{now}", "fn", now, named("s1"))
        machine.release(f"r{now}", now)
    assert refusals(machine.submit("late", "fn", 100.0, named("s1"))) == [("late", 401)]
    assert refusals(machine.submit("later", "fn", 100.0 + 3 * 24 * 3600, named("s1"))) == []


def test_used_id_begins_a_new_session_unless_that_is_disabled() -> None:
    """An expired id is used again for a new session; with disableSessionIdReuse it is 401."""
    for reuse, expected in ((True, []), (False, [("b", 401)])):
        machine = with_an_instance(concurrency=200, sessions=sessions(reuse=reuse))
        machine.submit("a", "fn", 0.0, named("s1"))
        machine.release("a", 0.0)
        assert refusals(machine.submit("b", "fn", 20.0, named("s1"))) == expected


def test_unknown_session_that_cannot_begin_is_401() -> None:
    """An id that only the function makes is refused if it is not known."""
    machine = with_an_instance(concurrency=200, sessions=sessions())
    assert refusals(machine.submit("a", "fn", 0.0, SessionClaim("made-up"))) == [("a", 401)]


def test_session_that_the_function_names_is_found_by_that_name() -> None:
    """A session begins without an id, gets the one that the function tells, and ends when it is ended."""
    machine = with_an_instance(concurrency=200, sessions=sessions())
    machine.submit("a", "fn", 0.0, SessionClaim(None))
    machine.tell_session("a", "told")
    machine.release("a", 0.0)
    assert machine.submit("b", "fn", 1.0, SessionClaim("told", ends=True)) == [Assign("b", "i1", cold_start=False)]
    machine.end_session("b", 1.0)
    machine.release("b", 1.0)
    assert refusals(machine.submit("c", "fn", 1.0, SessionClaim("told"))) == [("c", 401)]


def test_session_that_is_never_named_takes_a_slot_for_its_request_only() -> None:
    """A request that might have begun a session gives the slot back when it did not."""
    machine = with_an_instance(concurrency=200, reserved=1, sessions=sessions(per_instance=1))
    machine.submit("a", "fn", 0.0, SessionClaim(None))
    assert refusals(machine.submit("b", "fn", 0.0, SessionClaim(None))) == [("b", 429)]
    machine.release("a", 0.0)
    assert refusals(machine.submit("c", "fn", 0.0, SessionClaim(None))) == []


def test_stream_is_its_session() -> None:
    """An MCP event stream's session ends with the stream."""
    machine = with_an_instance(concurrency=200, sessions=sessions(streams=True, idle=0.0))
    machine.submit("stream", "fn", 0.0, SessionClaim(None))
    machine.tell_session("stream", "told")
    machine.submit("post", "fn", 50.0, SessionClaim("told"))
    machine.release("post", 51.0)
    machine.release("stream", 60.0)
    assert refusals(machine.submit("late", "fn", 60.0, SessionClaim("told"))) == [("late", 401)]


def test_instance_with_sessions_is_not_idle() -> None:
    """An idle instance is kept for as long as a session lives in it."""
    machine = with_an_instance(concurrency=200, sessions=sessions(life=1000.0, idle=200.0))
    machine.submit("a", "fn", 0.0, named("s1"))
    machine.release("a", 10.0)
    assert machine.next_tick() == 210.0
    assert machine.tick(100.0) == []
    assert stops(machine.tick(210.0)) == ["i1"]


def test_session_ends_with_its_instance() -> None:
    """A session whose instance died begins anew in another one."""
    machine = with_an_instance(concurrency=200, sessions=sessions())
    machine.submit("a", "fn", 0.0, named("s1"))
    machine.ended("i1", CRASH, 0.0)
    machine.release("a", 0.0)
    assert starts(machine.submit("b", "fn", 0.0, named("s1"))) == ["i2"]


@pytest.mark.parametrize(("drain", "where"), [(30.0, "i2"), (math.inf, "i1")])
def test_sessions_move_to_new_code_unless_pinned(drain: float, where: str) -> None:
    """After a reload a session's next request goes to the new code; with `pin` it stays until it ends."""
    machine = with_an_instance(concurrency=200, sessions=sessions(), drain=drain)
    machine.submit("a", "fn", 0.0, named("s1"))
    machine.release("a", 0.0)
    machine.reload("fn", 0.0)
    machine.ready("i2", 0.0)
    assert machine.submit("b", "fn", 1.0, named("s1")) == [Assign("b", where, cold_start=False)]
    machine.release("b", 1.0)
    if where == "i1":
        assert machine.next_tick() == 11.0
        assert stops(machine.tick(11.0)) == ["i1"]


def test_scattered_sessions_are_in_different_instances() -> None:
    """With scatter the second session gets a second instance."""
    machine = scheduler(concurrency=200, scatter=True, sessions=sessions(per_instance=20))
    assert starts(machine.submit("a", "fn", 0.0, named("s1"))) == ["i1"]
    machine.ready("i1", 0.0)
    assert starts(machine.submit("b", "fn", 0.0, named("s2"))) == ["i2"]


# ---- any sequence


EVENTS = ("submit", "submit", "submit", "release", "ready", "failed", "ended", "tick", "cap", "reload", "health")


any_sequence = given(
    data=st.data(),
    concurrency=st.integers(1, 4),
    account=st.integers(1, 4),
    scatter=st.booleans(),
    minimum=st.integers(0, 2),
    drain=st.sampled_from([0.0, 30.0, math.inf]),
    affine=st.booleans(),
)


def assert_promises(
    data: st.DataObject, concurrency: int, account: int, scatter: bool, minimum: int, drain: float, affine: bool
) -> None:
    """Draw a sequence of events, and assert after each what holds whatever happens."""
    machine = scheduler(
        concurrency,
        account=account,
        scatter=scatter,
        minimum=minimum,
        drain=drain,
        sessions=sessions() if affine else None,
    )
    meter = BillingMeter()
    now = 0.0
    names = (f"r{n}" for n in itertools.count())
    starting: set[str] = set()
    ready: set[str] = set()
    waiting: set[str] = set()
    running: dict[str, str] = {}
    lived: dict[str, float] = {}
    died: dict[str, float] = {}
    billed: Counter[str] = Counter()
    decided: set[str] = set()
    reloads = 0

    def leave(name: str) -> None:
        instance = running.pop(name)
        billed[instance] += meter.end(instance, "fn", now)

    def apply(actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(_, instance):
                    starting.add(instance)
                case Stop(instance, _):
                    assert instance in starting | ready
                    cut = [name for name, where in running.items() if where == instance]
                    assert reloads or not cut  # only new code ends what is in use
                    died[instance] = now
                    starting.discard(instance)
                    ready.discard(instance)
                    for name in cut:
                        leave(name)
                        apply(machine.release(name, now))
                case Assign(invocation, instance, _):
                    assert instance in ready
                    waiting.remove(invocation)
                    decided.add(invocation)
                    running[invocation] = instance
                    meter.start(instance, now)
                    assert sum(1 for other in running.values() if other == instance) <= concurrency
                case Refuse(invocation, _):
                    waiting.remove(invocation)
                    decided.add(invocation)
        if not reloads:
            assert len(starting | ready) <= account

    def event(kind: str) -> None:
        nonlocal reloads
        if kind == "submit":
            name = next(names)
            waiting.add(name)
            session = None
            if affine:
                id = data.draw(st.sampled_from([None, "s1", "s2", "s3", "s4"]))
                session = SessionClaim(id, begins=id is not None)
            apply(machine.submit(name, "fn", now, session))
        elif kind == "release" and (running or waiting):
            name = data.draw(st.sampled_from(sorted(running.keys() | waiting)))
            if name in waiting:
                waiting.discard(name)
            else:
                leave(name)
            apply(machine.release(name, now, retire=data.draw(st.booleans())))
        elif kind == "ready" and starting:
            instance = data.draw(st.sampled_from(sorted(starting)))
            starting.discard(instance)
            ready.add(instance)
            lived[instance] = now
            apply(machine.ready(instance, now))
        elif kind == "failed" and starting:
            instance = data.draw(st.sampled_from(sorted(starting)))
            starting.discard(instance)
            apply(machine.failed(instance, NOT_STARTED, now))
        elif kind == "ended" and ready:
            instance = data.draw(st.sampled_from(sorted(ready)))
            ready.discard(instance)
            died[instance] = now
            gone = [name for name, where in running.items() if where == instance]
            for name in gone:
                leave(name)
            apply(machine.ended(instance, CRASH, now))
            for name in gone:
                apply(machine.release(name, now))
        elif kind == "tick":
            apply(machine.tick(now))
        elif kind == "cap":
            apply(machine.cap("fn", data.draw(st.integers(1, 3)), "capped", now))
        elif kind == "reload":
            reloads += 1
            apply(machine.reload("fn", now, alone=data.draw(st.booleans())))
        elif kind == "health" and ready:
            bad = FCError(Refusal.HEALTH_CHECK_FAILED, status=500) if data.draw(st.booleans()) else None
            apply(machine.health(data.draw(st.sampled_from(sorted(ready))), bad, now))
        # Nobody waits without an instance on its way.
        assert not waiting or starting

    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 1.0, 30.0]))
        event(data.draw(st.sampled_from(EVENTS)))
    # Bring what is starting up: everybody who waits is served or refused in the end.
    while waiting and starting:
        event("ready")
        while running:
            name = next(iter(running))
            leave(name)
            apply(machine.release(name, now))
    assert not waiting
    for instance, milliseconds in billed.items():
        wall = died.get(instance, now) - lived[instance]
        assert milliseconds <= wall * 1000 + 1


@any_sequence
def test_any_sequence_of_events_keeps_the_promises(**drawn: Any) -> None:
    """Whatever happens: no instance has too much to do, nothing runs on a stopped one, nobody waits for nothing,
    every submitted invocation ends assigned or refused, and no more is billed than the time that has passed.
    """
    assert_promises(**drawn)


@pytest.mark.long
@settings(max_examples=500)
@any_sequence
def test_no_sequence_breaks_a_promise_in_a_long_search(**drawn: Any) -> None:
    """The same holds for five times as many sequences."""
    assert_promises(**drawn)
