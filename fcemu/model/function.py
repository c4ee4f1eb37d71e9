"""The function: its runtime, limits, life cycle and session affinity.

Names, ranges and defaults are those of the API (version 2023-03-30) and of the fc3 component of Serverless Devs
(semantics 1.2, 5, 6, 7, 10). Keys without a local effect are accepted, so that an existing configuration loads
unchanged; `NO_LOCAL_EFFECT` lists them, and `fcemu check` warns about those in use.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from fcemu.errors import Finding
from fcemu.model.base import Resource, Text, as_error
from fcemu.model.trigger import HttpTrigger

NO_LOCAL_EFFECT = (
    "role", "logConfig", "vpcConfig", "layers", "nasConfig", "ossMountConfig", "tags", "internetAccess",
    "diskSize", "gpuConfig", "asyncInvokeConfig", "vpcBinding", "enableLongLiving", "disableInjectCredentials",
)  # fmt: skip


class HealthCheckConfig(Resource):
    """`healthCheckConfig` of a custom runtime (D/04/038)."""

    httpGetUrl: Annotated[str, Field(pattern="^/", max_length=2048)]
    initialDelaySeconds: Annotated[int, Field(ge=0, le=120)] = 0
    periodSeconds: Annotated[int, Field(ge=1, le=120)] = 3
    timeoutSeconds: Annotated[int, Field(ge=1, le=3)] = 1
    failureThreshold: Annotated[int, Field(ge=1, le=120)] = 3
    successThreshold: Annotated[int, Field(ge=1, le=120)] = 1


class CustomRuntimeConfig(Resource):
    """`customRuntimeConfig`: runs command and args together; without them, `bootstrap` (D/04/126)."""

    command: list[str] = []
    args: list[str] = []
    port: Annotated[int, Field(ge=1, le=65535)] = 9000
    healthCheckConfig: HealthCheckConfig | None = None


class Initializer(Resource):
    """`initializer`: `POST /initialize` before an instance's first request (D/04/060); defaults are the tools'."""

    handler: str = ""
    timeout: Annotated[int, Field(ge=1, le=300)] = 3
    command: list[str] | None = None


class PreStop(Resource):
    """`preStop`: `GET /pre-stop` before an instance is stopped (D/04/060)."""

    handler: str = ""
    timeout: Annotated[int, Field(ge=1, le=90)] = 3
    command: list[str] | None = None


class InstanceLifecycleConfig(Resource):
    """`instanceLifecycleConfig`: a hook is called only if it is configured; `handler` has no effect."""

    initializer: Initializer | None = None
    preStop: PreStop | None = None


class ConcurrencyConfig(Resource):
    """`concurrencyConfig`: the maximum number of instances; 0 disables the function (D/04/039)."""

    reservedConcurrency: Annotated[int, Field(ge=0)]


class ScalingConfig(Resource):
    """`scalingConfig`: the minimum number of instances (D/04/039); its policies have no effect here."""

    model_config = ConfigDict(extra="ignore")

    minInstances: Annotated[int, Field(ge=0)] = 0


class ProvisionConfig(Resource):
    """`provisionConfig`: the older form of `scalingConfig`; schedules and policies have no effect here (TOOL)."""

    model_config = ConfigDict(extra="ignore")

    defaultTarget: Annotated[int, Field(ge=0, validation_alias=AliasChoices("defaultTarget", "target"))] = 0
    alwaysAllocateCPU: bool = False


SessionAffinity = Literal["NONE", "HEADER_FIELD", "GENERATED_COOKIE", "MCP_SSE", "MCP_STREAMABLE"]

SESSION_CONCURRENCY = 200
"""The only allowed `instanceConcurrency` with session affinity, and its default (semantics 7.1, OBS)."""

_AFFINITY_KEYS = {
    "affinityHeaderFieldName": ("HEADER_FIELD",),
    "sseEndpointPath": ("MCP_SSE",),
    "disableSessionIdReuse": ("HEADER_FIELD", "GENERATED_COOKIE"),
    "sessionTTLInSeconds": ("HEADER_FIELD", "GENERATED_COOKIE", "MCP_STREAMABLE"),
    "sessionIdleTimeoutInSeconds": ("HEADER_FIELD", "GENERATED_COOKIE", "MCP_STREAMABLE"),
}
"""Keys that apply only to some kinds of affinity; other keys apply to all (D/04/010-013)."""


class SessionAffinityConfig(Resource):
    """`sessionAffinityConfig` (D/04/010-013, SDK).

    The documentation of 2026 allows up to 24 hours, older pages allow 6; fcemu allows 24.
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
            text = f"a session cannot be idle for longer than it lives; write at most sessionTTLInSeconds ({life})"
            raise as_error([Finding(text, ("sessionIdleTimeoutInSeconds",))])
        return self


