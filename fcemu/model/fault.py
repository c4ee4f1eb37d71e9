"""The rules under `fcemu.faults`. `faults/actions/registry.py` has their actions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from fcemu.errors import Finding
from fcemu.faults.actions.action import Action, RequestAction, SocketAction, StartAction
from fcemu.faults.actions.registry import ACTIONS
from fcemu.model.base import Resource, Text, as_error


class FaultMatch(Resource):
    """`match` of a fault: what it may affect. All keys that are set must match; without keys, everything matches."""

    function: str | None = None
    path: Annotated[str, Field(pattern="^/")] | None = None
    header: dict[str, str] = {}
    kind: Literal["http", "websocket"] | None = None
    nth: Annotated[Text, Field(pattern=r"^[1-9]\d*(-([1-9]\d*)?)?$")] | None = None
    probability: Annotated[float, Field(gt=0, le=1, strict=False)] = 1


class FaultAfter(Resource):
    """`after` of a fault: when it fires; of several keys, the one that is reached first."""

    seconds: Annotated[float, Field(ge=0, strict=False)] | None = None
    bytes: Annotated[int, Field(ge=0)] | None = None
    messages: Annotated[int, Field(ge=1)] | None = None


class AnyFaultRule(Resource):
    """The common part of all rules, without the actions.

    Attributes:
        actions: the actions that a rule can have, by key.
    """

    actions: ClassVar[Mapping[str, type[Action]]]

    name: Annotated[Text, Field(min_length=1)] = ""
    match: FaultMatch = FaultMatch()
    after: FaultAfter | None = None
    direction: Literal["both", "toClient", "toFunction"] = "both"

    @model_validator(mode="after")
    def _does_one_thing(self) -> AnyFaultRule:
        written = [key for key in self.actions if getattr(self, key) is not None]
        wrong: list[Finding] = []
        if len(written) != 1:
            found = " and ".join(written) or "none"
            wrong.append(Finding(f"a fault does exactly one of {', '.join(self.actions)}; this one does {found}"))
        kind = self.actions[written[0]] if written else Action
        for action in self.actions.values():
            for key, field in _further(action).items():
                if action is not kind and getattr(self, key) is not None:
                    wrong.append(Finding(f"`{key}` {field.description}", (key,)))
        if issubclass(kind, (RequestAction, StartAction)) and self.after is not None:
            wrong.append(Finding(f"`{kind.key}` happens at once; leave `after` out", ("after",)))
        if issubclass(kind, StartAction) and (self.match.path or self.match.header or self.match.kind):
            text = f"`{kind.key}` happens to an instance: match `function`, `nth`, `probability`"
            wrong.append(Finding(text, ("match",)))
        if issubclass(kind, SocketAction) and self.match.kind == "http":
            wrong.append(Finding(f"`{kind.key}` happens to WebSockets only", ("match", "kind")))
        if wrong:
            raise as_error(wrong)
        return self

    @cached_property
    def action(self) -> Action:
        """The action, with its values."""
        kind = next(action for key, action in self.actions.items() if getattr(self, key) is not None)
        written = {key: getattr(self, key) for key in kind.model_fields}
        return kind.model_validate({key: value for key, value in written.items() if value is not None})


def _further(action: type[Action]) -> dict[str, Any]:
    """The keys of an action except the one that names it."""
    return {key: field for key, field in action.model_fields.items() if key != action.key}


def rule_with(actions: Mapping[str, type[Action]]) -> type[AnyFaultRule]:
    """A model of rules that can have these actions: each key of each action is a key of the rule."""
    keys: dict[str, Any] = {
        key: (field.rebuild_annotation() | None, Field(None, description=field.description or action.description()))
        for action in actions.values()
        for key, field in action.model_fields.items()
    }
    doc = "A fault: what it affects, when it fires, and what it does (exactly one action)."
    rule = create_model("FaultRule", __base__=AnyFaultRule, __module__=__name__, __doc__=doc, **keys)
    rule.actions = actions
    return rule


if TYPE_CHECKING:
    FaultRule = AnyFaultRule
else:
    FaultRule = rule_with(ACTIONS)
