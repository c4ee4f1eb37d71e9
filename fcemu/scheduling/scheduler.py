"""Which instance runs an invocation, and when do instances start and stop? Events in, actions out.

The rules and their sources:

* An instance runs up to `instanceConcurrency` invocations at the same time, and is filled before a new one is created
  (D/04/034; `placement.py`).
* An invocation that finds no free slot waits for an instance that is starting (a cold start).
* Where no instance may be added (account quota, `reservedConcurrency`, a function that can have one instance only),
  the invocation is refused with 429 at once: no queueing is documented (D/04/063; semantics 6).
* An instance that has been idle for its idle timeout is released (D/08/095), unless it belongs to the minimum.
* An unhealthy instance gets no new invocation until it is healthy again (D/04/038).
* The requests of a session run in the session's instance (D/04/010-013).
* New code takes over when its first instance is ready; older instances get no new invocation (D/04/002 FAQ).
* After several failed starts in a row the next start is delayed, longer each time (INF: the cloud does not say).

The caller reports events (`submit`, `release`, `ready`, `failed`, `ended`, `health`, `tick` …) and carries out the
returned actions in order. Nothing here waits, and nothing here knows what an instance is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.actions import Action, Assign, Refuse, Start, Stop
from fcemu.scheduling.fleet import Fleet, State, Terms, TrackedInstance
from fcemu.scheduling.placement import FILL_FIRST, SCATTER, starting_with_room
from fcemu.scheduling.sessions import Sessions
from fcemu.trigger.affinity import SessionClaim

_NEWER_CODE = "newer code has taken its place"


class Scheduler:
    """All instances of an account, and the invocations that run in them. Times are monotonic seconds.

    Args:
        account_limit: the highest number of instances of all functions together.
        new_instance_id: makes ids.
        scatter: send consecutive invocations to different instances, at least two, instead of filling one. Code that
            relies on two requests meeting in one instance then fails here and not in the cloud, which does not
            promise it (PAGE).
    """

    def __init__(self, account_limit: int, new_instance_id: Callable[[], str], scatter: bool = False) -> None:
        self._policy = SCATTER if scatter else FILL_FIRST
        self._account_limit = account_limit
        self._new_instance_id = new_instance_id
        self._fleets: dict[str, Fleet] = {}
        self._instances: dict[str, TrackedInstance] = {}
        self._running: dict[str, TrackedInstance] = {}  # by invocation
        self._waiting: dict[str, TrackedInstance] = {}  # by invocation
        self._session_of: dict[str, tuple[str, bool]] = {}  # by invocation: id, and did it begin it?
        self._due: float | None = None  # nothing is due before; None if that must be computed again

    def configure(self, function: str, terms: Terms, sessions: Sessions | None = None) -> None:
        """Add a function, or change its terms. Its sessions continue, unless it no longer has any (`sessions` None)."""
        self._due = None
        fleet = self._fleets.setdefault(function, Fleet(function, terms))
        fleet.terms = terms
        if fleet.sessions is None or sessions is None:
            fleet.sessions = sessions
        else:
            fleet.sessions.change(sessions)
        fleet.limit = terms.reserved
        fleet.limit_reason = f"reservedConcurrency: {terms.reserved} of {function} is used up"
        if terms.reserved == 0:
            fleet.limit_reason = f"function {function} is disabled by reservedConcurrency: 0"

    # ---- events: invocations

    def submit(self, invocation: str, function: str, now: float, session: SessionClaim | None = None) -> list[Action]:
        """An invocation was admitted: assign it, refuse it, or let it wait for an instance."""
        fleet = self._fleets[function]
        if session is not None and fleet.sessions is not None:
            return self._submit_in_session(fleet, fleet.sessions, invocation, session, now)
        instance = self._policy.arrival(fleet)
        if instance is None or instance.state is State.STARTING:
            return self._wait(fleet, invocation, instance, now)
        return [self._assign(invocation, instance, cold=False)]

    def release(self, invocation: str, now: float, retire: bool = False) -> list[Action]:
        """An invocation ended or no longer waits.

        Args:
            retire: its instance must get no other invocation.
        """
        self._leave_session(invocation, now)
        if invocation in self._waiting:
            self._stop_waiting(invocation)
            return []
        instance = self._running.pop(invocation, None)
        if instance is None or instance.id not in self._instances:
            return []
        fleet = instance.fleet
        instance.in_flight.discard(invocation)
        instance.proven = True
        fleet.forget_failures()
        if retire:
            instance.state = State.RETIRING
        if not instance.in_flight:
            instance.idle_since = now
            if instance.state is State.RETIRING and not instance.is_pinned(now):
                self._due = None
                stop = self._drop(instance, _NEWER_CODE if instance.old else "replaced", now)
                return [stop, *self._replenish(fleet, now)]
            if self._due is not None:
                self._due = min(self._due, instance.release_at())
        return self._drain(fleet, now, cold=False) if fleet.queue else []

    def tell_session(self, invocation: str, id: str) -> None:
        """The function returned an id for the session that the invocation began."""
        instance = self._running.get(invocation)
        known = self._session_of.get(invocation)
        if instance is not None and instance.fleet.sessions is not None and known == (invocation, True):
            instance.fleet.sessions.rename(invocation, id)
            self._session_of[invocation] = (id, True)

    def end_session(self, invocation: str, now: float) -> None:
        """The invocation ended its session."""
        instance = self._running.get(invocation)
        known = self._session_of.get(invocation)
        if instance is not None and instance.fleet.sessions is not None and known is not None:
            instance.fleet.sessions.end(known[0], now)

    # ---- events: instances

    def warm(self, function: str, now: float, at_least: int = 1) -> list[Action]:
        """Start instances in advance: up to the minimum, and up to `at_least`."""
        return self._replenish(self._fleets[function], now, at_least)

    def ready(self, instance_id: str, now: float) -> list[Action]:
        """An instance accepts requests."""
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        fleet = instance.fleet
        instance.state = State.READY
        instance.idle_since = now
        fleet.serving = max(fleet.serving, instance.generation)
        actions: list[Action] = []
        for invocation in [waiter for waiter in instance.waiting if instance.old or waiter not in fleet.queue]:
            actions.append(self._assign(self._stop_waiting(invocation), instance, cold=True))
        for other in list(fleet.instances.values()):
            if other.old and other.state is State.READY:
                actions += self._supersede(other, now)
        return [*actions, *self._drain(fleet, now, cold=True)]

    def failed(self, instance_id: str, error: FCError, now: float) -> list[Action]:
        """An instance could not be started: the invocations that waited for it get the error."""
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        refused = [self._refuse(invocation, error, now) for invocation in list(instance.waiting)]
        self._remove(instance, now, spent=False)
        instance.fleet.count_failure(error, now)
        return [*refused, *self._replenish(instance.fleet, now)]

    def ended(self, instance_id: str, error: FCError, now: float) -> list[Action]:
        """A ready instance's process has exited. The caller releases its invocations, which break by themselves.

        Args:
            error: the answer to later invocations, if the instance turns out to be part of a crash loop.
        """
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        self._remove(instance, now)
        if not instance.in_flight and not instance.proven:
            instance.fleet.count_failure(error, now)  # no invocation explains it
        return self._replenish(instance.fleet, now)

    def health(self, instance_id: str, unhealthy: FCError | None, now: float) -> list[Action]:
        """An instance became unhealthy, with the error of its last check, or healthy again (None)."""
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        instance.unhealthy = unhealthy
        return self._drain(instance.fleet, now, cold=False)

    def cap(self, function: str, limit: int, reason: str, now: float) -> list[Action]:
        """Limit the function's instances to `limit` from now on; surplus instances that are starting are given up."""
        self._due = None
        fleet = self._fleets[function]
        fleet.limit, fleet.limit_reason = limit, reason
        actions: list[Action] = []
        while len(fleet.counted()) > limit and (starting := fleet.starting()):
            actions += self._give_up(starting[-1], "no second instance is possible", now)
        return [*actions, *self._rehome(fleet, now)]

    def reload(self, function: str, now: float, alone: bool = False) -> list[Action]:
        """The code changed: start an instance of it, even over a limit. It takes over when it is ready.

        Args:
            alone: only one instance can exist at a time, so the present one is stopped first.
        """
        self._due = None
        fleet = self._fleets[function]
        fleet.generation += 1
        fleet.forget_failures()
        existed = bool(fleet.instances)
        actions: list[Action] = []
        for instance in list(fleet.instances.values()):
            if alone or (instance.state is State.STARTING and not instance.waiting):
                actions += self._give_up(instance, "the code changed", now)
        if existed:
            self._start(fleet, actions)
        return [*actions, *self._rehome(fleet, now), *self._replenish(fleet, now)]

    def forget(self, function: str, now: float) -> list[Action]:
        """The function is no longer configured: its instances end as they do after a reload."""
        self._due = None
        fleet = self._fleets[function]
        fleet.terms = Terms(fleet.terms.concurrency, fleet.terms.idle_timeout, reserved=0, drain=fleet.terms.drain)
        fleet.limit, fleet.limit_reason = 0, f"function {function} is no longer configured"
        fleet.generation += 1
        fleet.serving = fleet.generation
        ready = [i for i in fleet.instances.values() if i.state is State.READY]
        return [action for instance in ready for action in self._supersede(instance, now)]

    def clear(self, now: float) -> None:
        """Forget sessions and failed starts."""
        self._due = None
        for fleet in self._fleets.values():
            fleet.forget_failures()
            for instance in fleet.instances.values():
                if fleet.sessions is not None:
                    fleet.sessions.end_all(instance.id, now, spent=False)

    def serves_old_code(self, function: str) -> bool:
        """Whether older code serves because no instance of the newest code has been ready yet."""
        fleet = self._fleets[function]
        return 0 < fleet.serving < fleet.generation

    def retry_at(self, function: str) -> float:
        """Until when starts of the function are delayed; minus infinity if they are not."""
        return self._fleets[function].retry_at

    def failures(self, function: str) -> int:
        """How many starts of the function failed in a row, including instances that exited before any invocation."""
        return self._fleets[function].failures

    # ---- events: time

    def tick(self, now: float) -> list[Action]:
        """Release instances that have been idle for too long, stop those that had to drain, make delayed starts."""
        self._due = None
        actions: list[Action] = []
        for instance in list(self._instances.values()):
            if instance.drained_at <= now:
                actions.append(self._drop(instance, "it did not drain in time after a reload", now))
            elif instance.release_at() <= now:
                timeout = instance.fleet.terms.idle_timeout
                reason = f"idle for {timeout:g} s" if not instance.old else "its sessions are over"
                actions.append(self._drop(instance, reason, now))
        for fleet in self._fleets.values():
            if fleet.retry_at <= now:
                fleet.retry_at = -math.inf
            actions += self._replenish(fleet, now)
        return actions

    def next_tick(self) -> float | None:
        """When `tick` should be called next; None if nothing is due.

        The time may be too early if an instance has got an invocation since it was computed. The tick notices that;
        looking at all instances at every invocation would cost more.
        """
        if self._due is None:
            due = [min(i.release_at(), i.drained_at) for i in self._instances.values()]
            due += [fleet.retry_at for fleet in self._fleets.values() if len(fleet.counted()) < fleet.terms.minimum]
            self._due = min((at for at in due if at != -math.inf), default=math.inf)
        return self._due if self._due != math.inf else None

    # ---- decisions

    def _submit_in_session(
        self, fleet: Fleet, sessions: Sessions, invocation: str, claim: SessionClaim, now: float
    ) -> list[Action]:
        id = invocation if claim.id is None else claim.id
        actions: list[Action] = []
        instance = self._instances.get(sessions.instance(id, now) or "")
        if instance is None or not self._serves_session(instance, claim):
            if claim.id is not None and (not claim.begins or sessions.is_refused(id, now)):
                remedy = "begin a new session; disableSessionIdReuse keeps ids from being used again for three days"
                return [Refuse(invocation, FCError(Refusal.SESSION_NOT_FOUND, id=id, remedy=remedy))]
            instance = self._policy.session(fleet, sessions, now)
            if instance is None:
                if (error := self._refusal(fleet, now)) is None:
                    instance = self._start(fleet, actions)
                elif (instance := FILL_FIRST.session(fleet, sessions, now)) is None:
                    return [Refuse(invocation, error)]
            self._due = None
            sessions.end(id, now)
            sessions.begin(id, instance.id, now)
        if len(instance.in_flight) + len(instance.waiting) >= fleet.terms.concurrency:
            text = f"the session's instance already has {fleet.terms.concurrency} requests"
            return [Refuse(invocation, self._exhausted(text))]
        sessions.enter(id)
        self._session_of[invocation] = (id, claim.id is None)
        if instance.state is State.STARTING:
            instance.waiting.append(invocation)
            self._waiting[invocation] = instance
        else:
            actions.append(self._assign(invocation, instance, cold=False))
        return actions

    def _serves_session(self, instance: TrackedInstance, claim: SessionClaim) -> bool:
        """Whether a session's request goes to the session's instance, rather than begin a new session elsewhere."""
        if not claim.begins:
            return True
        return instance.unhealthy is None and (
            instance.state is not State.RETIRING or (instance.old and instance.drained_at == math.inf)
        )

    def _wait(self, fleet: Fleet, invocation: str, instance: TrackedInstance | None, now: float) -> list[Action]:
        """Let an invocation wait for an instance that is starting; without one, for a new one if it may be started."""
        self._due = None
        actions: list[Action] = []
        if instance is None:
            if (error := self._refusal(fleet, now)) is None:
                instance = self._start(fleet, actions)
            elif (instance := FILL_FIRST.arrival(fleet)) is None:
                return [Refuse(invocation, error)]
            elif instance.state is State.READY:
                return [self._assign(invocation, instance, cold=False)]
        instance.waiting.append(invocation)
        self._waiting[invocation] = instance
        fleet.queue.append(invocation)
        return actions

    def _drain(self, fleet: Fleet, now: float, cold: bool) -> list[Action]:
        """Give free slots to the invocations that wait, oldest first."""
        actions: list[Action] = []
        while fleet.queue and (instance := self._policy.waiting(fleet)) is not None:
            actions.append(self._assign(self._stop_waiting(fleet.queue[0]), instance, cold))
        return [*actions, *self._rehome(fleet, now)]

    def _rehome(self, fleet: Fleet, now: float) -> list[Action]:
        """Place the invocations whose instance no longer starts; older invocations took its slots."""
        actions: list[Action] = []
        for invocation in list(fleet.queue):
            holder = self._waiting[invocation]
            if holder.state is not State.STARTING or holder.id not in self._instances:
                self._stop_waiting(invocation)
                if (instance := self._policy.slot(fleet)) is not None:
                    actions.append(self._assign(invocation, instance, cold=True))
                else:
                    actions += self._wait(fleet, invocation, starting_with_room(fleet), now)
        return actions

    def _refusal(self, fleet: Fleet, now: float) -> FCError | None:
        """Why no instance may be started; None if one may. An unhealthy instance that is in the way explains it best
        (D/04/038).
        """
        if fleet.limit is not None and len(fleet.counted()) >= fleet.limit:
            return fleet.health_error() or self._exhausted(fleet.limit_reason)
        if sum(len(other.counted()) for other in self._fleets.values()) >= self._account_limit:
            error = self._exhausted(f"the account's {self._account_limit} instances are all in use")
            return fleet.health_error() or error
        if now < fleet.retry_at and fleet.last_error is not None:
            return fleet.last_error.with_reason(
                f"{fleet.failures} instances in a row failed before they ran an invocation; the next is started in "
                f"{fleet.retry_at - now:.1f} s. The last one: {fleet.last_error.reason}"
            )
        return None

    @staticmethod
    def _exhausted(reason: str) -> FCError:
        return FCError(
            Refusal.RESOURCE_EXHAUSTED,
            detail="the concurrency limit is exceeded",
            reason=reason,
            remedy="raise instanceConcurrency, or close connections: each takes a slot until it ends",
        )

    def _replenish(self, fleet: Fleet, now: float, at_least: int = 0) -> list[Action]:
        """Start instances up to the minimum, and up to `at_least`, as far as limits allow."""
        actions: list[Action] = []
        while len(fleet.counted()) < max(fleet.terms.minimum, at_least) and self._refusal(fleet, now) is None:
            self._start(fleet, actions)
        return actions

    def _supersede(self, instance: TrackedInstance, now: float) -> Iterator[Action]:
        """Newer code has replaced an instance: it finishes its invocations."""
        instance.state = State.RETIRING
        instance.drained_at = now + instance.fleet.terms.drain
        if not instance.in_flight and not instance.is_pinned(now) or instance.drained_at <= now:
            yield self._drop(instance, _NEWER_CODE, now)

    # ---- bookkeeping

    def _assign(self, invocation: str, instance: TrackedInstance, cold: bool) -> Assign:
        instance.in_flight.add(invocation)
        instance.fleet.last_used = instance.id
        self._running[invocation] = instance
        return Assign(invocation, instance.id, cold)

    def _refuse(self, invocation: str, error: FCError, now: float) -> Refuse:
        self._leave_session(invocation, now)
        return Refuse(self._stop_waiting(invocation), error)

    def _stop_waiting(self, invocation: str) -> str:
        holder = self._waiting.pop(invocation)
        holder.waiting.remove(invocation)
        if invocation in holder.fleet.queue:
            holder.fleet.queue.remove(invocation)
        return invocation

    def _leave_session(self, invocation: str, now: float) -> None:
        if not self._session_of:
            return
        holder = self._running.get(invocation) or self._waiting.get(invocation)
        id, began = self._session_of.pop(invocation, ("", False))
        if holder is None or not id or (sessions := holder.fleet.sessions) is None:
            return
        sessions.leave(id, now)
        # A session that the function never named ends with its invocation, and so does one that is a stream.
        if began and (id == invocation or sessions.streams):
            sessions.end(id, now)

    def _start(self, fleet: Fleet, actions: list[Action]) -> TrackedInstance:
        """A new instance; the action that starts it is added to `actions`."""
        instance = TrackedInstance(self._new_instance_id(), fleet, fleet.generation)
        fleet.instances[instance.id] = self._instances[instance.id] = instance
        actions.append(Start(fleet.function, instance.id))
        return instance

    def _give_up(self, instance: TrackedInstance, reason: str, now: float) -> Iterator[Action]:
        """Drop an instance for which invocations may wait. `_rehome` then places those that may run elsewhere."""
        for invocation in [waiter for waiter in instance.waiting if waiter not in instance.fleet.queue]:
            yield self._refuse(invocation, self._exhausted(reason), now)
        yield self._drop(instance, reason, now)

    def _drop(self, instance: TrackedInstance, reason: str, now: float) -> Stop:
        self._remove(instance, now)
        return Stop(instance.id, reason)

    def _remove(self, instance: TrackedInstance, now: float, spent: bool = True) -> None:
        del self._instances[instance.id]
        del instance.fleet.instances[instance.id]
        if instance.fleet.sessions is not None:
            instance.fleet.sessions.end_all(instance.id, now, spent)
