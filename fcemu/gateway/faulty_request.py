"""Which faults happen to a request?"""

from __future__ import annotations

from collections.abc import Awaitable

from fcemu.clock import Clock
from fcemu.faults.actions.action import RequestAction
from fcemu.faults.injected import Injected
from fcemu.faults.rules import Fault, Faults
from fcemu.gateway.exchange import Exchange
from fcemu.journal import FaultFired, Journal


def inject(faults: Faults, exchange: Exchange, journal: Journal, clock: Clock) -> Injected | None:
    """The faults that happen to a request from here on; None if no fault does.

    Raises:
        FCError: a fault refuses the request.
    """
    assert exchange.route is not None
    head, function = exchange.head, exchange.route.function.functionName

    def record(fault: Fault) -> None:
        fault.fired += 1
        instance = exchange.lease.instance.id if exchange.lease is not None else None
        action = fault.rule.action.key
        journal.write(FaultFired(clock.wall_now(), fault.name, action, function, exchange.request_id, instance))

    def crash() -> Awaitable[object]:
        assert exchange.lease is not None
        process = exchange.lease.instance.process
        process.kill()
        return process.exited

    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
    happening = faults.of_request(function, head.path, headers, head.is_websocket)
    for fault in happening:
        if isinstance(fault.rule.action, RequestAction):
            record(fault)
            raise fault.rule.action.refusal(fault.name, function)
    return Injected(faults, happening, clock, record, crash) if happening else None
