"""The rules under `fcemu.faults`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from fcemu.errors import Finding
from fcemu.model.base import Resource, Text, as_error

# --- faults on demand ---------------------------------------------------------------------------------------------


class FaultMatch(Resource):
    """`match` of a fault: what it may happen to. Everything that is written has to fit; nothing written fits all."""

    function: str | None = None
    path: Annotated[str, Field(pattern="^/")] | None = None
    header: dict[str, str] = {}
    kind: Literal["http", "websocket"] | None = None
    nth: Annotated[Text, Field(pattern=r"^[1-9]\d*(-([1-9]\d*)?)?$")] | None = None
    probability: Annotated[float, Field(gt=0, le=1, strict=False)] = 1


class FaultAfter(Resource):
    """`after` of a fault: when it happens to what it matches; the first of what is written."""

    seconds: Annotated[float, Field(ge=0, strict=False)] | None = None
    bytes: Annotated[int, Field(ge=0)] | None = None
    messages: Annotated[int, Field(ge=1)] | None = None


class IdleDrop(Resource):
    """`idle` of a fault: what a NAT does with a connection without traffic (PAGE, "Connection keepalive")."""

    after: Annotated[float, Field(gt=0, strict=False)]
    mode: Literal["rst", "fin", "blackhole"] = "rst"


FAULT_ACTIONS = (
    "refuse", "coldStartDelay", "refuseToStart", "crash", "cut", "close", "stall", "delay", "bandwidth", "idle",
)  # fmt: skip
"""What a fault can do; each does one of these."""

_OF_STARTS = ("coldStartDelay", "refuseToStart")
_OF_SOCKETS = ("close", "idle")


class FaultRule(Resource):
    """One fault: what it happens to, when, and what it does (exactly one of `FAULT_ACTIONS`)."""

    name: Annotated[Text, Field(min_length=1)] = ""
    match: FaultMatch = FaultMatch()
    after: FaultAfter | None = None
    direction: Literal["both", "toClient", "toFunction"] = "both"
    refuse: Literal[400, 403, 404, 429, 500, 503] | None = None
    coldStartDelay: Annotated[float, Field(gt=0, strict=False)] | None = None
    refuseToStart: Literal[True] | None = None
    crash: Literal[True] | None = None
    cut: Literal[True] | None = None
    close: Annotated[int, Field(ge=1000, le=4999)] | None = None
    stall: Literal[True] | None = None
    delay: Annotated[float, Field(gt=0, strict=False)] | None = None
    jitter: Annotated[float, Field(gt=0, strict=False)] | None = None
    bandwidth: Annotated[float, Field(gt=0, strict=False)] | None = None
    idle: IdleDrop | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> FaultRule:
        done = [action for action in FAULT_ACTIONS if getattr(self, action) is not None]
        wrong: list[Finding] = []
        if len(done) != 1:
            found = " and ".join(done) or "none"
            text = f"a fault does exactly one of {', '.join(FAULT_ACTIONS)}; this one does {found}"
            wrong.append(Finding(text, ()))
        action = done[0] if done else ""
        if self.jitter is not None and action != "delay":
            wrong.append(Finding("`jitter` varies a `delay`", ("jitter",)))
        if action in ("refuse", *_OF_STARTS) and self.after is not None:
            wrong.append(Finding(f"`{action}` happens at once; leave `after` out", ("after",)))
        if action in _OF_STARTS and (self.match.path or self.match.header or self.match.kind):
            wrong.append(
                Finding(f"`{action}` happens to an instance: match `function`, `nth`, `probability`", ("match",))
            )
        if action in _OF_SOCKETS and self.match.kind == "http":
            wrong.append(Finding(f"`{action}` happens to WebSockets only", ("match", "kind")))
        if self.close is not None and (1004 <= self.close <= 1006 or 1015 <= self.close < 3000):
            wrong.append(
                Finding(f"{self.close} cannot be sent in a Close frame; for 1006 write `cut: true`", ("close",))
            )
        if wrong:
            raise as_error(wrong)
        return self

    @property
    def action(self) -> str:
        """What it does."""
        return next(action for action in FAULT_ACTIONS if getattr(self, action) is not None)
