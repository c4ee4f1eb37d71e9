"""The whole configuration: functions, custom domains, access keys, quotas, and fcemu's own settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from fcemu.errors import Finding
from fcemu.model.base import Resource, Text, as_error
from fcemu.model.domain import CustomDomain
from fcemu.model.fault import FaultRule
from fcemu.model.function import Function


class AccessKey(Resource):
    """A key pair that may sign requests."""

    accessKeyId: str
    accessKeySecret: Annotated[str, Field(repr=False)]
    securityToken: Annotated[str | None, Field(repr=False)] = None


class Quotas(Resource):
    """Limits of the account in one region (D/04/039)."""

    instances: Annotated[int, Field(ge=1)] = 300


OnReload = Literal["drain", "cut", "pin"]


class Settings(Resource):
    """fcemu's own settings, under `fcemu:`. All other keys are the cloud's."""

    listen: Annotated[
        str,
        Field(
            pattern=r"^([^\s:]+|\[[0-9a-fA-F:]+\]):\d{1,5}$",
            description="host:port to listen on; loopback by default",
        ),
    ] = "127.0.0.1:8080"
    start: Annotated[
        Literal["eager", "lazy"],
        Field(description="eager: start an instance of each function at once; lazy: at the first request"),
    ] = "eager"
    portBinding: Annotated[
        Literal["auto", "seccomp", "port"],
        Field(
            description="seccomp: all instances on the configured port (Linux); port: one port each; auto: if possible"
        ),
    ] = "auto"
    startTimeout: Annotated[
        float,
        Field(gt=0, le=3600, description="seconds in which a server must start (the cloud: 120)"),
    ] = 120
    idleTimeout: Annotated[float, Field(gt=0, description="seconds after which an idle instance is released")] = 300
    stopGrace: Annotated[
        float, Field(ge=0, le=300, description="seconds in which a function must exit after SIGTERM")
    ] = 5
    freeze: Annotated[
        Literal["auto", "off"],
        Field(description="auto: freeze an instance without an invocation, as the cloud does; off: let it run"),
    ] = "auto"
    memoryLimit: Annotated[
        Literal["auto", "off"],
        Field(description="auto: kill an instance that uses more than `memorySize`; off: do not"),
    ] = "auto"
    onReload: Annotated[
        OnReload,
        Field(description="what to do with open requests and sockets when new code is ready"),
    ] = "drain"
    drainLimit: Annotated[
        float, Field(ge=0, le=86400, description="seconds in which old instances must drain after a reload")
    ] = 60
    reloadIgnore: Annotated[list[str], Field(description="further patterns of files that --reload ignores")] = []
    triggerDelay: Annotated[
        float, Field(ge=0, le=60, description="seconds until a changed trigger takes effect (the cloud: about 10)")
    ] = 0
    envFile: Annotated[str | None, Field(description="a .env file; its variables override those of the functions")] = (
        None
    )
    scatter: Annotated[
        bool, Field(description="send consecutive invocations to different instances instead of filling one")
    ] = False
    faults: Annotated[list[FaultRule], Field(description="faults to inject")] = []
    faultSeed: Annotated[
        int, Field(description="seed for the random choices of faults, so that runs are repeatable")
    ] = 0
    redirects: Annotated[
        Literal["external", "every", "allow"],
        Field(description="which redirects on the default domain are refused with ExternalRedirectForbidden"),
    ] = "external"


class Account(Resource):
    """Everything that one front serves: functions with their triggers, custom domains, access keys, limits."""

    functions: list[Function]
    customDomains: list[CustomDomain] = []
    accessKeys: list[AccessKey] = []
    quotas: Quotas = Quotas()
    accountId: Text = "123456789012"
    fcemu: Settings = Settings()

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Account:
        wrong: list[Finding] = []
        names: dict[str, str] = {}
        for index, function in enumerate(self.functions):
            key = function.functionName.lower()
            if key in names:
                text = (
                    f"functions {names[key]!r} and {function.functionName!r} would share one local address; rename one"
                )
                wrong.append(Finding(text, ("functions", index, "functionName")))
            names[key] = function.functionName
        known = {function.functionName for function in self.functions}
        domains: set[str] = set()
        for index, domain in enumerate(self.customDomains):
            if domain.domainName in domains:
                text = f"custom domain {domain.domainName} is defined twice; list all its routes in one definition"
                wrong.append(Finding(text, ("customDomains", index, "domainName")))
            domains.add(domain.domainName)
            for place, route in enumerate(domain.routeConfig.routes):
                if route.functionName not in known:
                    text = (
                        f"custom domain {domain.domainName} routes to function {route.functionName!r}, "
                        f"which is not configured (known: {', '.join(sorted(known))})"
                    )
                    wrong.append(
                        Finding(text, ("customDomains", index, "routeConfig", "routes", place, "functionName"))
                    )
        if wrong:
            raise as_error(wrong)
        return self

    def function(self, name: str) -> Function | None:
        """The function of this name, in any case, because host names ignore case; None if there is none."""
        return next((f for f in self.functions if f.functionName.lower() == name.lower()), None)
