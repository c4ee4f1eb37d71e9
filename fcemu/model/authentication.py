"""The keys of `authConfig`: how JWT, Bearer and Basic authentication are configured."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fcemu.errors import Finding
from fcemu.model import jwks
from fcemu.model.base import HEADER_NAME, Position, Resource, Text, as_error, require_unique

_NOT_FOR_CLAIMS = re.compile(
    r"host|content-(length|encoding|type)|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade|"
    r"expect|cookie|sec-websocket-.*|x-fc-.*"
)
"""Headers that frame or route the request, or that the gateway sets itself."""


class JwkSet(Resource):
    """`jwks`: the public keys that verify tokens (D/06/04)."""

    model_config = ConfigDict(extra="ignore")  # RFC 7517 5: other members of a JWK Set are ignored.

    keys: Annotated[list[dict[str, Any]], Field(min_length=1, repr=False)]

    @field_validator("keys")
    @classmethod
    def _can_verify(cls, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if wrong := jwks.findings(keys):
            raise as_error(wrong, "jwk")
        return keys


class TokenLookup(Resource):
    """One entry of `tokenLookup`: where to look for the token (D/06/04)."""

    readPosition: Position
    parameterName: Annotated[str, Field(min_length=1)]
    prefix: str = ""

    @model_validator(mode="after")
    def _can_be_read(self) -> TokenLookup:
        if self.readPosition in ("header", "cookie") and not HEADER_NAME.fullmatch(self.parameterName):
            text = f"{self.parameterName!r} cannot be the name of a {self.readPosition}"
            raise as_error([Finding(text, ("parameterName",))])
        if self.prefix and self.readPosition != "header":
            raise as_error(
                [Finding(f"a {self.readPosition} cannot have a prefix, only a header can; remove it", ("prefix",))]
            )
        return self


class ClaimPassBy(Resource):
    """One entry of `claimPassBy`: a claim to pass to the function, and where (D/06/04)."""

    claimName: str
    mappingParameterName: str
    mappingParameterPosition: Position

    @model_validator(mode="after")
    def _can_be_set(self) -> ClaimPassBy:
        name, position = self.mappingParameterName, self.mappingParameterPosition
        if not self.claimName:
            return self  # fc3 writes `query::` for no claim (semantics 4.1)
        if not name or (position in ("header", "cookie") and not HEADER_NAME.fullmatch(name)):
            text = f"{name!r} cannot be the name of a {position} for claim {self.claimName!r}"
        elif position == "header" and _NOT_FOR_CLAIMS.fullmatch(name.lower().replace("_", "-")):
            text = f"the gateway sets the header {name}; pass the claim in another, such as x-jwt-{self.claimName}"
        else:
            return self
        raise as_error([Finding(text, ("mappingParameterName",))])


def _lookups(value: object) -> object:
    """Parse `header:<name>[:<prefix>]`, `cookie:<name>`, …, separated by commas; a prefix keeps its spaces."""
    if not isinstance(value, str):
        return value
    places = []
    for text in value.split(","):
        position, _, rest = text.lstrip().partition(":")
        name, _, prefix = rest.partition(":")
        if not name:
            raise ValueError("expected `<position>:<name>`, such as `header:Authorization:Bearer ,cookie:token`")
        places.append({"readPosition": position, "parameterName": name, "prefix": prefix})
    return places


def _claims(value: object) -> object:
    """Parse `<position>:<claim>:<name>`, separated by commas; `query::` means no claim."""
    if not isinstance(value, str):
        return value
    passed = []
    for text in value.split(",") if value.strip() else ():
        parts = text.strip().split(":")
        if len(parts) != 3:
            raise ValueError("expected `<position>:<claim>:<name>`, such as `header:sub:x-jwt-sub,query:iss:issuer`")
        keys = ("mappingParameterPosition", "claimName", "mappingParameterName")
        passed.append(dict(zip(keys, parts, strict=True)))
    return passed


class JwtAuthConfig(Resource):
    """`authConfig` of `authType: jwt` (D/06/04, D/06/08)."""

    jwks: Annotated[JwkSet, Field(repr=False)]
    tokenLookup: Annotated[list[TokenLookup], BeforeValidator(_lookups), Field(min_length=1)] = [
        # INF: the default of echo's JWT middleware, whose key names the cloud uses.
        TokenLookup(readPosition="header", parameterName="Authorization", prefix="Bearer ")
    ]
    claimPassBy: Annotated[list[ClaimPassBy], BeforeValidator(_claims)] = []
    # The schema of fc3 says whitelist, its samples say whiteList (semantics 4.1).
    whitelist: Annotated[list[str], Field(validation_alias=AliasChoices("whitelist", "whiteList"))] = []
    blacklist: Annotated[list[str], Field(validation_alias=AliasChoices("blacklist", "blackList"))] = []

    @field_validator("whitelist", "blacklist")
    @classmethod
    def _are_paths(cls, paths: list[str]) -> list[str]:
        wrong: list[Finding] = []
        for index, path in enumerate(paths):
            if not path.startswith("/"):
                wrong.append(Finding(f"expected a path that starts with `/`; write `/{path}`", (index,)))
            elif "*" in path[:-1]:
                wrong.append(Finding("`*` is allowed only at the end, as in /login/*", (index,)))
        if wrong:
            raise as_error(wrong)
        return paths

    @model_validator(mode="after")
    def _agrees(self) -> JwtAuthConfig:
        wrong: list[Finding] = []
        if self.whitelist and self.blacklist:
            text = (
                "`whitelist` and `blacklist` exclude each other; keep `whitelist` (these paths need no token) or "
                "`blacklist` (only these paths need a token)"
            )
            wrong.append(Finding(text, ("blacklist",)))
        seen: set[tuple[str, str]] = set()
        for index, entry in enumerate(self.claimPassBy):
            place = (entry.mappingParameterPosition, entry.mappingParameterName.lower().replace("_", "-"))
            if entry.claimName and place in seen:
                text = f"two claims cannot be passed in the same {place[0]} {entry.mappingParameterName}"
                wrong.append(Finding(text, ("claimPassBy", index)))
            seen.add(place)
        if wrong:
            raise as_error(wrong)
        return self


class OpaqueToken(Resource):
    """One token of `authType: bearer` (D/06/02)."""

    enable: bool
    tokenName: Annotated[Text, Field(min_length=1, max_length=128)]
    tokenData: Annotated[str, Field(repr=False)]

    @field_validator("tokenData")
    @classmethod
    def _is_a_token(cls, data: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9+/=\-~.]{32,128}", data):
            raise ValueError("expected 32 to 128 characters of `A-Z a-z 0-9 + / = - ~ .`")
        return data


class OpaqueTokenConfig(Resource):
    """`opaqueTokenConfig`: the tokens that are accepted."""

    tokens: Annotated[list[OpaqueToken], Field(min_length=1, max_length=20, repr=False)]

    @field_validator("tokens")
    @classmethod
    def _names_are_unique(cls, tokens: list[OpaqueToken]) -> list[OpaqueToken]:
        return require_unique(tokens, "tokenName")


class BearerAuthConfig(Resource):
    """`authConfig` of `authType: bearer`, as a live deployment wrote it (semantics 4.2, OBS)."""

    BearerFormat: Literal["opaque"]
    opaqueTokenConfig: OpaqueTokenConfig

    @model_validator(mode="before")
    @classmethod
    def _names_its_format(cls, data: Any) -> Any:
        if isinstance(data, dict) and "tokens" in data and "BearerFormat" not in data:
            raise ValueError(
                "BearerFormat is required: the console shows only `tokens`, but the API expects "
                "`{BearerFormat: opaque, opaqueTokenConfig: {tokens: […]}}`"
            )
        return data


class BasicUser(Resource):
    """One user of `authType: basic` (D/06/03)."""

    userName: Annotated[str, Field(pattern="^[^:]*$", min_length=12, max_length=128)]
    password: Annotated[str, Field(repr=False)]

    @field_validator("password")
    @classmethod
    def _is_strong(cls, password: str) -> str:
        kinds = ("[A-Z]", "[a-z]", "[0-9]", r"[!@#$%^&*()]")
        if not 12 <= len(password) <= 128 or not all(re.search(kind, password) for kind in kinds):
            raise ValueError(
                "expected 12 to 128 characters with an upper-case letter, a lower-case letter, a digit and one of "
                "`! @ # $ % ^ & * ( )`"
            )
        return password


class BasicAuthConfig(Resource):
    """`authConfig` of `authType: basic`. INF: the vendor documents the rules for users, not the names of the keys."""

    users: Annotated[list[BasicUser], Field(min_length=1, max_length=20, repr=False)]

    @field_validator("users")
    @classmethod
    def _names_are_unique(cls, users: list[BasicUser]) -> list[BasicUser]:
        return require_unique(users, "userName")


AuthConfig = JwtAuthConfig | BearerAuthConfig | BasicAuthConfig

AUTH_CONFIGS: dict[str, type[AuthConfig]] = {
    "jwt": JwtAuthConfig,
    "bearer": BearerAuthConfig,
    "basic": BasicAuthConfig,
}
"""The model of `authConfig` (of a trigger) and `authInfo` (of a domain) by `authType`; other types have none."""

_AUTH_EXAMPLES = {
    "jwt": "{jwks: {keys: [{kty: RSA, kid: …, n: …, e: AQAB}]}}",
    "bearer": "{BearerFormat: opaque, opaqueTokenConfig: {tokens: [{enable: true, tokenName: …, tokenData: …}]}}",
    "basic": "{users: [{userName: …, password: …}]}",
}


def parse_auth_config(auth_type: str | None, config: dict[str, Any] | str | None, key: str) -> AuthConfig | None:
    """`config` as the model of its `authType`; None for types without one. Findings keep their paths below `key`.

    Raises:
        ValueError, PydanticCustomError: the configuration is missing or wrong.
    """
    if auth_type not in AUTH_CONFIGS:
        return None
    if config is None:
        text = f"authType {auth_type} needs `{key}: {_AUTH_EXAMPLES[auth_type]}`"
        raise PydanticCustomError("auth_missing", "{text}", {"text": text})
    try:
        data = json.loads(config) if isinstance(config, str) else config
    except (ValueError, RecursionError):
        raise ValueError("expected a mapping, or a string with its JSON") from None
    return AUTH_CONFIGS[auth_type].model_validate(data)
