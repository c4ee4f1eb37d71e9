"""Where does an invocation run? Events in, actions out.

Rules, with their source:

* an instance takes up to `instanceConcurrency` invocations at once, and is filled before a new one is created
  (D/04/034);
* an invocation that finds no free slot waits for an instance that is being started for it (a cold start);
* where no instance may be added (account quota, `reservedConcurrency`, a function tied to one port) it is
  refused with 429 at once: queueing is not documented (D/04/063; fc-semantics 6);
* an instance that has been idle for `idle_timeout` seconds is released (D/08/095).

The caller reports events (`submit`, `release`, `ready`, `failed`, `ended`, `tick`) and carries out the actions it
gets back, in order. Nothing here waits, and nothing knows what an instance is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from fcemu.errors import FCError, Refusal


@dataclass(frozen=True)
class Assign:
    """Run the invocation on the instance."""

    invocation: str
    instance: str
    cold_start: bool


@dataclass(frozen=True)
class Refuse:
    """Answer the invocation with the error."""

    invocation: str
    error: FCError


@dataclass(frozen=True)
class Start:
    """Start an instance of the function under this id."""

    function: str
    instance: str


@dataclass(frozen=True)
class Stop:
    """End the instance."""

    instance: str
    reason: str


Action = Assign | Refuse | Start | Stop


class _State(Enum):
    STARTING = auto()
    READY = auto()
    RETIRING = auto()  # takes nothing new; stops when its last invocation ends


@dataclass
class _Instance:
    id: str
    function: str
    state: _State = _State.STARTING
    in_flight: set[str] = field(default_factory=set)
    idle_since: float = 0.0


@dataclass
class _Function:
    name: str
    concurrency: int
    limit: int | None
    limit_reason: str
    last_used: str = ""
    queue: list[str] = field(default_factory=list)
    """Invocations that wait for the starting instances, oldest first: the first `concurrency` of them for the
    instance that was started first, and so on."""
    instances: dict[str, _Instance] = field(default_factory=dict)

    def starting(self) -> list[_Instance]:
        return [instance for instance in self.instances.values() if instance.state is _State.STARTING]


class Scheduler:
    """All instances of an account, and who runs on them.

    Args:
        account_limit: instances that may exist at once, of all functions.
        idle_timeout: seconds after which an idle instance is released.
        new_instance_id: makes ids.
        scatter: do the opposite of filling: consecutive invocations go to different instances, two at least, so that
            what relies on meeting in one instance fails here and not in the cloud, which promises nothing (PAGE).
    """

    def __init__(
        self, account_limit: int, idle_timeout: float, new_instance_id: Callable[[], str], scatter: bool = False
    ) -> None:
        self._scatter = scatter
        self._account_limit = account_limit
        self._idle_timeout = idle_timeout
        self._new_instance_id = new_instance_id
        self._functions: dict[str, _Function] = {}
        self._instances: dict[str, _Instance] = {}
        self._running: dict[str, str] = {}  # invocation → instance
        self._waiting: dict[str, str] = {}  # invocation → function

    def configure(self, function: str, concurrency: int, reserved: int | None = None) -> None:
        """Announce a function: its `instanceConcurrency` and its limit of instances, if any."""
        reason = f"reservedConcurrency: {reserved} of {function} is used up"
        if reserved == 0:
            reason = f"function {function} is disabled by reservedConcurrency: 0"
        self._functions[function] = _Function(function, concurrency, reserved, reason)

    # ---- events

    def submit(self, invocation: str, function: str) -> list[Action]:
        """An invocation was admitted."""
        group = self._functions[function]
        # 1. A free slot: the fullest instance first, so that new ones come as late as possible.
        alone = self._scatter and len(group.instances) == 1 and bool(group.last_used or group.queue)
        second = alone and self._over_limit(group) is None
        if not second and (instance := self._free_slot(group)) is not None:
            return [self._assign(invocation, instance, cold=False)]
        # 2. A slot of an instance that is starting already, or else of a new one, if one may exist.
        actions: list[Action] = []
        if second or len(group.queue) >= len(group.starting()) * group.concurrency:
            if (error := self._over_limit(group)) is not None:
                return [Refuse(invocation, error)]
            actions.append(self._start(group))
        group.queue.append(invocation)
        self._waiting[invocation] = function
        return actions

    def warm(self, function: str) -> list[Action]:
        """Start an instance of the function that nobody waits for yet."""
        group = self._functions[function]
        return [] if self._over_limit(group) else [self._start(group)]

    def release(self, invocation: str, now: float, retire: bool = False) -> list[Action]:
        """An invocation ended, or gave up waiting. `retire`: its instance may not be used again."""
        if (function := self._waiting.pop(invocation, None)) is not None:
            self._functions[function].queue.remove(invocation)
            return []
        instance = self._instances.get(self._running.pop(invocation, ""))
        if instance is None:
            return []
        instance.in_flight.discard(invocation)
        if retire:
            instance.state = _State.RETIRING
        if not instance.in_flight:
            instance.idle_since = now
            if instance.state is _State.RETIRING:
                return [self._drop(instance, "replaced")]
        return self._drain(self._functions[instance.function], cold=False)

    def ready(self, instance_id: str, now: float) -> list[Action]:
        """An instance accepts requests."""
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        instance.state = _State.READY
        instance.idle_since = now
        group = self._functions[instance.function]
        return self._drain(group, cold=True)

    def failed(self, instance_id: str, error: FCError) -> list[Action]:
        """An instance could not be started: those that waited for it get the error."""
        instance = self._instances.get(instance_id)
        if instance is None:
            return []
        group = self._functions[instance.function]
        first = group.starting().index(instance) * group.concurrency
        refused = group.queue[first : first + group.concurrency]
        self._remove(instance)
        return [self._refuse(group, invocation, error) for invocation in refused]

    def ended(self, instance_id: str) -> list[Action]:
        """A ready instance's process is gone. Its invocations break by themselves and are released as ever."""
        instance = self._instances.get(instance_id)
        if instance is not None:
            self._remove(instance)
        return []

    def cap(self, function: str, limit: int, reason: str) -> list[Action]:
        """From now on at most `limit` instances of the function; surplus starting ones are given up."""
        group = self._functions[function]
        group.limit, group.limit_reason = limit, reason
        actions: list[Action] = []
        starting = group.starting()
        while len(group.instances) > limit and starting:
            actions.append(self._drop(starting.pop(), "no second instance is possible"))
        surplus = group.queue[len(starting) * group.concurrency :]
        return [*actions, *(self._refuse(group, invocation, self._exhausted(reason)) for invocation in surplus)]

    def tick(self, now: float) -> list[Action]:
        """Time has passed: release what has been idle for too long."""
        return [
            self._drop(instance, f"idle for {self._idle_timeout:g} s")
            for instance in list(self._instances.values())
            if self._is_idle(instance) and instance.idle_since + self._idle_timeout <= now
        ]

    def next_tick(self) -> float | None:
        """When `tick` should be called next; None while nothing is idle."""
        idle = [i.idle_since + self._idle_timeout for i in self._instances.values() if self._is_idle(i)]
        return min(idle, default=None)

    # ---- decisions

    def _free_slot(self, group: _Function) -> _Instance | None:
        free = (
            instance
            for instance in group.instances.values()
            if instance.state is _State.READY and len(instance.in_flight) < group.concurrency
        )
        if not self._scatter:
            return max(free, key=lambda instance: len(instance.in_flight), default=None)
        return min(free, key=lambda i: (i.id == group.last_used, len(i.in_flight)), default=None)

    def _over_limit(self, group: _Function) -> FCError | None:
        if group.limit is not None and len(group.instances) >= group.limit:
            return self._exhausted(group.limit_reason)
        if len(self._instances) >= self._account_limit:
            return self._exhausted(f"the account's {self._account_limit} instances are all in use")
        return None

    @staticmethod
    def _exhausted(reason: str) -> FCError:
        return FCError(
            Refusal.RESOURCE_EXHAUSTED,
            detail="the concurrency limit is exceeded",
            reason=reason,
            remedy="raise instanceConcurrency, or close connections: each takes a slot until it ends",
        )

    def _assign(self, invocation: str, instance: _Instance, cold: bool) -> Assign:
        instance.in_flight.add(invocation)
        self._functions[instance.function].last_used = instance.id
        self._running[invocation] = instance.id
        return Assign(invocation, instance.id, cold)

    def _refuse(self, group: _Function, invocation: str, error: FCError) -> Refuse:
        group.queue.remove(invocation)
        del self._waiting[invocation]
        return Refuse(invocation, error)

    def _start(self, group: _Function) -> Start:
        instance = _Instance(self._new_instance_id(), group.name)
        group.instances[instance.id] = self._instances[instance.id] = instance
        return Start(group.name, instance.id)

    def _drain(self, group: _Function, cold: bool) -> list[Action]:
        """Give free slots to those who wait, oldest first."""
        actions: list[Action] = []
        while group.queue and (instance := self._free_slot(group)) is not None:
            if self._scatter and instance.id == group.last_used and group.starting():
                break  # another instance is on its way
            invocation = group.queue.pop(0)
            del self._waiting[invocation]
            actions.append(self._assign(invocation, instance, cold))
        return actions

    def _drop(self, instance: _Instance, reason: str) -> Stop:
        self._remove(instance)
        return Stop(instance.id, reason)

    def _remove(self, instance: _Instance) -> None:
        del self._instances[instance.id]
        del self._functions[instance.function].instances[instance.id]

    @staticmethod
    def _is_idle(instance: _Instance) -> bool:
        return instance.state is _State.READY and not instance.in_flight