class Function(Resource):
    """A function: a server process of its author, and the limits under which it runs."""

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
        """Only runtimes that run a server accept WebSockets; the vendor's sample uses Node.js (PAGE, D/04/126)."""
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
        """FC_ is refused by the API as observed (semantics 2.3); at most 4 KB in total (D/04/047)."""
        wrong: list[Finding] = []
        for name in variables:
            if name.startswith("FC_"):
                text = f"The environment variable name '{name}' is reserved by Function Compute; use another prefix"
                wrong.append(Finding(text, (name,)))
            elif not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
                wrong.append(
                    Finding(f"{name!r} is not a variable name; write a letter, then letters, digits and _", (name,))
                )
        size = sum(len(name) + len(value.encode()) for name, value in variables.items())
        if size > 4096:
            wrong.append(Finding(f"the variables are {size} bytes in total; Function Compute allows 4096", ()))
        if wrong:
            raise as_error(wrong)
        return variables

    @model_validator(mode="before")
    @classmethod
    def _sessions_share_instances(cls, data: Any) -> Any:
        """With session affinity, `instanceConcurrency` defaults to 200 (semantics 7.1)."""
        if isinstance(data, dict) and data.get("sessionAffinity") not in (None, "NONE"):
            return {"instanceConcurrency": SESSION_CONCURRENCY, **data}
        return data

    @model_validator(mode="after")
    def _sessions_agree(self) -> Function:
        """Session affinity, isolation and concurrency must agree (semantics 7.1)."""
        kind, config = self.sessionAffinity, self.sessionAffinityConfig
        wrong: list[Finding] = []
        if kind == "NONE":
            if config is not None:
                wrong.append(
                    Finding(
                        "there are no sessions without `sessionAffinity`; write it, or remove this key",
                        ("sessionAffinityConfig",),
                    )
                )
            if self.instanceIsolationMode == "SESSION_EXCLUSIVE":
                text = "SESSION_EXCLUSIVE needs `sessionAffinity`"
                wrong.append(Finding(text, ("instanceIsolationMode",)))
        else:
            if self.instanceConcurrency != SESSION_CONCURRENCY:
                text = f"ConcurrencyLimit is invalid for session function, allowed: {SESSION_CONCURRENCY}"
                wrong.append(Finding(f"{text}; remove `instanceConcurrency`", ("instanceConcurrency",)))
            for key in sorted(config.model_fields_set if config else ()):
                if kind not in _AFFINITY_KEYS.get(key, (kind,)):
                    text = f"`{key}` applies to {' and '.join(_AFFINITY_KEYS[key])}, not to {kind}"
                    wrong.append(Finding(text, ("sessionAffinityConfig", key)))
            if kind == "HEADER_FIELD" and (config is None or config.affinityHeaderFieldName is None):
                text = "HEADER_FIELD needs `sessionAffinityConfig: {affinityHeaderFieldName: x-my-session}`"
                wrong.append(Finding(text, ("sessionAffinity",)))
        if self.instanceIsolationMode == "SESSION_EXCLUSIVE" and config is not None:
            written = "sessionConcurrencyPerInstance" in config.model_fields_set
            if written and config.sessionConcurrencyPerInstance != 1:
                text = "with SESSION_EXCLUSIVE an instance serves one session; write 1, or remove the key"
                wrong.append(Finding(text, ("sessionAffinityConfig", "sessionConcurrencyPerInstance")))
        if self.instanceIsolationMode == "REQUEST_EXCLUSIVE" and (kind != "NONE" or self.instanceConcurrency != 1):
            text = "REQUEST_EXCLUSIVE needs `instanceConcurrency: 1` and no session affinity"
            wrong.append(Finding(text, ("instanceIsolationMode",)))
        if wrong:
            raise as_error(wrong)
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
                    "a version or alias can have only one"
                )
                wrong.append(Finding(text, ("triggers", index)))
            seen[trigger.qualifier] = trigger.triggerName
        if wrong:
            raise as_error(wrong)
        return self

    @property
    def affinity(self) -> SessionAffinityConfig | None:
        """The configuration of its sessions, with defaults; None without session affinity."""
        if self.sessionAffinity == "NONE":
            return None
        config = self.sessionAffinityConfig or SessionAffinityConfig()
        if self.instanceIsolationMode == "SESSION_EXCLUSIVE":
            return config.model_copy(update={"sessionConcurrencyPerInstance": 1})
        return config

    @property
    def minimum(self) -> int:
        """The minimum number of instances."""
        return max(self.scalingConfig.minInstances, self.provisionConfig.defaultTarget)

    @property
    def start_command(self) -> tuple[str, ...]:
        """Command and arguments, as the cloud would run them."""
        command = (*self.customRuntimeConfig.command, *self.customRuntimeConfig.args)
        if command:
            return command
        return ("node", "index.js") if self.runtime.startswith("nodejs") else ("/code/bootstrap",)
