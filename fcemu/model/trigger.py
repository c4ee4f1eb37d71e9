"""The HTTP trigger of a function."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
)

from fcemu.model.authentication import AuthConfig, parse_auth_config
from fcemu.model.base import AuthType, HttpMethod, Name, Resource, Text


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
    authConfig: Annotated[dict[str, Any] | str | None, Field(repr=False, validate_default=True)] = None
    disableURLInternet: bool = False
    corsConfig: CorsConfig | None = None

    @field_validator("authConfig")
    @classmethod
    def _fits_its_type(cls, config: dict[str, Any] | str | None, info: ValidationInfo) -> dict[str, Any] | str | None:
        parse_auth_config(info.data.get("authType"), config, "authConfig")
        return config

    @cached_property
    def auth(self) -> AuthConfig | None:
        """`authConfig` as the model of its `authType`; None for types without one."""
        return parse_auth_config(self.authType, self.authConfig, "authConfig")


class HttpTriggerUrls(Resource):
    """`httpTrigger` of a deployed trigger: its public and its internal address."""

    urlInternet: str | None = None
    urlIntranet: str | None = None


class HttpTrigger(Resource):
    """An HTTP trigger: who may call which version of the function, with which methods."""

    triggerName: Name
    triggerType: Literal["http"] = "http"
    qualifier: Text = "LATEST"
    description: str = ""
    triggerConfig: HttpTriggerConfig
    httpTrigger: HttpTriggerUrls = HttpTriggerUrls()
