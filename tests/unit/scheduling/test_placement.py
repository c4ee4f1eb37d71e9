"""Which instance gets an invocation or a session."""

from __future__ import annotations

import pytest

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.fleet import Fleet, State, Terms, TrackedInstance
from fcemu.scheduling.placement import (
    FILL_FIRST,
    SCATTER,
    Policy,
    emptiest,
    emptiest_unless_another_starts,
    fill_first,
    fill_first_session,
    fullest,
    scatter,
    scatter_session,
    starting_with_room,
)
from fcemu.scheduling.sessions import Sessions


def fleet(*instances: tuple[str, State, int], concurrency: int = 3, last_used: str = "") -> Fleet:
    """A fleet of instances by id and state, with this many invocations each (waiting ones in those that start)."""
    made = Fleet("fn", Terms(concurrency, 60.0), serving=1, last_used=last_used)
    for id, state, load in instances:
        invocations = [f"{id}-{n}" for n in range(load)]
        instance = made.instances[id] = TrackedInstance(id, made, 1, state)
        if state is State.STARTING:
            instance.waiting = invocations
        else:
            instance.in_flight = set(invocations)
    return made


def ready(**loads: int) -> Fleet:
    """A fleet of ready instances with this many invocations each."""
    return fleet(*((id, State.READY, load) for id, load in loads.items()))


def id_of(instance: TrackedInstance | None) -> str | None:
    """An instance's id; None if a new one is needed."""
    return None if instance is None else instance.id


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ({}, None),
        ({"i1": 0}, "i1"),
        ({"i1": 3}, None),
        ({"i1": 0, "i2": 2, "i3": 1}, "i2"),
        ({"i1": 3, "i2": 0, "i3": 0}, "i2"),
    ],
)
def test_fill_first_takes_the_fullest_with_a_free_slot(loads: dict[str, int], chosen: str | None) -> None:
    """The fullest instance that is not full, the older of equals; a new one only if all are full."""
    assert id_of(fullest(ready(**loads))) == chosen
    assert id_of(fill_first(ready(**loads))) == chosen


def test_fill_first_waits_for_a_starting_instance_before_it_needs_a_new_one() -> None:
    """Where all ready instances are full, an invocation waits for one that is starting and has room."""
    assert id_of(fill_first(fleet(("i1", State.READY, 3), ("i2", State.STARTING, 2)))) == "i2"
    assert fill_first(fleet(("i1", State.READY, 3), ("i2", State.STARTING, 3))) is None
    assert id_of(fill_first(fleet(("i1", State.STARTING, 0), ("i2", State.READY, 0)))) == "i2"


@pytest.mark.parametrize("choose", [fullest, emptiest])
def test_no_policy_takes_an_instance_that_must_get_nothing(choose: object) -> None:
    """Retiring, unhealthy and old instances get nothing new."""
    assert callable(choose)
    retiring = fleet(("i1", State.RETIRING, 1))
    unhealthy = ready(i1=0)
    unhealthy.instances["i1"].unhealthy = FCError(Refusal.HEALTH_CHECK_FAILED, status=500)
    old = ready(i1=0)
    old.serving = 2
    assert [choose(each) for each in (retiring, unhealthy, old)] == [None, None, None]


def test_oldest_starting_instance_with_room_is_waited_for() -> None:
    """Invocations that arrive during a cold start fill the starting instances one after the other."""
    assert id_of(starting_with_room(fleet(("i1", State.STARTING, 3), ("i2", State.STARTING, 1)))) == "i2"
    assert starting_with_room(ready(i1=0)) is None


@pytest.mark.parametrize(
    ("loads", "last_used", "chosen"),
    [
        ({"i1": 0}, "", "i1"),
        ({"i1": 1}, "i1", None),
        ({"i1": 2, "i2": 1}, "i1", "i2"),
        ({"i1": 1, "i2": 2}, "i1", "i2"),
        ({"i1": 1, "i2": 3}, "i1", "i1"),
        ({"i1": 2, "i2": 1, "i3": 0}, "i3", "i2"),
    ],
)
def test_scatter_takes_another_instance_than_the_last(
    loads: dict[str, int], last_used: str, chosen: str | None
) -> None:
    """The emptiest of the other instances; the same one only if the others are full; a second one if it is alone."""
    some = ready(**loads)
    some.last_used = last_used
    assert id_of(scatter(some)) == chosen


def test_scatter_needs_a_second_instance_while_the_first_starts() -> None:
    """The second of two invocations that arrive together does not wait for the first one's instance."""
    some = fleet(("i1", State.STARTING, 1))
    assert id_of(scatter(some)) == "i1"
    some.queue.append("i1-0")
    assert scatter(some) is None


def test_scatter_lets_an_invocation_wait_for_the_other_instance() -> None:
    """A free slot of the instance used last stays free while another instance with room is starting."""
    some = fleet(("i1", State.READY, 1), ("i2", State.STARTING, 1), last_used="i1")
    assert id_of(emptiest(some)) == "i1"
    assert emptiest_unless_another_starts(some) is None
    some.last_used = "i0"
    assert id_of(emptiest_unless_another_starts(some)) == "i1"


def with_sessions(some: Fleet, **counts: int) -> Sessions:
    """Two session slots for each instance, of which this many are taken."""
    sessions = Sessions(per_instance=2, life=100.0)
    for id, count in counts.items():
        for number in range(count):
            sessions.begin(f"{id}-s{number}", id, 0.0)
    some.sessions = sessions
    return sessions


def test_new_session_joins_the_instance_with_the_most_sessions() -> None:
    """Session slots are filled as request slots are: the fullest first, ready instances before starting ones."""
    some = fleet(("i1", State.READY, 0), ("i2", State.READY, 0), ("i3", State.READY, 0), ("i4", State.STARTING, 0))
    assert id_of(fill_first_session(some, with_sessions(some, i2=1, i3=2), 0.0)) == "i2"
    assert id_of(fill_first_session(some, with_sessions(some, i1=2, i2=2, i3=2), 0.0)) == "i4"
    assert fill_first_session(some, with_sessions(some, i1=2, i2=2, i3=2, i4=2), 0.0) is None


def test_scattered_session_goes_to_another_instance() -> None:
    """With scatter a new session needs a second instance, and then takes the one that was not used last."""
    alone = ready(i1=1)
    alone.last_used = "i1"
    assert scatter_session(alone, with_sessions(alone), 0.0) is None
    two = ready(i1=1, i2=0)
    two.last_used = "i1"
    assert id_of(scatter_session(two, with_sessions(two, i1=1), 0.0)) == "i2"
    assert id_of(scatter_session(two, with_sessions(two, i2=2), 0.0)) == "i1"


@pytest.mark.parametrize("policy", [FILL_FIRST, SCATTER])
def test_policies_change_nothing(policy: Policy) -> None:
    """A policy only looks: asked twice, it answers the same."""
    some = fleet(("i1", State.READY, 1), ("i2", State.STARTING, 1), last_used="i1")
    sessions = with_sessions(some, i1=1)
    for choose in (policy.arrival, policy.slot, policy.waiting):
        assert choose(some) is choose(some)
    assert policy.session(some, sessions, 0.0) is policy.session(some, sessions, 0.0)
