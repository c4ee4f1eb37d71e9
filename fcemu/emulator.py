"""Who owns everything's lifetime? `Emulator`: one account, served on one address."""

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
from fcemu.listening import ANY_ADDRESS, address, listening, raise_descriptor_limit
from fcemu.model import Account
from fcemu.scheduling.billing import Bill

_FRONT = ""
"""The name of the door to all functions, among those that are a function's own."""


class Emulator:
    """An account behind a front. `async with` starts it and leaves nothing behind.

    Args:
        account: what to serve; `account.fcemu.listen` says where, port 0 lets the system choose.
        journal: where everything that happens is recorded.
        clock: the source of time.
        env_file: variables for every function, from `fcemu.envFile`.
        debug: start functions so that a debugger can attach; they may take all the time they want.
        ports: give each of several functions a port of its own besides the front's. The front tells them apart by host,
            `chat.localhost`, which browsers and curl resolve to loopback and many other clients do not. At its own
            port a function is the only one, so any host means it. Custom domains are at the front.

    Attributes:
        account, env_file: what is served now, and the variables of every function.
        faults: what goes wrong on purpose; rules can be added and removed at any time.
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
        """Listen, and start the minimum of each function, one instance at least unless `fcemu.start` is lazy.

        Raises:
            StartError: the address is taken, or a function does not start; its last output is in the text.
        """
        raise_descriptor_limit()
        sock = listening(self.account.fcemu.listen)
        self.host, self.port = sock.getsockname()[:2]
        self._pool = InstancePool(self.account, self.journal, self.clock, self.env_file, self.faults, self._debug)
        named = [function.functionName for function in self.account.functions]
        for name in (_FRONT, *(named if self._ports and len(named) > 1 else ())):
            seen = _seen_at(name, self.account)
            self._gateways[name] = Gateway(seen, self._pool, self.journal, self.clock, self.faults)
        try:
            await self._warm(self._pool)
            # Only now: whoever can connect can also be served.
            for name, gateway in self._gateways.items():
                self._servers[name] = await asyncio.get_running_loop().create_server(
                    gateway.connection,
                    sock=sock if name == _FRONT else listening(address(self.host, 0)),
                    backlog=4096,
                )
        except BaseException:
            sock.close()
            await self.stop()
            raise

    def update(self, account: Account, changed: Iterable[str] = (), env_file: Mapping[str, str] | None = None) -> None:
        """Serve another account, without a restart.

        Triggers and domains hold from the next request on, or after `fcemu.triggerDelay` seconds. A function that has
        changed otherwise gets new instances; `fcemu.onReload` says what becomes of the old ones.

        Args:
            account: what is to be served; address, quotas and account id stay those of the start.
            changed: names of functions whose code has changed.
            env_file: new variables for every function; None where they are as before.
        """
        if self._pool is None or not self._gateways:
            raise RuntimeError("the emulator does not run")
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
            gateway.update(_seen_at(name, account))

    async def reset(self) -> None:
        """Begin anew, as tests do between each other: what is open is cut, sessions, records and bills are forgotten.

        Instances live on, warm. A function that has none any more gets one, unless `fcemu.start` is lazy.

        Raises:
            StartError: that one does not start.
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
        """Take no more connections, stop the functions within their grace period, cut what is left."""
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
        """What a function has run up so far, or had when the emulator was stopped."""
        return self._pool.meter.bill(function) if self._pool is not None else Bill()

    def instances(self) -> list[InstanceState]:
        """Every instance that accepts requests, oldest first."""
        return self._pool.instances() if self._pool is not None else []

    @property
    def url(self) -> str:
        """The address of the front."""
        return f"http://{address(self.host, self.port)}"

    def address_of(self, function: str = _FRONT) -> str:
        """`host:port` at which a function answers, whatever host a client names; without one, the front's."""
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


def _seen_at(name: str, account: Account) -> Account:
    """What of an account is behind a door."""
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
