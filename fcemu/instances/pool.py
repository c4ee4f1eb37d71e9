"""Who carries out the scheduler's actions, and how does a request get a slot? `InstancePool.acquire`."""

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
from fcemu.journal import InstanceChanged, InvocationStarted, Journal, Notice
from fcemu.model import Account, Function
from fcemu.scheduling.actions import Action, Assign, Refuse, Start, Stop
from fcemu.scheduling.billing import BillingMeter
from fcemu.scheduling.fleet import Terms
from fcemu.scheduling.scheduler import Scheduler
from fcemu.scheduling.sessions import sessions_of
from fcemu.trigger.affinity import SessionClaim

_FREEZE_AFTER = 0.1
"""Seconds without an invocation after which an instance is frozen: what it does right behind an answer still runs."""

_DRAIN = {"drain": None, "cut": 0.0, "pin": float("inf")}
"""Seconds that `fcemu.onReload` gives old instances; None for `fcemu.drainLimit`."""


@dataclass(frozen=True)
class InstanceState:
    """What an instance that accepts requests is doing.

    Attributes:
        address: where the front dials it.
        invocations: how many it runs.
        frozen: it stands still until the next one.
        memory_mb: resident memory of all its processes.
    """

    id: str
    function: str
    address: str
    invocations: int
    frozen: bool
    memory_mb: float


