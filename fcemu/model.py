"""What can be configured? The cloud's resources, in the cloud's own words.

Field names, ranges and defaults are those of the API (version 2023-03-30) and of Serverless Devs' fc3 component
(fc-semantics 1.2, 5, 6, 7, 10). All models are frozen. Keys with no effect on a laptop are accepted, so that an
existing configuration loads unchanged; `LOCAL_EFFECT_MISSING` names them and `fcemu check` mentions those in use.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

HttpMethod = Literal["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
AuthType = Literal["anonymous", "function", "jwt", "basic", "bearer"]

METHODS: tuple[HttpMethod, ...] = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")

LOCAL_EFFECT_MISSING = (
    "role", "logConfig", "vpcConfig", "layers", "nasConfig", "ossMountConfig", "tags", "internetAccess",
    "diskSize", "gpuConfig", "asyncInvokeConfig", "provisionConfig", "scalingConfig", "vpcBinding",
    "instanceLifecycleConfig", "sessionAffinity", "sessionAffinityConfig", "instanceIsolationMode",
    "enableLongLiving", "idleTimeout", "disableInjectCredentials",
)  # fmt: skip


def _number_as_text(value: object) -> object:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value


Text = Annotated[str, BeforeValidator(_number_as_text)]
"""A string; a bare YAML number is taken as its digits, as Serverless Devs does."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", min_length=1, max_length=128)]


Finding = tuple[str, tuple[str | int, ...]]
"""What is wrong, and the keys that lead from the value being validated to the wrong one."""


def _refused(findings: list[Finding]) -> PydanticCustomError:
    """One error for all findings of a validator; config.py tells them apart again, each with its line."""
    text = "; ".join(text for text, _ in findings)
    return PydanticCustomError("value_error", "{text}", {"text": text, "findings": findings})


