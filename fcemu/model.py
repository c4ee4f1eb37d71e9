"""What can be configured? The cloud's resources, in the cloud's own words.

Field names, ranges and defaults are those of the API (version 2023-03-30) and of Serverless Devs' fc3 component
(fc-semantics 1.2, 5, 6, 7, 10). All models are frozen. Keys with no effect on a laptop are accepted, so that an
existing configuration loads unchanged; `LOCAL_EFFECT_MISSING` names them and `fcemu check` mentions those in use.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fcemu import jwks

HttpMethod = Literal["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]
AuthType = Literal["anonymous", "function", "jwt", "basic", "bearer"]

METHODS: tuple[HttpMethod, ...] = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")

LOCAL_EFFECT_MISSING = (
    "role", "logConfig", "vpcConfig", "layers", "nasConfig", "ossMountConfig", "tags", "internetAccess",
    "diskSize", "gpuConfig", "asyncInvokeConfig", "vpcBinding", "enableLongLiving", "disableInjectCredentials",
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


def _refused(findings: list[Finding], kind: Literal["value_error", "jwk"] = "value_error") -> PydanticCustomError:
    """One error for all findings of a validator; config.py tells them apart again, each with its line."""
    text = "; ".join(text for text, _ in findings)
    return PydanticCustomError(kind, "{text}", {"text": text, "findings": findings})


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


# --- authentication -----------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What can be the name of a header or of a cookie (RFC 9110 5.6.2, RFC 6265 4.1.1)."""

_NOT_FOR_CLAIMS = re.compile(
    r"host|content-(length|encoding|type)|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade|"
    r"expect|cookie|sec-websocket-.*|x-fc-.*"
)
"""Headers that frame or route the request, and those that the gateway sets itself."""

_Item = TypeVar("_Item", bound=Resource)

Position = Literal["header", "cookie", "query", "form"]


