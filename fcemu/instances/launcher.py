"""How does an instance start, and how does it stop?

Start: run the command with an address of its own, wait for its server, call the initializer, make the first health
check. Stop: call the pre-stop hook, then stop the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from fcemu.clock import Clock, SystemClock
from fcemu.errors import FCError, Refusal
from fcemu.faults.rules import Faults
from fcemu.instances import environment, health, hooks, readiness
from fcemu.instances.debugger import under_debugger
from fcemu.instances.faulty_start import begin_start
from fcemu.instances.machine import Machine, try_out
from fcemu.instances.running import RunningInstance
from fcemu.journal import HookCalled, Journal, LogLine, Notice, NoticeKind
from fcemu.model import Account, Function
from fcemu.processes.identity import identity
from fcemu.processes.keeper_client import KeeperClient
from fcemu.processes.memory import MemoryWatch
from fcemu.processes.port_binding import PortBinding, own_address
from fcemu.processes.process import FunctionProcess, Stream
from fcemu.scheduling.billing import BillingMeter


class Launcher:
    """Starts and stops instances. Use it from one event loop.

    Args:
        account: for its id and settings.
        meter: bills the time of hooks.
        faults: the fault rules, some of which affect starts.
        debug: let debuggers attach.

    Attributes:
        env_file: variables of `fcemu.envFile`; new instances get them.
    """

    def __init__(
        self,
        account: Account,
        journal: Journal,
        clock: Clock,
        env_file: Mapping[str, str],
        meter: BillingMeter,
        faults: Faults,
        debug: bool = False,
    ) -> None:
        self.env_file = env_file
        self._account_id = account.accountId
        self._settings = account.fcemu
        self._journal = journal
        self._clock = clock
        self._faults = faults
        self._debug = debug
        self._meter = meter
        self._run = identity(os.getpid()) or ""
        self._keeper = KeeperClient()
        # Memory is used in real time: advancing a test's clock by a day must not cause 345,600 measurements.
        self._watch = MemoryWatch(SystemClock())
        self._processes: dict[str, tuple[str, FunctionProcess]] = {}
        self._single_instance: dict[str, str] = {}
        self._debug_ports: set[int] = set()
        self._machine: asyncio.Task[Machine] | None = None

    async def launch(self, function: Function, id: str) -> RunningInstance:
        """Start an instance and wait until it is ready. Cancel it to give the instance up.

        Raises:
            FCError: it did not start. Its process is being killed.
        """
        try:
            return await self._launch(function, id)
        except BaseException:
            if known := self._processes.get(id):
                known[1].kill()
            raise

    async def end(self, instance: RunningInstance, patience: float) -> None:
        """Call the pre-stop hook, which may take `patience` seconds at most, then stop the process."""
        instance.drop_connections()
        pre_stop = instance.function.instanceLifecycleConfig.preStop
        if pre_stop is not None and not instance.process.exited.done():
            instance.process.thaw()
            with contextlib.suppress(FCError):
                await self._hook(instance, "PreStop", min(pre_stop.timeout, patience))
        instance.process.stop(self._settings.stopGrace)

    async def close(self) -> None:
        """Stop every process, which may take `stopGrace` seconds, then the keeper."""
        processes = [process for _, process in self._processes.values()]
        for process in processes:
            process.stop(self._settings.stopGrace)
        if processes:
            await asyncio.wait([process.exited for process in processes], timeout=self._settings.stopGrace + 10)
        if self._machine is not None:
            await asyncio.gather(self._machine, return_exceptions=True)
        self._watch.close()
        await asyncio.to_thread(self._keeper.close)

    def why_single_instance(self, function: str) -> str | None:
        """Why this machine can run only one instance of the function; None if it can run several."""
        return self._single_instance.get(function)

    # ---- the steps

    async def _launch(self, function: Function, id: str) -> RunningInstance:
        name, code = function.functionName, Path(function.code)
        if self._faults.faults:
            await begin_start(self._faults, function, id, self._journal, self._clock)
        configured = function.customRuntimeConfig.port
        machine = await self._on_this_machine()
        replace = machine.replace
        alone = replace is None and name in self._single_instance
        if alone and (former := [process.exited for owner, process in self._processes.values() if owner == name]):
            await asyncio.wait(former)
        port = configured if replace is not None or alone else _free_port()
        argv = environment.command(function, code)
        variables = environment.variables(
            function,
            code=code,
            port=port,
            instance_id=id,
            account_id=self._account_id,
            run=self._run,
            env_file=self.env_file,
            inherited=os.environ,
        )

        debugged = await under_debugger(argv, code, variables, self._debug_ports) if self._debug else None
        if debugged is not None:
            argv = debugged[0].argv
            variables |= debugged[0].environment
        elif self._debug:
            self._notice("warning", f"{name}: no debugger is known for {argv[0]}; it runs without one")

        def on_line(stream: Stream, text: str) -> None:
            self._journal.write(LogLine(self._clock.wall_now(), name, id, stream, text))

        limit = function.memorySize if self._settings.memoryLimit == "auto" else None
        groups = machine.parents.make(id, limit)
        process = self._keeper.spawn(argv, variables, code, on_line, ask=replace is not None, groups=groups)
        self._processes[id] = (name, process)
        if debugged is not None:
            debugger_port = debugged[1]
            process.exited.add_done_callback(lambda _: self._debug_ports.discard(debugger_port))
        if limit is not None and groups.memory is None:
            self._watch.add(process, limit)
        process.exited.add_done_callback(lambda _: self._processes.pop(id, None))
        binding = None
        if replace is not None:
            with contextlib.suppress(OSError):  # it exited first; the error follows below
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
            # A debugger listens too, which is no reason to warn.
            warn=lambda text: None if debugged else self._notice("warning", f"{name}: {text}"),
            binding=binding,
        )
        instance = RunningInstance(id, function, process, ready.host, ready.port, debugged=debugged is not None)
        if (initializer := function.instanceLifecycleConfig.initializer) is not None:
            await self._hook(instance, "Initialize", initializer.timeout)
        if (check := function.customRuntimeConfig.healthCheckConfig) is not None and debugged is None:
            await health.first(check, instance.host, instance.port, self._clock, process)
        if ready.fixed and name not in self._single_instance:
            why = f"{name} always listens on port {instance.port}, so this machine can run only one instance of it"
            self._single_instance[name] = why
            self._notice("warning", f"{why}: {_COST_OF_ONE.format(function=function)}", "single-instance", name)
        if debugged is not None:
            self._notice("info", f"{name} {id}: {debugged[0].attach}", "debugger", name)
        return instance

    async def _hook(self, instance: RunningInstance, hook: hooks.Hook, timeout: float) -> None:
        """Call a hook. Its time is billed, but it does not count as an invocation.

        Raises:
            FCError: INITIALIZATION_FAILED.
        """
        function, id = instance.function, instance.id
        request_id = hooks.new_request_id()

        def record(phase: Literal["Start", "End"], error: str | None = None) -> None:
            now = self._clock.wall_now()
            self._journal.write(HookCalled(now, function.functionName, id, hook, phase, request_id, error))

        record("Start")
        self._meter.start(id, self._clock.now())
        error: str | None = None
        try:
            await hooks.call(
                hook,
                function,
                instance.host,
                instance.port,
                request_id=request_id,
                account_id=self._account_id,
                timeout=timeout,
            )
        except hooks.HookFailed as failed:
            error = str(failed)
            if hook == "Initialize":
                raise FCError(
                    Refusal.INITIALIZATION_FAILED,
                    detail=error,
                    remedy="the initializer must answer POST /initialize with 2xx in time "
                    "(instanceLifecycleConfig.initializer.timeout)",
                ) from failed
        finally:
            self._meter.end(id, function.functionName, self._clock.now(), calls=0)
            record("End", error)

    async def _on_this_machine(self) -> Machine:
        """What instances can have on this machine; tested once.

        Raises:
            FCError: `fcemu.portBinding` is seccomp, which does not work here.
        """
        if self._machine is None:
            self._machine = asyncio.create_task(
                try_out(self._keeper, self._run, self._settings, lambda text: self._notice("info", text))
            )
        machine = await asyncio.shield(self._machine)
        if machine.replace is None and self._settings.portBinding == "seccomp":
            raise FCError(
                Refusal.INTERNAL_SERVER_ERROR,
                reason=f"fcemu.portBinding is seccomp, which does not work here: {machine.why_not}",
                remedy="use portBinding: auto or port",
            )
        return machine

    def _notice(
        self,
        level: Literal["info", "warning", "error"],
        text: str,
        kind: NoticeKind | None = None,
        function: str | None = None,
    ) -> None:
        self._journal.write(Notice(self._clock.wall_now(), level, text, kind, function))


_COST_OF_ONE = (
    "requests beyond {function.instanceConcurrency} at a time are refused with 429. In the cloud each "
    "instance has its own address; here the server should listen on the port in FC_SERVER_PORT (in the cloud that is "
    "{function.customRuntimeConfig.port})"
)


def _free_port() -> int:
    """A TCP port that is currently free on every address of this machine."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("0.0.0.0", 0))
        port: int = sock.getsockname()[1]
        return port
