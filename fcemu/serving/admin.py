"""The control plane of a running emulator: a JSON API on a port of its own, never on the trigger's.

    GET    /               the URLs of the front and of the functions
    GET    /instances      the running instances
    GET    /journal        what happened; ?after=N leaves out the first N records
    GET    /billing        the bill of each function
    GET    /faults         the rules, and how often each matched and fired
    POST   /faults         add a rule
    DELETE /faults/{id}    remove a rule
    POST   /clock/advance  {"seconds": N}: advance the clock, if the run has one that can be advanced
    POST   /reset          cut what is open; forget sessions, records, bills and added rules

It listens on loopback. Web pages must not reach it: requests that change something must be JSON, and the Host must be a
loopback name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from fcemu import report
from fcemu.clock import ManualClock
from fcemu.emulator import Emulator
from fcemu.faults.rules import Fault
from fcemu.listening import address, listening_socket
from fcemu.model import FaultRule

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Admin:
    """The control plane of an emulator. `async with` starts and stops it.

    Args:
        emulator: a running emulator.
        listen: host:port; port 0 takes any free port.

    Attributes:
        url: where it listens, once started.
    """

    def __init__(self, emulator: Emulator, listen: str = "127.0.0.1:0") -> None:
        self._emulator = emulator
        self._listen = listen
        self._faults: dict[int, Fault] = {}
        self._runner: web.AppRunner | None = None
        self.url = ""

    def application(self) -> web.Application:
        """The control plane as an aiohttp application; `async with` serves it on `listen`."""
        app = web.Application(middlewares=[_only_ours])
        app.router.add_get("/", self._served)
        app.router.add_get("/instances", self._instances)
        app.router.add_get("/journal", self._journal)
        app.router.add_get("/billing", self._billing)
        app.router.add_get("/faults", self._rules)
        app.router.add_post("/faults", self._add_rule)
        app.router.add_delete("/faults/{id:\\d+}", self._remove_rule)
        app.router.add_post("/clock/advance", self._advance)
        app.router.add_post("/reset", self._reset)
        return app

    async def __aenter__(self) -> Admin:
        sock = listening_socket(self._listen)
        self.url = f"http://{address(*sock.getsockname()[:2])}"
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # ---- requests that read

    async def _served(self, request: web.Request) -> web.Response:
        account, port, host = self._emulator.account, self._emulator.port, self._emulator.host
        functions = {f.functionName: report.urls(account, f, port, host)[1] for f in account.functions}
        return web.json_response({"url": self._emulator.url, "functions": functions})

    async def _instances(self, request: web.Request) -> web.Response:
        return web.json_response([dataclasses.asdict(instance) for instance in self._emulator.instances()])

    async def _journal(self, request: web.Request) -> web.Response:
        records = list(self._emulator.journal.records)[int(request.query.get("after", "0")) :]
        return web.json_response([json.loads(report.as_json(record)) for record in records])

    async def _billing(self, request: web.Request) -> web.Response:
        names = [function.functionName for function in self._emulator.account.functions]
        bills = {name: self._emulator.bill(name) for name in names}
        return web.json_response(
            {n: {"invocations": bill.invocations, "milliseconds": bill.milliseconds} for n, bill in bills.items()}
        )

    async def _rules(self, request: web.Request) -> web.Response:
        ids = {id(fault): number for number, fault in self._faults.items()}
        return web.json_response(
            [
                {
                    "id": ids.get(id(fault)),
                    "name": fault.name,
                    "action": fault.rule.action.key,
                    "matched": fault.matched,
                    "fired": fault.fired,
                }
                for fault in self._emulator.faults.faults
            ]
        )

    # ---- requests that change something

    async def _add_rule(self, request: web.Request) -> web.Response:
        try:
            rule = FaultRule.model_validate(await _body(request))
        except ValidationError as error:
            raise _bad("; ".join(details["msg"] for details in error.errors(include_url=False))) from None
        number = max(self._faults, default=0) + 1
        self._faults[number] = self._emulator.faults.add(rule)
        return web.json_response({"id": number}, status=201)

    async def _remove_rule(self, request: web.Request) -> web.Response:
        fault = self._faults.pop(int(request.match_info["id"]), None)
        if fault is None or fault not in self._emulator.faults.faults:
            raise web.HTTPNotFound(text='{"error": "there is no such rule"}', content_type="application/json")
        self._emulator.faults.remove(fault)
        return web.json_response({"fired": fault.fired})

    async def _advance(self, request: web.Request) -> web.Response:
        clock = self._emulator.clock
        seconds = (await _body(request)).get("seconds")
        if not isinstance(clock, ManualClock):
            raise _bad("this run uses the machine's clock, which cannot be advanced; start it with --admin")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 10**9:
            raise _bad('expected {"seconds": a number that is not negative}')
        await clock.advance(seconds)
        return web.json_response({"ahead": clock.ahead})

    async def _reset(self, request: web.Request) -> web.Response:
        await self._emulator.reset()
        self._faults.clear()
        return web.json_response({})


@web.middleware
async def _only_ours(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse web pages, which can neither send JSON to another origin nor use a loopback name as Host."""
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    if host not in _LOOPBACK:
        raise web.HTTPForbidden(text="the Host of the control plane must be a loopback name")
    if request.method == "POST" and request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    if "Origin" in request.headers:
        raise web.HTTPForbidden(text="the control plane does not accept requests from web pages")
    return await handler(request)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        data = await request.json()
    except ValueError:
        raise _bad("expected JSON") from None
    if not isinstance(data, dict):
        raise _bad("expected a JSON object")
    return data


def _bad(text: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": text}), content_type="application/json")
