"""Through which addresses can a function be reached?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from fcemu.clients.request import UPGRADE, Request
from fcemu.model import METHODS, Account, AuthConfig, CustomDomain, Function


@dataclass(frozen=True)
class Door:
    """A way to a function: a trigger's address, or a route of a custom domain.

    Attributes:
        trigger, domain: the name of the one that it is.
        host, path: what a request has to say to come in.
        methods: those that are let in.
        auth: the configuration of `auth_type`.
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
        """How it is called in a report."""
        return self.trigger or f"{self.domain}{self.path}"

    @property
    def method(self) -> str:
        """The most harmless method that it lets in."""
        # The answer to HEAD would not say why.
        order = ("GET", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "HEAD")
        return next(method for method in order if method in self.methods)

    def request(self, **changes: object) -> Request:
        """The plain request to this door, with changes to its fields."""
        return replace(Request(self.method, self.host, self.path), **changes)  # type: ignore[arg-type]

    def upgrade(self) -> Request:
        """The WebSocket handshake at this door."""
        return Request("GET", self.host, self.path, UPGRADE)


# ---- the ways in


def trigger_doors(function: Function, path: str, internet: bool = False) -> list[Door]:
    """The doors of a function's triggers that let somebody in; with `internet` the ones that are closed, instead."""
    doors = []
    default = next((t for t in function.triggers if t.qualifier == "LATEST"), next(iter(function.triggers), None))
    for trigger in function.triggers:
        config, name = trigger.triggerConfig, function.functionName
        if internet and not config.disableURLInternet:
            continue
        internal = config.disableURLInternet and not internet
        if trigger is default:
            host, place = f"{name.lower()}{'-vpc' * internal}.localhost", path
        else:
            # Another version than the address means is named in the path, the FC 2.0 form (semantics 1.1).
            host = f"fcemu-smoke.{function.region}{'-internal' * internal}.fc.aliyuncs.com"
            place = f"/2016-08-15/proxy/smoke.{trigger.qualifier}/{name}{path}"
        methods = tuple(config.methods)
        doors.append(Door(name, host, place, methods, config.authType, config.auth, trigger=trigger.triggerName))
    return doors


def route_doors(account: Account, function: Function, path: str) -> Iterator[Door]:
    """The routes of custom domains that lead to a function."""
    for domain in account.customDomains:
        for route in domain.routeConfig.routes:
            if route.functionName.lower() == function.functionName.lower():
                place = route.path.removesuffix("/*") + path if route.path.endswith("/*") else route.path
                auth, methods = domain.authConfig, tuple(route.methods) or METHODS
                yield Door(
                    function.functionName, host_of(domain), place, methods, auth.authType, auth.auth,
                    domain=domain.domainName,
                )  # fmt: skip


def host_of(domain: CustomDomain) -> str:
    """A host that the domain serves; a wildcard gets a label."""
    return domain.domainName.replace("*", "fcemu-smoke", 1)
