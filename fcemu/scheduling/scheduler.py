"""Where does an invocation run? Events in, actions out.

Rules, with their source:

* an instance takes up to `instanceConcurrency` invocations at once, and is filled before a new one is created
  (D/04/034);
* an invocation that finds no free slot waits for an instance that is being started for it (a cold start);
* where no instance may be added (account quota, `reservedConcurrency`, a function tied to one port) it is
  refused with 429 at once: queueing is not documented (D/04/063; fc-semantics 6);
* an instance that has been idle for its idle timeout is released (D/08/095), unless it is one of the minimum;
* an unhealthy instance gets nothing new until it is healthy again (D/04/038);
* the requests of a session run in its instance (D/04/010-013);
* new code takes over when its first instance is ready; older instances take nothing new (D/04/002 FAQ);
* after several failures in a row starts are put off for a while, longer each time (INF: the cloud says nothing).

The caller reports events (`submit`, `release`, `ready`, `failed`, `ended`, `health`, `tick` …) and carries out the
actions it gets back, in order. Nothing here waits, and nothing knows what an instance is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from fcemu.errors import FCError, Refusal
from fcemu.scheduling.actions import Action, Assign, Refuse, Start, Stop
from fcemu.scheduling.fleet import FunctionGroup, PlacedInstance, State, Terms
from fcemu.scheduling.sessions import Sessions
from fcemu.trigger.affinity import SessionClaim

_PATIENCE = 3
"""So many failures in a row put off the next start."""

_LONGEST_BACKOFF = 60.0
"""Seconds."""


class Scheduler:
    """All instances of an account, and who runs on them.

    Args:
        account_limit: instances that may exist at once, of all functions.
        new_instance_id: makes ids.
        scatter: do the opposite of filling: consecutive invocations go to different instances, two at least, so that
            what relies on meeting in one instance fails here and not in the cloud, which promises nothing (PAGE).
    """

    def __init__(self, account_limit: int, new_instance_id: Callable[[], str], scatter: bool = False) -> None:
        self._scatter = scatter
        self._account_limit = account_limit
        self._new_instance_id = new_instance_id
        self._functions: dict[str, FunctionGroup] = {}
        self._instances: dict[str, PlacedInstance] = {}
        self._running: dict[str, PlacedInstance] = {}  # by invocation
        self._waiting: dict[str, PlacedInstance] = {}  # by invocation
        self._session_of: dict[str, tuple[str, bool]] = {}  # by invocation: the session's id, and whether it began it
        self._due: float | None = None  # nothing is due before; None where that has to be worked out anew

    def configure(self, function: str, terms: Terms, sessions: Sessions | None = None) -> None:
        """Announce a function, or what has changed of it; living sessions go on if there still are sessions."""
        self._due = None
        group = self._functions.setdefault(function, FunctionGroup(function, terms))
        group.terms = terms
        if group.sessions is None or sessions is None:
            group.sessions = sessions
        else:
            group.sessions.change(sessions)
        group.limit = terms.reserved
        group.limit_reason = f"reservedConcurrency: {terms.reserved} of {function} is used up"
        if terms.reserved == 0:
            group.limit_reason = f"function {function} is disabled by reservedConcurrency: 0"

    # ---- events: invocations

    def submit(self, invocation: str, function: str, now: float, session: SessionClaim | None = None) -> list[Action]:
        """An invocation was admitted."""
        group = self._functions[function]
        if session is not None and group.sessions is not None:
            return self._submit_in_session(group, group.sessions, invocation, session, now)
        # 1. A free slot: the fullest instance first, so that new ones come as late as possible.
        second = False
        if self._scatter and len(group.counted()) == 1 and (group.last_used or group.queue):
            second = self._refusal(group, now) is None
        if not second and (instance := self._free_slot(group)) is not None:
            return [self._assign(invocation, instance, cold=False)]
        # 2. A slot of an instance that is starting already, or else of a new one, if one may exist.
        return self._wait(group, invocation, now, second)

    def release(self, invocation: str, now: float, retire: bool = False) -> list[Action]:
        """An invocation ended, or gave up waiting. `retire`: its instance may not be used again."""
        self._leave_session(invocation, now)
        if (holder := self._waiting.pop(invocation, None)) is not None:
            holder.waiting.remove(invocation)
            if invocation in holder.function.queue:
                holder.function.queue.remove(invocation)
            return []
        instance = self._running.pop(invocation, None)
        if instance is None or instance.id not in self._instances:
            return []
        group = instance.function
        instance.in_flight.discard(invocation)
        instance.proven = True
        group.failures, group.retry_at = 0, -math.inf
        if retire:
            instance.state = State.RETIRING
        if not instance.in_flight:
            instance.idle_since = now
            if instance.state is State.RETIRING and not self._is_pinned(instance, now):
                self._due = None
                stop = self._drop(instance, "newer code has taken its place" if instance.old else "replaced", now)
                return [stop, *self._replenish(group, now)]
            if self._due is not None:
                self._due = min(self._due, self._release_at(instance))
        return self._drain(group, now, cold=False) if group.queue else []

    def tell_session(self, invocation: str, id: str) -> None:
        """The function told the id of the session that the invocation began."""
        instance = self._running.get(invocation)
        known = self._session_of.get(invocation)
        if instance is not None and instance.function.sessions is not None and known == (invocation, True):
            instance.function.sessions.rename(invocation, id)
            self._session_of[invocation] = (id, True)

    def end_session(self, invocation: str, now: float) -> None:
        """The session that the invocation belongs to is over."""
        instance = self._running.get(invocation)
        known = self._session_of.get(invocation)
        if instance is not None and instance.function.sessions is not None and known is not None:
            instance.function.sessions.end(known[0], now)

    # ---- events: instances

    def warm(self, function: str, now: float, at_least: int = 1) -> list[Action]:
        """Start the instances of the minimum, and so many at least, that nobody waits for yet."""
        return self._replenish(self._functions[function], now, at_least)

    def ready(self, instance_id: str, now: float) -> list[Action]:
        """An instance accepts requests."""
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        group = instance.function
        instance.state = State.READY
        instance.idle_since = now
        group.serving = max(group.serving, instance.generation)
        actions: list[Action] = []
        for invocation in [waiter for waiter in instance.waiting if instance.old or waiter not in group.queue]:
            actions.append(self._assign(self._no_longer_waits(invocation), instance, cold=True))
        for other in list(group.instances.values()):
            if other.old and other.state is State.READY:
                actions += self._supersede(other, now)
        return [*actions, *self._drain(group, now, cold=True)]

    def failed(self, instance_id: str, error: FCError, now: float) -> list[Action]:
        """An instance could not be started: those that waited for it get the error."""
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        refused = [self._refuse(invocation, error, now) for invocation in list(instance.waiting)]
        self._remove(instance, now, spent=False)
        self._count_failure(instance.function, error, now)
        return [*refused, *self._replenish(instance.function, now)]

    def ended(self, instance_id: str, error: FCError, now: float) -> list[Action]:
        """A ready instance's process is gone. Its invocations break by themselves and are released as ever.

        Args:
            error: what to answer should it be part of a crash loop.
        """
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        self._remove(instance, now)
        if not instance.in_flight and not instance.proven:
            self._count_failure(instance.function, error, now)  # nobody asked it for anything
        return self._replenish(instance.function, now)

    def health(self, instance_id: str, unhealthy: FCError | None, now: float) -> list[Action]:
        """An instance became unhealthy, or healthy again (None)."""
        self._due = None
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        instance.unhealthy = unhealthy
        return self._drain(instance.function, now, cold=False)

    def cap(self, function: str, limit: int, reason: str, now: float) -> list[Action]:
        """From now on at most `limit` instances of the function; surplus starting ones are given up."""
        self._due = None
        group = self._functions[function]
        group.limit, group.limit_reason = limit, reason
        actions: list[Action] = []
        while len(group.counted()) > limit and (starting := group.starting()):
            actions += self._give_up(starting[-1], "no second instance is possible", now)
        return [*actions, *self._rehome(group, now)]

    def reload(self, function: str, now: float, alone: bool = False) -> list[Action]:
        """The code changed: start an instance of it, even over a limit. It takes over once it is ready.

        Args:
            alone: no second instance can exist beside those there are, so that they are ended first.
        """
        self._due = None
        group = self._functions[function]
        group.generation += 1
        group.failures, group.retry_at = 0, -math.inf
        existed = bool(group.instances)
        actions: list[Action] = []
        for instance in list(group.instances.values()):
            if alone or (instance.state is State.STARTING and not instance.waiting):
                actions += self._give_up(instance, "the code changed", now)
        if existed:
            actions.append(self._start(group))
        return [*actions, *self._rehome(group, now), *self._replenish(group, now)]

    def forget(self, function: str, now: float) -> list[Action]:
        """The function is no longer configured: its instances end as they do after a reload."""
        self._due = None
        group = self._functions[function]
        group.terms = Terms(group.terms.concurrency, group.terms.idle_timeout, reserved=0, drain=group.terms.drain)
        group.limit, group.limit_reason = 0, f"function {function} is no longer configured"
        group.generation += 1
        group.serving = group.generation
        ready = [i for i in group.instances.values() if i.state is State.READY]
        return [action for instance in ready for action in self._supersede(instance, now)]

    def clear(self, now: float) -> None:
        """Forget sessions and failures."""
        self._due = None
        for group in self._functions.values():
            group.failures, group.retry_at = 0, -math.inf
            for instance in group.instances.values():
                if group.sessions is not None:
                    group.sessions.end_all(instance.id, now, spent=False)

    def is_behind(self, function: str) -> bool:
        """Whether there is newer code than what serves, of which no instance has been ready yet."""
        group = self._functions[function]
        return 0 < group.serving < group.generation

    def retry_at(self, function: str) -> float:
        """Until when starts of the function are put off; minus infinity if they are not."""
        return self._functions[function].retry_at

    def failures(self, function: str) -> int:
        """How many times in a row an instance of the function did not start, or ended before it was of use."""
        return self._functions[function].failures

    # ---- events: time

    def tick(self, now: float) -> list[Action]:
        """Time has passed: release what was idle for too long, end what had to drain, start what was put off."""
        self._due = None
        actions: list[Action] = []
        for instance in list(self._instances.values()):
            if instance.drained_at <= now:
                actions.append(self._drop(instance, "it did not drain in time after a reload", now))
            elif self._release_at(instance) <= now:
                timeout = instance.function.terms.idle_timeout
                reason = f"idle for {timeout:g} s" if not instance.old else "its sessions are over"
                actions.append(self._drop(instance, reason, now))
        for group in self._functions.values():
            if group.retry_at <= now:
                group.retry_at = -math.inf
            actions += self._replenish(group, now)
        return actions

    def next_tick(self) -> float | None:
        """When `tick` should be called next; None while there is nothing to wait for.

        It may be too early, where an instance has got something to do since: that is known at the tick, and looking at
        all instances at every invocation would cost more.
        """
        if self._due is None:
            due = [min(self._release_at(i), i.drained_at) for i in self._instances.values()]
            due += [group.retry_at for group in self._functions.values() if len(group.counted()) < group.terms.minimum]
            self._due = min((at for at in due if at != -math.inf), default=math.inf)
        return self._due if self._due != math.inf else None

    # ---- decisions

    def _submit_in_session(
        self, group: FunctionGroup, sessions: Sessions, invocation: str, claim: SessionClaim, now: float
    ) -> list[Action]:
        id = invocation if claim.id is None else claim.id
        actions: list[Action] = []
        instance = self._instances.get(sessions.instance(id, now) or "")
        if instance is None or not self._serves_session(instance, claim):
            if claim.id is not None and (not claim.begins or sessions.is_refused(id, now)):
                remedy = "begin a new session; ids are not used again for three days with disableSessionIdReuse"
                return [Refuse(invocation, FCError(Refusal.SESSION_NOT_FOUND, id=id, remedy=remedy))]
            instance = self._session_slot(group, sessions, now)
            if instance is None:
                if (error := self._refusal(group, now)) is not None:
                    return [Refuse(invocation, error)]
                actions.append(self._start(group))
                instance = next(reversed(group.instances.values()))
            self._due = None
            sessions.end(id, now)
            sessions.begin(id, instance.id, now)
        if len(instance.in_flight) + len(instance.waiting) >= group.terms.concurrency:
            text = f"the session's instance has {group.terms.concurrency} requests at once"
            return [Refuse(invocation, self._exhausted(text))]
        sessions.enter(id)
        self._session_of[invocation] = (id, claim.id is None)
        if instance.state is State.STARTING:
            instance.waiting.append(invocation)
            self._waiting[invocation] = instance
        else:
            actions.append(self._assign(invocation, instance, cold=False))
        return actions

    def _serves_session(self, instance: PlacedInstance, claim: SessionClaim) -> bool:
        """Whether a session's request goes to its instance; one that can begin anew elsewhere leaves a bad one."""
        if not claim.begins:
            return True
        return instance.unhealthy is None and (
            instance.state is not State.RETIRING or (instance.old and instance.drained_at == math.inf)
        )

    def _session_slot(self, group: FunctionGroup, sessions: Sessions, now: float) -> PlacedInstance | None:
        """Where a new session can live: ready instances before starting ones, the fullest first."""
        free = [i for i in group.instances.values() if i.has_room and not i.old and sessions.has_slot(i.id, now)]
        if self._scatter:
            others = [instance for instance in free if instance.id != group.last_used]
            alone = len(group.counted()) == 1 and self._refusal(group, now) is None
            free = others if others or alone else free
        return max(free, key=lambda i: (i.state is State.READY, sessions.count(i.id, now)), default=None)

    def _free_slot(self, group: FunctionGroup) -> PlacedInstance | None:
        if not self._scatter:
            # A plain loop, because every invocation goes through it.
            fullest, most, full, ready, serving = None, -1, group.terms.concurrency, State.READY, group.serving
            for instance in group.instances.values():
                load = len(instance.in_flight)
                if (
                    most < load < full
                    and instance.state is ready
                    and instance.unhealthy is None
                    and instance.generation >= serving
                ):
                    fullest, most = instance, load
            return fullest
        free = (i for i in group.instances.values() if i.state is State.READY and i.has_room and not i.old)
        return min(free, key=lambda i: (i.id == group.last_used, len(i.in_flight)), default=None)

    def _wait(self, group: FunctionGroup, invocation: str, now: float, start: bool = False) -> list[Action]:
        """Let an invocation wait for an instance that is starting; for a new one if there is no room, or `start`."""
        self._due = None
        actions: list[Action] = []
        holder = None if start else next((i for i in group.starting() if i.has_room), None)
        if holder is None:
            if (error := self._refusal(group, now)) is not None:
                return [Refuse(invocation, error)]
            actions.append(self._start(group))
            holder = next(reversed(group.instances.values()))
        holder.waiting.append(invocation)
        self._waiting[invocation] = holder
        group.queue.append(invocation)
        return actions

    def _drain(self, group: FunctionGroup, now: float, cold: bool) -> list[Action]:
        """Give free slots to those who wait, oldest first."""
        actions: list[Action] = []
        while group.queue and (instance := self._free_slot(group)) is not None:
            if self._scatter and instance.id == group.last_used and any(i.has_room for i in group.starting()):
                break  # another instance is on its way
            actions.append(self._assign(self._no_longer_waits(group.queue[0]), instance, cold))
        return [*actions, *self._rehome(group, now)]

    def _rehome(self, group: FunctionGroup, now: float) -> list[Action]:
        """Find a place for those whose instance does not start any more: its slots went to older ones."""
        actions: list[Action] = []
        for invocation in list(group.queue):
            holder = self._waiting[invocation]
            if holder.state is not State.STARTING or holder.id not in self._instances:
                self._no_longer_waits(invocation)
                if (instance := self._free_slot(group)) is not None:
                    actions.append(self._assign(invocation, instance, cold=True))
                else:
                    actions += self._wait(group, invocation, now)
        return actions

    def _refusal(self, group: FunctionGroup, now: float) -> FCError | None:
        """Why no instance may be started; None if one may."""
        counted = group.counted()
        if group.limit is not None and len(counted) >= group.limit:
            return self._unhealthy(group) or self._exhausted(group.limit_reason)
        if sum(not (i.old and i.state is State.RETIRING) for i in self._instances.values()) >= self._account_limit:
            error = self._exhausted(f"the account's {self._account_limit} instances are all in use")
            return self._unhealthy(group) or error
        if now < group.retry_at and group.last_error is not None:
            return group.last_error.again(
                f"{group.failures} instances in a row ended before they were of use; the next one is tried in "
                f"{group.retry_at - now:.1f} s. The last one: {group.last_error.reason}"
            )
        return None

    @staticmethod
    def _unhealthy(group: FunctionGroup) -> FCError | None:
        """The answer where only an unhealthy instance is in the way (D/04/038)."""
        return next((i.unhealthy for i in group.instances.values() if i.unhealthy is not None), None)

    @staticmethod
    def _exhausted(reason: str) -> FCError:
        return FCError(
            Refusal.RESOURCE_EXHAUSTED,
            detail="the concurrency limit is exceeded",
            reason=reason,
            remedy="raise instanceConcurrency, or close connections: each takes a slot until it ends",
        )

    def _count_failure(self, group: FunctionGroup, error: FCError, now: float) -> None:
        group.failures += 1
        group.last_error = error
        if group.failures >= _PATIENCE:
            group.retry_at = now + min(2.0 ** (group.failures - _PATIENCE), _LONGEST_BACKOFF)

    def _replenish(self, group: FunctionGroup, now: float, at_least: int = 0) -> list[Action]:
        """Start what is missing of the minimum, as far as it may be."""
        actions: list[Action] = []
        while len(group.counted()) < max(group.terms.minimum, at_least) and self._refusal(group, now) is None:
            actions.append(self._start(group))
        return actions

    def _supersede(self, instance: PlacedInstance, now: float) -> Iterator[Action]:
        """Newer code has taken an instance's place: it finishes what it has."""
        instance.state = State.RETIRING
        instance.drained_at = now + instance.function.terms.drain
        if not instance.in_flight and not self._is_pinned(instance, now) or instance.drained_at <= now:
            yield self._drop(instance, "newer code has taken its place", now)

    def _is_pinned(self, instance: PlacedInstance, now: float) -> bool:
        """Whether an old instance stays for its sessions."""
        sessions = instance.function.sessions
        waits = instance.old and instance.function.terms.drain == math.inf
        return waits and sessions is not None and sessions.count(instance.id, now) > 0

    def _release_at(self, instance: PlacedInstance) -> float:
        """When an idle instance is released; infinity for one that stays. Its sessions keep it (INF)."""
        group = instance.function
        if not instance.idle:
            return math.inf
        sessions_end = group.sessions.until(instance.id) if group.sessions is not None else -math.inf
        if instance.state is State.RETIRING:
            return sessions_end
        if group.terms.minimum and len(group.counted()) <= group.terms.minimum:
            return math.inf
        return max(instance.idle_since + group.terms.idle_timeout, sessions_end)

    # ---- bookkeeping

    def _assign(self, invocation: str, instance: PlacedInstance, cold: bool) -> Assign:
        instance.in_flight.add(invocation)
        instance.function.last_used = instance.id
        self._running[invocation] = instance
        return Assign(invocation, instance.id, cold)

    def _refuse(self, invocation: str, error: FCError, now: float) -> Refuse:
        self._leave_session(invocation, now)
        return Refuse(self._no_longer_waits(invocation), error)

    def _no_longer_waits(self, invocation: str) -> str:
        holder = self._waiting.pop(invocation)
        holder.waiting.remove(invocation)
        if invocation in holder.function.queue:
            holder.function.queue.remove(invocation)
        return invocation

    def _leave_session(self, invocation: str, now: float) -> None:
        if not self._session_of:
            return
        holder = self._running.get(invocation) or self._waiting.get(invocation)
        id, began = self._session_of.pop(invocation, ("", False))
        if holder is None or not id or (sessions := holder.function.sessions) is None:
            return
        sessions.leave(id, now)
        # A session that the function never named, and one that is the stream that began it, end with the invocation.
        if began and (id == invocation or sessions.streams):
            sessions.end(id, now)

    def _start(self, group: FunctionGroup) -> Start:
        instance = PlacedInstance(self._new_instance_id(), group, group.generation)
        group.instances[instance.id] = self._instances[instance.id] = instance
        return Start(group.name, instance.id)

    def _give_up(self, instance: PlacedInstance, reason: str, now: float) -> Iterator[Action]:
        """Drop an instance that somebody may be waiting for; who may run elsewhere is then found another place."""
        for invocation in [waiter for waiter in instance.waiting if waiter not in instance.function.queue]:
            yield self._refuse(invocation, self._exhausted(reason), now)
        yield self._drop(instance, reason, now)

    def _drop(self, instance: PlacedInstance, reason: str, now: float) -> Stop:
        self._remove(instance, now)
        return Stop(instance.id, reason)

    def _remove(self, instance: PlacedInstance, now: float, spent: bool = True) -> None:
        del self._instances[instance.id]
        del instance.function.instances[instance.id]
        if instance.function.sessions is not None:
            instance.function.sessions.end_all(instance.id, now, spent)
