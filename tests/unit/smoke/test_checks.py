"""The checks of a configuration, and the credentials of their requests."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.clients.request import Request
from fcemu.clients.tokens import KeyPair
from fcemu.errors import FCError, Refusal
from fcemu.model import AccessKey, Account
from fcemu.smoke import checks
from fcemu.smoke.checks import (
    Answered,
    Check,
    Full,
    Handshake,
    NotCheckable,
    Refused,
    SameInstance,
    SocketCheck,
    TimesOut,
    planned_checks,
)
from fcemu.smoke.credentials import Identity, authorised
from fcemu.trigger.admission import admit
from fcemu.trigger.affinity import claim
from fcemu.trigger.authentication import Authenticators
from fcemu.trigger.limits import enforce_message
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route, Router

NOW = 1_700_000_000.0
PAIR = KeyPair.generate(kid="one")
FORGER = KeyPair.generate(kid="one")
KEY = AccessKey(accessKeyId="ak", accessKeySecret="secret", securityToken="token")
IDENTITY = Identity(KEY, PAIR, FORGER)

ENABLED = {"enable": True, "tokenName": "a", "tokenData": "a" * 32}
DISABLED = {"enable": False, "tokenName": "b", "tokenData": "b" * 32}
BASIC = {"users": [{"userName": "administrator", "password": "Passw0rd!long"}]}


def bearer(*tokens: dict[str, Any]) -> dict[str, Any]:
    """A trigger's configuration with these tokens."""
    config = {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": list(tokens)}}
    return {"authType": "bearer", "authConfig": config}


def jwt(**config: Any) -> dict[str, Any]:
    """A trigger's configuration that accepts tokens of PAIR."""
    return {"authType": "jwt", "authConfig": {"jwks": PAIR.jwks(), **config}}


def function(name: str = "fn", trigger: dict[str, Any] | None = None, **props: Any) -> dict[str, Any]:
    """A function's configuration with one trigger."""
    config = {"methods": ["GET", "POST"], "authType": "anonymous", **(trigger or {})}
    defaults = {"functionName": name, "timeout": 60, "triggers": [{"triggerName": "http", "triggerConfig": config}]}
    return {**defaults, **props}


def account(*functions: dict[str, Any], **more: Any) -> Account:
    """An account of them."""
    return Account.model_validate({"functions": list(functions), "accessKeys": [KEY], **more})


def names(checks: list[Check], endpoint: str = "http") -> list[str]:
    """The names of the checks of an endpoint."""
    return [check.name for check in checks if check.endpoint is not None and check.endpoint.name == endpoint]


def only(kind: type[Check], checks: list[Check]) -> Any:
    """The one check of a kind."""
    (found,) = [check for check in checks if type(check) is kind]
    return found


VERSIONS = [
    {"triggerName": "prod", "qualifier": "prod", "triggerConfig": {"methods": ["GET"], "authType": "function"}},
    {
        "triggerName": "http",
        "triggerConfig": {"methods": ["GET"], "authType": "anonymous", "disableURLInternet": True},
    },
    {
        "triggerName": "old",
        "qualifier": "old",
        "triggerConfig": {"methods": ["GET"], "authType": "function", "disableURLInternet": True},
    },
]
ROUTES = [{"path": "/ws", "functionName": "open"}, {"path": "/api/*", "functionName": "none", "methods": ["POST"]}]
SESSIONS = {"affinityHeaderFieldName": "x-session"}

EVERYTHING = account(
    function("open"),
    function("none", triggers=[]),
    function("versions", triggers=VERSIONS),
    function("signed", {"authType": "function"}),
    function("closed", {"authType": "function", "disableURLInternet": True}),
    function("post", {"methods": ["POST", "HEAD"]}),
    function("every", {"methods": ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]}),
    function("jwt", jwt()),
    function("cookies", jwt(tokenLookup="cookie:token")),
    function("queries", jwt(tokenLookup="query:access token", whitelist=["/", "/login/*"])),
    function("forms", jwt(tokenLookup="form:token")),
    function("listed", jwt(blacklist=["/admin/*"])),
    function("bearer", bearer(DISABLED, ENABLED)),
    function("basic", {"authType": "basic", "authConfig": BASIC}),
    function("disabled", concurrencyConfig={"reservedConcurrency": 0}),
    function("header", sessionAffinity="HEADER_FIELD", sessionAffinityConfig=SESSIONS),
    function("cookie", sessionAffinity="GENERATED_COOKIE", sessionAffinityConfig={"disableSessionIdReuse": True}),
    function("sse", sessionAffinity="MCP_SSE"),
    function("mcp", sessionAffinity="MCP_STREAMABLE"),
    customDomains=[
        {
            "domainName": "app.example.com",
            "routeConfig": {"routes": ROUTES},
            "authConfig": {"authType": "basic", "authInfo": BASIC},
        },
        {"domainName": "*.example.org", "routeConfig": {"routes": [{"path": "/*", "functionName": "open"}]}},
    ],
)

