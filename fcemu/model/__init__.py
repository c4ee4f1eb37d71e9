"""What can be configured: the cloud's resources, in the cloud's words. Callers import the names from here.

base            what all parts share: names, positions, errors
authentication  `authConfig`: who may call
jwks            which public keys may sign a token
trigger         the HTTP trigger
function        the function, its runtime, life cycle and instances
domain          custom domains and their routes
fault           the rules under `fcemu.faults`
account         everything together, with our own settings

Nothing here does I/O.
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
    LOCAL_EFFECT_MISSING,
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
    "LOCAL_EFFECT_MISSING",
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
