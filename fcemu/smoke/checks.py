"""Plans the checks of `fcemu smoke`: an account in; a list of checks, as values, out.

A check is about one documented refusal (docs/reference/errors.md) that a client can provoke with this configuration, or
about something that every function must do: start, answer, accept WebSockets, stop. `prober.py` carries the checks out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fcemu.clients.request import Request
from fcemu.errors import Refusal
from fcemu.model import METHODS, Account, BearerAuthConfig, Function, JwtAuthConfig
from fcemu.smoke.credentials import Credential, lookup, with_parameter
from fcemu.smoke.endpoints import Endpoint, host_of, route_endpoints, trigger_endpoints
from fcemu.trigger import affinity, limits

_FEW_INSTANCES, _FEW_SOCKETS = 4, 100
"""A limit of instances is checked only if at most this many instances and sockets reach it."""


# ---- kinds of checks


@dataclass(frozen=True)
class Check:
    """Something to check.

    Attributes:
        name: what is checked, in words.
        expected: the expected result, in words.
        function: the name of the function; empty if the check is about the whole account.
        endpoint: where requests go; None if the check is not about an endpoint.
    """

    name: str
    expected: str
    function: str = ""
    endpoint: Endpoint | None = None


@dataclass(frozen=True, kw_only=True)
class Starts(Check):
    """An instance starts when a request needs one."""

    request: Request


@dataclass(frozen=True, kw_only=True)
class Answered(Check):
    """The function answers, not the gateway."""

    request: Request
    credential: Credential = "right"


@dataclass(frozen=True, kw_only=True)
class Refused(Check):
    """The gateway refuses the request with this row of the table."""

    request: Request
    refusal: Refusal
    credential: Credential = "none"


@dataclass(frozen=True, kw_only=True)
class SocketCheck(Check):
    """A check that opens a WebSocket."""

    credential: Credential = "right"


@dataclass(frozen=True, kw_only=True)
class Handshake(SocketCheck):
    """The function accepts a WebSocket."""


@dataclass(frozen=True, kw_only=True)
class Echo(SocketCheck):
    """The function echoes messages, if it is an echo function."""


@dataclass(frozen=True, kw_only=True)
class Full(SocketCheck):
    """One socket more than fits is refused. `sockets`: how many fit."""

    sockets: int


@dataclass(frozen=True, kw_only=True)
class TimesOut(SocketCheck):
    """A WebSocket is cut at the execution timeout."""

    seconds: int


@dataclass(frozen=True, kw_only=True)
class SameInstance(Check):
    """All requests of a session reach the same instance.

    Attributes:
        header: the header with the session id; None if it is in the gateway's cookie.
    """

    header: str | None


@dataclass(frozen=True, kw_only=True)
class Stops(Check):
    """The instances of the function exit on SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class NothingLeft(Check):
    """No process is left behind."""


@dataclass(frozen=True, kw_only=True)
class NotCheckable(Check):
    """Something that cannot be checked with this configuration. `why`: the reason."""

    why: str


# ---- the checks of an account


def planned_checks(account: Account, path: str = "/", only: Collection[str] = ()) -> list[Check]:
    """All checks, in the order in which to carry them out.

    Args:
        path: the path of requests, unless the configuration requires another one.
        only: the names of the functions to check; empty for all.
    """
    chosen = [function for function in account.functions if not only or function.functionName in only]
    found: list[Check] = []
    timeouts: list[Check] = []  # last, because they advance the clock
    stops: list[Check] = []
    for function in chosen:
        name = function.functionName
        endpoints = [*trigger_endpoints(function, path), *route_endpoints(account, function, path)]
        disabled = function.concurrencyConfig is not None and function.concurrencyConfig.reservedConcurrency == 0
        usable = [endpoint for endpoint in endpoints if not disabled and not _reason_unreachable(endpoint)]
        main = min(usable, key=lambda endpoint: "GET" not in endpoint.methods, default=None)
        if main is not None:
            found.append(Starts("starts", "an instance is ready", name, main, request=main.request()))
        if not function.triggers:
            request = Request("GET", f"{name.lower()}.localhost", path)
            found.append(_refused("no trigger", Refusal.TRIGGER_NOT_FOUND, request, function=name))
        for endpoint in trigger_endpoints(function, path, internet=True):
            found += _of_disabled(endpoint)
        for endpoint in endpoints:
            found += _of_endpoint(endpoint, disabled)
        if main is not None:
            found += _of_sessions(function, main)
            if (credential := _handshake_credential(main)) is not None:
                found += _of_capacity(account, function, main, credential)
                what, expected = f"timeout of {function.timeout} s", "the emulator closes with 1006"
                seconds = function.timeout
                timeouts.append(TimesOut(what, expected, name, main, credential=credential, seconds=seconds))
            stops.append(Stops("stops", "every instance ends at SIGTERM", name))
    found += _of_hosts(account, path, chosen)
    return [*found, *timeouts, *stops, NothingLeft("nothing is left", "no process is alive")]


