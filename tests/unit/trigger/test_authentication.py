"""The authentication of a route."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.clients.tokens import KeyPair
from fcemu.errors import FCError, Refusal
from fcemu.model import Account
from fcemu.trigger.authentication import Authenticators, redacted
from fcemu.trigger.basic_auth import BasicAuthenticator
from fcemu.trigger.bearer_auth import BearerAuthenticator
from fcemu.trigger.jwt_auth import JwtAuthenticator
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Router
from fcemu.trigger.signature import SignatureAuthenticator

JWT = {"jwks": KeyPair.generate("ES256").jwks(), "tokenLookup": "query:access token"}
TOKEN = {"enable": True, "tokenName": "t", "tokenData": "0123456789abcdef0123456789abcdef"}
BEARER = {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": [TOKEN]}}
BASIC = {"users": [{"userName": "administrator", "password": "Passw0rd!long"}]}


def guard(auth_type: str, config: Any = None, host: str = "fn.localhost") -> object:
    """The authenticator of a trigger, or of the domain a.test with the same authentication."""
    trigger = {"methods": ["GET"], "authType": auth_type, "authConfig": config}
    domain = {
        "domainName": "a.test",
        "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]},
        "authConfig": {"authType": "anonymous" if host == "fn.localhost" else auth_type, "authInfo": config},
    }
    account = Account.model_validate(
        {
            "functions": [{"functionName": "fn", "triggers": [{"triggerName": "t", "triggerConfig": trigger}]}],
            "customDomains": [domain],
        }
    )
    return Authenticators(account).of(Router(account).route(RequestHead("GET", "/", ((b"Host", host.encode()),))))


@pytest.mark.parametrize("host", ["fn.localhost", "a.test"])
@pytest.mark.parametrize(
    ("auth_type", "config", "kind"),
    [
        ("anonymous", None, type(None)), ("function", None, SignatureAuthenticator), ("jwt", JWT, JwtAuthenticator),
        ("bearer", BEARER, BearerAuthenticator), ("basic", BASIC, BasicAuthenticator),
    ],
)  # fmt: skip
def test_each_type_has_its_authenticator(auth_type: str, config: Any, kind: type, host: str) -> None:
    """A trigger and a custom domain authenticate as their own authType says."""
    assert type(guard(auth_type, config, host)) is kind


def test_domain_without_authentication_is_open_whatever_the_trigger_says() -> None:
    """A custom domain's authentication is its own."""
    account = Account.model_validate(
        {
            "functions": [
                {"functionName": "fn", "triggers": [{"triggerName": "t", "triggerConfig": {"methods": ["GET"]}}]}
            ],
            "customDomains": [
                {
                    "domainName": "a.test",
                    "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]},
                    "authConfig": {"authType": "none"},
                }
            ],
        }
    )
    authenticators, router = Authenticators(account), Router(account)
    assert authenticators.of(router.route(RequestHead("GET", "/", ((b"Host", b"a.test"),)))) is None
    assert authenticators.of(router.route(RequestHead("GET", "/", ((b"Host", b"x"),)))) is not None


def test_account_without_keys_lets_no_signature_in() -> None:
    """A trigger that verifies signatures refuses every request if there is no key."""
    authenticator = guard("function")
    assert isinstance(authenticator, SignatureAuthenticator)
    with pytest.raises(FCError):
        authenticator.authenticate(RequestHead("GET", "/", ()), None, 0.0)


def test_secret_parameters_are_left_out_of_a_target() -> None:
    """Signatures and tokens in a query are hidden, however their names are written; the rest is shown."""
    jwt = guard("jwt", JWT)
    assert isinstance(jwt, JwtAuthenticator)
    assert redacted("/a?b=c&access+token=s3cret&d", jwt) == "/a?b=c&access+token=…&d"
    assert redacted("/a?access%20token=s3cret", jwt) == "/a?access%20token=…"
    assert redacted("/?x-fc-signature=s3cret&x-fc-security-token=s3cret&x=1", None) == (
        "/?x-fc-signature=…&x-fc-security-token=…&x=1"
    )
    assert redacted("/a?", None) == "/a?"
    assert redacted("/a", None) == "/a"


def test_authentication_that_cannot_be_checked_refuses_everything() -> None:
    """An account that was made past the models, with an authType and no authConfig, fails closed."""
    account = Account.model_validate(
        {
            "functions": [
                {"functionName": "fn", "triggers": [{"triggerName": "t", "triggerConfig": {"methods": ["GET"]}}]}
            ]
        }
    )
    function = account.functions[0]
    config = function.triggers[0].triggerConfig.model_copy(update={"authType": "jwt", "authConfig": None})
    config.__dict__["auth"] = None
    trigger = function.triggers[0].model_copy(update={"triggerConfig": config})
    account = account.model_copy(update={"functions": [function.model_copy(update={"triggers": [trigger]})]})
    head = RequestHead("GET", "/", ((b"Host", b"fn.localhost"),))
    authenticator = Authenticators(account).of(Router(account).route(head))
    assert authenticator is not None
    with pytest.raises(FCError) as caught:
        authenticator.authenticate(head, None, 0.0)
    assert caught.value.refusal is Refusal.AUTHENTICATION_UNAVAILABLE
