"""What all models share: the base class, common types, and how validators report findings."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from pydantic_core import PydanticCustomError

from fcemu.errors import Finding

HttpMethod = Literal["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
AuthType = Literal["anonymous", "function", "jwt", "basic", "bearer"]

METHODS: tuple[HttpMethod, ...] = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")


def _number_as_text(value: object) -> object:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value


Text = Annotated[str, BeforeValidator(_number_as_text)]
"""A string; an unquoted YAML number is converted to a string, as Serverless Devs does."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", min_length=1, max_length=128)]


def as_error(findings: list[Finding], kind: Literal["value_error", "jwk"] = "value_error") -> PydanticCustomError:
    """One error for all findings of a validator; `configuration.validation` takes the findings out again."""
    text = "; ".join(finding.text for finding in findings)
    return PydanticCustomError(kind, "{text}", {"text": text, "findings": findings})


class Resource(BaseModel):
    """Base class of all models: frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A valid name of a header or cookie (RFC 9110 5.6.2, RFC 6265 4.1.1)."""

_Item = TypeVar("_Item", bound=Resource)

Position = Literal["header", "cookie", "query", "form"]


def require_unique(items: list[_Item], key: str) -> list[_Item]:
    """Return the items if no two have the same value of `key`.

    Raises:
        PydanticCustomError: some have; each repetition is a finding.
    """
    names = [getattr(item, key) for item in items]
    wrong: list[Finding] = [
        Finding(f"the {key} {name!r} is used twice", (index, key))
        for index, name in enumerate(names)
        if name in names[:index]
    ]
    if wrong:
        raise as_error(wrong)
    return items