def _reason_unreachable(endpoint: Endpoint) -> str:
    """Why every request to an endpoint is refused; empty if some are accepted."""
    match endpoint.auth:
        case BearerAuthConfig() if not any(token.enable for token in endpoint.auth.opaqueTokenConfig.tokens):
            return "no token is enabled"
        case JwtAuthConfig() if lookup(endpoint) is None:
            return "tokens are read only from forms, but the trigger does not allow POST"
    return ""


def _handshake_credential(endpoint: Endpoint) -> Credential | None:
    """The credentials that a handshake needs; None if it cannot succeed."""
    if "GET" not in endpoint.methods:
        return None
    if isinstance(endpoint.auth, JwtAuthConfig):
        if _protected_path(endpoint) != endpoint.path:
            return "none"
        if (place := lookup(endpoint)) is None or place.readPosition == "form":
            return None
    return "right"


def _protected_path(endpoint: Endpoint) -> str | None:
    """A path of an endpoint that requires credentials; None if there is none."""
    if not isinstance(endpoint.auth, JwtAuthConfig):
        return endpoint.path
    listed = [entry.removesuffix("*") for entry in endpoint.auth.blacklist]
    # The route of a custom domain and the FC 2.0 form fix the path.
    free = endpoint.domain is None and not endpoint.path.startswith("/2016-08-15/")
    paths = (endpoint.path, "/fcemu-smoke", *listed) if free else (endpoint.path,)
    return next((path for path in paths if _needs_token(endpoint.auth, path.partition("?")[0])), None)


def _needs_token(config: JwtAuthConfig, path: str) -> bool:
    """Whether a path requires a token (D/06/04). Written anew, because the checks test the other implementation."""

    def matches(entries: Sequence[str]) -> bool:
        return any(path.startswith(e[:-1]) if e.endswith("*") else path == e for e in entries)

    return not matches(config.whitelist) if config.whitelist else not config.blacklist or matches(config.blacklist)


# ---- checks of an endpoint


def _of_disabled(endpoint: Endpoint) -> Iterator[Check]:
    """The public endpoint of a trigger with `disableURLInternet: true`."""
    yield _refused("internet URL is disabled", Refusal.INTERNET_URL_DISABLED, endpoint.request(), endpoint)
    if "GET" in endpoint.methods:
        what = "handshake while the internet URL is disabled"
        yield _refused(what, Refusal.INTERNET_URL_DISABLED, endpoint.upgrade(), endpoint)


def _of_endpoint(endpoint: Endpoint, disabled: bool) -> Iterator[Check]:
    other = next(m for m in ("PUT", "DELETE", "PATCH", "POST", "OPTIONS", "GET", "TRACE") if m not in endpoint.methods)
    yield _refused(f"method {other}", Refusal.METHOD_NOT_ALLOWED, endpoint.request(method=other), endpoint)
    if "GET" not in endpoint.methods:
        yield _refused("handshake without GET", Refusal.METHOD_NOT_ALLOWED, endpoint.upgrade(), endpoint)
    large = (("X-Fcemu-Smoke", "x" * limits.HEADERS),)
    yield _refused("headers over 8 KB", Refusal.HEADERS_TOO_LARGE, endpoint.request(headers=large), endpoint)
    long = with_parameter(endpoint.path, "x" * limits.TARGET)
    yield _refused("path and query over 4 KB", Refusal.TARGET_TOO_LARGE, endpoint.request(target=long), endpoint)
    large = (("Content-Length", str(limits.BODY + 1)),)
    yield _refused("body over 32 MB", Refusal.BODY_TOO_LARGE, endpoint.request(headers=large), endpoint)
    yield from _of_authentication(endpoint)
    if disabled:
        what = "disabled by reservedConcurrency: 0"
        yield _refused(what, Refusal.RESOURCE_EXHAUSTED, endpoint.request(), endpoint, "right")
    elif why := _reason_unreachable(endpoint):
        yield NotCheckable("request", "the function answers", endpoint.function, endpoint, why=why)
    else:
        yield from _of_answers(endpoint)


