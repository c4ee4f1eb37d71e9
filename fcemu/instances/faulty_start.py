"""What do faults do to the start of an instance?"""

from __future__ import annotations

from fcemu.clock import Clock, until
from fcemu.errors import FCError, Refusal
from fcemu.faults.actions.action import StartAction
from fcemu.faults.rules import Fault, Faults
from fcemu.instances import readiness
from fcemu.journal import FaultFired, Journal
from fcemu.model import Function


async def begin_start(faults: Faults, function: Function, id: str, journal: Journal, clock: Clock) -> None:
    """Let the faults of a start happen; returns when the instance may start.

    Args:
        id: of the instance.

    Raises:
        FCError: the instance does not start.
    """
    for fault in faults.of_start(function.functionName):
        action = fault.rule.action
        assert isinstance(action, StartAction)
        fault.fired += 1
        journal.write(FaultFired(clock.wall_now(), fault.name, action.key, function.functionName, None, id))
        start = StartFault(function, fault)
        action.apply(start)
        if start.seconds:
            await until(clock, clock.now() + start.seconds)


class StartFault:
    """What one fault can do to a start (`Start` of faults/actions/action.py).

    Attributes:
        seconds: how much longer the start takes.
    """

    def __init__(self, function: Function, fault: Fault) -> None:
        self.seconds = 0.0
        self._function = function
        self._fault = fault

    def delay(self, seconds: float) -> None:
        self.seconds += seconds

    def exit(self, code: int) -> None:
        """Let the server exit before it listens.

        Raises:
            FCError: always.
        """
        raise FCError(
            Refusal.CA_EXITED,
            cause=readiness.cause(code),
            command=" ".join(self._function.start_command),
            logs="",
            reason=f"fault {self._fault.name}: it does not start on purpose",
            remedy="remove the rule from fcemu.faults",
        )
