"""Adds credentials to the requests of checks: right ones, or ones that are wrong in a particular way."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote

from fcemu.model import AccessKey, BasicAuthConfig, BearerAuthConfig, JwtAuthConfig, TokenLookup
from fcemu.trigger import signature

if TYPE_CHECKING:
    from fcemu.clients.request import Request
    from fcemu.smoke.endpoints import Endpoint


Credential = Literal[
    "right", "none", "date only", "wrong", "unknown", "expired", "disabled", "other scheme", "no base64"
]
"""The kind of credentials in a request."""


class TokenSigner(Protocol):
    """Signs tokens; a `KeyPair` is one."""

    def token(self, claims: Mapping[str, Any], wall_now: float, expires: float | None = 3600) -> str:
        """A signed token with these claims, issued now (seconds since 1970 UTC) for `expires` seconds."""
        ...


@dataclass(frozen=True)
class Identity:
    """The keys that requests are authenticated with.

    Attributes:
        key: an access key that may sign requests.
        pair: a key pair whose tokens are accepted.
        forger: another key pair with the same key id, whose tokens are refused.
    """

    key: AccessKey | None = None
    pair: TokenSigner | None = None
    forger: TokenSigner | None = None


def authorised(
    request: Request, endpoint: Endpoint | None, credential: Credential, identity: Identity, now: float
) -> Request:
    """The request with credentials of this kind.

    Args:
        now: seconds since 1970 UTC.
    """
    if credential == "none" or endpoint is None or endpoint.auth_type in ("anonymous", "none"):
        return request
    if endpoint.auth_type == "function":
        return _with(request, *_signed(request, credential, identity, now))
    match endpoint.auth:
        case JwtAuthConfig():
            return _with_token(request, endpoint, _token(credential, identity, now))
        case BearerAuthConfig():
            wanted = {"right": True, "disabled": False}.get(credential)
            found = (t.tokenData for t in endpoint.auth.opaqueTokenConfig.tokens if t.enable is wanted)
            return _with(request, ("Authorization", f"Bearer {next(found, 'fcemu-smoke-' + 'x' * 32)}"))
        case BasicAuthConfig():
            return _with(request, ("Authorization", _basic(credential, endpoint.auth)))
    return request


def _with(request: Request, *headers: tuple[str, str]) -> Request:
    return replace(request, headers=(*request.headers, *headers))


def _signed(request: Request, credential: Credential, identity: Identity, now: float) -> Sequence[tuple[str, str]]:
    if credential == "date only" or identity.key is None:
        return [("Date", formatdate(now, usegmt=True))]
    changes = {"wrong": {"accessKeySecret": "fcemu-smoke-wrong"}, "unknown": {"accessKeyId": "fcemu-smoke-unknown"}}
    key = identity.key.model_copy(update=changes.get(credential, {}))
    at = now - signature.WINDOW - 60 if credential == "expired" else now
    return signature.sign(request.method, f"http://{request.host}{request.target}", key, at).headers


def _token(credential: Credential, identity: Identity, now: float) -> str:
    signer = identity.forger if credential == "wrong" else identity.pair
    assert signer is not None
    if credential == "expired":
        return signer.token({"iat": int(now) - 7200, "exp": int(now) - 3600}, now)
    return signer.token({"sub": "fcemu-smoke"}, now)


def _with_token(request: Request, endpoint: Endpoint, token: str) -> Request:
    place = lookup(endpoint)
    assert place is not None
    match place.readPosition:
        case "header":
            return _with(request, (place.parameterName, place.prefix + token))
        case "cookie":
            return _with(request, ("Cookie", f"{place.parameterName}={token}"))
    parameter = f"{quote(place.parameterName, safe='')}={token}"
    if place.readPosition == "query":
        return replace(request, target=with_parameter(request.target, parameter))
    form = ("Content-Type", "application/x-www-form-urlencoded")
    return replace(_with(request, form), method="POST", body=parameter.encode())


def with_parameter(target: str, parameter: str) -> str:
    """A request target with one more parameter in its query."""
    return f"{target}{'&' if '?' in target else '?'}{parameter}"


def _basic(credential: Credential, config: BasicAuthConfig) -> str:
    user = config.users[0]
    password = "fcemu-smoke-wrong" if credential == "wrong" else user.password
    encoded = base64.b64encode(f"{user.userName}:{password}".encode()).decode()
    return {"other scheme": "Bearer fcemu-smoke", "no base64": "Basic %%%"}.get(credential, f"Basic {encoded}")


def lookup(endpoint: Endpoint) -> TokenLookup | None:
    """Where to put a token: the most convenient of the configured places; None if there is none."""
    assert isinstance(endpoint.auth, JwtAuthConfig)
    places = {place.readPosition: place for place in reversed(endpoint.auth.tokenLookup)}
    if "POST" not in endpoint.methods:
        places.pop("form", None)
    return next((places[where] for where in ("header", "cookie", "query", "form") if where in places), None)
