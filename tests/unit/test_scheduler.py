"""Where an invocation runs: the scheduler as a pure machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.scheduler import Action, Assign, Refuse, Scheduler, Start, Stop


def scheduler(
    concurrency: int = 1, reserved: int | None = None, account: int = 300, scatter: bool = False
) -> Scheduler:
    """A scheduler with one function `fn`, idle timeout 60 s, instances i1, i2 …"""
    numbers = itertools.count(1)
    machine = Scheduler(account, 60.0, lambda: f"i{next(numbers)}", scatter)
    machine.configure("fn", concurrency, reserved)
    return machine


def refusals(actions: Iterable[Action]) -> list[tuple[str, int]]:
    """Who was refused, and with which status."""
    return [(action.invocation, action.error.status) for action in actions if isinstance(action, Refuse)]


def test_first_invocation_starts_an_instance_and_waits_for_it() -> None:
    """The first invocation of a function is a cold start."""
    machine = scheduler()
    assert machine.submit("a", "fn") == [Start("fn", "i1")]
    assert machine.ready("i1", 0.0) == [Assign("a", "i1", cold_start=True)]


def test_instance_is_filled_before_a_new_one_is_created() -> None:
    """An instance takes instanceConcurrency invocations before a second one starts."""
    machine = scheduler(concurrency=2)
    machine.submit("a", "fn")
    machine.ready("i1", 0.0)
    assert machine.submit("b", "fn") == [Assign("b", "i1", cold_start=False)]
    assert machine.submit("c", "fn") == [Start("fn", "i2")]


def test_fullest_instance_is_preferred() -> None:
    """Of two instances with room the fuller one is taken, so that the other can become idle."""
    machine = scheduler(concurrency=2)
    for invocation in "abc":
        machine.submit(invocation, "fn")
    machine.ready("i1", 0.0)
    machine.ready("i2", 0.0)
    machine.release("a", 1.0)
    machine.release("c", 1.0)
    assert machine.submit("d", "fn") == [Assign("d", "i1", cold_start=False)]


def test_burst_starts_as_many_instances_as_it_needs() -> None:
    """Invocations that arrive during a cold start share the instances that are starting."""
    machine = scheduler(concurrency=2)
    actions = [action for name in "abcde" for action in machine.submit(name, "fn")]
    assert actions == [Start("fn", "i1"), Start("fn", "i2"), Start("fn", "i3")]


def test_waiting_invocation_takes_a_slot_that_becomes_free() -> None:
    """Somebody who waits for a cold start takes an older instance's slot if that is free first."""
    machine = scheduler()
    machine.submit("a", "fn")
    machine.ready("i1", 0.0)
    machine.submit("b", "fn")
    assert machine.release("a", 1.0) == [Assign("b", "i1", cold_start=False)]
    assert machine.ready("i2", 2.0) == []


def test_account_quota_refuses_with_429() -> None:
    """Over the account's instances an invocation is refused at once."""
    machine = scheduler(account=1)
    machine.submit("a", "fn")
    assert refusals(machine.submit("b", "fn")) == [("b", 429)]


def test_reserved_concurrency_limits_and_zero_disables() -> None:
    """ReservedConcurrency limits the instances of a function; 0 disables it."""
    assert refusals(scheduler(reserved=0).submit("a", "fn")) == [("a", 429)]
    machine = scheduler(reserved=1)
    machine.submit("a", "fn")
    assert refusals(machine.submit("b", "fn")) == [("b", 429)]


def test_failed_start_refuses_those_that_waited_for_it() -> None:
    """An instance that does not start fails its own invocations, and no others."""
    machine = scheduler()
    machine.submit("a", "fn")
    machine.submit("b", "fn")
    error = FCError(Refusal.CA_FILE_NOT_FOUND, file="/code/bootstrap")
    assert refusals(machine.failed("i1", error)) == [("a", 412)]
    assert machine.ready("i2", 0.0) == [Assign("b", "i2", cold_start=True)]


def test_waiting_invocation_can_give_up() -> None:
    """A client that leaves during a cold start is forgotten."""
    machine = scheduler()
    machine.submit("a", "fn")
    assert machine.release("a", 0.0) == []
    assert machine.ready("i1", 0.0) == []


def test_idle_instance_is_released_after_the_idle_timeout() -> None:
    """An instance is released when it has been idle for the whole timeout, not before."""
    machine = scheduler()
    machine.submit("a", "fn")
    machine.ready("i1", 0.0)
    assert machine.next_tick() is None
    machine.release("a", 10.0)
    assert machine.next_tick() == 70.0
    assert machine.tick(69.9) == []
    assert machine.tick(70.0) == [Stop("i1", "idle for 60 s")]
    assert machine.submit("b", "fn") == [Start("fn", "i2")]


def test_ended_instance_gets_nothing_more() -> None:
    """An instance whose process is gone is forgotten; the next invocation starts a new one."""
    machine = scheduler()
    machine.submit("a", "fn")
    machine.ready("i1", 0.0)
    assert machine.ended("i1") == []
    assert machine.release("a", 1.0) == []
    assert machine.submit("b", "fn") == [Start("fn", "i2")]


