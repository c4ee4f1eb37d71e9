"""What do all parts of the configuration share?"""

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
"""A string; a bare YAML number is taken as its digits, as Serverless Devs does."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", min_length=1, max_length=128)]


def as_error(findings: list[Finding], kind: Literal["value_error", "jwk"] = "value_error") -> PydanticCustomError:
    """One error for all findings of a validator; `configuration` tells them apart again, each with its line."""
    text = "; ".join(finding.text for finding in findings)
    return PydanticCustomError(kind, "{text}", {"text": text, "findings": findings})


class Resource(BaseModel):
    """The base of every model: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What can be the name of a header or of a cookie (RFC 9110 5.6.2, RFC 6265 4.1.1)."""

_Item = TypeVar("_Item", bound=Resource)

Position = Literal["header", "cookie", "query", "form"]


def require_unique(items: list[_Item], key: str) -> list[_Item]:
    """The items, if no two have the same value of `key`.

    Raises:
        PydanticCustomError: two have; each repetition is a finding.
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