class Resource(BaseModel):
    """The base of every model: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class HealthCheckConfig(Resource):
    """`healthCheckConfig` of a custom runtime (D/04/038)."""

    httpGetUrl: Annotated[str, Field(pattern="^/", max_length=2048)]
    initialDelaySeconds: Annotated[int, Field(ge=0, le=120)] = 0
    periodSeconds: Annotated[int, Field(ge=1, le=120)] = 3
    timeoutSeconds: Annotated[int, Field(ge=1, le=3)] = 1
    failureThreshold: Annotated[int, Field(ge=1, le=120)] = 3
    successThreshold: Annotated[int, Field(ge=1, le=120)] = 1


class CustomRuntimeConfig(Resource):
    """`customRuntimeConfig`: command and args are concatenated; without them `bootstrap` runs (D/04/126)."""

    command: list[str] = []
    args: list[str] = []
    port: Annotated[int, Field(ge=1, le=65535)] = 9000
    healthCheckConfig: HealthCheckConfig | None = None


class CorsConfig(Resource):
    """`corsConfig` of a trigger or a custom domain (D/04/002)."""

    allowOrigins: Annotated[list[str], Field(max_length=100)] = []
    allowMethods: list[str] = []
    allowHeaders: Annotated[list[str], Field(max_length=50)] = []
    exposeHeaders: Annotated[list[str], Field(max_length=50)] = []
    allowCredentials: bool = False
    maxAge: Annotated[int, Field(ge=0, le=86400)] = 3600


class HttpTriggerConfig(Resource):
    """`triggerConfig` of an HTTP trigger (SDK `HTTPTriggerConfig`; D/04/028)."""

    methods: Annotated[list[HttpMethod], Field(min_length=1)]
    authType: AuthType = "function"
    authConfig: dict[str, Any] | str | None = None
    disableURLInternet: bool = False
    corsConfig: CorsConfig | None = None


class HttpTriggerUrls(Resource):
    """`httpTrigger` of an existing trigger: its real public and internal address."""

    urlInternet: str | None = None
    urlIntranet: str | None = None


class HttpTrigger(Resource):
    """An HTTP trigger: who may call, with which methods, and which version is meant."""

    triggerName: Name
    triggerType: Literal["http"] = "http"
    qualifier: Text = "LATEST"
    description: str = ""
    triggerConfig: HttpTriggerConfig
    httpTrigger: HttpTriggerUrls = HttpTriggerUrls()


class ConcurrencyConfig(Resource):
    """`concurrencyConfig`: at most so many instances; 0 disables the function (D/04/039)."""

    reservedConcurrency: Annotated[int, Field(ge=0)]


class Function(Resource):
    """A function: the author's server process, and the limits it runs under."""

    functionName: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=64)]
    runtime: Text = "custom.debian12"
    code: str = "."
    handler: str = "index.handler"
    description: str = ""
    region: str = "cn-hangzhou"
    timeout: Annotated[int, Field(ge=1, le=86400)] = 3
    cpu: Annotated[float, Field(ge=0.05, le=16)] | None = None
    memorySize: Annotated[int, Field(ge=128, le=32768, multiple_of=64)] = 512
    diskSize: Literal[512, 10240] = 512
    instanceConcurrency: Annotated[int, Field(ge=1, le=200)] = 1
    customRuntimeConfig: CustomRuntimeConfig = CustomRuntimeConfig()
    environmentVariables: dict[str, Text] = {}
    concurrencyConfig: ConcurrencyConfig | None = None
    triggers: list[HttpTrigger] = []

    role: str | None = None
    logConfig: Any = None
    vpcConfig: Any = None
    vpcBinding: Any = None
    layers: Any = None
    nasConfig: Any = None
    ossMountConfig: Any = None
    tags: Any = None
    internetAccess: bool | None = None
    gpuConfig: Any = None
    asyncInvokeConfig: Any = None
    provisionConfig: Any = None
    scalingConfig: Any = None
    instanceLifecycleConfig: Any = None
    sessionAffinity: str | None = None
    sessionAffinityConfig: Any = None
    instanceIsolationMode: str | None = None
    enableLongLiving: bool | None = None
    idleTimeout: int | None = None
    disableInjectCredentials: str | None = None

    @field_validator("runtime")
    @classmethod
    def _runs_a_server(cls, runtime: str) -> str:
        """Only web functions take WebSockets; the page's own sample names a Node.js runtime (PAGE, D/04/126)."""
        if re.fullmatch(r"custom(\.debian1[0-9])?|nodejs[0-9]+", runtime):
            return runtime
        if runtime == "custom-container":
            raise ValueError(
                "fcemu runs processes, not images: write `runtime: custom.debian12` and the image's command as "
                "`customRuntimeConfig: {command: […]}`"
            )
        raise ValueError(
            f"runtime {runtime!r} calls a handler instead of running a server; an HTTP or WebSocket server needs "
            "`runtime: custom.debian12`"
        )

    @field_validator("environmentVariables")
    @classmethod
    def _names_not_reserved(cls, variables: dict[str, str]) -> dict[str, str]:
        """Observed refusal of the API: fc-semantics 2.3; 4 KB in total: D/04/047."""
        wrong: list[Finding] = []
        for name in variables:
            if name.startswith("FC_"):
                text = f"The environment variable name '{name}' is reserved by Function Compute; use another prefix"
                wrong.append((text, (name,)))
            elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                wrong.append((f"{name!r} is not a variable name: a letter, then letters, digits and _", (name,)))
        size = sum(len(name) + len(value.encode()) for name, value in variables.items())
        if size > 4096:
            wrong.append((f"the variables are {size} bytes together; Function Compute allows 4096", ()))
        if wrong:
            raise _refused(wrong)
        return variables

    @model_validator(mode="after")
    def _one_trigger_per_qualifier(self) -> Function:
        """At most one HTTP trigger per version or alias (D/04/002)."""
        seen: dict[str, str] = {}
        wrong: list[Finding] = []
        for index, trigger in enumerate(self.triggers):
            if other := seen.get(trigger.qualifier):
                text = (
                    f"two HTTP triggers for qualifier {trigger.qualifier} ({other}, {trigger.triggerName}): "
                    "a version or alias can have one"
                )
                wrong.append((text, ("triggers", index)))
            seen[trigger.qualifier] = trigger.triggerName
        if wrong:
            raise _refused(wrong)
        return self

    @property
    def start_command(self) -> tuple[str, ...]:
        """Command and arguments as the cloud would run them."""
        command = (*self.customRuntimeConfig.command, *self.customRuntimeConfig.args)
        if command:
            return command
        return ("node", "index.js") if self.runtime.startswith("nodejs") else ("/code/bootstrap",)


