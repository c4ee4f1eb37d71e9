"""The environment of a command."""

from __future__ import annotations

from typing import Any

from fcemu.model import AccessKey, Account
from fcemu.serving.execution import variables


def account(*names: str, auth: str = "anonymous", **more: Any) -> Account:
    """An account with functions of these names."""
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": auth}}
    return Account.model_validate(
        {"functions": [{"functionName": name, "triggers": [trigger]} for name in names], **more}
    )


KEY = AccessKey(accessKeyId="ak", accessKeySecret="secret")


def test_first_function_is_the_one_without_a_name() -> None:
    """Each function has variables with its name, the first one also without; the front has its own."""
    found = variables(account("chat-room", "api"), "127.0.0.1:1", {"chat-room": "127.0.0.1:2", "api": "[::1]:3"})
    assert found == {
        "FCEMU_FRONT_URL": "http://127.0.0.1:1",
        "FCEMU_URL": "http://127.0.0.1:2",
        "FCEMU_WS_URL": "ws://127.0.0.1:2",
        "FCEMU_URL_CHAT_ROOM": "http://127.0.0.1:2",
        "FCEMU_WS_URL_CHAT_ROOM": "ws://127.0.0.1:2",
        "FCEMU_URL_API": "http://[::1]:3",
        "FCEMU_WS_URL_API": "ws://[::1]:3",
    }


def test_shared_variable_is_the_first_functions() -> None:
    """If the names of two functions become the same variable, it has the address of the first one."""
    found = variables(account("a-b", "a_b"), "h:1", {"a-b": "h:2", "a_b": "h:3"})
    assert found["FCEMU_URL_A_B"] == "http://h:2"


def test_key_pair_is_there_where_it_is_of_use() -> None:
    """The key pair is exported only if signatures are verified, with its token if it has one."""
    at = {"fn": "h:1"}
    assert not any("KEY" in name for name in variables(account("fn", accessKeys=[KEY]), "h:1", at))
    found = variables(account("fn", auth="function", accessKeys=[KEY]), "h:1", at)
    assert (found["FCEMU_ACCESS_KEY_ID"], found["FCEMU_ACCESS_KEY_SECRET"]) == ("ak", "secret")
    assert "FCEMU_SECURITY_TOKEN" not in found
    sts = KEY.model_copy(update={"securityToken": "token"})
    found = variables(account("fn", auth="function", accessKeys=[sts]), "h:1", at)
    assert found["FCEMU_SECURITY_TOKEN"] == "token"