class JwkSet(Resource):
    """`jwks`: the public keys that tokens are verified with (D/06/04)."""

    model_config = ConfigDict(extra="ignore")  # RFC 7517 5: other members of a JWK Set are ignored.

    keys: Annotated[list[dict[str, Any]], Field(min_length=1, repr=False)]

    @field_validator("keys")
    @classmethod
    def _can_verify(cls, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if wrong := jwks.findings(keys):
            raise _refused(wrong, "jwk")
        return keys


class TokenLookup(Resource):
    """One place of `tokenLookup`: where the token stands (D/06/04)."""

    readPosition: Position
    parameterName: Annotated[str, Field(min_length=1)]
    prefix: str = ""

    @model_validator(mode="after")
    def _can_be_read(self) -> TokenLookup:
        if self.readPosition in ("header", "cookie") and not _TOKEN.fullmatch(self.parameterName):
            text = f"{self.parameterName!r} cannot be the name of a {self.readPosition}"
            raise _refused([(text, ("parameterName",))])
        if self.prefix and self.readPosition != "header":
            raise _refused([(f"a {self.readPosition} has no prefix; only a header does", ("prefix",))])
        return self


class ClaimPassBy(Resource):
    """One entry of `claimPassBy`: which claim the function gets, and where (D/06/04)."""

    claimName: str
    mappingParameterName: str
    mappingParameterPosition: Position

    @model_validator(mode="after")
    def _can_be_set(self) -> ClaimPassBy:
        name, position = self.mappingParameterName, self.mappingParameterPosition
        if not self.claimName:
            return self  # fc3 writes `query::` for nothing (fc-semantics 4.1).
        if not name or (position in ("header", "cookie") and not _TOKEN.fullmatch(name)):
            text = f"{name!r} cannot be the name of a {position} for claim {self.claimName!r}"
        elif position == "header" and _NOT_FOR_CLAIMS.fullmatch(name.lower().replace("_", "-")):
            text = (
                f"the header {name} belongs to the gateway; pass the claim by another, such as x-jwt-{self.claimName}"
            )
        else:
            return self
        raise _refused([(text, ("mappingParameterName",))])


def _lookups(value: object) -> object:
    """`header:<name>[:<prefix>]`, `cookie:<name>`, … with commas between them; a prefix keeps its blanks."""
    if not isinstance(value, str):
        return value
    places = []
    for text in value.split(","):
        position, _, rest = text.lstrip().partition(":")
        name, _, prefix = rest.partition(":")
        if not name:
            raise ValueError("expected `<position>:<name>`, such as `header:Authorization:Bearer ,cookie:token`")
        places.append({"readPosition": position, "parameterName": name, "prefix": prefix})
    return places


def _claims(value: object) -> object:
    """`<position>:<claim>:<name>`, with commas between them; `query::` says nothing."""
    if not isinstance(value, str):
        return value
    passed = []
    for text in value.split(",") if value.strip() else ():
        parts = text.strip().split(":")
        if len(parts) != 3:
            raise ValueError("expected `<position>:<claim>:<name>`, such as `header:sub:x-jwt-sub,query:iss:issuer`")
        keys = ("mappingParameterPosition", "claimName", "mappingParameterName")
        passed.append(dict(zip(keys, parts, strict=True)))
    return passed


class JwtAuthConfig(Resource):
    """`authConfig` of `authType: jwt` (D/06/04, D/06/08)."""

    jwks: Annotated[JwkSet, Field(repr=False)]
    tokenLookup: Annotated[list[TokenLookup], BeforeValidator(_lookups), Field(min_length=1)] = [
        # INF: the default of echo's JWT middleware, whose words the cloud uses.
        TokenLookup(readPosition="header", parameterName="Authorization", prefix="Bearer ")
    ]
    claimPassBy: Annotated[list[ClaimPassBy], BeforeValidator(_claims)] = []
    # fc3's schema writes whitelist, its own samples whiteList (fc-semantics 4.1).
    whitelist: Annotated[list[str], Field(validation_alias=AliasChoices("whitelist", "whiteList"))] = []
    blacklist: Annotated[list[str], Field(validation_alias=AliasChoices("blacklist", "blackList"))] = []

    @field_validator("whitelist", "blacklist")
    @classmethod
    def _are_paths(cls, paths: list[str]) -> list[str]:
        wrong: list[Finding] = []
        for index, path in enumerate(paths):
            if not path.startswith("/"):
                wrong.append((f"expected a path that starts with `/`; write `/{path}`", (index,)))
            elif "*" in path[:-1]:
                wrong.append(("`*` may stand only at the end: /login/*", (index,)))
        if wrong:
            raise _refused(wrong)
        return paths

    @model_validator(mode="after")
    def _agrees(self) -> JwtAuthConfig:
        wrong: list[Finding] = []
        if self.whitelist and self.blacklist:
            text = (
                "`whitelist` and `blacklist` exclude each other; keep `whitelist` (these paths need no token) or "
                "`blacklist` (only these need one)"
            )
            wrong.append((text, ("blacklist",)))
        seen: set[tuple[str, str]] = set()
        for index, entry in enumerate(self.claimPassBy):
            place = (entry.mappingParameterPosition, entry.mappingParameterName.lower().replace("_", "-"))
            if entry.claimName and place in seen:
                text = f"two claims cannot pass by one {place[0]} {entry.mappingParameterName}"
                wrong.append((text, ("claimPassBy", index)))
            seen.add(place)
        if wrong:
            raise _refused(wrong)
        return self


class OpaqueToken(Resource):
    """One token of `authType: bearer` (D/06/02)."""

    enable: bool
    tokenName: Annotated[Text, Field(min_length=1, max_length=128)]
    tokenData: Annotated[str, Field(repr=False)]

    @field_validator("tokenData")
    @classmethod
    def _is_a_token(cls, data: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9+/=\-~.]{32,128}", data):
            raise ValueError("expected 32 to 128 characters of `A-Z a-z 0-9 + / = - ~ .`")
        return data


class OpaqueTokenConfig(Resource):
    """`opaqueTokenConfig`: the tokens that let in."""

    tokens: Annotated[list[OpaqueToken], Field(min_length=1, max_length=20, repr=False)]

    @field_validator("tokens")
    @classmethod
    def _names_are_unique(cls, tokens: list[OpaqueToken]) -> list[OpaqueToken]:
        return _unique(tokens, "tokenName")


class BearerAuthConfig(Resource):
    """`authConfig` of `authType: bearer`, as a live deployment wrote it (fc-semantics 4.2, OBS)."""

    BearerFormat: Literal["opaque"]
    opaqueTokenConfig: OpaqueTokenConfig

    @model_validator(mode="before")
    @classmethod
    def _names_its_format(cls, data: Any) -> Any:
        if isinstance(data, dict) and "tokens" in data and "BearerFormat" not in data:
            raise ValueError(
                "BearerFormat is required: the console shows `tokens` alone, the API wants "
                "`{BearerFormat: opaque, opaqueTokenConfig: {tokens: […]}}`"
            )
        return data


class BasicUser(Resource):
    """One user of `authType: basic` (D/06/03)."""

    userName: Annotated[str, Field(pattern="^[^:]*$", min_length=12, max_length=128)]
    password: Annotated[str, Field(repr=False)]

    @field_validator("password")
    @classmethod
    def _is_strong(cls, password: str) -> str:
        kinds = ("[A-Z]", "[a-z]", "[0-9]", r"[!@#$%^&*()]")
        if not 12 <= len(password) <= 128 or not all(re.search(kind, password) for kind in kinds):
            raise ValueError(
                "expected 12 to 128 characters with an upper-case letter, a lower-case letter, a digit and one of "
                "`! @ # $ % ^ & * ( )`"
            )
        return password


class BasicAuthConfig(Resource):
    """`authConfig` of `authType: basic`. INF: the vendor documents the users' rules, not the names of these keys."""

    users: Annotated[list[BasicUser], Field(min_length=1, max_length=20, repr=False)]

    @field_validator("users")
    @classmethod
    def _names_are_unique(cls, users: list[BasicUser]) -> list[BasicUser]:
        return _unique(users, "userName")


def _unique(items: list[_Item], key: str) -> list[_Item]:
    names = [getattr(item, key) for item in items]
    wrong: list[Finding] = [
        (f"the {key} {name!r} is used twice", (index, key)) for index, name in enumerate(names) if name in names[:index]
    ]
    if wrong:
        raise _refused(wrong)
    return items


AuthConfig = JwtAuthConfig | BearerAuthConfig | BasicAuthConfig

AUTH_CONFIGS: dict[str, type[AuthConfig]] = {
    "jwt": JwtAuthConfig,
    "bearer": BearerAuthConfig,
    "basic": BasicAuthConfig,
}
"""What `authConfig` (of a trigger) and `authInfo` (of a domain) hold, by `authType`; other types need none."""

_AUTH_EXAMPLES = {
    "jwt": "{jwks: {keys: [{kty: RSA, kid: …, n: …, e: AQAB}]}}",
    "bearer": "{BearerFormat: opaque, opaqueTokenConfig: {tokens: [{enable: true, tokenName: …, tokenData: …}]}}",
    "basic": "{users: [{userName: …, password: …}]}",
}


def _auth_config(auth_type: str | None, config: dict[str, Any] | str | None, key: str) -> AuthConfig | None:
    """The typed form of `config`; its own findings keep their places below `key`."""
    if auth_type not in AUTH_CONFIGS:
        return None
    if config is None:
        text = f"authType {auth_type} needs `{key}: {_AUTH_EXAMPLES[auth_type]}`"
        raise PydanticCustomError("auth_missing", "{text}", {"text": text})
    try:
        data = json.loads(config) if isinstance(config, str) else config
    except (ValueError, RecursionError):
        raise ValueError("expected a mapping, or its JSON as a text") from None
    return AUTH_CONFIGS[auth_type].model_validate(data)


class HttpTriggerConfig(Resource):
    """`triggerConfig` of an HTTP trigger (SDK `HTTPTriggerConfig`; D/04/028)."""

    methods: Annotated[list[HttpMethod], Field(min_length=1)]
    authType: AuthType = "function"
    authConfig: Annotated[dict[str, Any] | str | None, Field(repr=False, validate_default=True)] = None
    disableURLInternet: bool = False
    corsConfig: CorsConfig | None = None

    @field_validator("authConfig")
    @classmethod
    def _fits_its_type(cls, config: dict[str, Any] | str | None, info: ValidationInfo) -> dict[str, Any] | str | None:
        _auth_config(info.data.get("authType"), config, "authConfig")
        return config

    @cached_property
    def auth(self) -> AuthConfig | None:
        """`authConfig` as the model of its `authType`; None for the types that have none."""
        return _auth_config(self.authType, self.authConfig, "authConfig")


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


class Initializer(Resource):
    """`initializer`: `POST /initialize` before an instance's first request (D/04/060); the default is the tools'."""

    handler: str = ""
    timeout: Annotated[int, Field(ge=1, le=300)] = 3
    command: list[str] | None = None


class PreStop(Resource):
    """`preStop`: `GET /pre-stop` before an instance is ended (D/04/060)."""

    handler: str = ""
    timeout: Annotated[int, Field(ge=1, le=90)] = 3
    command: list[str] | None = None


class InstanceLifecycleConfig(Resource):
    """`instanceLifecycleConfig`: hooks are called only if they are configured; what `handler` says does not matter."""

    initializer: Initializer | None = None
    preStop: PreStop | None = None


class ConcurrencyConfig(Resource):
    """`concurrencyConfig`: at most so many instances; 0 disables the function (D/04/039)."""

    reservedConcurrency: Annotated[int, Field(ge=0)]


class ScalingConfig(Resource):
    """`scalingConfig`: so many instances are kept whatever happens (D/04/039); its policies have no effect here."""

    model_config = ConfigDict(extra="ignore")

    minInstances: Annotated[int, Field(ge=0)] = 0


class ProvisionConfig(Resource):
    """`provisionConfig`: the older way to keep instances; its schedules and policies have no effect here (TOOL)."""

    model_config = ConfigDict(extra="ignore")

    defaultTarget: Annotated[int, Field(ge=0, validation_alias=AliasChoices("defaultTarget", "target"))] = 0
    alwaysAllocateCPU: bool = False


SessionAffinity = Literal["NONE", "HEADER_FIELD", "GENERATED_COOKIE", "MCP_SSE", "MCP_STREAMABLE"]

SESSION_CONCURRENCY = 200
"""What `instanceConcurrency` is, and has to be, with session affinity (fc-semantics 7.1, OBS)."""

_AFFINITY_KEYS = {
    "affinityHeaderFieldName": ("HEADER_FIELD",),
    "sseEndpointPath": ("MCP_SSE",),
    "disableSessionIdReuse": ("HEADER_FIELD", "GENERATED_COOKIE"),
    "sessionTTLInSeconds": ("HEADER_FIELD", "GENERATED_COOKIE", "MCP_STREAMABLE"),
    "sessionIdleTimeoutInSeconds": ("HEADER_FIELD", "GENERATED_COOKIE", "MCP_STREAMABLE"),
}
"""Which keys belong to which kinds of affinity; those not named belong to all (D/04/010-013)."""


class SessionAffinityConfig(Resource):
    """`sessionAffinityConfig` (D/04/010-013, SDK).

    The pages of 2026 allow up to 24 hours where older ones allow 6; the wider range is taken.
    """

    sessionConcurrencyPerInstance: Annotated[int, Field(ge=1, le=200)] = 20
    sessionTTLInSeconds: Annotated[int, Field(ge=1, le=86400)] = 21600
    sessionIdleTimeoutInSeconds: Annotated[int, Field(ge=0, le=86400)] = 1800
    disableSessionIdReuse: bool = False
    affinityHeaderFieldName: str | None = None
    sseEndpointPath: Annotated[str, Field(pattern="^/[^?#]*$")] = "/sse"

    @field_validator("affinityHeaderFieldName")
    @classmethod
    def _is_a_free_header(cls, name: str | None) -> str | None:
        if name is None or re.fullmatch(r"(?!(?i:x-fc-))[A-Za-z][A-Za-z0-9_-]{4,39}", name):
            return name
        raise ValueError("expected 5 to 40 characters: a letter, then letters, digits, `-`, `_`; not `x-fc-…`")

    @model_validator(mode="after")
    def _idle_within_life(self) -> SessionAffinityConfig:
        life, idle = self.sessionTTLInSeconds, self.sessionIdleTimeoutInSeconds
        if idle > life:
            if "sessionIdleTimeoutInSeconds" not in self.model_fields_set:
                return self.model_copy(update={"sessionIdleTimeoutInSeconds": life})
            text = f"a session idles for at most its whole life: write at most sessionTTLInSeconds ({life})"
            raise _refused([(text, ("sessionIdleTimeoutInSeconds",))])
        return self


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
    scalingConfig: ScalingConfig = ScalingConfig()
    provisionConfig: ProvisionConfig = ProvisionConfig()
    idleTimeout: Annotated[int, Field(ge=1)] | None = None
    instanceLifecycleConfig: InstanceLifecycleConfig = InstanceLifecycleConfig()
    sessionAffinity: SessionAffinity = "NONE"
    sessionAffinityConfig: SessionAffinityConfig | None = None
    instanceIsolationMode: Literal["SHARE", "SESSION_EXCLUSIVE", "REQUEST_EXCLUSIVE"] = "SHARE"
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
    enableLongLiving: bool | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _sessions_share_instances(cls, data: Any) -> Any:
        """With session affinity `instanceConcurrency` is 200 unless it is written (fc-semantics 7.1)."""
        if isinstance(data, dict) and data.get("sessionAffinity") not in (None, "NONE"):
            return {"instanceConcurrency": SESSION_CONCURRENCY, **data}
        return data

    @model_validator(mode="after")
    def _sessions_agree(self) -> Function:
        """What belongs together of affinity, isolation and concurrency (fc-semantics 7.1)."""
        kind, config = self.sessionAffinity, self.sessionAffinityConfig
        wrong: list[Finding] = []
        if kind == "NONE":
            if config is not None:
                wrong.append(("there are no sessions without `sessionAffinity`", ("sessionAffinityConfig",)))
            if self.instanceIsolationMode == "SESSION_EXCLUSIVE":
                text = "an instance for each session needs `sessionAffinity`"
                wrong.append((text, ("instanceIsolationMode",)))
        else:
            if self.instanceConcurrency != SESSION_CONCURRENCY:
                text = f"ConcurrencyLimit is invalid for session function, allowed: {SESSION_CONCURRENCY}"
                wrong.append((f"{text}; leave `instanceConcurrency` out", ("instanceConcurrency",)))
            for key in sorted(config.model_fields_set if config else ()):
                if kind not in _AFFINITY_KEYS.get(key, (kind,)):
                    text = f"`{key}` belongs to {' and '.join(_AFFINITY_KEYS[key])}, not to {kind}"
                    wrong.append((text, ("sessionAffinityConfig", key)))
            if kind == "HEADER_FIELD" and (config is None or config.affinityHeaderFieldName is None):
                text = "HEADER_FIELD needs `sessionAffinityConfig: {affinityHeaderFieldName: x-my-session}`"
                wrong.append((text, ("sessionAffinity",)))
        if self.instanceIsolationMode == "SESSION_EXCLUSIVE" and config is not None:
            written = "sessionConcurrencyPerInstance" in config.model_fields_set
            if written and config.sessionConcurrencyPerInstance != 1:
                text = "with SESSION_EXCLUSIVE an instance has one session: write 1, or leave it out"
                wrong.append((text, ("sessionAffinityConfig", "sessionConcurrencyPerInstance")))
        if self.instanceIsolationMode == "REQUEST_EXCLUSIVE" and (kind != "NONE" or self.instanceConcurrency != 1):
            text = "an instance for each request goes with `instanceConcurrency: 1` and no session affinity"
            wrong.append((text, ("instanceIsolationMode",)))
        if wrong:
            raise _refused(wrong)
        return self

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
    def affinity(self) -> SessionAffinityConfig | None:
        """How its sessions live; None without session affinity."""
        if self.sessionAffinity == "NONE":
            return None
        config = self.sessionAffinityConfig or SessionAffinityConfig()
        if self.instanceIsolationMode == "SESSION_EXCLUSIVE":
            return config.model_copy(update={"sessionConcurrencyPerInstance": 1})
        return config

    @property
    def minimum(self) -> int:
        """How many instances are kept whatever happens."""
        return max(self.scalingConfig.minInstances, self.provisionConfig.defaultTarget)

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
    authInfo: Annotated[dict[str, Any] | str | None, Field(repr=False, validate_default=True)] = None

    @field_validator("authInfo")
    @classmethod
    def _fits_its_type(cls, config: dict[str, Any] | str | None, info: ValidationInfo) -> dict[str, Any] | str | None:
        _auth_config(info.data.get("authType"), config, "authInfo")
        return config

    @cached_property
    def auth(self) -> AuthConfig | None:
        """`authInfo` as the model of its `authType`; None for the types that have none."""
        return _auth_config(self.authType, self.authInfo, "authInfo")


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


OnReload = Literal["drain", "cut", "pin"]

# --- faults on demand ---------------------------------------------------------------------------------------------


class FaultMatch(Resource):
    """`match` of a fault: what it may happen to. Everything that is written has to fit; nothing written fits all."""

    function: str | None = None
    path: Annotated[str, Field(pattern="^/")] | None = None
    header: dict[str, str] = {}
    kind: Literal["http", "websocket"] | None = None
    nth: Annotated[Text, Field(pattern=r"^[1-9]\d*(-([1-9]\d*)?)?$")] | None = None
    probability: Annotated[float, Field(gt=0, le=1, strict=False)] = 1


class FaultAfter(Resource):
    """`after` of a fault: when it happens to what it matches; the first of what is written."""

    seconds: Annotated[float, Field(ge=0, strict=False)] | None = None
    bytes: Annotated[int, Field(ge=0)] | None = None
    messages: Annotated[int, Field(ge=1)] | None = None


class IdleDrop(Resource):
    """`idle` of a fault: what a NAT does with a connection without traffic (PAGE, "Connection keepalive")."""

    after: Annotated[float, Field(gt=0, strict=False)]
    mode: Literal["rst", "fin", "blackhole"] = "rst"


FAULT_ACTIONS = (
    "refuse", "coldStartDelay", "refuseToStart", "crash", "cut", "close", "stall", "delay", "bandwidth", "idle",
)  # fmt: skip
"""What a fault can do; each does one of these."""

_OF_STARTS = ("coldStartDelay", "refuseToStart")
_OF_SOCKETS = ("close", "idle")


class FaultRule(Resource):
    """One fault: what it happens to, when, and what it does (exactly one of `FAULT_ACTIONS`)."""

    name: Annotated[Text, Field(min_length=1)] = ""
    match: FaultMatch = FaultMatch()
    after: FaultAfter | None = None
    direction: Literal["both", "toClient", "toFunction"] = "both"
    refuse: Literal[400, 403, 404, 429, 500, 503] | None = None
    coldStartDelay: Annotated[float, Field(gt=0, strict=False)] | None = None
    refuseToStart: Literal[True] | None = None
    crash: Literal[True] | None = None
    cut: Literal[True] | None = None
    close: Annotated[int, Field(ge=1000, le=4999)] | None = None
    stall: Literal[True] | None = None
    delay: Annotated[float, Field(gt=0, strict=False)] | None = None
    jitter: Annotated[float, Field(gt=0, strict=False)] | None = None
    bandwidth: Annotated[float, Field(gt=0, strict=False)] | None = None
    idle: IdleDrop | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> FaultRule:
        done = [action for action in FAULT_ACTIONS if getattr(self, action) is not None]
        wrong: list[Finding] = []
        if len(done) != 1:
            found = " and ".join(done) or "none"
            text = f"a fault does exactly one of {', '.join(FAULT_ACTIONS)}; this one does {found}"
            wrong.append((text, ()))
        action = done[0] if done else ""
        if self.jitter is not None and action != "delay":
            wrong.append(("`jitter` varies a `delay`", ("jitter",)))
        if action in ("refuse", *_OF_STARTS) and self.after is not None:
            wrong.append((f"`{action}` happens at once; leave `after` out", ("after",)))
        if action in _OF_STARTS and (self.match.path or self.match.header or self.match.kind):
            wrong.append((f"`{action}` happens to an instance: match `function`, `nth`, `probability`", ("match",)))
        if action in _OF_SOCKETS and self.match.kind == "http":
            wrong.append((f"`{action}` happens to WebSockets only", ("match", "kind")))
        if self.close is not None and (1004 <= self.close <= 1006 or 1015 <= self.close < 3000):
            wrong.append((f"{self.close} cannot be sent in a Close frame; for 1006 write `cut: true`", ("close",)))
        if wrong:
            raise _refused(wrong)
        return self

    @property
    def action(self) -> str:
        """What it does."""
        return next(action for action in FAULT_ACTIONS if getattr(self, action) is not None)


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
    portBinding: Annotated[
        Literal["auto", "seccomp", "port"],
        Field(
            description="seccomp: every instance on the configured port (Linux); port: one port each; auto: as possible"
        ),
    ] = "auto"
    startTimeout: Annotated[
        float,
        Field(gt=0, le=3600, description="seconds a server has to come up (the cloud: 120)"),
    ] = 120
    idleTimeout: Annotated[float, Field(gt=0, description="seconds after which an idle instance is released")] = 300
    stopGrace: Annotated[float, Field(ge=0, le=300, description="seconds a function has to stop after SIGTERM")] = 5
    freeze: Annotated[
        Literal["auto", "off"],
        Field(description="auto: an instance without an invocation is frozen, as in the cloud; off: it goes on"),
    ] = "auto"
    memoryLimit: Annotated[
        Literal["auto", "off"],
        Field(description="auto: an instance that uses more than `memorySize` is ended; off: it is not"),
    ] = "auto"
    onReload: Annotated[
        OnReload,
        Field(description="what becomes of open requests and sockets when new code is there"),
    ] = "drain"
    drainLimit: Annotated[
        float, Field(ge=0, le=86400, description="seconds that old instances have to drain after a reload")
    ] = 60
    reloadIgnore: Annotated[
        list[str], Field(description="further patterns of files whose changes do not matter to --reload")
    ] = []
    triggerDelay: Annotated[
        float, Field(ge=0, le=60, description="seconds until a changed trigger takes effect (the cloud: about 10)")
    ] = 0
    envFile: Annotated[str | None, Field(description="a .env file; its variables win over the function's")] = None
    scatter: Annotated[
        bool, Field(description="send consecutive invocations to different instances, instead of filling one")
    ] = False
    faults: Annotated[list[FaultRule], Field(description="what goes wrong on purpose")] = []
    faultSeed: Annotated[int, Field(description="makes what faults draw by chance the same on every run")] = 0
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
