"""The endpoints of a function: the addresses of its triggers, and the routes of custom domains that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fcemu.clients.request import UPGRADE, Request
from fcemu.model import METHODS, Account, AuthConfig, CustomDomain, Function


@dataclass(frozen=True)
class Endpoint:
    """The address of a trigger, or a route of a custom domain.

    Attributes:
        host, path: the Host header and the path of requests to it.
        methods: the methods that it accepts.
        auth: the configuration for `auth_type`.
        trigger, domain: the name of the trigger or of the custom domain; the other one is None.
    """

    function: str
    host: str
    path: str
    methods: tuple[str, ...]
    auth_type: str
    auth: AuthConfig | None = field(repr=False)
    trigger: str | None = None
    domain: str | None = None

    @property
    def name(self) -> str:
        """Its name in reports."""
        return self.trigger or f"{self.domain}{self.path}"

    @property
    def method(self) -> str:
        """The most harmless method that it accepts."""
        # HEAD comes last, because an answer without a body does not say why a request was refused.
        order = ("GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "HEAD")
        return next(method for method in order if method in self.methods)

    def request(self, **changes: object) -> Request:
        """A plain request to this endpoint; `changes` replace its fields."""
        return replace(Request(self.method, self.host, self.path), **changes)  # type: ignore[arg-type]

    def upgrade(self) -> Request:
        """A WebSocket handshake at this endpoint."""
        return Request("GET", self.host, self.path, UPGRADE)


# ---- the endpoints of a function


def trigger_endpoints(function: Function, path: str, internet: bool = False) -> list[Endpoint]:
    """The usable endpoints of a function's triggers; with `internet`, the disabled public ones instead."""
    endpoints = []
    default = next((t for t in function.triggers if t.qualifier == "LATEST"), next(iter(function.triggers), None))
    for trigger in function.triggers:
        config, name = trigger.triggerConfig, function.functionName
        if internet and not config.disableURLInternet:
            continue
        internal = config.disableURLInternet and not internet
        if trigger is default:
            host, place = f"{name.lower()}{'-vpc' * internal}.localhost", path
        else:
            # Only the FC 2.0 form of the path can name another version (semantics 1.1).
            host = f"fcemu-smoke.{function.region}{'-internal' * internal}.fc.aliyuncs.com"
            place = f"/2016-08-15/proxy/smoke.{trigger.qualifier}/{name}{path}"
        methods = tuple(config.methods)
        endpoints.append(
            Endpoint(name, host, place, methods, config.authType, config.auth, trigger=trigger.triggerName)
        )
    return endpoints


def route_endpoints(account: Account, function: Function, path: str) -> Iterator[Endpoint]:
    """The routes of custom domains that lead to a function."""
    for domain in account.customDomains:
        for route in domain.routeConfig.routes:
            if route.functionName.lower() == function.functionName.lower():
                place = route.path.removesuffix("/*") + path if route.path.endswith("/*") else route.path
                auth, methods = domain.authConfig, tuple(route.methods) or METHODS
                yield Endpoint(
                    function.functionName, host_of(domain), place, methods, auth.authType, auth.auth,
                    domain=domain.domainName,
                )  # fmt: skip


def host_of(domain: CustomDomain) -> str:
    """A host that the domain serves; a wildcard is replaced by a label."""
    return domain.domainName.replace("*", "fcemu-smoke", 1)
