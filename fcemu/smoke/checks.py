"""What does a configuration promise that a client can check? The checks of `fcemu smoke`, as values.

A check stands for one row of what the vendor documents (docs/reference/errors.md) that this configuration makes
reachable, or for what a function has to do anyway: start, answer, take WebSockets, stop. `prober.py` carries them out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fcemu.clients.request import Request
from fcemu.errors import Refusal
from fcemu.model import METHODS, Account, BearerAuthConfig, Function, JwtAuthConfig
from fcemu.smoke.credentials import Credential, lookup, with_parameter
from fcemu.smoke.doors import Door, host_of, route_doors, trigger_doors
from fcemu.trigger import affinity, limits

_FEW_INSTANCES, _FEW_SOCKETS = 4, 100
"""Where a limit needs more than so many instances, or so many sockets, it is not reached for a check."""


# ---- the kinds of checks


@dataclass(frozen=True)
class Check:
    """Something to be checked.

    Attributes:
        name: what, in words.
        expected: what has to come of it, in words.
        function: whose; empty for the account's.
        door: where; None where it is not about one.
    """

    name: str
    expected: str
    function: str = ""
    door: Door | None = None


@dataclass(frozen=True, kw_only=True)
class Starts(Check):
    """An instance comes up when it is needed."""

    request: Request


@dataclass(frozen=True, kw_only=True)
class Answered(Check):
    """The function answers, not the gateway."""

    request: Request
    credential: Credential = "right"


@dataclass(frozen=True, kw_only=True)
class Refused(Check):
    """The gateway answers with a row of the table."""

    request: Request
    refusal: Refusal
    credential: Credential = "none"


@dataclass(frozen=True, kw_only=True)
class Socket(Check):
    """Something about WebSockets."""

    credential: Credential = "right"


@dataclass(frozen=True, kw_only=True)
class Handshake(Socket):
    """The function takes one."""


@dataclass(frozen=True, kw_only=True)
class Echo(Socket):
    """The function sends back what it gets, if that is what it does."""


@dataclass(frozen=True, kw_only=True)
class Full(Socket):
    """One more than fit is refused."""

    sockets: int


@dataclass(frozen=True, kw_only=True)
class TimesOut(Socket):
    """One is cut at the execution timeout."""

    seconds: int


@dataclass(frozen=True, kw_only=True)
class SameInstance(Check):
    """Requests of one session meet in one instance. `header`: by which; None for the gateway's cookie."""

    header: str | None


@dataclass(frozen=True, kw_only=True)
class Stops(Check):
    """The function's instances end when they are asked to."""


@dataclass(frozen=True, kw_only=True)
class NothingLeft(Check):
    """No process is left."""


@dataclass(frozen=True, kw_only=True)
class Impossible(Check):
    """Cannot be checked with this configuration."""

    why: str


# ---- the checks of an account


def checks(account: Account, path: str = "/", only: Collection[str] = ()) -> list[Check]:
    """Everything to check, in the order in which it is to be done.

    Args:
        path: the path of requests, where the configuration does not ask for another one.
        only: names of functions; all if there are none.
    """
    chosen = [function for function in account.functions if not only or function.functionName in only]
    found: list[Check] = []
    timeouts: list[Check] = []  # they put the clock forward, which the others should not feel
    stops: list[Check] = []
    for function in chosen:
        name = function.functionName
        doors = [*trigger_doors(function, path), *route_doors(account, function, path)]
        disabled = function.concurrencyConfig is not None and function.concurrencyConfig.reservedConcurrency == 0
        usable = [door for door in doors if not disabled and not _no_way_in(door)]
        entrance = min(usable, key=lambda door: "GET" not in door.methods, default=None)
        if entrance is not None:
            found.append(Starts("starts", "an instance is ready", name, entrance, request=entrance.request()))
        if not function.triggers:
            request = Request("GET", f"{name.lower()}.localhost", path)
            found.append(_refused("no trigger", Refusal.TRIGGER_NOT_FOUND, request, function=name))
        for door in trigger_doors(function, path, internet=True):
            found += _of_closed(door)
        for door in doors:
            found += _of_door(door, disabled)
        if entrance is not None:
            found += _of_sessions(function, entrance)
            if (credential := _of_handshake(entrance)) is not None:
                found += _of_capacity(account, function, entrance, credential)
                what, expected = f"timeout of {function.timeout} s", "the emulator closes with 1006"
                seconds = function.timeout
                timeouts.append(TimesOut(what, expected, name, entrance, credential=credential, seconds=seconds))
            stops.append(Stops("stops", "every instance ends at SIGTERM", name))
    found += _of_hosts(account, path, chosen)
    return [*found, *timeouts, *stops, NothingLeft("nothing is left", "no process is alive")]


