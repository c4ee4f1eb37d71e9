"""How is each of several functions reached by a client that cannot resolve its name? At a port of its own.

With several functions the front tells them apart by host: `chat.localhost`. Browsers and curl resolve that to loopback,
many other clients do not. At its own port a function is the only one, so any host means it.
"""

from __future__ import annotations

import asyncio

from fcemu.emulator import Emulator, address, listening
from fcemu.gateway.gateway import Gateway
from fcemu.model import Account

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses to listen on, which are none to connect to."""


class EmulatorWithPorts(Emulator):
    """An emulator whose functions, where there are several, have a port each besides the front's.

    The instances, limits and records are the same behind both. Custom domains are at the front.
    """

    def __init__(self, account: Account, **options: object) -> None:
        super().__init__(account, **options)  # type: ignore[arg-type]
        self._doors: dict[str, tuple[Gateway, asyncio.Server]] = {}

    async def start(self) -> None:
        """As an emulator's; then each function listens."""
        await super().start()
        functions = self.account.functions if len(self.account.functions) > 1 else []
        try:
            for function in functions:
                alone = self.account.model_copy(update={"functions": [function], "customDomains": []})
                assert self._pool is not None
                gateway = Gateway(alone, self._pool, self.journal, self.clock, self.faults)
                sock = listening(address(self.host, 0))
                server = await asyncio.get_running_loop().create_server(gateway.connection, sock=sock, backlog=4096)
                self._doors[function.functionName] = gateway, server
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """As an emulator's."""
        doors, self._doors = self._doors, {}
        for gateway, server in doors.values():
            server.close()
            gateway.refuse_new()
        await super().stop()
        for gateway, _ in doors.values():
            await gateway.close()

    def address_of(self, function: str | None = None) -> str:
        """`host:port` at which a function answers, whatever host a client names; without one, the front's."""
        door = self._doors.get(function or "")
        port = door[1].sockets[0].getsockname()[1] if door is not None else self.port
        return address(_ANY.get(self.host, self.host), port)
