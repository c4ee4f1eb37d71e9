"""All instances of an account: gives invocations their slots, and carries out the scheduler's actions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fcemu.clock import Clock, Timer
from fcemu.errors import FCError
from fcemu.faults.rules import Faults
from fcemu.identifiers import instance_id
from fcemu.instances import readiness
from fcemu.instances.health import HealthChecks
from fcemu.instances.launcher import Launcher
from fcemu.instances.running import RunningInstance
from fcemu.journal import InstanceChanged, InstancePhase, InvocationStarted, Journal, Notice
from fcemu.model import Account, Function, HealthCheckConfig
from fcemu.scheduling.actions import Action, Assign, Refuse, Start, Stop
from fcemu.scheduling.billing import BillingMeter
from fcemu.scheduling.fleet import Terms
from fcemu.scheduling.scheduler import Scheduler
from fcemu.scheduling.sessions import sessions_of
from fcemu.trigger.affinity import SessionClaim

_FREEZE_AFTER = 0.1
"""Seconds without an invocation after which an instance is frozen. What it does right after an answer still runs."""

_DRAIN = {"drain": None, "cut": 0.0, "pin": float("inf")}
"""Seconds that old instances get to finish, by `fcemu.onReload`; None for `fcemu.drainLimit`."""


@dataclass(frozen=True)
class InstanceState:
    """A snapshot of an instance that accepts requests.

    Attributes:
        address: where the front connects to it.
        invocations: number of invocations that it runs.
        frozen: it is suspended until the next invocation.
        memory_mb: resident memory of all its processes.
    """

    id: str
    function: str
    address: str
    invocations: int
    frozen: bool
    memory_mb: float


class Lease:
    """A slot on an instance, held as long as the invocation lasts. The holder calls `release` exactly once.

    Attributes:
        cold_start: the invocation waited for the instance to start.
        started: monotonic seconds; the execution timeout counts from here.
        retire: set it to have the instance replaced when the lease ends.
        cut: called if the instance is stopped while it runs the invocation, to end the invocation; None if that
            happens by itself.
    """

    __slots__ = ("_invocation", "_pool", "cold_start", "cut", "instance", "retire", "started")

    def __init__(
        self, pool: InstancePool, invocation: str, instance: RunningInstance, cold_start: bool, started: float
    ) -> None:
        self._pool = pool
        self._invocation = invocation
        self.instance = instance
        self.cold_start = cold_start
        self.started = started
        self.retire = False
        self.cut: Callable[[], None] | None = None

    def tell_session(self, id: str) -> None:
        """The function returned an id for the session that this invocation began."""
        self._pool.scheduler.tell_session(self._invocation, id)

    def end_session(self) -> None:
        """This invocation ended its session."""
        self._pool.scheduler.end_session(self._invocation, self._pool.clock.now())

    def release(self) -> int:
        """Give the slot back; returns the milliseconds billed for the invocation."""
        return self._pool.release(self, self._invocation)


class InstancePool:
    """All instances of an account. Use it from one event loop.

    Args:
        account: its functions, quotas and settings.
        env_file: variables of `fcemu.envFile`.
        faults: the fault rules, some of which affect starts.
        debug: let debuggers attach.
    """

    def __init__(
        self,
        account: Account,
        journal: Journal,
        clock: Clock,
        env_file: Mapping[str, str],
        faults: Faults,
        debug: bool = False,
    ) -> None:
        self.clock = clock
        self.meter = BillingMeter()
        self._random = random.Random()  # not the shared one: a test that seeds that must not make ids repeat
        self._settings = account.fcemu
        self._journal = journal
        self._functions: dict[str, Function] = {}
        self.scheduler = Scheduler(account.quotas.instances, self._new_id, self._settings.scatter)
        self._launcher = Launcher(account, journal, clock, env_file, self.meter, faults, debug)
        for function in account.functions:
            self._configure(function)
        self._instances: dict[str, RunningInstance] = {}
        self._checks: dict[str, HealthChecks] = {}
        self._assigned: dict[str, asyncio.Future[tuple[RunningInstance, bool]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._tick: tuple[float, Timer] | None = None
        self._freeze_timer: Timer | None = None
        self._closing = False

    # ---- for the gateway

    async def acquire(self, function: Function, invocation: str, session: SessionClaim | None = None) -> Lease:
        """Get a slot of the function. Cancel the call to give up waiting.

        Args:
            invocation: the request id.
            session: the session that the request belongs to or begins.

        Raises:
            FCError: 429 if no slot is possible, 412 if the instance does not start, 401 if the session does not exist.
        """
        now, name = self.clock.now(), function.functionName
        actions = self.scheduler.submit(invocation, name, now, session)
        if len(actions) == 1 and isinstance(action := actions[0], Assign):
            instance, cold = self._instances[action.instance], action.cold_start
        else:
            instance, cold = await self._wait(invocation, actions)
            now = self.clock.now()
        if instance.process.frozen:
            instance.process.thaw()
        self.meter.start(instance.id, now)
        self._journal.write(InvocationStarted(self.clock.wall_now(), invocation, name, instance.id))
        lease = Lease(self, invocation, instance, cold, now)
        instance.leases.add(lease)
        return lease

    async def _wait(self, invocation: str, actions: list[Action]) -> tuple[RunningInstance, bool]:
        """Wait for an instance; returns it, and whether the invocation waited for its start."""
        future: asyncio.Future[tuple[RunningInstance, bool]] = asyncio.get_running_loop().create_future()
        self._assigned[invocation] = future
        try:
            self._perform(actions)
            return await future
        except BaseException:
            self._perform(self.scheduler.release(invocation, self.clock.now()))
            raise
        finally:
            del self._assigned[invocation]

    def release(self, lease: Lease, invocation: str) -> int:
        """Take a slot back; returns the milliseconds billed for the invocation."""
        now, instance = self.clock.now(), lease.instance
        billed = self.meter.end(instance.id, instance.function.functionName, now)
        instance.leases.discard(lease)
        instance.idle_since = now
        if not instance.leases and self._freeze_timer is None and self._freezes(instance):
            self._freeze_timer = self.clock.call_at(now + _FREEZE_AFTER, self._freeze_idle)
        self._perform(self.scheduler.release(invocation, now, lease.retire))
        return billed

    # ---- life

    async def warm(self) -> list[FCError]:
        """Start the minimum of each function, and at least one instance unless `fcemu.start` is lazy.

        Returns:
            The errors of the instances that did not start.
        """
        errors: list[FCError] = []
        for name in self._functions:
            for action in self.scheduler.warm(name, self.clock.now(), self._at_least):
                assert isinstance(action, Start)
                self._start(action, errors)
        await asyncio.gather(*self._starting.values())
        return errors

    def update(self, account: Account, changed: frozenset[str], env_file: Mapping[str, str]) -> None:
        """Serve another account. A function with any change but to its triggers gets new instances.

        Running invocations finish in the old ones; `fcemu.onReload` limits the time for that (D/04/002 FAQ).

        Args:
            changed: functions whose code or variables have changed.
            env_file: variables of `fcemu.envFile`.
        """
        self._settings = account.fcemu
        self._launcher.env_file = env_file
        now = self.clock.now()
        current = {function.functionName: function for function in account.functions}
        for name in self._functions.keys() - current.keys():
            del self._functions[name]
            self._perform(self.scheduler.forget(name, now))
        for name, function in current.items():
            before = self._functions.get(name)
            self._configure(function)
            if before is not None and (name in changed or not _same_but_triggers(before, function)):
                self._perform(
                    self.scheduler.reload(name, now, alone=self._launcher.why_single_instance(name) is not None)
                )
            self._perform(self.scheduler.warm(name, now, self._at_least))

    def instances(self) -> list[InstanceState]:
        """Every instance that accepts requests, oldest first."""
        return [
            InstanceState(
                instance.id,
                instance.function.functionName,
                f"{instance.host}:{instance.port}",
                len(instance.leases),
                instance.process.frozen,
                round(instance.memory_mb(self.clock.now()), 1),
            )
            for instance in self._instances.values()
        ]

    def forget(self) -> None:
        """Forget sessions, bills and failed starts."""
        self.meter.clear()
        self.scheduler.clear(self.clock.now())

    async def close(self) -> None:
        """Stop every instance, which may take `stopGrace` seconds, then the keeper."""
        self._closing = True
        for task in self._starting.values():
            task.cancel()
        for timer in (self._tick[1] if self._tick else None, self._freeze_timer):
            if timer is not None:
                timer.cancel()
        for checks in self._checks.values():
            checks.close()
        # A user who stops fcemu waits no longer than the grace period, even if a hook may take longer.
        ends = (self._launcher.end(instance, self._settings.stopGrace) for instance in self._instances.values())
        await asyncio.gather(*ends)
        await self._launcher.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- the scheduler's actions

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Assign(invocation, instance, cold):
                    future = self._assigned[invocation]
                    if not future.done():
                        future.set_result((self._instances[instance], cold))
                case Refuse(invocation, error):
                    future = self._assigned[invocation]
                    if not future.done():
                        future.set_exception(error)
                case Start():
                    self._start(action, [])
                case Stop(instance, reason):
                    self._stop(instance, reason)
        self._schedule_tick()

    def _schedule_tick(self) -> None:
        due = self.scheduler.next_tick()
        if due is not None and (self._tick is None or due < self._tick[0]) and not self._closing:
            if self._tick is not None:
                self._tick[1].cancel()
            self._tick = (due, self.clock.call_at(due, self._on_tick))

    def _on_tick(self) -> None:
        self._tick = None
        self._perform(self.scheduler.tick(self.clock.now()))

    def _start(self, action: Start, errors: list[FCError]) -> None:
        if self._closing:
            return
        task = asyncio.create_task(self._bring_up(self._functions[action.function], action.instance, errors))
        self._keep(task)
        self._starting[action.instance] = task
        task.add_done_callback(lambda _: self._starting.pop(action.instance, None))

    async def _bring_up(self, function: Function, id: str, errors: list[FCError]) -> None:
        self._changed(function, id, "starting")
        try:
            instance = await self._launcher.launch(function, id)
        except FCError as error:
            errors.append(error)
            self._changed(function, id, "failed", error.message)
            self._perform(self.scheduler.failed(id, error, self.clock.now()))
            if self.scheduler.serves_old_code(function.functionName):
                text = f"{function.functionName}: the new code does not start; the previous code still serves. "
                text += f"{error.message}\nreason: {error.reason}\nremedy: {error.remedy}"
                now = self.clock.wall_now()
                self._journal.write(Notice(now, "error", text, "reload-failed", function.functionName))
            self._notice_back_off(function.functionName, error)
            return
        except asyncio.CancelledError:
            self._changed(function, id, "ended", "given up before it was ready")
            raise
        self._instances[id] = instance
        self._changed(function, id, "ready", f"{instance.host}:{instance.port}")
        instance.process.exited.add_done_callback(lambda _: self._on_exit(instance))
        if (check := function.customRuntimeConfig.healthCheckConfig) is not None and not instance.debugged:
            self._start_checking(instance, check)
        self._perform(self.scheduler.ready(id, self.clock.now()))
        self._cap(function.functionName)

    def _start_checking(self, instance: RunningInstance, config: HealthCheckConfig) -> None:
        def on_change(unhealthy: FCError | None) -> None:
            function, id = instance.function, instance.id
            self._changed(function, id, "healthy" if unhealthy is None else "unhealthy", _reason(unhealthy))
            self._perform(self.scheduler.health(id, unhealthy, self.clock.now()))

        self._checks[instance.id] = HealthChecks(
            config, instance.host, instance.port, self.clock, on_change, lambda: not instance.process.frozen
        )

    def _stop(self, id: str, reason: str) -> None:
        if task := self._starting.get(id):
            task.cancel()
        instance = self._instances.pop(id, None)
        if instance is not None:
            self._changed(instance.function, id, "stopping", reason)
            self._stop_checking(id)
            for lease in list(instance.leases):
                if lease.cut is not None:
                    lease.cut()
            self._keep(asyncio.create_task(self._launcher.end(instance, patience=90)))

    def _on_exit(self, instance: RunningInstance) -> None:
        function, process = instance.function, instance.process
        name, code = function.functionName, process.exited.result().code
        self._stop_checking(instance.id)
        detail = f"exit code {code}"
        now = self.clock.wall_now()
        if process.out_of_memory:
            detail += f": it used more than its memorySize of {function.memorySize} MB"
            text = (
                f"{name}: instance {instance.id} was killed, as in the cloud, because it used more than its memorySize "
                f"of {function.memorySize} MB; raise memorySize, or set `fcemu: {{memoryLimit: off}}`"
            )
            self._journal.write(Notice(now, "error", text, "memory-limit", name))
        reason: Literal["memory-limit"] | None = "memory-limit" if process.out_of_memory else None
        self._journal.write(InstanceChanged(now, name, instance.id, "ended", detail, code, reason))
        if self._instances.pop(instance.id, None) is not None and not self._closing:  # it exited by itself
            instance.drop_connections()
            error = readiness.exited(process, function.start_command)
            self._perform(self.scheduler.ended(instance.id, error, self.clock.now()))
            self._notice_back_off(function.functionName, error)

    def _stop_checking(self, id: str) -> None:
        if (checks := self._checks.pop(id, None)) is not None:
            checks.close()

    def _notice_back_off(self, name: str, error: FCError) -> None:
        """Write a notice if the next start of a function is delayed."""
        seconds = self.scheduler.retry_at(name) - self.clock.now()
        if seconds > 0:
            text = (
                f"{name}: {self.scheduler.failures(name)} instances in a row failed before they ran an "
                f"invocation; the next is started in {seconds:.0f} s. {error.message}"
            )
            self._journal.write(Notice(self.clock.wall_now(), "warning", text, "back-off", name))

    # ---- freezing (D/04/040)

    def _freezes(self, instance: RunningInstance) -> bool:
        always = instance.function.provisionConfig.alwaysAllocateCPU
        return self._settings.freeze == "auto" and not instance.debugged and not always

    def _freeze_idle(self) -> None:
        """Freeze instances that have been idle for long enough. One timer serves all, so requests need no timer."""
        self._freeze_timer = None
        now = self.clock.now()
        waiting = []
        for instance in self._instances.values():
            # An instance is frozen between two invocations, not before its first one.
            if not instance.leases and instance.idle_since and not instance.process.frozen:
                if instance.idle_since + _FREEZE_AFTER > now:
                    waiting.append(instance.idle_since + _FREEZE_AFTER)
                elif self._freezes(instance):
                    # A thawed server finds its timeouts passed, and would close these during the next request.
                    instance.drop_connections()
                    instance.process.freeze()
        if waiting:
            self._freeze_timer = self.clock.call_at(min(waiting), self._freeze_idle)

    # ---- small things

    @property
    def _at_least(self) -> int:
        """Number of instances that a function has before its first invocation."""
        return 1 if self._settings.start == "eager" else 0

    def _configure(self, function: Function) -> None:
        self._functions[function.functionName] = function
        drain = _DRAIN[self._settings.onReload]
        terms = Terms(
            concurrency=function.instanceConcurrency,
            idle_timeout=function.idleTimeout or self._settings.idleTimeout,
            reserved=function.concurrencyConfig.reservedConcurrency if function.concurrencyConfig else None,
            minimum=function.minimum,
            drain=self._settings.drainLimit if drain is None else drain,
        )
        self.scheduler.configure(function.functionName, terms, sessions_of(function))
        self._cap(function.functionName)

    def _cap(self, name: str) -> None:
        """Limit a function to one instance if this machine cannot run more."""
        if (why := self._launcher.why_single_instance(name)) is not None:
            self._perform(self.scheduler.cap(name, 1, why, self.clock.now()))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a reference to a task: the event loop does not."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new_id(self) -> str:
        return instance_id(self.clock.wall_now(), self._random.getrandbits(96))

    def _changed(self, function: Function, id: str, state: InstancePhase, detail: str = "") -> None:
        self._journal.write(InstanceChanged(self.clock.wall_now(), function.functionName, id, state, detail))


def _reason(error: FCError | None) -> str:
    return "" if error is None else error.reason


def _same_but_triggers(one: Function, other: Function) -> bool:
    """Whether both need the same instances: triggers belong to the gateway and take effect at the next request."""
    return one.model_copy(update={"triggers": []}) == other.model_copy(update={"triggers": []})
