"""The configuration as typed models: the cloud's resources, with the cloud's names. Import the models from here.

base            what all models share: the base class, common types, errors
authentication  `authConfig`: JWT, Bearer and Basic authentication
jwks            public keys that verify tokens
trigger         the HTTP trigger
function        the function: runtime, limits, life cycle, sessions
domain          custom domains and their routes
fault           the rules under `fcemu.faults`
account         the whole configuration, with fcemu's own settings

No module here does I/O.
"""

from __future__ import annotations

from fcemu.model.account import AccessKey, Account, OnReload, Quotas, Settings
from fcemu.model.authentication import (
    AUTH_CONFIGS,
    AuthConfig,
    BasicAuthConfig,
    BearerAuthConfig,
    ClaimPassBy,
    JwtAuthConfig,
    TokenLookup,
)
from fcemu.model.base import METHODS, Position, Resource
from fcemu.model.domain import CustomDomain, DomainAuthConfig, PathConfig
from fcemu.model.fault import FaultAfter, FaultMatch, FaultRule
from fcemu.model.function import (
    NO_LOCAL_EFFECT,
    CustomRuntimeConfig,
    Function,
    HealthCheckConfig,
    SessionAffinityConfig,
)
from fcemu.model.trigger import CorsConfig, HttpTrigger, HttpTriggerConfig

__all__ = [
    "AUTH_CONFIGS",
    "AccessKey",
    "Account",
    "AuthConfig",
    "BasicAuthConfig",
    "BearerAuthConfig",
    "ClaimPassBy",
    "CorsConfig",
    "CustomDomain",
    "CustomRuntimeConfig",
    "DomainAuthConfig",
    "FaultAfter",
    "FaultMatch",
    "FaultRule",
    "Function",
    "HealthCheckConfig",
    "HttpTrigger",
    "HttpTriggerConfig",
    "JwtAuthConfig",
    "NO_LOCAL_EFFECT",
    "METHODS",
    "OnReload",
    "PathConfig",
    "Position",
    "Quotas",
    "Resource",
    "SessionAffinityConfig",
    "Settings",
    "TokenLookup",
]