NOT_PROMISED = {
    # What only the function's own behaviour brings about, a bug of ours, or a fault on purpose.
    Refusal.INITIALIZATION_FAILED, Refusal.EXTERNAL_REDIRECT, Refusal.APK_DOWNLOAD, Refusal.CA_EXITED,
    Refusal.CA_FILE_NOT_FOUND, Refusal.CA_FILE_PERMISSION, Refusal.FUNCTION_NOT_STARTED, Refusal.HEALTH_CHECK_FAILED,
    Refusal.BAD_RESPONSE, Refusal.PROCESS_EXITED, Refusal.FUNCTION_OOM, Refusal.FUNCTION_TIMEOUT,
    Refusal.INTERNAL_SERVER_ERROR, Refusal.SYSTEM_THROTTLED, Refusal.SHUTTING_DOWN,
    # A configuration that loads has none of these.
    Refusal.AUTHENTICATION_UNAVAILABLE,
}  # fmt: skip


def answer(served: Account, request: Request) -> Route:
    """The route of a request that the trigger's rules accept.

    Raises:
        FCError: they refuse it.
    """
    pairs = (("Host", request.host), *request.headers)
    if request.body:
        pairs = (*pairs, ("Content-Length", str(len(request.body))))
    head = RequestHead(request.method, request.target, tuple((k.encode(), v.encode()) for k, v in pairs))
    enforce_message(head)
    route = Router(served).route(head)
    admit(route, head)
    if (authenticator := Authenticators(served).of(route)) is not None:
        authenticator.authenticate(head, request.body, NOW)
    session = claim(route.function, head, "new")
    if session is not None and session.id is not None and not session.begins:
        raise FCError(Refusal.SESSION_NOT_FOUND, id=session.id)
    if route.function.concurrencyConfig is not None:
        raise FCError(Refusal.RESOURCE_EXHAUSTED, detail="")
    return route


CHECKS = planned_checks(EVERYTHING, "/x?y=z")


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if isinstance(check, Refused)],
    ids=lambda check: f"{check.function}-{check.endpoint.name if check.endpoint else ''}-{check.name}".replace(
        " ", "-"
    ),
)
def test_request_is_refused_as_expected(check: Refused) -> None:
    """The trigger's rules refuse the request of a check with exactly the expected refusal."""
    request = authorised(check.request, check.endpoint, check.credential, IDENTITY, NOW)
    with pytest.raises(FCError) as refused:
        answer(EVERYTHING, request)
    assert refused.value.refusal is check.refusal
    code, message = refused.value.code, refused.value.message
    assert checks.difference(check.refusal, refused.value.status, code, message) == ""


@pytest.mark.parametrize(
    "check",
    [check for check in CHECKS if isinstance(check, Answered | Handshake)],
    ids=lambda check: f"{check.function}-{check.endpoint.name}-{check.name}".replace(" ", "-"),
)
def test_request_passes_as_expected(check: Answered | Handshake) -> None:
    """The trigger's rules accept the requests that the function should answer."""
    assert check.endpoint is not None
    request = check.request if isinstance(check, Answered) else check.endpoint.upgrade()
    request = authorised(request, check.endpoint, check.credential, IDENTITY, NOW)
    assert answer(EVERYTHING, request).function.functionName == check.function