def _no_way_in(door: Door) -> str:
    """Why nobody can come in by a door; empty if somebody can."""
    match door.auth:
        case BearerAuthConfig() if not any(token.enable for token in door.auth.opaqueTokenConfig.tokens):
            return "no token is enabled"
        case JwtAuthConfig() if lookup(door) is None:
            return "tokens are looked up in forms only, and POST is not among the methods"
    return ""


def _of_handshake(door: Door) -> Credential | None:
    """What a handshake has to say of its sender; None where there can be none."""
    if "GET" not in door.methods:
        return None
    if isinstance(door.auth, JwtAuthConfig):
        if _guarded(door) != door.path:
            return "none"
        if (place := lookup(door)) is None or place.readPosition == "form":
            return None
    return "right"


def _guarded(door: Door) -> str | None:
    """A path behind a door for which one has to be authentic; None if there is none."""
    if not isinstance(door.auth, JwtAuthConfig):
        return door.path
    listed = [entry.removesuffix("*") for entry in door.auth.blacklist]
    # A custom domain's route and the FC 2.0 form leave no choice.
    free = door.domain is None and not door.path.startswith("/2016-08-15/")
    paths = (door.path, "/fcemu-smoke", *listed) if free else (door.path,)
    return next((path for path in paths if _needs_token(door.auth, path.partition("?")[0])), None)


def _needs_token(config: JwtAuthConfig, path: str) -> bool:
    """The match modes of D/06/04, for a path that is read in one way only; not by the rule that is to be checked."""

    def is_on(entries: Sequence[str]) -> bool:
        return any(path.startswith(e[:-1]) if e.endswith("*") else path == e for e in entries)

    return not is_on(config.whitelist) if config.whitelist else not config.blacklist or is_on(config.blacklist)


# ---- what is checked at a door


def _of_closed(door: Door) -> Iterator[Check]:
    """`disableURLInternet: true`."""
    yield _refused("internet URL is disabled", Refusal.INTERNET_URL_DISABLED, door.request(), door)
    if "GET" in door.methods:
        what = "handshake while the internet URL is disabled"
        yield _refused(what, Refusal.INTERNET_URL_DISABLED, door.upgrade(), door)


def _of_door(door: Door, disabled: bool) -> Iterator[Check]:
    other = next(m for m in ("PUT", "DELETE", "PATCH", "POST", "OPTIONS", "GET", "TRACE") if m not in door.methods)
    yield _refused(f"method {other}", Refusal.METHOD_NOT_ALLOWED, door.request(method=other), door)
    if "GET" not in door.methods:
        yield _refused("handshake without GET", Refusal.METHOD_NOT_ALLOWED, door.upgrade(), door)
    large = (("X-Fcemu-Smoke", "x" * limits.HEADERS),)
    yield _refused("headers over 8 KB", Refusal.HEADERS_TOO_LARGE, door.request(headers=large), door)
    long = with_parameter(door.path, "x" * limits.TARGET)
    yield _refused("path and query over 4 KB", Refusal.TARGET_TOO_LARGE, door.request(target=long), door)
    large = (("Content-Length", str(limits.BODY + 1)),)
    yield _refused("body over 32 MB", Refusal.BODY_TOO_LARGE, door.request(headers=large), door)
    yield from _of_authentication(door)
    if disabled:
        what = "disabled by reservedConcurrency: 0"
        yield _refused(what, Refusal.RESOURCE_EXHAUSTED, door.request(), door, "right")
    elif why := _no_way_in(door):
        yield Impossible("request", "the function answers", door.function, door, why=why)
    else:
        yield from _of_function(door)


def _of_function(door: Door) -> Iterator[Check]:
    """The function's own part, for who may come in."""
    path, expected = _guarded(door), "the function answers"
    if path is not None:
        yield Answered("request", expected, door.function, door, request=door.request(target=path))
    if path != door.path:
        what, request = "request to a path that needs no token", door.request()
        yield Answered(what, expected, door.function, door, request=request, credential="none")
    if (credential := _of_handshake(door)) is not None:
        yield Handshake("handshake", "101", door.function, door, credential=credential)
        yield Echo("echo", "text and binary come back", door.function, door, credential=credential)
    elif "GET" in door.methods:
        yield Impossible("handshake", "101", door.function, door, why="it has no form, in which a token could be")


