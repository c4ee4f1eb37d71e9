"""Which authenticator guards a route? Each trigger and custom domain has one, made when the configuration loads.

An authenticator gets a request that is admitted otherwise. It returns the request for the function: the same request,
or one with the claims of a token. It refuses every request that it cannot verify. An unknown authType refuses all.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import unquote_plus

from fcemu.errors import FCError, Refusal
from fcemu.model import Account, AuthConfig, BasicAuthConfig, BearerAuthConfig, JwtAuthConfig
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route
from fcemu.trigger.signature import SignatureAuthenticator

_ALWAYS_SECRET = SignatureAuthenticator.secret_parameters


class Authenticator(Protocol):
    """Lets a request pass, or refuses it.

    Attributes:
        needs_body: it reads or writes parameters of a form, so it needs the request's body.
        secret_parameters: names of query parameters whose values must not appear in a log.
    """

    needs_body: bool
    secret_parameters: frozenset[str]

    def authenticate(self, head: RequestHead, body: bytes | None, wall_now: float) -> tuple[RequestHead, bytes | None]:
        """The request to forward, and its body.

        Args:
            body: the whole body if `needs_body`; otherwise None, or it is returned unchanged.
            wall_now: seconds since 1970 UTC.

        Raises:
            FCError: the request is refused.
        """
        ...


class Authenticators:
    """The authenticators of an account's triggers and custom domains."""

    def __init__(self, account: Account) -> None:
        signature = SignatureAuthenticator({key.accessKeyId: key for key in account.accessKeys})
        self._by_owner: dict[tuple[str, str, str], Authenticator | None] = {}
        for function in account.functions:
            for trigger in function.triggers:
                config = trigger.triggerConfig
                owner = (function.functionName, trigger.qualifier, "")
                self._by_owner[owner] = _authenticator(config.authType, config.auth, signature)
        for domain in account.customDomains:
            auth = domain.authConfig
            self._by_owner["", "", domain.domainName] = _authenticator(auth.authType, auth.auth, signature)

    def of(self, route: Route) -> Authenticator | None:
        """The authenticator of a route; None if it is anonymous. A custom domain has its own (D/06/06-08)."""
        if route.domain is not None:
            return self._by_owner["", "", route.domain.domainName]
        assert route.trigger is not None
        return self._by_owner[route.function.functionName, route.trigger.qualifier, ""]


def redacted(target: str, authenticator: Authenticator | None) -> str:
    """A request target for the log, without the values of secret query parameters."""
    if "?" not in target:
        return target
    path, mark, query = target.partition("?")
    secret = _ALWAYS_SECRET | (authenticator.secret_parameters if authenticator is not None else frozenset())
    shown = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        shown.append(f"{name}{equals}…" if equals and unquote_plus(name) in secret else part)
    return path + mark + "&".join(shown)


class _RefuseAll:
    """Refuses every request, because the configuration is incomplete."""

    needs_body = False
    secret_parameters: frozenset[str] = frozenset()

    def authenticate(self, head: RequestHead, body: bytes | None, wall_now: float) -> tuple[RequestHead, bytes | None]:
        raise FCError(
            Refusal.AUTHENTICATION_UNAVAILABLE,
            reason="this authType has no authConfig that could be checked, so every request is refused",
            remedy="complete the authConfig, or use authType: anonymous",
        )


def _authenticator(
    auth_type: str, config: AuthConfig | None, signature: SignatureAuthenticator
) -> Authenticator | None:
    match auth_type, config:
        case (("anonymous" | "none"), _):
            return None
        case "function", _:
            return signature
        case "jwt", JwtAuthConfig():
            from fcemu.trigger.jwt_auth import JwtAuthenticator  # PyJWT costs 50 ms; only a JWT trigger pays

            return JwtAuthenticator(config)
        case "bearer", BearerAuthConfig():
            from fcemu.trigger.bearer_auth import BearerAuthenticator

            return BearerAuthenticator(config)
        case "basic", BasicAuthConfig():
            from fcemu.trigger.basic_auth import BasicAuthenticator

            return BasicAuthenticator(config)
    return _RefuseAll()
