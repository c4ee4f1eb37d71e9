"""The emulator: it serves one account on one address, and owns everything that it starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType

from fcemu.clock import Clock, SystemClock, Timer
from fcemu.errors import FCError, StartError
from fcemu.faults.rules import Faults
from fcemu.gateway.gateway import Gateway
from fcemu.instances.pool import InstancePool, InstanceState
from fcemu.journal import Journal
from fcemu.listening import ANY_ADDRESS, address, listening_socket, raise_descriptor_limit
from fcemu.model import Account
from fcemu.scheduling.billing import Bill

_FRONT = ""
"""Key of the front's own gateway and server; the other keys are names of functions."""


class Emulator:
    """Serves an account. `async with` starts it, and leaves no process or socket when it ends.

    Args:
        account: what to serve; `account.fcemu.listen` is the address, and port 0 takes any free port.
        journal: where everything that happens is written.
        clock: the source of time.
        env_file: variables for every function, from `fcemu.envFile`.
        debug: start functions so that a debugger can attach; nothing times out.
        ports: give each function a port of its own in addition to the front's, if there are several functions. On the
            front's port the host selects the function (`chat.localhost`), which browsers and curl resolve to loopback
            and many other clients do not. On a function's own port any host means that function. Custom domains are
            served on the front's port only.

    Attributes:
        account, env_file: the account that is served now, and the variables of every function.
        faults: the fault rules; they can be added and removed at any time.
        host, port: where it listens, once started.
    """

    def __init__(
        self,
        account: Account,
        *,
        journal: Journal | None = None,
        clock: Clock | None = None,
        env_file: Mapping[str, str] | None = None,
        debug: bool = False,
        ports: bool = False,
    ) -> None:
        self.account = account
        self.journal = journal or Journal()
        self.clock = clock or SystemClock()
        self.host = ""
        self.port = 0
        self.env_file = env_file or {}
        self._debug = debug
        self._ports = ports
        self.faults = Faults(account.fcemu.faults, account.fcemu.faultSeed)
        self._update: Timer | None = None
        self._pool: InstancePool | None = None
        self._gateways: dict[str, Gateway] = {}
        self._servers: dict[str, asyncio.Server] = {}

    async def start(self) -> None:
        """Start the instances that each function should have from the beginning, then accept connections.

        Those are its minimum, and at least one instance unless `fcemu.start` is lazy.

        Raises:
            StartError: the address is in use, or a function does not start; the text has its last output.
        """
        raise_descriptor_limit()
        sock = listening_socket(self.account.fcemu.listen)
        self.host, self.port = sock.getsockname()[:2]
        self._pool = InstancePool(self.account, self.journal, self.clock, self.env_file, self.faults, self._debug)
        named = [function.functionName for function in self.account.functions]
        for name in (_FRONT, *(named if self._ports and len(named) > 1 else ())):
            seen = _served_at(name, self.account)
            self._gateways[name] = Gateway(seen, self._pool, self.journal, self.clock, self.faults)
        try:
            await self._warm(self._pool)
            # Not earlier: a client that can connect must be served.
            for name, gateway in self._gateways.items():
                self._servers[name] = await asyncio.get_running_loop().create_server(
                    gateway.connection,
                    sock=sock if name == _FRONT else listening_socket(address(self.host, 0)),
                    backlog=4096,
                )
        except BaseException:
            sock.close()
            await self.stop()
            raise

    def update(self, account: Account, changed: Iterable[str] = (), env_file: Mapping[str, str] | None = None) -> None:
        """Serve another account without a restart.

        Triggers and domains take effect at the next request, or after `fcemu.triggerDelay` seconds. A function with any
        other change gets new instances; `fcemu.onReload` decides what happens to the old ones.

        Args:
            account: what to serve; address, quotas and account id stay as they were at the start.
            changed: names of the functions whose code has changed.
            env_file: new variables for every function; None to keep them.

        Raises:
            RuntimeError: the emulator is not running.
        """
        if self._pool is None or not self._gateways:
            raise RuntimeError("the emulator is not running")
        if (account.fcemu.faults, account.fcemu.faultSeed) != (self.account.fcemu.faults, self.account.fcemu.faultSeed):
            self.faults.replace(account.fcemu.faults, account.fcemu.faultSeed)
        self.account = account
        changed = frozenset(changed)
        if env_file is not None and dict(env_file) != dict(self.env_file):
            self.env_file = env_file
            changed = frozenset(function.functionName for function in account.functions)
        self._pool.update(account, changed, self.env_file)
        if self._update is not None:
            self._update.cancel()
            self._update = None
        if account.fcemu.triggerDelay:
            due = self.clock.now() + account.fcemu.triggerDelay
            self._update = self.clock.call_at(due, lambda: self._update_gateways(account))
        else:
            self._update_gateways(account)

    def _update_gateways(self, account: Account) -> None:
        for name, gateway in self._gateways.items():
            gateway.update(_served_at(name, account))

    async def reset(self) -> None:
        """Return to a clean state, as between two tests: cut what is open, forget sessions, records and bills.

        Instances keep running. A function that has none left gets one, unless `fcemu.start` is lazy.

        Raises:
            StartError: that instance does not start.
        """
        if self._pool is not None and self._gateways:
            for gateway in self._gateways.values():
                await gateway.cut_open()
            self._pool.forget()
        self.faults.replace(self.account.fcemu.faults, self.account.fcemu.faultSeed)
        if self._pool is not None:
            await self._warm(self._pool)
        self.journal.records.clear()

    async def _warm(self, pool: InstancePool) -> None:
        if errors := await pool.warm():
            raise StartError("\n\n".join(_explain(error) for error in errors))

    async def stop(self) -> None:
        """Accept no more connections, stop the functions within their grace period, cut what is still open."""
        if self._update is not None:
            self._update.cancel()
        servers, self._servers = self._servers, {}
        for server in servers.values():
            server.close()
        gateways, self._gateways = list(self._gateways.values()), {}
        if gateways and self._pool is not None:
            for gateway in gateways:
                gateway.refuse_new()
            await self._pool.close()
            for gateway in gateways:
                await gateway.close()

    def bill(self, function: str) -> Bill:
        """What a function has cost so far, or had cost when the emulator was stopped."""
        return self._pool.meter.bill(function) if self._pool is not None else Bill()

    def instances(self) -> list[InstanceState]:
        """Every instance that accepts requests, oldest first."""
        return self._pool.instances() if self._pool is not None else []

    @property
    def url(self) -> str:
        """The URL of the front."""
        return f"http://{address(self.host, self.port)}"

    def address_of(self, function: str = _FRONT) -> str:
        """`host:port` at which a function answers whatever the Host; the front's if it has no port of its own."""
        server = self._servers.get(function)
        port = server.sockets[0].getsockname()[1] if server is not None else self.port
        return address(ANY_ADDRESS.get(self.host, self.host), port)

    async def __aenter__(self) -> Emulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _served_at(name: str, account: Account) -> Account:
    """The part of an account that is served on a port: one function, or everything on the front's."""
    if name == _FRONT:
        return account
    alone = [function for function in account.functions if function.functionName == name]
    return account.model_copy(update={"functions": alone, "customDomains": []})


def _explain(error: FCError) -> str:
    lines = [error.message]
    if error.reason != error.message:
        lines.append(f"reason: {error.reason}")
    if error.remedy:
        lines.append(f"remedy: {error.remedy}")
    return "\n".join(lines)