class Lease:
    """A slot on an instance, held for as long as the invocation lasts: whoever gets one calls `release` once.

    Attributes:
        started: monotonic seconds; the execution timeout counts from here.
        retire: set it, and the instance is replaced when the lease ends.
        cut: how to end the invocation without the instance, should that be stopped under it; None if it needs no help.
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
        """The function told the id of the session that this invocation began."""
        self._pool.scheduler.tell_session(self._invocation, id)

    def end_session(self) -> None:
        """The session of this invocation is over."""
        self._pool.scheduler.end_session(self._invocation, self._pool.clock.now())

    def release(self) -> int:
        """Give the slot back; returns the milliseconds billed for the invocation."""
        return self._pool.release(self, self._invocation)


class InstancePool:
    """All instances of an account. Use it from one event loop.

    Args:
        account: what may run.
        env_file: variables of `fcemu.envFile`.
        faults: what goes wrong on purpose, with starts.
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
        self._random = random.Random()  # of our own: a test that seeds the common one must not make ids repeat
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
        """Get a slot of the function; cancelling the wait gives it up.

        Raises:
            FCError: 429 if there can be no slot, 412 if the instance did not start, 401 if there is no such session.
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
        """Until the invocation has an instance; and whether that was started for it."""
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
        """Start what each function has at least: its minimum, and one instance unless `fcemu.start` is lazy.

        Returns:
            Why those that failed did.
        """
        errors: list[FCError] = []
        for name in self._functions:
            for action in self.scheduler.warm(name, self.clock.now(), self._at_least):
                assert isinstance(action, Start)
                self._start(action, errors)
        await asyncio.gather(*self._starting.values())
        return errors

    def update(self, account: Account, changed: frozenset[str], env_file: Mapping[str, str]) -> None:
        """Take over an account. A function that has changed but for its triggers gets new instances.

        What runs finishes as it began; `fcemu.onReload` says how long it may (D/04/002 FAQ).

        Args:
            changed: functions whose code, or variables, have changed.
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
                self._perform(self.scheduler.reload(name, now, alone=self._launcher.why_alone(name) is not None))
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
        """Forget sessions, bills and back-offs."""
        self.meter.clear()
        self.scheduler.clear(self.clock.now())

    async def close(self) -> None:
        """Stop every instance, patient for `stopGrace` seconds, then the keeper."""
        self._closing = True
        for task in self._starting.values():
            task.cancel()
        for timer in (self._tick[1] if self._tick else None, self._freeze_timer):
            if timer is not None:
                timer.cancel()
        for checks in self._checks.values():
            checks.close()
        # Who interrupts fcemu waits for the grace period, not for hooks that take longer.
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
            if self.scheduler.is_behind(function.functionName):
                text = f"{function.functionName}: the new code does not start, the former one still serves. "
                self._notice("error", f"{text}{error.message}\nreason: {error.reason}\nremedy: {error.remedy}")
            self._tell_back_off(function.functionName, error)
            return
        except asyncio.CancelledError:
            self._changed(function, id, "ended", "it was given up before it was ready")
            raise
        self._instances[id] = instance
        self._changed(function, id, "ready", f"{instance.host}:{instance.port}")
        instance.process.exited.add_done_callback(lambda _: self._on_exit(instance))
        if (check := function.customRuntimeConfig.healthCheckConfig) is not None and not instance.debugged:
            self._check(instance, check)
        self._perform(self.scheduler.ready(id, self.clock.now()))
        self._cap(function.functionName)

    def _check(self, instance: RunningInstance, check: Any) -> None:
        def on_change(unhealthy: FCError | None) -> None:
            function, id = instance.function, instance.id
            self._changed(function, id, "healthy" if unhealthy is None else "unhealthy", _reason(unhealthy))
            self._perform(self.scheduler.health(id, unhealthy, self.clock.now()))

        self._checks[instance.id] = HealthChecks(
            check, instance.host, instance.port, self.clock, on_change, lambda: not instance.process.frozen
        )

    def _stop(self, id: str, reason: str) -> None:
        if task := self._starting.get(id):
            task.cancel()
        instance = self._instances.pop(id, None)
        if instance is not None:
            self._changed(instance.function, id, "stopping", reason)
            self._uncheck(id)
            for lease in list(instance.leases):
                if lease.cut is not None:
                    lease.cut()
            self._keep(asyncio.create_task(self._launcher.end(instance, patience=90)))

    def _on_exit(self, instance: RunningInstance) -> None:
        function, process = instance.function, instance.process
        code = process.exited.result().code
        self._uncheck(instance.id)
        detail = f"exit code {code}"
        if process.out_of_memory:
            detail += f": it used more than its memorySize of {function.memorySize} MB"
            self._notice(
                "error",
                f"{function.functionName}: instance {instance.id} was ended, as the cloud does, because it used more "
                f"than its memorySize of {function.memorySize} MB; raise it, or set `fcemu: {{memoryLimit: off}}`",
            )
        self._changed(function, instance.id, "ended", detail)
        if self._instances.pop(instance.id, None) is not None and not self._closing:  # nobody asked for it
            instance.drop_connections()
            error = readiness.exited(process, function.start_command)
            self._perform(self.scheduler.ended(instance.id, error, self.clock.now()))
            self._tell_back_off(function.functionName, error)

    def _uncheck(self, id: str) -> None:
        if (checks := self._checks.pop(id, None)) is not None:
            checks.close()

    def _tell_back_off(self, name: str, error: FCError) -> None:
        """Say that, and why, the next start of a function is put off."""
        seconds = self.scheduler.retry_at(name) - self.clock.now()
        if seconds > 0:
            self._notice(
                "warning",
                f"{name}: {self.scheduler.failures(name)} instances in a row ended before they were of use; the next "
                f"one is tried in {seconds:.0f} s. {error.message}",
            )

    # ---- freezing (D/04/040)

    def _freezes(self, instance: RunningInstance) -> bool:
        always = instance.function.provisionConfig.alwaysAllocateCPU
        return self._settings.freeze == "auto" and not instance.debugged and not always

    def _freeze_idle(self) -> None:
        """Freeze who has been idle for long enough; one timer serves all, so that a request costs none."""
        self._freeze_timer = None
        now = self.clock.now()
        waiting = []
        for instance in self._instances.values():
            # One that never ran an invocation is not between two.
            if not instance.leases and instance.idle_since and not instance.process.frozen:
                if instance.idle_since + _FREEZE_AFTER > now:
                    waiting.append(instance.idle_since + _FREEZE_AFTER)
                elif self._freezes(instance):
                    # A server that thaws finds its own timeouts passed, and would close these under the next request.
                    instance.drop_connections()
                    instance.process.freeze()
        if waiting:
            self._freeze_timer = self.clock.call_at(min(waiting), self._freeze_idle)

    # ---- small things

    @property
    def _at_least(self) -> int:
        """Instances that a function has before anybody asks for it."""
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
        """Where this machine can run one instance of a function only, that is its limit."""
        if (why := self._launcher.why_alone(name)) is not None:
            self._perform(self.scheduler.cap(name, 1, why, self.clock.now()))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """A task that nobody keeps may vanish."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _new_id(self) -> str:
        return instance_id(self.clock.wall_now(), self._random.getrandbits(96))

    def _changed(self, function: Function, id: str, state: Any, detail: str = "") -> None:
        self._journal.write(InstanceChanged(self.clock.wall_now(), function.functionName, id, state, detail))

    def _notice(self, level: Literal["info", "warning", "error"], text: str) -> None:
        self._journal.write(Notice(self.clock.wall_now(), level, text))


def _reason(error: FCError | None) -> str:
    return "" if error is None else error.reason


def _same_but_triggers(one: Function, other: Function) -> bool:
    """Whether running instances do not differ: triggers are the gateway's, and take effect at the next request."""
    return one.model_copy(update={"triggers": []}) == other.model_copy(update={"triggers": []})
