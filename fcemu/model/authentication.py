"""Who may call? The keys of `authConfig`, and the users and tokens they accept."""

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
"""Headers that frame or route the request, and those that the gateway sets itself."""


class JwkSet(Resource):
    """`jwks`: the public keys that tokens are verified with (D/06/04)."""

    model_config = ConfigDict(extra="ignore")  # RFC 7517 5: other members of a JWK Set are ignored.

    keys: Annotated[list[dict[str, Any]], Field(min_length=1, repr=False)]

    @field_validator("keys")
    @classmethod
    def _can_verify(cls, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if wrong := jwks.findings(keys):
            raise as_error(wrong, "jwk")
        return keys


class TokenLookup(Resource):
    """One place of `tokenLookup`: where the token stands (D/06/04)."""

    readPosition: Position
    parameterName: Annotated[str, Field(min_length=1)]
    prefix: str = ""

    @model_validator(mode="after")
    def _can_be_read(self) -> TokenLookup:
        if self.readPosition in ("header", "cookie") and not HEADER_NAME.fullmatch(self.parameterName):
            text = f"{self.parameterName!r} cannot be the name of a {self.readPosition}"
            raise as_error([Finding(text, ("parameterName",))])
        if self.prefix and self.readPosition != "header":
            raise as_error([Finding(f"a {self.readPosition} has no prefix; only a header does", ("prefix",))])
        return self


class ClaimPassBy(Resource):
    """One entry of `claimPassBy`: which claim the function gets, and where (D/06/04)."""

    claimName: str
    mappingParameterName: str
    mappingParameterPosition: Position

    @model_validator(mode="after")
    def _can_be_set(self) -> ClaimPassBy:
        name, position = self.mappingParameterName, self.mappingParameterPosition
        if not self.claimName:
            return self  # fc3 writes `query::` for nothing (semantics 4.1).
        if not name or (position in ("header", "cookie") and not HEADER_NAME.fullmatch(name)):
            text = f"{name!r} cannot be the name of a {position} for claim {self.claimName!r}"
        elif position == "header" and _NOT_FOR_CLAIMS.fullmatch(name.lower().replace("_", "-")):
            text = (
                f"the header {name} belongs to the gateway; pass the claim by another, such as x-jwt-{self.claimName}"
            )
        else:
            return self
        raise as_error([Finding(text, ("mappingParameterName",))])


def _lookups(value: object) -> object:
    """`header:<name>[:<prefix>]`, `cookie:<name>`, … with commas between them; a prefix keeps its blanks."""
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
    """`<position>:<claim>:<name>`, with commas between them; `query::` says nothing."""
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
        # INF: the default of echo's JWT middleware, whose words the cloud uses.
        TokenLookup(readPosition="header", parameterName="Authorization", prefix="Bearer ")
    ]
    claimPassBy: Annotated[list[ClaimPassBy], BeforeValidator(_claims)] = []
    # fc3's schema writes whitelist, its own samples whiteList (semantics 4.1).
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
                wrong.append(Finding("`*` may stand only at the end: /login/*", (index,)))
        if wrong:
            raise as_error(wrong)
        return paths

    @model_validator(mode="after")
    def _agrees(self) -> JwtAuthConfig:
        wrong: list[Finding] = []
        if self.whitelist and self.blacklist:
            text = (
                "`whitelist` and `blacklist` exclude each other; keep `whitelist` (these paths need no token) or "
                "`blacklist` (only these need one)"
            )
            wrong.append(Finding(text, ("blacklist",)))
        seen: set[tuple[str, str]] = set()
        for index, entry in enumerate(self.claimPassBy):
            place = (entry.mappingParameterPosition, entry.mappingParameterName.lower().replace("_", "-"))
            if entry.claimName and place in seen:
                text = f"two claims cannot pass by one {place[0]} {entry.mappingParameterName}"
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
    """`opaqueTokenConfig`: the tokens that let in."""

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
                "BearerFormat is required: the console shows `tokens` alone, the API wants "
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
    """`authConfig` of `authType: basic`. INF: the vendor documents the users' rules, not the names of these keys."""

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
"""What `authConfig` (of a trigger) and `authInfo` (of a domain) hold, by `authType`; other types need none."""

_AUTH_EXAMPLES = {
    "jwt": "{jwks: {keys: [{kty: RSA, kid: …, n: …, e: AQAB}]}}",
    "bearer": "{BearerFormat: opaque, opaqueTokenConfig: {tokens: [{enable: true, tokenName: …, tokenData: …}]}}",
    "basic": "{users: [{userName: …, password: …}]}",
}


def parse_auth_config(auth_type: str | None, config: dict[str, Any] | str | None, key: str) -> AuthConfig | None:
    """The typed form of `config`; its own findings keep their places below `key`."""
    if auth_type not in AUTH_CONFIGS:
        return None
    if config is None:
        text = f"authType {auth_type} needs `{key}: {_AUTH_EXAMPLES[auth_type]}`"
        raise PydanticCustomError("auth_missing", "{text}", {"text": text})
    try:
        data = json.loads(config) if isinstance(config, str) else config
    except (ValueError, RecursionError):
        raise ValueError("expected a mapping, or its JSON as a text") from None
    return AUTH_CONFIGS[auth_type].model_validate(data)
