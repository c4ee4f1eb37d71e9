"""Which instance gets an invocation or a session? A policy chooses one, or says that a new one is needed.

fill-first  what the cloud does: an instance is filled before a new one is created (D/04/034)
scatter     the opposite: consecutive invocations go to different instances, at least two (`fcemu.scatter`)

The functions take the instances of a function and return one of them. None means that none fits. They change nothing,
and do not know whether another instance may be started: that is the scheduler's decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fcemu.scheduling.fleet import Fleet, State, TrackedInstance
from fcemu.scheduling.sessions import Sessions


class Policy(NamedTuple):
    """One way to place invocations and sessions.

    Attributes:
        arrival: for a new invocation: a ready instance with a free slot, or a starting one to wait for.
        slot: a ready instance with a free slot.
        waiting: the ready instance whose free slot goes to an invocation that waits; None to let it wait on.
        session: for a new session: a ready or starting instance with a free slot and a free session slot.
    """

    arrival: Callable[[Fleet], TrackedInstance | None]
    slot: Callable[[Fleet], TrackedInstance | None]
    waiting: Callable[[Fleet], TrackedInstance | None]
    session: Callable[[Fleet, Sessions, float], TrackedInstance | None]


def starting_with_room(fleet: Fleet) -> TrackedInstance | None:
    """The oldest starting instance for which one more invocation can wait."""
    return next((instance for instance in fleet.starting() if instance.has_room), None)


# ---- fill-first


def fill_first(fleet: Fleet) -> TrackedInstance | None:
    """For a new invocation: the fullest ready instance with a free slot, otherwise a starting one with room."""
    return fullest(fleet) or starting_with_room(fleet)


def fullest(fleet: Fleet) -> TrackedInstance | None:
    """The fullest ready instance with a free slot, so that the others can become idle."""
    # A plain loop, because every invocation runs it.
    chosen, most, full, ready, serving = None, -1, fleet.terms.concurrency, State.READY, fleet.serving
    for instance in fleet.instances.values():
        load = len(instance.in_flight)
        if (
            most < load < full
            and instance.state is ready
            and instance.unhealthy is None
            and instance.generation >= serving
        ):
            chosen, most = instance, load
    return chosen


def fill_first_session(fleet: Fleet, sessions: Sessions, now: float) -> TrackedInstance | None:
    """For a new session: the instance with the most sessions that has a free session slot; ready ones first."""
    return _most_sessions(_with_session_slot(fleet, sessions, now), sessions, now)


FILL_FIRST = Policy(arrival=fill_first, slot=fullest, waiting=fullest, session=fill_first_session)


# ---- scatter


def scatter(fleet: Fleet) -> TrackedInstance | None:
    """For a new invocation: another instance than the last one got; None for the second one, which needs a second."""
    if len(fleet.counted()) == 1 and (fleet.last_used or fleet.queue):
        return None
    return emptiest(fleet) or starting_with_room(fleet)


def emptiest(fleet: Fleet) -> TrackedInstance | None:
    """The emptiest ready instance with a free slot; the one that was used last only if it is the only one."""
    free = (i for i in fleet.instances.values() if i.state is State.READY and i.has_room and not i.old)
    return min(free, key=lambda i: (i.id == fleet.last_used, len(i.in_flight)), default=None)


def emptiest_unless_another_starts(fleet: Fleet) -> TrackedInstance | None:
    """The emptiest one, but not the one that was used last while another instance with room is starting."""
    instance = emptiest(fleet)
    if instance is not None and instance.id == fleet.last_used and starting_with_room(fleet) is not None:
        return None
    return instance


def scatter_session(fleet: Fleet, sessions: Sessions, now: float) -> TrackedInstance | None:
    """For a new session: another instance than the one used last; None if that one is the only instance."""
    free = _with_session_slot(fleet, sessions, now)
    others = [instance for instance in free if instance.id != fleet.last_used]
    if not others and len(fleet.counted()) == 1:
        return None
    return _most_sessions(others or free, sessions, now)


SCATTER = Policy(arrival=scatter, slot=emptiest, waiting=emptiest_unless_another_starts, session=scatter_session)


# ---- sessions


def _with_session_slot(fleet: Fleet, sessions: Sessions, now: float) -> list[TrackedInstance]:
    return [i for i in fleet.instances.values() if i.has_room and not i.old and sessions.has_slot(i.id, now)]


def _most_sessions(instances: list[TrackedInstance], sessions: Sessions, now: float) -> TrackedInstance | None:
    return max(instances, key=lambda i: (i.state is State.READY, sessions.count(i.id, now)), default=None)
