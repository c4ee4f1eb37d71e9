"""Overriding keys of a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fcemu.clients.tokens import KeyPair
from fcemu.configuration.overrides import with_overrides
from fcemu.errors import ConfigError
from fcemu.model import Account

OURS = KeyPair.generate()
TRIGGER = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
ONE: dict[str, Any] = {
    "functionName": "chat",
    "timeout": 60,
    "environmentVariables": {"A": "1"},
    "triggers": [TRIGGER],
    "fcemu": {"stopGrace": 1},
}
TWO: dict[str, Any] = {"functions": [{"functionName": "chat"}, {"functionName": "api", "triggers": [TRIGGER]}]}


def made(configuration: Any, function: str | None = None, **changes: Any) -> Account:
    """The account of a configuration in /project, with overrides."""
    where = ("test_chat.py", 7)
    return with_overrides(
        configuration, changes, function=function, folder=Path("/project"), where=where, jwks=lambda: OURS.jwks()
    )


def wrong(configuration: Any, function: str | None = None, **changes: Any) -> str:
    """The error message for overrides that are not valid."""
    with pytest.raises(ConfigError) as caught:
        made(configuration, function, **changes)
    return str(caught.value)


def test_mapping_of_one_function() -> None:
    """A mapping may have the keys of one function and of the account; code is relative to the folder."""
    account = made({**ONE, "code": "src"})
    assert [function.code for function in account.functions] == ["/project/src"]
    assert made(account, code="other").functions[0].code == "/project/other"
    assert account.fcemu.stopGrace == 1


def test_mapping_of_several_functions() -> None:
    """A mapping may list functions; an absolute code folder is kept."""
    functions = [{"functionName": "chat"}, {"functionName": "api", "code": "/elsewhere"}]
    account = made({"functions": functions})
    assert [function.code for function in account.functions] == ["/project", "/elsewhere"]


def test_mapping_is_left_as_it_was() -> None:
    """The mapping is not changed, so a fixture can return it again."""
    configuration = json.loads(json.dumps(ONE))
    made(configuration, timeout=2, triggerConfig={"authType": "jwt"})
    assert configuration == ONE


def test_keys_are_changed() -> None:
    """A key of the function is replaced; the others stay."""
    function = made(ONE, timeout=2, instanceConcurrency=7).functions[0]
    assert (function.timeout, function.instanceConcurrency, function.functionName) == (2, 7, "chat")


def test_mappings_are_merged_and_none_takes_away() -> None:
    """A mapping changes only the keys that it has; None restores the default."""
    function = made(ONE, environmentVariables={"B": "2"}, timeout=None).functions[0]
    assert function.environmentVariables == {"A": "1", "B": "2"}
    assert function.timeout == 3


def test_account_keys_are_changed() -> None:
    """Keys of the account can be overridden next to those of the function."""
    account = made(ONE, quotas={"instances": 2}, fcemu={"freeze": "off"})
    assert (account.quotas.instances, account.fcemu.freeze, account.fcemu.stopGrace) == (2, "off", 1)


def test_account_keys_need_no_function() -> None:
    """Overriding only keys of the account needs no function name, even with several functions."""
    assert made(TWO, quotas={"instances": 2}).quotas.instances == 2


def test_trigger_config_is_that_of_the_first_trigger() -> None:
    """`triggerConfig` is merged into that of the first trigger; a function without a trigger gets one."""
    config = made(ONE, triggerConfig={"methods": ["POST"]}).functions[0].triggers[0].triggerConfig
    assert (config.methods, config.authType) == (["POST"], "anonymous")
    (trigger,) = made(TWO, "chat", triggerConfig={"methods": ["POST"]}).functions[0].triggers
    assert trigger.triggerConfig.methods == ["POST"]


def test_function_is_named() -> None:
    """With several functions, the overrides apply to the named one."""
    assert [function.timeout for function in made(TWO, "api", timeout=9).functions] == [3, 9]


def test_unclear_or_unknown_function() -> None:
    """If the function is missing or unknown, the error lists the functions."""
    assert wrong(TWO, timeout=9) == (
        "test_chat.py:7: there are several functions; say which one these keys belong to: function= one of chat, api"
    )
    assert wrong(TWO, "chta", timeout=9) == "test_chat.py:7: there is no function 'chta'; configured: chat, api"


def test_all_that_is_wrong_is_said_with_the_place() -> None:
    """All mistakes are reported as for a file, with the file and line of the test."""
    lines = wrong(ONE, timeout="2", tiemout=3, triggerConfig={"methods": ["FETCH"]}).splitlines()
    assert (
        "test_chat.py:7: timeout: expected a whole number from 1 to 86400, found the string '2'; "
        "write `2` without quotes" in lines
    )
    assert "test_chat.py:7: tiemout: unknown key; did you mean `timeout`?" in lines
    assert any(line.startswith("test_chat.py:7: triggers[0].triggerConfig.methods[0]: expected") for line in lines)


@pytest.mark.parametrize("configuration", [{}, {"functions": None}, {"functions": ["chat"]}, {"fcemu": 3}])
def test_malformed_mapping_is_explained(configuration: dict[str, Any]) -> None:
    """A malformed mapping is reported, not a traceback."""
    assert wrong(configuration).startswith("test_chat.py:7: ")


def test_account_is_changed_as_it_was_written() -> None:
    """Keys that a file does not set follow changed defaults: with sessions, `instanceConcurrency` is 200."""
    account = made(made(ONE), sessionAffinity="GENERATED_COOKIE")
    assert account.functions[0].instanceConcurrency == 200
    assert made(made(ONE)) == made(ONE)


def test_key_lets_in_wherever_a_jwt_does() -> None:
    """The kit's key is added to the keys of triggers and domains, in each form that these can have."""
    theirs = KeyPair.generate()
    domain = {
        "domainName": "chat.example.com",
        "routeConfig": {"routes": [{"path": "/*", "functionName": "chat"}]},
        "authConfig": {"authType": "jwt", "authInfo": json.dumps({"jwks": theirs.jwks()})},
    }
    account = made(
        {**ONE, "customDomains": [domain]}, triggerConfig={"authType": "jwt", "authConfig": {"jwks": theirs.jwks()}}
    )
    kids = [theirs.kid, OURS.kid]
    trigger = account.functions[0].triggers[0].triggerConfig.auth
    assert [key["kid"] for key in trigger.jwks.keys] == kids  # type: ignore[union-attr]
    assert [key["kid"] for key in account.customDomains[0].authConfig.auth.jwks.keys] == kids  # type: ignore[union-attr]


def test_key_is_enough() -> None:
    """The kit's key is enough for a JWT trigger without keys."""
    auth = made(ONE, triggerConfig={"authType": "jwt"}).functions[0].triggers[0].triggerConfig.auth
    assert [key["kid"] for key in auth.jwks.keys] == [OURS.kid]  # type: ignore[union-attr]


def test_no_key_is_made_where_none_is_wanted() -> None:
    """Without a JWT trigger, no key is generated, because that takes time."""

    def never() -> dict[str, Any]:
        raise AssertionError

    with_overrides(ONE, {}, folder=Path("/"), where=("", 0), jwks=never)


@pytest.mark.parametrize("auth", ["no JSON", [], {"jwks": []}, {"jwks": {"keys": 1}}])
def test_malformed_jwt_configuration_is_explained(auth: object) -> None:
    """A key cannot be added to a malformed configuration, whose mistakes are reported."""
    assert "authConfig" in wrong(ONE, triggerConfig={"authType": "jwt", "authConfig": auth})
