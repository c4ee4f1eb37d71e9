"""Which key pairs may sign requests?"""

from __future__ import annotations

from collections.abc import Mapping

from fcemu.model import AccessKey, Account


def from_environment(environment: Mapping[str, str]) -> AccessKey | None:
    """The key pair of the variables that the vendor's tools read, if they are set."""
    access_key_id = environment.get("ALIBABA_CLOUD_ACCESS_KEY_ID")
    secret = environment.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if not access_key_id or not secret:
        return None
    token = environment.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None
    return AccessKey(accessKeyId=access_key_id, accessKeySecret=secret, securityToken=token)


def wanted(account: Account) -> bool:
    """Whether any trigger or domain of the account checks signatures."""
    triggers = [trigger.triggerConfig.authType for function in account.functions for trigger in function.triggers]
    return "function" in (*triggers, *(domain.authConfig.authType for domain in account.customDomains))


def made(random_hex: str) -> AccessKey:
    """A key pair for one run, from at least 48 random hexadecimal digits."""
    return AccessKey(accessKeyId=f"fcemu-{random_hex[:12]}", accessKeySecret=random_hex[12:])