def test_retired_instance_stops_after_its_last_invocation() -> None:
    """A retired instance finishes what it has, takes nothing new, and stops."""
    machine = scheduler(concurrency=2)
    machine.submit("a", "fn")
    machine.ready("i1", 0.0)
    machine.submit("b", "fn")
    assert machine.release("a", 1.0, retire=True) == []
    assert machine.submit("c", "fn") == [Start("fn", "i2")]
    assert machine.release("b", 2.0) == [Stop("i1", "replaced")]


def test_cap_gives_up_surplus_instances_and_refuses_who_waited() -> None:
    """A function that can have one instance only serves those who fit and refuses the rest."""
    machine = scheduler()
    for name in "abc":
        machine.submit(name, "fn")
    actions = machine.cap("fn", 1, "port 9000 is fixed")
    assert [action for action in actions if isinstance(action, Stop)] == [
        Stop("i3", "no second instance is possible"),
        Stop("i2", "no second instance is possible"),
    ]
    assert refusals(actions) == [("b", 429), ("c", 429)]
    assert machine.ready("i1", 0.0) == [Assign("a", "i1", cold_start=True)]


def test_warm_starts_one_instance_within_the_limits() -> None:
    """Warming starts an instance that nobody waits for, unless none may exist."""
    assert scheduler().warm("fn") == [Start("fn", "i1")]
    assert scheduler(reserved=0).warm("fn") == []


def test_scatter_sends_consecutive_invocations_to_different_instances() -> None:
    """With scatter a second instance comes with the second invocation, and they take turns."""
    machine = scheduler(concurrency=10, scatter=True)
    assert machine.submit("a", "fn") == [Start("fn", "i1")]
    assert machine.submit("b", "fn") == [Start("fn", "i2")]
    assert machine.ready("i1", 0.0) == [Assign("a", "i1", cold_start=True)]
    assert machine.ready("i2", 0.0) == [Assign("b", "i2", cold_start=True)]
    where = []
    for name in "cdef":
        (action,) = machine.submit(name, "fn")
        assert isinstance(action, Assign)
        where.append(action.instance)
    assert where == ["i1", "i2", "i1", "i2"]


def test_scatter_makes_do_with_one_instance_where_there_can_be_no_second() -> None:
    """At the limit of instances scatter serves from the one there is."""
    machine = scheduler(concurrency=10, account=1, scatter=True)
    machine.submit("a", "fn")
    machine.ready("i1", 0.0)
    assert machine.submit("b", "fn") == [Assign("b", "i1", cold_start=False)]


@given(data=st.data(), concurrency=st.integers(1, 4), account=st.integers(1, 4), scatter=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_sequence_of_events_keeps_the_promises(
    data: st.DataObject, concurrency: int, account: int, scatter: bool
) -> None:
    """Whatever happens, no instance has too much to do, nothing runs on a stopped one, and nobody waits forever."""
    machine = scheduler(concurrency, account=account, scatter=scatter)
    now = 0.0
    names = (f"r{n}" for n in itertools.count())
    starting: set[str] = set()
    ready: set[str] = set()
    waiting: set[str] = set()
    running: dict[str, str] = {}

    def apply(actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(_, instance):
                    starting.add(instance)
                case Stop(instance, _):
                    assert instance in starting | ready
                    assert instance not in running.values()
                    starting.discard(instance)
                    ready.discard(instance)
                case Assign(invocation, instance, _):
                    assert instance in ready
                    waiting.remove(invocation)
                    running[invocation] = instance
                    assert sum(1 for other in running.values() if other == instance) <= concurrency
                case Refuse(invocation, _):
                    waiting.remove(invocation)
        assert len(starting | ready) <= account

    for _ in range(data.draw(st.integers(1, 60))):
        now += data.draw(st.sampled_from([0.0, 1.0, 30.0]))
        event = data.draw(st.sampled_from(["submit", "submit", "release", "ready", "failed", "ended", "tick", "cap"]))
        if event == "submit":
            name = next(names)
            waiting.add(name)
            apply(machine.submit(name, "fn"))
        elif event == "release" and (running or waiting):
            name = data.draw(st.sampled_from(sorted(running.keys() | waiting)))
            waiting.discard(name)
            running.pop(name, None)
            apply(machine.release(name, now, retire=data.draw(st.booleans())))
        elif event == "ready" and starting:
            instance = data.draw(st.sampled_from(sorted(starting)))
            starting.discard(instance)
            ready.add(instance)
            apply(machine.ready(instance, now))
        elif event == "failed" and starting:
            instance = data.draw(st.sampled_from(sorted(starting)))
            starting.discard(instance)
            apply(machine.failed(instance, FCError(Refusal.INTERNAL_SERVER_ERROR)))
        elif event == "ended" and ready:
            instance = data.draw(st.sampled_from(sorted(ready)))
            ready.discard(instance)
            gone = [name for name, where in running.items() if where == instance]
            for name in gone:
                del running[name]
            apply(machine.ended(instance))
            for name in gone:
                apply(machine.release(name, now))
        elif event == "tick":
            apply(machine.tick(now))
        elif event == "cap":
            apply(machine.cap("fn", data.draw(st.integers(1, 3)), "capped"))
        # Nobody waits without an instance on its way.
        assert not waiting or starting