def test_every_row_that_can_be_promised_is_checked() -> None:
    """Each row of the table is checked with some configuration, or is listed as not checkable."""
    checked = {check.refusal for check in CHECKS if isinstance(check, Refused)}
    assert checked | NOT_PROMISED == set(Refusal)
    assert not checked & NOT_PROMISED


def test_open_function_is_checked_from_start_to_stop() -> None:
    """The checks of a plain function come in their order: it starts, refuses, answers, times out, stops."""
    found = [check.name for check in planned_checks(account(function()))]
    assert found == [
        "starts", "method PUT", "headers over 8 KB", "path and query over 4 KB", "body over 32 MB", "request",
        "handshake", "echo", "invalid Host header", "unknown function", "unknown version", "timeout of 60 s", "stops",
        "nothing is left",
    ]  # fmt: skip


def test_path_is_that_of_the_requests() -> None:
    """Requests go to `--path`, below the prefix of a route."""
    route = {"path": "/api/*", "functionName": "fn"}
    domain = {"domainName": "a.test", "routeConfig": {"routes": [route]}}
    found = planned_checks(account(function(), customDomains=[domain]), "/chat")
    endpoints = {
        check.endpoint.name: check.endpoint.path for check in found if check.endpoint is not None and check.function
    }
    assert endpoints == {"http": "/chat", "a.test/api/chat": "/api/chat"}


def test_function_can_be_chosen() -> None:
    """Only the named functions are checked, and the domains that lead to them."""
    domain = {"domainName": "a.test", "routeConfig": {"routes": [{"path": "/x", "functionName": "two"}]}}
    served = account(function("one"), function("two"), customDomains=[domain])
    assert {check.function for check in planned_checks(served, only=["one"])} == {"one", ""}
    assert not any(check.name == "unknown route" for check in planned_checks(served, only=["one"]))
    assert any(check.name == "unknown route" for check in planned_checks(served, only=["two"]))


def test_trigger_without_get_takes_no_sockets() -> None:
    """Without GET, the handshake is expected to be refused, and nothing else about sockets is checked."""
    found = planned_checks(account(function(trigger={"methods": ["POST"]})))
    assert "handshake without GET" in names(found)
    assert not any(isinstance(check, SocketCheck) for check in found)


def test_method_that_no_trigger_takes_is_left() -> None:
    """If all methods are configured, the refused one is TRACE."""
    assert "method TRACE" in [check.name for check in CHECKS if check.function == "every"]


def test_disabled_function_is_refused_and_never_started() -> None:
    """With reservedConcurrency: 0 a request with the right credentials gets 429, and no start is expected."""
    found = planned_checks(account(function(trigger=bearer(ENABLED), concurrencyConfig={"reservedConcurrency": 0})))
    (refused,) = [check for check in found if isinstance(check, Refused) and check.credential == "right"]
    assert refused.refusal is Refusal.RESOURCE_EXHAUSTED
    assert not {"starts", "stops", "request"} & {check.name for check in found}


@pytest.mark.parametrize(
    ("props", "more", "sockets"),
    [
        ({"instanceConcurrency": 5, "concurrencyConfig": {"reservedConcurrency": 2}}, {}, 10),
        ({"instanceConcurrency": 20}, {"quotas": {"instances": 1}}, 20),
        ({"concurrencyConfig": {"reservedConcurrency": 3}}, {"quotas": {"instances": 2}}, 2),
        ({"concurrencyConfig": {"reservedConcurrency": 5}}, {}, None),  # too many instances
        ({"instanceConcurrency": 101, "concurrencyConfig": {"reservedConcurrency": 1}}, {}, None),  # too many sockets
        ({}, {}, None),  # the account's 300
        ({"sessionAffinity": "GENERATED_COOKIE", "concurrencyConfig": {"reservedConcurrency": 1}}, {}, 20),
        ({"sessionAffinity": "MCP_SSE", "concurrencyConfig": {"reservedConcurrency": 1}}, {}, None),
    ],
)
def test_limit_is_reached_where_it_is_near(props: dict[str, Any], more: dict[str, Any], sockets: int | None) -> None:
    """The limit of instances is checked if few instances and few sockets or sessions reach it."""
    found = [c.sockets for c in planned_checks(account(function(**props), **more)) if isinstance(c, Full)]
    assert found == ([] if sockets is None else [sockets])


