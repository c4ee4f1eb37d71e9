"""Mistakes in the data of an account are explained."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.configuration.translation import Translation
from fcemu.configuration.validation import shown, validate


def texts(**props: Any) -> list[str]:
    """The findings about a function with these keys."""
    _, findings = validate(Translation({"functions": [{"functionName": "fn", **props}]}, {(): ()}))
    return [finding.text for finding in findings]


def test_valid_data_becomes_the_account() -> None:
    """Valid data becomes an account."""
    account, findings = validate(Translation({"functions": [{"functionName": "fn"}]}, {(): ()}))
    assert account is not None
    assert (account.functions[0].functionName, findings) == ("fn", [])


@pytest.mark.parametrize(
    ("props", "text"),
    [
        (
            {"timeout": "60"},
            "expected a whole number from 1 to 86400, found the string '60'; write `60` without quotes",
        ),
        ({"timeout": 0}, "expected a number from 1 to 86400, found 0"),
        ({"timout": 60}, "unknown key; did you mean `timeout`?"),
        ({"methods": ["GET"]}, "unknown key; did you mean `triggers[0].triggerConfig.methods`?"),
        ({"memorySize": 500}, "expected a multiple of 64 from 128 to 32768, found 500; write `512`"),
        ({"diskSize": 1}, "expected 512 or 10240, found 1"),
        ({"timeout": None}, "this key has no value; write one, or remove the key"),
        ({"internetAccess": "yes"}, "expected true or false, found the string 'yes'; write `true` without quotes"),
        ({"handler": 5}, 'expected a string, found 5; put it in quotes: `"5"`'),
        ({"triggers": {}}, "expected a list, found a mapping"),
        ({"triggers": [{"triggerName": "t"}]}, "this key is missing; write `triggerConfig: {methods: [GET, POST], "
         "authType: anonymous}`"),
    ],
)  # fmt: skip
def test_mistake_says_what_was_expected_and_what_to_write(props: dict[str, Any], text: str) -> None:
    """A finding says what was expected, what was found and what to write instead."""
    assert texts(**props) == [text]


def test_several_mistakes_are_told_at_once() -> None:
    """All mistakes are reported at once, including those against rules between values."""
    said = texts(timeout=0, environmentVariables={"FC_X": "1"}, cpu="x")
    assert len(said) == 3
    assert any("'FC_X' is reserved" in text for text in said)


def test_mistake_in_an_auth_config_is_told_like_any_other() -> None:
    """Mistakes in authConfig are explained with the model of its authType."""
    auth = {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": [{"enable": "yes", "tokenNam": "x"}]}}
    trigger = {"triggerName": "t", "triggerConfig": {"methods": ["GET"], "authType": "bearer", "authConfig": auth}}
    assert texts(triggers=[trigger]) == [
        "expected true or false, found the string 'yes'; write `true` without quotes",
        "this key is missing; write `tokenName: …`",
        "this key is missing; write `tokenData: 32 to 128 characters`",
        "unknown key; did you mean `tokenName`?",
    ]


def test_secret_is_not_shown() -> None:
    """A secret of the wrong type is described by its type, not by its value."""
    data = {"functions": [{"functionName": "fn"}], "accessKeys": [{"accessKeyId": "a", "accessKeySecret": 123456789}]}
    _, findings = validate(Translation(data, {(): ()}))
    assert findings
    assert all("123456789" not in finding.text for finding in findings)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), (1.5, "1.5"), ("a", "the string 'a'"), ([], "a list"), ({}, "a mapping")],
)
def test_values_are_shown_on_one_line(value: object, text: str) -> None:
    """A value in a message is short."""
    assert shown(value) == text


def said(data: dict[str, Any]) -> list[str]:
    """The findings about an account's data, each with its key."""
    _, findings = validate(Translation(data, {(): ()}))
    return [f"{finding.key}: {finding.text}" for finding in findings]


