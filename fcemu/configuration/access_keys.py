"""The key pairs that may sign requests: from the environment, or generated for one run."""

from __future__ import annotations

from collections.abc import Mapping

from fcemu.model import AccessKey, Account


def from_environment(environment: Mapping[str, str]) -> AccessKey | None:
    """The key pair in the variables that the vendor's tools read; None if they are not set."""
    access_key_id = environment.get("ALIBABA_CLOUD_ACCESS_KEY_ID")
    secret = environment.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if not access_key_id or not secret:
        return None
    token = environment.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None
    return AccessKey(accessKeyId=access_key_id, accessKeySecret=secret, securityToken=token)


def verifies_signatures(account: Account) -> bool:
    """Whether any trigger or custom domain of the account verifies signatures."""
    triggers = [trigger.triggerConfig.authType for function in account.functions for trigger in function.triggers]
    return "function" in (*triggers, *(domain.authConfig.authType for domain in account.customDomains))


def generate(random_hex: str) -> AccessKey:
    """A new key pair for one run, made of `random_hex`: at least 48 random hexadecimal digits."""
    return AccessKey(accessKeyId=f"fcemu-{random_hex[:12]}", accessKeySecret=random_hex[12:])