def _of_answers(endpoint: Endpoint) -> Iterator[Check]:
    """The function answers requests and accepts WebSockets."""
    path, expected = _protected_path(endpoint), "the function answers"
    if path is not None:
        yield Answered("request", expected, endpoint.function, endpoint, request=endpoint.request(target=path))
    if path != endpoint.path:
        what, request = "request to a path that needs no token", endpoint.request()
        yield Answered(what, expected, endpoint.function, endpoint, request=request, credential="none")
    if (credential := _handshake_credential(endpoint)) is not None:
        yield Handshake("handshake", "101", endpoint.function, endpoint, credential=credential)
        yield Echo("echo", "text and binary come back", endpoint.function, endpoint, credential=credential)
    elif "GET" in endpoint.methods:
        yield NotCheckable(
            "handshake",
            "101",
            endpoint.function,
            endpoint,
            why="tokens are read only from forms, and a handshake has no form",
        )


_BAD_CREDENTIALS: Mapping[str, Sequence[tuple[str, Credential, Refusal]]] = {
    "function": (
        ("no Date", "none", Refusal.MISSING_DATE),
        ("no Authorization", "date only", Refusal.MISSING_AUTHORIZATION),
        ("wrong signature", "wrong", Refusal.SIGNATURE_NOT_MATCH),
        ("unknown access key", "unknown", Refusal.INVALID_ACCESS_KEY_ID),
        ("signature of 16 minutes ago", "expired", Refusal.REQUEST_EXPIRED),
    ),
    "jwt": (
        ("no token", "none", Refusal.JWT_TOKEN_IS_MISSING),
        ("token of another key", "wrong", Refusal.JWT_TOKEN_INVALID),
        ("expired token", "expired", Refusal.JWT_TOKEN_INVALID),
    ),
    "bearer": (
        ("no token", "none", Refusal.BEARER_MISSING),
        ("unknown token", "wrong", Refusal.BEARER_INVALID),
        ("disabled token", "disabled", Refusal.BEARER_INVALID),
    ),
    "basic": (
        ("no Authorization", "none", Refusal.BASIC_MISSING),
        ("another scheme than Basic", "other scheme", Refusal.BASIC_OTHER_SCHEME),
        ("no base64", "no base64", Refusal.BASIC_NOT_BASE64),
        ("wrong password", "wrong", Refusal.BASIC_INVALID),
    ),
}
"""By `authType`: credentials that are refused, and with which row."""


def _of_authentication(endpoint: Endpoint) -> Iterator[Check]:
    rows = _BAD_CREDENTIALS.get(endpoint.auth_type, ())
    if rows and (path := _protected_path(endpoint)) is None:
        yield NotCheckable("no token", "403", endpoint.function, endpoint, why=f"{endpoint.path} needs no token")
        return
    for what, credential, refusal in rows:
        if isinstance(config := endpoint.auth, BearerAuthConfig) and credential == "disabled":
            needless = all(token.enable for token in config.opaqueTokenConfig.tokens)
        else:
            needless = isinstance(config, JwtAuthConfig) and credential != "none" and lookup(endpoint) is None
        if needless:
            continue
        yield _refused(what, refusal, endpoint.request(target=path), endpoint, credential)
    if rows and "GET" in endpoint.methods:
        what, credential, refusal = rows[0]
        request = replace(endpoint.upgrade(), target=path or endpoint.path)
        yield _refused(f"handshake, {what}", refusal, request, endpoint, credential)


# ---- checks of a function


def _of_sessions(function: Function, endpoint: Endpoint) -> Iterator[Check]:
    config = function.affinity
    if config is None:
        return
    name, kind = function.functionName, function.sessionAffinity
    unknown = "fcemu-smoke-unknown"
    header = config.affinityHeaderFieldName or ""
    not_found: Request | None = None
    invalid: Request | None = None
    if kind in ("HEADER_FIELD", "GENERATED_COOKIE"):
        yield SameInstance("session", "its requests reach one instance", name, endpoint, header=header or None)
    if kind == "HEADER_FIELD":
        invalid = endpoint.request(headers=((header, "-no-id"),))
    elif kind == "GENERATED_COOKIE" and config.disableSessionIdReuse:
        not_found = endpoint.request(headers=(("Cookie", f"{affinity.COOKIE}={unknown}"),))
    elif kind == "MCP_STREAMABLE":
        not_found = endpoint.request(headers=((affinity.MCP_HEADER, unknown),))
    elif kind == "MCP_SSE":
        not_found = endpoint.request(target=with_parameter(endpoint.path, f"sessionId={unknown}"))
        if "GET" in endpoint.methods and endpoint.domain is None:
            invalid = endpoint.request(target=f"{config.sseEndpointPath}?query")
    if invalid is not None:
        yield _refused("invalid session id", Refusal.SESSION_ID_INVALID, invalid, endpoint, "right")
    if not_found is not None:
        yield _refused("unknown session", Refusal.SESSION_NOT_FOUND, not_found, endpoint, "right")