_WITHOUT: Mapping[str, Sequence[tuple[str, Credential, Refusal]]] = {
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
"""By `authType`: who is not let in, and what is answered."""


def _of_authentication(door: Door) -> Iterator[Check]:
    rows = _WITHOUT.get(door.auth_type, ())
    if rows and (path := _guarded(door)) is None:
        yield Impossible("no token", "403", door.function, door, why=f"{door.path} needs no token")
        return
    for what, credential, refusal in rows:
        if isinstance(config := door.auth, BearerAuthConfig) and credential == "disabled":
            needless = all(token.enable for token in config.opaqueTokenConfig.tokens)
        else:
            needless = isinstance(config, JwtAuthConfig) and credential != "none" and lookup(door) is None
        if needless:
            continue
        yield _refused(what, refusal, door.request(target=path), door, credential)
    if rows and "GET" in door.methods:
        what, credential, refusal = rows[0]
        request = replace(door.upgrade(), target=path or door.path)
        yield _refused(f"handshake, {what}", refusal, request, door, credential)


# ---- what is checked of a function


def _of_sessions(function: Function, door: Door) -> Iterator[Check]:
    config = function.affinity
    if config is None:
        return
    name, kind = function.functionName, function.sessionAffinity
    unknown = "fcemu-smoke-unknown"
    header = config.affinityHeaderFieldName or ""
    not_found: Request | None = None
    invalid: Request | None = None
    if kind in ("HEADER_FIELD", "GENERATED_COOKIE"):
        yield SameInstance("session", "its requests meet in one instance", name, door, header=header or None)
    if kind == "HEADER_FIELD":
        invalid = door.request(headers=((header, "-no-id"),))
    elif kind == "GENERATED_COOKIE" and config.disableSessionIdReuse:
        not_found = door.request(headers=(("Cookie", f"{affinity.COOKIE}={unknown}"),))
    elif kind == "MCP_STREAMABLE":
        not_found = door.request(headers=((affinity.MCP_HEADER, unknown),))
    elif kind == "MCP_SSE":
        not_found = door.request(target=with_parameter(door.path, f"sessionId={unknown}"))
        if "GET" in door.methods and door.domain is None:
            invalid = door.request(target=f"{config.sseEndpointPath}?query")
    if invalid is not None:
        yield _refused("invalid session id", Refusal.SESSION_ID_INVALID, invalid, door, "right")
    if not_found is not None:
        yield _refused("unknown session", Refusal.SESSION_NOT_FOUND, not_found, door, "right")


def _of_capacity(account: Account, function: Function, door: Door, credential: Credential) -> Iterator[Check]:
    """The limit of instances, where it is within reach; another function's instances count for the account's, too."""
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
        yield Full(what, expected, function.functionName, door, credential=credential, sockets=total)


def _of_hosts(account: Account, path: str, chosen: Sequence[Function]) -> Iterator[Check]:
    """What no function is behind."""
    nobody = Request("GET", "fcemu-smoke-nobody.localhost", path)
    yield _refused("invalid Host header", Refusal.BAD_REQUEST, replace(nobody, host="fcemu/smoke"))
    yield _refused("unknown function", Refusal.FUNCTION_NOT_FOUND, nobody)
    if len(account.functions) > 1:
        yield _refused("unknown host", Refusal.DOMAIN_NAME_NOT_FOUND, replace(nobody, host="fcemu-smoke.example"))
    for function in chosen[:1]:
        target = f"/2016-08-15/proxy/smoke.fcemu-smoke/{function.functionName}{path}"
        host = f"fcemu-smoke.{function.region}.fc.aliyuncs.com"
        yield _refused("unknown version", Refusal.TRIGGER_NOT_FOUND, Request("GET", host, target))
    names = {function.functionName.lower() for function in chosen}
    for domain in account.customDomains:
        routes = domain.routeConfig.routes
        if any(route.path == "/*" for route in routes) or not names & {r.functionName.lower() for r in routes}:
            continue
        door = Door("", host_of(domain), "/fcemu-smoke-no-route", METHODS, "anonymous", None, domain=domain.domainName)
        yield _refused("unknown route", Refusal.DOMAIN_ROUTE_NOT_FOUND, door.request(), door)


def _refused(
    name: str,
    refusal: Refusal,
    request: Request,
    door: Door | None = None,
    credential: Credential = "none",
    function: str = "",
) -> Refused:
    row = refusal.value
    owner = door.function if door is not None else function
    return Refused(
        name, f"{row.status} {row.code}", owner, door, request=request, refusal=refusal, credential=credential
    )


# ---- what came


def difference(refusal: Refusal, status: int, code: str | None, message: str | None) -> str:
    """How an answer differs from a row of the table; empty if it does not.

    Args:
        code, message: of an error of the gateway, empty where it has no body; None where the function answered.
    """
    row = refusal.value
    if code is None:
        return f"the function was reached, and answered {status}"
    if (status, code) == (row.status, ""):
        return ""
    if (status, code) != (row.status, row.code):
        return f"got {status} {code}: {message}"
    # Several rows have one code; the text tells them apart.
    pattern = ".*".join(map(re.escape, re.split(r"\{[^}]*\}", row.message)))
    if not re.fullmatch(pattern, message or "", re.DOTALL):
        return f"got {status} {code} for another reason: {message}"
    return ""
