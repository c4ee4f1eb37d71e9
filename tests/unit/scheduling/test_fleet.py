"""The instances of a function and their states."""

from __future__ import annotations

import math

import pytest

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.fleet import Fleet, State, Terms, TrackedInstance
from fcemu.scheduling.sessions import Sessions

UNHEALTHY = FCError(Refusal.HEALTH_CHECK_FAILED, status=500)
NOT_STARTED = FCError(Refusal.CA_FILE_NOT_FOUND, file="/code/bootstrap")


def fleet(concurrency: int = 2, sessions: Sessions | None = None, minimum: int = 0, drain: float = math.inf) -> Fleet:
    """A fleet without instances; idle timeout 60 s."""
    return Fleet("fn", Terms(concurrency, 60.0, minimum=minimum, drain=drain), sessions)


def add(fleet: Fleet, id: str, state: State = State.READY, in_flight: int = 0, generation: int = 1) -> TrackedInstance:
    """An instance of the fleet with this many invocations."""
    instance = TrackedInstance(id, fleet, generation, state, in_flight={f"{id}-{n}" for n in range(in_flight)})
    fleet.instances[id] = instance
    if state is State.READY:
        fleet.serving = max(fleet.serving, generation)
    return instance


@pytest.mark.parametrize(
    ("state", "in_flight", "waiting", "room"),
    [
        (State.READY, 1, 0, True),
        (State.READY, 2, 0, False),
        (State.STARTING, 0, 1, True),
        (State.STARTING, 0, 2, False),
        (State.RETIRING, 1, 0, False),
    ],
)
def test_instance_has_room_up_to_its_concurrency(state: State, in_flight: int, waiting: int, room: bool) -> None:
    """An instance accepts invocations until it is full, counting those that wait for its start; a retiring one none."""
    instance = add(fleet(concurrency=2), "i1", state, in_flight)
    instance.waiting = [f"w{n}" for n in range(waiting)]
    assert instance.has_room is room


def test_unhealthy_instance_has_no_room() -> None:
    """An unhealthy instance accepts nothing, and its fleet reports its error."""
    some = fleet()
    instance = add(some, "i1")
    assert some.health_error() is None
    instance.unhealthy = UNHEALTHY
    assert not instance.has_room
    assert some.health_error() is UNHEALTHY


def test_instance_is_old_once_newer_code_was_ready() -> None:
    """A newer instance that is only starting makes no other one old."""
    some = fleet()
    first = add(some, "i1")
    add(some, "i2", State.STARTING, generation=2)
    assert not first.old
    add(some, "i3", State.READY, generation=2)
    assert first.old


def test_old_retiring_instances_do_not_count() -> None:
    """Limits and the minimum count every instance but old ones that only finish their invocations."""
    some = fleet()
    old = add(some, "i1", in_flight=1)
    retiring = add(some, "i2", State.RETIRING, in_flight=1, generation=2)
    starting = add(some, "i3", State.STARTING, generation=2)
    some.serving = 2
    assert some.counted() == [old, retiring, starting]
    old.state = State.RETIRING
    assert some.counted() == [retiring, starting]
    assert some.starting() == [starting]


def test_idle_instance_is_released_after_the_idle_timeout() -> None:
    """A busy or starting instance is never released; an idle one after the timeout, unless the minimum needs it."""
    assert add(fleet(), "i1", in_flight=1).release_at() == math.inf
    assert add(fleet(), "i1", State.STARTING).release_at() == math.inf
    assert add(fleet(minimum=1), "i1").release_at() == math.inf
    idle = add(fleet(), "i1")
    idle.idle_since = 10.0
    assert idle.release_at() == 70.0


def test_session_keeps_its_instance() -> None:
    """An idle instance stays until its last session ends; a retiring one no longer than that."""
    some = fleet(sessions=Sessions(per_instance=2, life=500.0))
    instance = add(some, "i1")
    assert some.sessions is not None
    some.sessions.begin("s1", "i1", 0.0)
    assert instance.release_at() == 500.0
    instance.state = State.RETIRING
    assert instance.release_at() == 500.0
    some.sessions.end("s1", 1.0)
    assert instance.release_at() == -math.inf


@pytest.mark.parametrize(("drain", "pinned"), [(math.inf, True), (30.0, False)])
def test_old_instance_is_pinned_by_its_sessions(drain: float, pinned: bool) -> None:
    """An old instance stays for its sessions only if there is no limit for draining, and only if it is old."""
    some = fleet(sessions=Sessions(per_instance=2, life=500.0), drain=drain)
    instance = add(some, "i1")
    assert some.sessions is not None
    some.sessions.begin("s1", "i1", 0.0)
    assert not instance.is_pinned(1.0)
    some.serving = 2
    assert instance.is_pinned(1.0) is pinned
    assert not instance.is_pinned(500.0)


def test_back_off_doubles_from_the_third_failure_on() -> None:
    """Three failed starts in a row delay the next one by 1 s, each further one by twice as long, up to 60 s."""
    some = fleet()
    delays = []
    for _ in range(10):
        some.count_failure(NOT_STARTED, 100.0)
        delays.append(max(0.0, some.retry_at - 100.0))
    assert delays == [0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert some.last_error is NOT_STARTED
    some.forget_failures()
    assert (some.failures, some.retry_at) == (0, -math.inf)