def _of_capacity(account: Account, function: Function, endpoint: Endpoint, credential: Credential) -> Iterator[Check]:
    """The limit of instances, if few sockets reach it. The account's limit counts only if there is one function."""
    reserved = function.concurrencyConfig.reservedConcurrency if function.concurrencyConfig is not None else None
    limit = [reserved] if reserved is not None else []
    limit += [account.quotas.instances] if len(account.functions) == 1 else []
    slots = function.instanceConcurrency
    if function.affinity is not None and function.sessionAffinity.startswith(("HEADER", "GENERATED")):
        slots = function.affinity.sessionConcurrencyPerInstance  # each socket is a session of its own
    elif function.affinity is not None:
        return
    if limit and min(limit) <= _FEW_INSTANCES and min(limit) * slots <= _FEW_SOCKETS:
        total, row = min(limit) * slots, Refusal.RESOURCE_EXHAUSTED.value
        what, expected = f"{total + 1} sockets at once", f"{total} fit, then {row.status} {row.code}"
        yield Full(what, expected, function.functionName, endpoint, credential=credential, sockets=total)


def _of_hosts(account: Account, path: str, chosen: Sequence[Function]) -> Iterator[Check]:
    """Hosts and paths that lead to no function."""
    unknown = Request("GET", "fcemu-smoke-nobody.localhost", path)
    yield _refused("invalid Host header", Refusal.BAD_REQUEST, replace(unknown, host="fcemu/smoke"))
    yield _refused("unknown function", Refusal.FUNCTION_NOT_FOUND, unknown)
    if len(account.functions) > 1:
        yield _refused("unknown host", Refusal.DOMAIN_NAME_NOT_FOUND, replace(unknown, host="fcemu-smoke.example"))
    for function in chosen[:1]:
        target = f"/2016-08-15/proxy/smoke.fcemu-smoke/{function.functionName}{path}"
        host = f"fcemu-smoke.{function.region}.fc.aliyuncs.com"
        yield _refused("unknown version", Refusal.TRIGGER_NOT_FOUND, Request("GET", host, target))
    names = {function.functionName.lower() for function in chosen}
    for domain in account.customDomains:
        routes = domain.routeConfig.routes
        if any(route.path == "/*" for route in routes) or not names & {r.functionName.lower() for r in routes}:
            continue
        endpoint = Endpoint(
            "", host_of(domain), "/fcemu-smoke-no-route", METHODS, "anonymous", None, domain=domain.domainName
        )
        yield _refused("unknown route", Refusal.DOMAIN_ROUTE_NOT_FOUND, endpoint.request(), endpoint)


def _refused(
    name: str,
    refusal: Refusal,
    request: Request,
    endpoint: Endpoint | None = None,
    credential: Credential = "none",
    function: str = "",
) -> Refused:
    row = refusal.value
    owner = endpoint.function if endpoint is not None else function
    return Refused(
        name, f"{row.status} {row.code}", owner, endpoint, request=request, refusal=refusal, credential=credential
    )


# ---- results


def difference(refusal: Refusal, status: int, code: str | None, message: str | None) -> str:
    """How an answer differs from a row of the table; empty if it does not.

    Args:
        code, message: those of the gateway's error, empty if it has no body; None if the function answered.
    """
    row = refusal.value
    if code is None:
        return f"the request reached the function, which answered {status}"
    if (status, code) == (row.status, ""):
        return ""
    if (status, code) != (row.status, row.code):
        return f"got {status} {code}: {message}"
    # Several rows have one code; the text tells them apart.
    pattern = ".*".join(map(re.escape, re.split(r"\{[^}]*\}", row.message)))
    if not re.fullmatch(pattern, message or "", re.DOTALL):
        return f"got {status} {code} for another reason: {message}"
    return ""
