"""Custom domains and their routes."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
)

from fcemu.model.authentication import AuthConfig, parse_auth_config
from fcemu.model.base import HttpMethod, Resource, Text
from fcemu.model.trigger import CorsConfig


class DomainAuthConfig(Resource):
    """`authConfig` of a custom domain, independent of that of a trigger (D/06/06-08)."""

    authType: Literal["anonymous", "none", "function", "jwt", "basic", "bearer"] = "anonymous"
    authInfo: Annotated[dict[str, Any] | str | None, Field(repr=False, validate_default=True)] = None

    @field_validator("authInfo")
    @classmethod
    def _fits_its_type(cls, config: dict[str, Any] | str | None, info: ValidationInfo) -> dict[str, Any] | str | None:
        parse_auth_config(info.data.get("authType"), config, "authInfo")
        return config

    @cached_property
    def auth(self) -> AuthConfig | None:
        """`authInfo` as the model of its `authType`; None for types without one."""
        return parse_auth_config(self.authType, self.authInfo, "authInfo")


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
            raise ValueError("`*` is allowed only at the end, after a `/`, as in /api/*")
        return path


class RouteConfig(Resource):
    """`routeConfig` of a custom domain."""

    routes: list[PathConfig]


class CustomDomain(Resource):
    """A custom domain with its name, authentication and routes (D/04/050)."""

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
