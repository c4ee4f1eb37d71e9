"""Who carries out the scheduler's actions, and how does a request get a slot? `InstancePool.acquire`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fcemu.clock import Clock, Timer
from fcemu.errors import FCError, Refusal
from fcemu.identifiers import instance_id
from fcemu.instances import environment, hooks, readiness
from fcemu.instances.identity import identity
from fcemu.instances.port_binding import PortBinding, own_address, self_test
from fcemu.instances.process import FunctionProcess, Keeper, Stream
from fcemu.journal import HookCalled, InstanceChanged, InvocationStarted, Journal, LogLine, Notice
from fcemu.model import Account, Function
from fcemu.scheduling.billing import BillingMeter
from fcemu.scheduling.scheduler import Action, Assign, Refuse, Scheduler, Start, Stop


@dataclass(eq=False)
class RunningInstance:
    """An instance that accepts requests.

    Attributes:
        host, port: where the front dials it.
        idle_connections: open connections to it that nobody uses; the gateway's.
    """

    id: str
    function: Function
    process: FunctionProcess
    host: str
    port: int
    idle_connections: list[Any] = field(default_factory=list)
    _memory: tuple[float, float] = (0.0, 0.0)

    def memory_mb(self, now: float) -> float:
        """Resident memory of its process tree in MB, at most a second old: many sockets of it may end together."""
        measured, memory = self._memory
        if now - measured > 1.0:
            memory = readiness.memory_mb(self.process.pid)
            self._memory = (now, memory)
        return memory


class Lease:
    """A slot on an instance, held for as long as the invocation lasts: whoever gets one calls `release` once.

    Attributes:
        started: monotonic seconds; the execution timeout counts from here.
        retire: set it, and the instance is replaced when the lease ends.
    """

    __slots__ = ("_release", "cold_start", "instance", "retire", "started")

    def __init__(
        self, instance: RunningInstance, cold_start: bool, started: float, release: Callable[[Lease], int]
    ) -> None:
        self.instance = instance
        self.cold_start = cold_start
        self.started = started
        self.retire = False
        self._release = release

    @property
    def deadline(self) -> float:
        """When the execution timeout is reached, in monotonic seconds."""
        return self.started + self.instance.function.timeout

    def release(self) -> int:
        """Give the slot back; returns the milliseconds billed for the invocation."""
        return self._release(self)


class InstancePool:
    """All instances of an account. Use it from one event loop.

    Args:
        account: what may run.
        env_file: variables of `fcemu.envFile`.
    """

    def __init__(self, account: Account, journal: Journal, clock: Clock, env_file: Mapping[str, str]) -> None:
        self._account = account
        self._settings = account.fcemu
        self._journal = journal
        self._clock = clock
        self._env_file = env_file
        self._run = identity(os.getpid()) or ""
        self._functions = {function.functionName: function for function in account.functions}
        self.meter = BillingMeter()
        self.scheduler = Scheduler(
            account.quotas.instances, self._settings.idleTimeout, self._new_id, self._settings.scatter
        )
        for function in account.functions:
            reserved = function.concurrencyConfig.reservedConcurrency if function.concurrencyConfig else None
            self.scheduler.configure(function.functionName, function.instanceConcurrency, reserved)
        self._keeper = Keeper()
        self._processes: dict[str, FunctionProcess] = {}
        self._instances: dict[str, RunningInstance] = {}
        self._assigned: dict[str, asyncio.Future[tuple[RunningInstance, bool]]] = {}
        self._fixed_port: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._tick: Timer | None = None
        self._binding_test: asyncio.Task[bool | None | str] | None = None

    # ---- for the gateway

    async def acquire(self, function: Function, invocation: str) -> Lease:
        """Get a slot of the function; cancelling the wait gives it up.

        Raises:
            FCError: 429 if there can be no slot, 412 if the instance did not start.
        """
        future: asyncio.Future[tuple[RunningInstance, bool]] = asyncio.get_running_loop().create_future()
        self._assigned[invocation] = future
        try:
            self._perform(self.scheduler.submit(invocation, function.functionName))
            instance, cold = await future
        except BaseException:
            self._perform(self.scheduler.release(invocation, self._clock.now()))
            raise
        finally:
            del self._assigned[invocation]
        now = self._clock.now()
        self.meter.start(instance.id, now)
        self._journal.write(InvocationStarted(self._clock.wall_now(), invocation, function.functionName, instance.id))

        def release(lease: Lease) -> int:
            now = self._clock.now()
            billed = self.meter.end(instance.id, function.functionName, now)
            self._perform(self.scheduler.release(invocation, now, lease.retire))
            return billed

        return Lease(instance, cold, now, release)

    # ---- life

    async def warm(self) -> list[FCError]:
        """Start one instance of each function; returns why those that failed did."""
        errors: list[FCError] = []
        for name in self._functions:
            for action in self.scheduler.warm(name):
                assert isinstance(action, Start)
                self._start(action, errors)
        await asyncio.gather(*self._starting.values())
        return errors

    async def close(self) -> None:
        """Stop every instance, patient for `stopGrace` seconds, then the keeper."""
        for task in self._starting.values():
            task.cancel()
        if self._binding_test is not None:
            self._tasks.add(self._binding_test)
        if self._tick is not None:
            self._tick.cancel()
        for instance in self._instances.values():
            self._forget(instance)
        processes = list(self._processes.values())
        # Who interrupts fcemu waits for the grace period, not for hooks that take longer.
        await asyncio.gather(*(self._end(instance, self._settings.stopGrace) for instance in self._instances.values()))
        for process in processes:
            process.stop(self._settings.stopGrace)
        if processes:
            await asyncio.wait([process.exited for process in processes], timeout=self._settings.stopGrace + 10)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._keeper.close)

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
        if self._tick is None and due is not None:
            self._tick = self._clock.call_at(due, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self._perform(self.scheduler.tick(self._clock.now()))

    def _start(self, action: Start, errors: list[FCError]) -> None:
        task = asyncio.create_task(self._bring_up(self._functions[action.function], action.instance, errors))
        self._keep(task)
        self._starting[action.instance] = task
        task.add_done_callback(lambda _: self._starting.pop(action.instance, None))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """A task that nobody keeps may vanish."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_up(self, function: Function, id: str, errors: list[FCError]) -> None:
        self._changed(function, id, "starting")
        try:
            instance, fixed = await self._launch(function, id)
        except FCError as error:
            errors.append(error)
            if process := self._processes.get(id):
                process.kill()
            self._changed(function, id, "failed", error.message)
            self._perform(self.scheduler.failed(id, error))
            return
        except asyncio.CancelledError:
            if process := self._processes.get(id):
                process.kill()
            raise
        self._instances[id] = instance
        self._changed(function, id, "ready", f"{instance.host}:{instance.port}")
        instance.process.exited.add_done_callback(lambda _: self._on_exit(instance))
        self._perform(self.scheduler.ready(id, self._clock.now()))
        if fixed and function.functionName not in self._fixed_port:
            self._only_one(function, instance.port)

    async def _launch(self, function: Function, id: str) -> tuple[RunningInstance, bool]:
        code = Path(function.code)
        configured = function.customRuntimeConfig.port
        replace = await self._asks()
        own_port = replace is None and function.functionName not in self._fixed_port
        port = _free_port() if own_port else configured
        argv = environment.command(function, code)
        variables = environment.variables(
            function,
            code=code,
            port=port,
            instance_id=id,
            account_id=self._account.accountId,
            run=self._run,
            env_file=self._env_file,
            inherited=os.environ,
        )

        def on_line(stream: Stream, text: str) -> None:
            self._journal.write(LogLine(self._clock.wall_now(), function.functionName, id, stream, text))

        process = self._keeper.spawn(argv, variables, code, on_line, ask=replace is not None)
        self._processes[id] = process
        process.exited.add_done_callback(lambda _: self._processes.pop(id, None))
        binding = None
        if replace is not None:
            with contextlib.suppress(OSError):  # it did not get that far; why is told below
                binding = asked = PortBinding(await process.listener(), configured, own_address(), replace)
                process.exited.add_done_callback(lambda _: asked.close())
        try:
            await process.started()
        except OSError as error:
            raise readiness.not_executed(error, argv, function.start_command) from error
        ready = await readiness.wait_until_ready(
            process,
            command=function.start_command,
            port=port,
            configured_port=configured,
            timeout=self._settings.startTimeout,
            clock=self._clock,
            warn=lambda text: self._notice("warning", f"{function.functionName}: {text}"),
            binding=binding,
        )
        instance = RunningInstance(id, function, process, ready.host, ready.port)
        if (initializer := function.instanceLifecycleConfig.initializer) is not None:
            await self._hook(instance, "Initialize", initializer.timeout)
        return instance, ready.fixed

    async def _hook(self, instance: RunningInstance, hook: Literal["Initialize", "PreStop"], timeout: float) -> None:
        """Call a hook; its time is billed, the call is not counted.

        Raises:
            FCError: INITIALIZATION_FAILED.
        """
        function, id = instance.function, instance.id
        request_id = hooks.new_request_id()

        def record(phase: Literal["Start", "End"], error: str | None = None) -> None:
            now = self._clock.wall_now()
            self._journal.write(HookCalled(now, function.functionName, id, hook, phase, request_id, error))

        record("Start")
        self.meter.start(id, self._clock.now())
        method, path = ("POST", "/initialize") if hook == "Initialize" else ("GET", "/pre-stop")
        error: str | None = None
        try:
            await hooks.call(
                function,
                instance.host,
                instance.port,
                method,
                path,
                request_id=request_id,
                account_id=self._account.accountId,
                timeout=timeout,
            )
        except hooks.HookFailed as failed:
            error = str(failed)
        finally:
            self.meter.end(id, function.functionName, self._clock.now(), calls=0)
            record("End", error)
        if error is not None and hook == "Initialize":
            raise FCError(
                Refusal.INITIALIZATION_FAILED,
                detail=error,
                remedy="the initializer must answer POST /initialize with 2xx in time "
                "(instanceLifecycleConfig.initializer.timeout)",
            )

    async def _end(self, instance: RunningInstance, patience: float) -> None:
        """Let an instance say good-bye, then stop its process."""
        pre_stop = instance.function.instanceLifecycleConfig.preStop
        if pre_stop is not None and not instance.process.exited.done():
            await self._hook(instance, "PreStop", min(pre_stop.timeout, patience))
        instance.process.stop(self._settings.stopGrace)

    async def _asks(self) -> bool | None:
        """Whether instances share the configured port, by replaced sockets or not; None: each gets its own port.

        Raises:
            FCError: `fcemu.portBinding: seccomp` is wanted and does not work here.
        """
        if self._binding_test is None:
            self._binding_test = asyncio.create_task(self._test_binding())
        result = await asyncio.shield(self._binding_test)
        if isinstance(result, str):
            raise FCError(
                Refusal.INTERNAL_SERVER_ERROR,
                reason=f"fcemu.portBinding is seccomp, which does not work here: {result}",
                remedy="use portBinding: auto or port",
            )
        return result

    async def _test_binding(self) -> bool | None | str:
        if self._settings.portBinding == "port":
            return None
        result = await self_test(self._keeper)
        if isinstance(result, str) and self._settings.portBinding == "auto":
            self._notice(
                "info",
                f"several instances cannot share a port here: {result}. Each gets a port of its own in FC_SERVER_PORT; "
                "a function that ignores it gets one instance",
            )
            return None
        return result

    def _only_one(self, function: Function, port: int) -> None:
        name = function.functionName
        self._fixed_port.add(name)
        reason = f"{name} always listens on port {port}, so this machine can run one instance of it"
        self._notice(
            "warning",
            f"{reason}: more than {function.instanceConcurrency} at once are refused with 429. In the cloud each "
            "instance has its own address; here let the server listen on the port in FC_SERVER_PORT "
            f"(in the cloud that is {function.customRuntimeConfig.port} as well)",
        )
        self._perform(self.scheduler.cap(name, 1, reason))

    def _stop(self, id: str, reason: str) -> None:
        if task := self._starting.get(id):
            task.cancel()
        instance = self._instances.pop(id, None)
        process = self._processes.get(id)
        if instance is not None:
            self._changed(instance.function, id, "stopping", reason)
            self._forget(instance)
            self._keep(asyncio.create_task(self._end(instance, patience=90)))
        elif process is not None:
            process.stop(self._settings.stopGrace)

    def _on_exit(self, instance: RunningInstance) -> None:
        code = instance.process.exited.result().code
        self._changed(instance.function, instance.id, "ended", f"exit code {code}")
        if self._instances.pop(instance.id, None) is not None:  # nobody asked for it
            self._forget(instance)
            self._perform(self.scheduler.ended(instance.id))

    def _forget(self, instance: RunningInstance) -> None:
        for connection in instance.idle_connections:
            connection.abort()
        instance.idle_connections.clear()

    # ---- small things

    def _new_id(self) -> str:
        return instance_id(self._clock.wall_now(), int.from_bytes(os.urandom(12)))

    def _changed(self, function: Function, id: str, state: Any, detail: str = "") -> None:
        self._journal.write(InstanceChanged(self._clock.wall_now(), function.functionName, id, state, detail))

    def _notice(self, level: Any, text: str) -> None:
        self._journal.write(Notice(self._clock.wall_now(), level, text))


def _free_port() -> int:
    """A TCP port that is free on every address of this machine right now."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("0.0.0.0", 0))
        port: int = sock.getsockname()[1]
        return port