def test_accounts_limit_is_not_reached_beside_others() -> None:
    """With several functions, the limit of the account is not checked."""
    found = planned_checks(account(function("one"), function("two"), quotas={"instances": 1}))
    assert not any(isinstance(check, Full) for check in found)


def test_nobody_gets_in_without_an_enabled_token() -> None:
    """Without an enabled token, only refusals are checked, and the reason is reported."""
    found = planned_checks(account(function(trigger=bearer(DISABLED))))
    assert only(NotCheckable, found).why == "no token is enabled"
    assert not {"starts", "handshake", "stops"} & {check.name for check in found}


def test_token_in_a_form_is_for_requests_only() -> None:
    """If tokens are read from forms, a handshake cannot have one; without POST, no request can."""
    found = planned_checks(account(function(trigger=jwt(tokenLookup="form:token"))))
    assert "form" in only(NotCheckable, found).why
    assert {"starts", "request", "no token", "expired token"} <= {check.name for check in found}
    found = planned_checks(account(function(trigger={**jwt(tokenLookup="form:token"), "methods": ["GET"]})))
    assert "POST" in only(NotCheckable, found).why
    assert "no token" in names(found)
    assert "expired token" not in names(found)
    assert not any(isinstance(check, Answered | checks.Starts | SocketCheck) for check in found)


def test_route_that_needs_no_token_says_so() -> None:
    """On an exact route whose path is on the whitelist, no refusal of tokens is checked."""
    auth = {"authType": "jwt", "authInfo": {"jwks": PAIR.jwks(), "whitelist": ["/ws"]}}
    routes = [{"path": "/ws", "functionName": "fn"}]
    domain = {"domainName": "a.test", "routeConfig": {"routes": routes}, "authConfig": auth}
    found = [c for c in planned_checks(account(function(), customDomains=[domain])) if c.endpoint and c.endpoint.domain]
    assert only(NotCheckable, found).why == "/ws needs no token"
    assert [c.credential for c in found if isinstance(c, Answered | SocketCheck)] == ["none", "none", "none"]


def test_timeouts_come_behind_everything_else() -> None:
    """Checks that advance the clock come after all others, and the stop comes last."""
    kinds = [type(check) for check in planned_checks(account(function("one"), function("two")))]
    assert kinds[-5:] == [TimesOut, TimesOut, checks.Stops, checks.Stops, checks.NothingLeft]
    assert TimesOut not in kinds[:-5]


@pytest.mark.parametrize(("kind", "header"), [("HEADER_FIELD", "x-session"), ("GENERATED_COOKIE", None)])
def test_sessions_are_checked(kind: str, header: str | None) -> None:
    """Whether requests of a session reach one instance is checked for kinds whose ids a client can keep."""
    config = SESSIONS if header else {}
    found = planned_checks(account(function(sessionAffinity=kind, sessionAffinityConfig=config)))
    assert only(SameInstance, found).header == header


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ((403, "AccessDenied", "the http method 'PUT' is not allowed"), ""),
        ((403, "", None), ""),  # to HEAD, which has no body
        ((200, None, None), "the request reached the function, which answered 200"),
        ((404, "TriggerNotFound", "nobody"), "got 404 TriggerNotFound: nobody"),
        ((404, "", None), "got 404 : None"),
        (
            (403, "AccessDenied", "access denied"),
            "got 403 AccessDenied for another reason: access denied",
        ),
    ],
)
def test_difference_from_a_row(came: tuple[int, str | None, str | None], told: str) -> None:
    """An answer matches a row by status, code and text; an answer of the function never does."""
    assert checks.difference(Refusal.METHOD_NOT_ALLOWED, *came) == told
