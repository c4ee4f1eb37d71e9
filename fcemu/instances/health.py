"""Health checks of an instance: a GET of `healthCheckConfig.httpGetUrl` at regular intervals (D/04/038)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fcemu.clock import Clock, Timer
from fcemu.errors import FCError, Refusal
from fcemu.model import HealthCheckConfig
from fcemu.processes.process import FunctionProcess
from fcemu.scheduling.health import Health, passes

_REMEDY = (
    "answer GET {path} with 200 to 399 within {seconds} s (healthCheckConfig); "
    "initialDelaySeconds delays the first check"
)


async def check(config: HealthCheckConfig, host: str, port: int) -> FCError | None:
    """Check an instance once; returns why it does not pass, or None if it passes."""
    import aiohttp  # slow to import, and few functions have health checks

    timeout = aiohttp.ClientTimeout(total=config.timeoutSeconds)
    status: object
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as client,
            client.get(f"http://{host}:{port}{config.httpGetUrl}", allow_redirects=False) as response,
        ):
            if passes(response.status):
                return None
            status, reason = response.status, f"the answer is {response.status}"
    except TimeoutError:
        status, reason = "timeout", f"no answer within {config.timeoutSeconds} s"
    except (aiohttp.ClientError, OSError) as error:
        status, reason = "unreachable", f"the instance cannot be reached: {error}"
    return FCError(
        Refusal.HEALTH_CHECK_FAILED,
        status=status,
        reason=f"health check {config.httpGetUrl}: {reason}",
        remedy=_REMEDY.format(path=config.httpGetUrl, seconds=config.timeoutSeconds),
    )


async def first(config: HealthCheckConfig, host: str, port: int, clock: Clock, process: FunctionProcess) -> None:
    """Wait for the initial delay and make the first check, which decides whether the instance starts.

    Raises:
        FCError: HEALTH_CHECK_FAILED.
    """
    delay: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(clock.now() + config.initialDelaySeconds, lambda: delay.set_result(None))
    try:
        await asyncio.wait((delay, process.exited), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    if (failed := await check(config, host, port)) is not None:
        raise failed


class HealthChecks:
    """The periodic checks of one instance, from its start to its end.

    Args:
        on_change: called with the last check's error when the instance becomes unhealthy, and with None when it is
            healthy again.
        awake: whether the instance can answer now; a frozen one is not checked (INF).
    """

    def __init__(
        self,
        config: HealthCheckConfig,
        host: str,
        port: int,
        clock: Clock,
        on_change: Callable[[FCError | None], None],
        awake: Callable[[], bool],
    ) -> None:
        self._config = config
        self._host, self._port = host, port
        self._clock = clock
        self._on_change = on_change
        self._awake = awake
        self._health = Health(config)
        self._task: asyncio.Task[None] | None = None
        self._due_at = clock.now()
        self._timer: Timer
        self._schedule()

    def close(self) -> None:
        """Stop checking."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _schedule(self) -> None:
        self._due_at = max(self._clock.now(), self._due_at + self._config.periodSeconds)
        self._timer = self._clock.call_at(self._due_at, self._due)

    def _due(self) -> asyncio.Task[None] | None:
        if not self._awake():
            self._schedule()
            return None
        self._task = asyncio.create_task(self._check())
        return self._task

    async def _check(self) -> None:
        failed = await check(self._config, self._host, self._port)
        self._schedule()
        # An instance that was frozen meanwhile could not answer.
        if self._awake() and self._health.observe(failed is None):
            self._on_change(failed)
