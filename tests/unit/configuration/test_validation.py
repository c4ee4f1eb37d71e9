"""What is wrong with an account's data, in words."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.configuration.translation import Translation
from fcemu.configuration.validation import shown, validate


def texts(**props: Any) -> list[str]:
    """What is said of a function with these properties."""
    _, findings = validate(Translation({"functions": [{"functionName": "fn", **props}]}, {(): ()}))
    return [finding.text for finding in findings]


def test_valid_data_becomes_the_account() -> None:
    """Data without a mistake is the account."""
    account, findings = validate(Translation({"functions": [{"functionName": "fn"}]}, {(): ()}))
    assert account is not None
    assert (account.functions[0].functionName, findings) == ("fn", [])


@pytest.mark.parametrize(
    ("props", "text"),
    [
        ({"timeout": "60"}, "expected a whole number from 1 to 86400, found the text '60'; write `60` without quotes"),
        ({"timeout": 0}, "expected a number from 1 to 86400, found 0"),
        ({"timout": 60}, "unknown key; did you mean `timeout`?"),
        ({"methods": ["GET"]}, "unknown key; did you mean `triggers[0].triggerConfig.methods`?"),
        ({"memorySize": 500}, "expected a multiple of 64 from 128 to 32768, found 500; write `512`"),
        ({"diskSize": 1}, "expected 512 or 10240, found 1"),
        ({"timeout": None}, "nothing is written here; remove the key, or write a value"),
        ({"internetAccess": "yes"}, "expected true or false, found the text 'yes'; write `true` without quotes"),
        ({"handler": 5}, 'expected a text, found 5; put it in quotes: `"5"`'),
        ({"triggers": {}}, "expected a list, found a mapping"),
        ({"triggers": [{"triggerName": "t"}]}, "this key is missing; write `triggerConfig: {methods: [GET, POST], "
         "authType: anonymous}`"),
    ],
)  # fmt: skip
def test_mistake_says_what_was_expected_and_what_to_write(props: dict[str, Any], text: str) -> None:
    """A finding of the models is told with what was expected, what is there and what to write instead."""
    assert texts(**props) == [text]


def test_several_mistakes_are_told_at_once() -> None:
    """All findings come together, those of the models' own rules too."""
    said = texts(timeout=0, environmentVariables={"FC_X": "1"}, cpu="x")
    assert len(said) == 3
    assert any("'FC_X' is reserved" in text for text in said)


def test_mistake_in_an_auth_config_is_told_like_any_other() -> None:
    """Keys, types and values below authConfig are explained by the model that its authType means."""
    auth = {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": [{"enable": "yes", "tokenNam": "x"}]}}
    trigger = {"triggerName": "t", "triggerConfig": {"methods": ["GET"], "authType": "bearer", "authConfig": auth}}
    assert texts(triggers=[trigger]) == [
        "expected true or false, found the text 'yes'; write `true` without quotes",
        "this key is missing; write `tokenName: …`",
        "this key is missing; write `tokenData: 32 to 128 characters`",
        "unknown key; did you mean `tokenName`?",
    ]


def test_secret_is_not_shown() -> None:
    """A secret of the wrong type is named by its kind, not by its value."""
    data = {"functions": [{"functionName": "fn"}], "accessKeys": [{"accessKeyId": "a", "accessKeySecret": 123456789}]}
    _, findings = validate(Translation(data, {(): ()}))
    assert findings
    assert all("123456789" not in finding.text for finding in findings)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), (1.5, "1.5"), ("a", "the text 'a'"), ([], "a list"), ({}, "a mapping")],
)
def test_values_are_shown_on_one_line(value: object, text: str) -> None:
    """A value in a message is short."""
    assert shown(value) == text