@pytest.mark.parametrize(
    ("props", "parts"),
    [
        ({"cpu": "0.5"}, ["expected a number", "write `0.5` without quotes"]),
        ({"cpu": "inf"}, ["expected a number", "found the string 'inf'"]),
        ({"timeout": 60.0}, ["expected a whole number", "write `60`"]),
        ({"timeout": 60.5}, ["expected a whole number", "found 60.5"]),
        ({"timeout": [1]}, ["expected a whole number", "found a list"]),
        ({"internetAccess": "off"}, ["expected true or false", "write `false`"]),
        ({"internetAccess": "perhaps"}, ["expected true or false", "found the string 'perhaps'"]),
        ({"functionName": "1x"}, ["expected a name of letters", "found the string '1x'"]),
        ({"functionName": "x" * 129}, ["expected at most", "characters, found 129"]),
        ({"description": {}}, ["expected a string", "found a mapping"]),
        ({"customRuntimeConfig": []}, ["expected a mapping", "found a list"]),
        ({"environmentVariables": 3}, ["expected a mapping", "found 3"]),
        (
            {"customRuntimeConfig": {"command": "node index.js"}},
            ["expected a list", "write `command: [node index.js]`"],
        ),
        ({"diskSize": "512"}, ["expected 512 or 10240", "write `512` without quotes"]),
        ({"unheardOfKey": 1}, ["unknown key; remove it"]),
        ({"instanceLifecycleConfig": {"zzz": 1}}, ["unknown key; the keys here are"]),
        ({"customRuntimeConfig": {"healthCheckConfig": {"httpGetUrl": "healthz"}}}, ["write `/healthz`"]),
    ],
)
def test_each_kind_of_mistake_is_explained(props: dict[str, Any], parts: list[str]) -> None:
    """Every kind of mistake that the models find has its own words."""
    text = "; ".join(texts(**props))
    assert [part for part in parts if part not in text] == []


def test_list_of_too_many_or_no_items_is_explained() -> None:
    """A list that must not be empty, and one that is too long, say so."""
    tokens = [{"enable": True, "tokenName": f"t{n}", "tokenData": "x" * 31 + f"{n:02}"} for n in range(21)]
    auth = {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": tokens}}
    config = {"methods": [], "authType": "bearer", "authConfig": auth}
    text = "; ".join(texts(triggers=[{"triggerName": "t", "triggerConfig": config}]))
    assert "expected at least one item; write `methods: [GET, POST]`" in text
    assert "expected at most 20 items, found 21" in text


def test_key_of_the_account_is_found_at_the_top_of_one_function() -> None:
    """At the top level of one function, a mistyped key of the account is recognised."""
    _, (finding,) = validate(
        Translation({"functions": [{"functionName": "fn", "customDomain": []}]}, {(): (), ("functions", 0): ()})
    )
    assert "did you mean `customDomains`?" in finding.text


def test_long_text_is_shortened() -> None:
    """Only the beginning of a long value is shown."""
    assert shown("x" * 100) == f"the string {'x' * 57 + '...'!r}"


def test_secret_of_another_kind_is_named_by_its_kind() -> None:
    """A secret of any type is described without showing it."""
    kinds = {"true or false": True, "a list": [], "a mapping": {}, "a number": 5}
    for kind, value in kinds.items():
        account = {
            "functions": [{"functionName": "fn"}],
            "accessKeys": [{"accessKeyId": "a", "accessKeySecret": value}],
        }
        assert any(f"found {kind}" in text for text in said(account)), kind


def test_rules_between_values_are_checked_without_the_bad_ones() -> None:
    """A conflict between valid values is found even if other values, also in lists, are wrong."""
    trigger = {"triggerName": "t", "triggerConfig": {"methods": ["GET", "FETCH"], "authType": "anonymous"}}
    twice = {"functions": [{"functionName": "a", "timeout": 0, "triggers": [trigger]}, {"functionName": "A"}]}
    found = said(twice)
    assert len(found) == 3
    assert any(text.startswith("functions[1].functionName: ") for text in found)