class DomainAuthConfig(Resource):
    """`authConfig` of a custom domain; independent of the trigger's (D/06/06-08)."""

    authType: Literal["anonymous", "none", "function", "jwt", "basic", "bearer"] = "anonymous"
    authInfo: dict[str, Any] | str | None = None


class PathConfig(Resource):
    """One route of a custom domain: an exact path, or a prefix that ends in `/*` (D/04/050)."""

    path: Annotated[str, Field(pattern="^/")]
    functionName: str
    qualifier: Text = "LATEST"
    methods: list[HttpMethod] = []
    rewriteConfig: Any = None

    @field_validator("path")
    @classmethod
    def _star_at_the_end(cls, path: str) -> str:
        if "*" in path and not (path.endswith("/*") and path.count("*") == 1):
            raise ValueError("`*` may stand only at the end, after a `/`: /api/*")
        return path


class RouteConfig(Resource):
    """`routeConfig` of a custom domain."""

    routes: list[PathConfig]


class CustomDomain(Resource):
    """A custom domain: its own name, its own authentication, its own routes (D/04/050)."""

    domainName: str
    protocol: Literal["HTTP", "HTTPS", "HTTP,HTTPS"] = "HTTP"
    routeConfig: RouteConfig
    authConfig: DomainAuthConfig = DomainAuthConfig()
    corsConfig: CorsConfig | None = None
    certConfig: Any = None
    tlsConfig: Any = None
    wafConfig: Any = None

    @field_validator("domainName")
    @classmethod
    def _lower_case(cls, name: str) -> str:
        return name.lower()


class AccessKey(Resource):
    """A key pair that may sign requests."""

    accessKeyId: str
    accessKeySecret: Annotated[str, Field(repr=False)]
    securityToken: Annotated[str | None, Field(repr=False)] = None


class Quotas(Resource):
    """Account limits of one region (D/04/039)."""

    instances: Annotated[int, Field(ge=1)] = 300


class Settings(Resource):
    """The emulator's own settings, under `fcemu:`. Everything else is the cloud's."""

    listen: Annotated[
        str,
        Field(
            pattern=r"^([^\s:]+|\[[0-9a-fA-F:]+\]):\d{1,5}$",
            description="host:port of the front; loopback unless you say otherwise",
        ),
    ] = "127.0.0.1:8080"
    start: Annotated[
        Literal["eager", "lazy"],
        Field(description="eager: one instance of each function before ready; lazy: at the first request"),
    ] = "eager"
    startTimeout: Annotated[
        float,
        Field(gt=0, le=3600, description="seconds a server has to come up (the cloud: 120)"),
    ] = 120
    idleTimeout: Annotated[float, Field(gt=0, description="seconds after which an idle instance is released")] = 300
    stopGrace: Annotated[float, Field(ge=0, le=300, description="seconds a function has to stop after SIGTERM")] = 5
    envFile: Annotated[str | None, Field(description="a .env file; its variables win over the function's")] = None
    redirects: Annotated[
        Literal["external", "every", "allow"],
        Field(description="which redirects on the default domain answer ExternalRedirectForbidden"),
    ] = "external"


class Account(Resource):
    """Everything behind one front: functions with their triggers, domains, keys, limits."""

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
                text = f"functions {names[key]!r} and {function.functionName!r} would share one local address"
                wrong.append((text, ("functions", index, "functionName")))
            names[key] = function.functionName
        known = {function.functionName for function in self.functions}
        domains: set[str] = set()
        for index, domain in enumerate(self.customDomains):
            if domain.domainName in domains:
                text = f"custom domain {domain.domainName} is described twice; list all its routes in one place"
                wrong.append((text, ("customDomains", index, "domainName")))
            domains.add(domain.domainName)
            for place, route in enumerate(domain.routeConfig.routes):
                if route.functionName not in known:
                    text = (
                        f"custom domain {domain.domainName} routes to function {route.functionName!r}, "
                        f"which is not configured (known: {', '.join(sorted(known))})"
                    )
                    wrong.append((text, ("customDomains", index, "routeConfig", "routes", place, "functionName")))
        if wrong:
            raise _refused(wrong)
        return self

    def function(self, name: str) -> Function | None:
        """The function of that name, any case (host names have none); None if there is none."""
        return next((f for f in self.functions if f.functionName.lower() == name.lower()), None)
