"""Which account a test means."""

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
    """The variant of a configuration in /project."""
    where = ("test_chat.py", 7)
    return with_overrides(
        configuration, changes, function=function, folder=Path("/project"), where=where, jwks=lambda: OURS.jwks()
    )


def wrong(configuration: Any, function: str | None = None, **changes: Any) -> str:
    """What is said about a variant that cannot be."""
    with pytest.raises(ConfigError) as caught:
        made(configuration, function, **changes)
    return str(caught.value)


def test_mapping_of_one_function() -> None:
    """A mapping may be one function's keys, the account's beside them; its code is relative to the folder."""
    account = made({**ONE, "code": "src"})
    assert [function.code for function in account.functions] == ["/project/src"]
    assert made(account, code="other").functions[0].code == "/project/other"
    assert account.fcemu.stopGrace == 1


def test_mapping_of_several_functions() -> None:
    """A mapping may list functions; a code folder that is absolute stays."""
    functions = [{"functionName": "chat"}, {"functionName": "api", "code": "/elsewhere"}]
    account = made({"functions": functions})
    assert [function.code for function in account.functions] == ["/project", "/elsewhere"]


def test_mapping_is_left_as_it_was() -> None:
    """What a fixture returned once can be used for the next test."""
    configuration = json.loads(json.dumps(ONE))
    made(configuration, timeout=2, triggerConfig={"authType": "jwt"})
    assert configuration == ONE


def test_keys_are_changed() -> None:
    """A key of the function replaces what is there; the others stay."""
    function = made(ONE, timeout=2, instanceConcurrency=7).functions[0]
    assert (function.timeout, function.instanceConcurrency, function.functionName) == (2, 7, "chat")


def test_mappings_are_merged_and_none_takes_away() -> None:
    """A mapping changes only the keys that it has; None is the default again."""
    function = made(ONE, environmentVariables={"B": "2"}, timeout=None).functions[0]
    assert function.environmentVariables == {"A": "1", "B": "2"}
    assert function.timeout == 3


def test_account_keys_are_changed() -> None:
    """Keys of the account stand beside those of the function."""
    account = made(ONE, quotas={"instances": 2}, fcemu={"freeze": "off"})
    assert (account.quotas.instances, account.fcemu.freeze, account.fcemu.stopGrace) == (2, "off", 1)


def test_account_keys_need_no_function() -> None:
    """With several functions, keys of the account alone belong to nobody."""
    assert made(TWO, quotas={"instances": 2}).quotas.instances == 2


def test_trigger_config_is_that_of_the_first_trigger() -> None:
    """Its keys are merged; a function without a trigger gets one."""
    config = made(ONE, triggerConfig={"methods": ["POST"]}).functions[0].triggers[0].triggerConfig
    assert (config.methods, config.authType) == (["POST"], "anonymous")
    (trigger,) = made(TWO, "chat", triggerConfig={"methods": ["POST"]}).functions[0].triggers
    assert trigger.triggerConfig.methods == ["POST"]


def test_function_is_named() -> None:
    """With several functions the change is that of the named one."""
    assert [function.timeout for function in made(TWO, "api", timeout=9).functions] == [3, 9]


def test_unclear_or_unknown_function() -> None:
    """It is said whose keys could be meant."""
    assert wrong(TWO, timeout=9) == (
        "test_chat.py:7: there are several functions; say which one these keys belong to: function= one of chat, api"
    )
    assert wrong(TWO, "chta", timeout=9) == "test_chat.py:7: there is no function 'chta'; configured: chat, api"


def test_all_that_is_wrong_is_said_with_the_place() -> None:
    """The text is the configuration's own, and names the test."""
    lines = wrong(ONE, timeout="2", tiemout=3, triggerConfig={"methods": ["FETCH"]}).splitlines()
    assert (
        "test_chat.py:7: timeout: expected a whole number from 1 to 86400, found the string '2'; "
        "write `2` without quotes" in lines
    )
    assert "test_chat.py:7: tiemout: unknown key; did you mean `timeout`?" in lines
    assert any(line.startswith("test_chat.py:7: triggers[0].triggerConfig.methods[0]: expected") for line in lines)


@pytest.mark.parametrize("configuration", [{}, {"functions": None}, {"functions": ["chat"]}, {"fcemu": 3}])
def test_malformed_mapping_is_explained(configuration: dict[str, Any]) -> None:
    """What is no configuration at all is a finding, not a traceback."""
    assert wrong(configuration).startswith("test_chat.py:7: ")


def test_account_is_changed_as_it_was_written() -> None:
    """What a file did not say is open to other defaults: with sessions `instanceConcurrency` is 200."""
    account = made(made(ONE), sessionAffinity="GENERATED_COOKIE")
    assert account.functions[0].instanceConcurrency == 200
    assert made(made(ONE)) == made(ONE)


def test_key_lets_in_wherever_a_jwt_does() -> None:
    """The kit's key is added to those of triggers and domains, in each form that these have."""
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
    """A test that wants a JWT need not have a key of its own."""
    auth = made(ONE, triggerConfig={"authType": "jwt"}).functions[0].triggers[0].triggerConfig.auth
    assert [key["kid"] for key in auth.jwks.keys] == [OURS.kid]  # type: ignore[union-attr]


def test_no_key_is_made_where_none_is_wanted() -> None:
    """Making one takes time."""

    def never() -> dict[str, Any]:
        raise AssertionError

    with_overrides(ONE, {}, folder=Path("/"), where=("", 0), jwks=never)


@pytest.mark.parametrize("auth", ["no JSON", [], {"jwks": []}, {"jwks": {"keys": 1}}])
def test_malformed_jwt_configuration_is_explained(auth: object) -> None:
    """A key cannot be added to what has another form; what is wrong with it is said."""
    assert "authConfig" in wrong(ONE, triggerConfig={"authType": "jwt", "authConfig": auth})
