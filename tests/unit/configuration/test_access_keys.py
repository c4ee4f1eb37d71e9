"""Which key pairs may sign requests."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.configuration import access_keys
from fcemu.model import Account

BOTH = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}


def test_environment_holds_a_pair_or_none() -> None:
    """The vendor's variables make a key pair, with its token if that is set; half of a pair is none."""
    key = access_keys.from_environment(BOTH)
    assert key is not None
    assert (key.accessKeyId, key.accessKeySecret, key.securityToken) == ("id", "secret", None)
    sts = access_keys.from_environment({**BOTH, "ALIBABA_CLOUD_SECURITY_TOKEN": "token"})
    assert sts is not None
    assert sts.securityToken == "token"
    for name in BOTH:
        assert access_keys.from_environment({**BOTH, name: ""}) is None


@pytest.mark.parametrize(
    ("trigger", "domain", "expected"),
    [("anonymous", "none", False), ("function", "none", True), ("anonymous", "function", True)],
)
def test_keys_are_wanted_where_signatures_are_checked(trigger: str, domain: str, expected: bool) -> None:
    """An account verifies signatures if one of its triggers or domains does."""
    config: dict[str, Any] = {"methods": ["GET"], "authType": trigger}
    account = Account.model_validate(
        {
            "functions": [{"functionName": "fn", "triggers": [{"triggerName": "t", "triggerConfig": config}]}],
            "customDomains": [
                {
                    "domainName": "a.test",
                    "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]},
                    "authConfig": {"authType": domain},
                }
            ],
        }
    )
    assert access_keys.verifies_signatures(account) is expected


def test_made_pair_is_made_of_its_random_digits() -> None:
    """The secret of a generated key pair is random, and its id shows nothing of it."""
    key = access_keys.generate("0123456789ab" + "c" * 36)
    assert (key.accessKeyId, key.accessKeySecret) == ("fcemu-0123456789ab", "c" * 36)
    assert "c" * 36 not in repr(key)
