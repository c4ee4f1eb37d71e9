"""Which function, trigger and qualifier do a host and a path name?

The order of the rules (semantics 1.1, 12):

1. the name of a custom domain: exact before wildcard, and within the domain an exact path before the longest prefix;
2. the FC 2.0 path `/2016-08-15/proxy/<service>[.<qualifier>]/<function>/…`, or the header `x-fc-invocation-target` with
   the same content;
3. an address of the function: `<function>.localhost`, `<function>-vpc.localhost`, the trigger's own
   `urlInternet`/`urlIntranet`, `<function>-xxxxxxxxxx.<region>.fcapp.run`;
4. if there is exactly one function, any other host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from fcemu.errors import FCError, Refusal
from fcemu.model import METHODS, Account, CustomDomain, Function, HttpTrigger, PathConfig
from fcemu.trigger import limits
from fcemu.trigger.request import RequestHead

_FC2_PATH = re.compile(r"/?2016-08-15/proxy/([^/.]+)(?:\.([^/]+))?/([^/?]+)(/.*)?")
_FCAPP = re.compile(r"(?P<prefix>[a-z0-9_-]+?)(?:-[a-z]{10})?\.(?P<region>[a-z0-9-]+?)(?P<vpc>-vpc)?\.fcapp\.run")


@dataclass(eq=False, slots=True)
class Route:
    """Where a request goes. Exactly one of `trigger` and `domain` is set. A route never changes."""

    function: Function
    qualifier: str
    public: bool
    """It leads over the internet URL, which `disableURLInternet` can close."""
    trigger: HttpTrigger | None = None
    domain: CustomDomain | None = None
    path_config: PathConfig | None = None
    base_path: str = ""
    """The FC 2.0 prefix; empty if the function sees the bare path."""
    methods: tuple[str, ...] = field(init=False)
    """The allowed methods; never CONNECT or TRACE (D/04/002)."""
    default_domain: bool = field(init=False)
    """The host is a domain of the vendor: forced download and the redirect rule apply (D/04/002)."""

    def __post_init__(self) -> None:
        self.default_domain = self.domain is None
        if self.trigger is not None:
            self.methods = tuple(self.trigger.triggerConfig.methods)
        else:
            self.methods = tuple((self.path_config and self.path_config.methods) or METHODS)


class Router:
    """The routing tables of one account, made when the configuration loads."""

    def __init__(self, account: Account) -> None:
        self._functions = {f.functionName.lower(): f for f in account.functions}
        self._only = account.functions[0] if len(account.functions) == 1 else None
        self._domains = {domain.domainName: domain for domain in account.customDomains}
        self._any = self._by_trigger(self._only, True, None) if self._only and self._only.triggers else None
        self._hosts: dict[str, Route] = {}
        for suffix, public in (("-vpc.localhost", False), (".localhost", True)):  # the exact name of a function wins
            for name, function in self._functions.items():
                self._hosts.pop(name + suffix, None)
                if function.triggers:
                    self._hosts[name + suffix] = self._by_trigger(function, public, None)
        for function in account.functions:
            for trigger in function.triggers:
                for url, public in (
                    (trigger.httpTrigger.urlInternet, True),
                    (trigger.httpTrigger.urlIntranet, False),
                ):
                    if url:
                        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
                        self._hosts[host] = Route(function, trigger.qualifier, public, trigger)

    def route(self, head: RequestHead) -> Route:
        """The route of a request.

        Raises:
            FCError: a 404 of the code table (semantics 2.3), or 400 if the host is not certain.
        """
        limits.enforce_host(head)
        host = head.host_name
        if self._domains and (domain := self._domain(host)):
            return self._by_path(domain, head)
        if by_host := self._hosts.get(host):
            return by_host
        by_name = self._by_name(host)
        if by_name is None or host.endswith(".aliyuncs.com"):
            target = head.header("x-fc-invocation-target")
            if match := _FC2_PATH.fullmatch(target or head.path):
                return self._fc2(match, host, base_path="" if target else match.group(0)[: match.start(4)])
        if by_name is not None:
            return self._by_trigger(*by_name, qualifier=None)
        if self._only is not None:
            return self._any or self._by_trigger(self._only, True, qualifier=None)
        raise FCError(
            Refusal.DOMAIN_NAME_NOT_FOUND,
            domain=host,
            remedy=f"with several functions the host names one: {', '.join(self.addresses())}",
        )

    def addresses(self) -> list[str]:
        """The local public host of each function, without port."""
        return [f"{name}.localhost" for name in self._functions]

    def _domain(self, host: str) -> CustomDomain | None:
        # Exact before wildcard; `*` stands for one label (D/04/050).
        return self._domains.get(host) or self._domains.get("*." + host.partition(".")[2])

    def _by_path(self, domain: CustomDomain, head: RequestHead) -> Route:
        path = head.path
        best: PathConfig | None = None
        for config in domain.routeConfig.routes:
            if config.path == path:
                best = config
                break
            prefix = config.path[:-1]
            longer = best is None or len(config.path) > len(best.path)
            if config.path.endswith("/*") and path.startswith(prefix) and longer:
                best = config
        function = self._functions.get(best.functionName.lower()) if best else None
        if best is None or function is None:
            routes = ", ".join(config.path for config in domain.routeConfig.routes)
            raise FCError(
                Refusal.DOMAIN_ROUTE_NOT_FOUND,
                domain=domain.domainName,
                path=path,
                remedy=f"its routes are {routes}; `/x/*` matches `/x/…` but not `/x`",
            )
        return Route(function, best.qualifier, public=False, domain=domain, path_config=best)

    def _by_name(self, host: str) -> tuple[Function, bool] | None:
        """Function and whether the address is public; None if the host names no function."""
        if host.endswith(".localhost"):
            name = host.removesuffix(".localhost")
            if function := self._functions.get(name):
                return function, True
            if function := self._functions.get(name.removesuffix("-vpc")):
                return function, False
            raise self._no_function(name)
        if host.endswith(".fcapp.run"):
            match = _FCAPP.fullmatch(host)
            public = not (match and match["vpc"])
            # The prefix is the function's name, which is shortened if long, and ten letters (semantics 1.1).
            if self._only is not None:
                return self._only, public
            prefix = match["prefix"] if match else host
            shortened = [f for name, f in self._functions.items() if len(prefix) >= 8 and name.startswith(prefix)]
            function = self._functions.get(prefix) or (shortened[0] if len(shortened) == 1 else None)
            if function is None:
                raise self._no_function(prefix)
            return function, public
        return None

    def _fc2(self, match: re.Match[str], host: str, base_path: str) -> Route:
        qualifier, name = match.group(2), unquote(match.group(3))
        function = self._functions.get(name.lower())
        if function is None:
            raise self._no_function(name)
        return self._by_trigger(function, "-internal." not in host, qualifier, base_path)

    def _by_trigger(self, function: Function, public: bool, qualifier: str | None, base_path: str = "") -> Route:
        triggers = {trigger.qualifier: trigger for trigger in function.triggers}
        # Without a qualifier the LATEST trigger is meant, or else the first one.
        if qualifier is not None:
            trigger = triggers.get(qualifier)
        else:
            trigger = triggers.get("LATEST") or next(iter(triggers.values()), None)
        if trigger is None:
            raise FCError(
                Refusal.TRIGGER_NOT_FOUND,
                function=function.functionName,
                remedy=f"add `triggers: [{{triggerName: http, triggerConfig: {{…}}}}]` to {function.functionName}"
                + (f" with qualifier {qualifier}" if qualifier else ""),
            )
        return Route(function, trigger.qualifier, public, trigger, base_path=base_path)

    def _no_function(self, name: str) -> FCError:
        return FCError(Refusal.FUNCTION_NOT_FOUND, function=name, remedy=f"configured: {', '.join(self.addresses())}")
