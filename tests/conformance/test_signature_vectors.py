"""Requests signed by the vendor's SDKs, and requests that were tampered with, are accepted or refused as recorded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from fcemu.errors import FCError
from fcemu.model import AccessKey
from fcemu.trigger.request import RequestHead
from fcemu.trigger.signature import verify

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "signature-vectors.json").read_text())["vectors"]


def outcome(vector: dict[str, Any]) -> FCError | str:
    """How the verifier judges a recorded request at its recorded time."""
    request, time = vector["request"], vector["server_time"]
    now = parsedate_to_datetime(time) if time.endswith("GMT") else datetime.fromisoformat(time)
    key = AccessKey(
        accessKeyId=vector["access_key_id"],
        accessKeySecret=vector["access_key_secret"],
        securityToken=vector["security_token"] or None,
    )
    headers = tuple((name.encode(), value.encode()) for name, value in request["headers"])
    head = RequestHead(request["method"], request["target"], headers)
    try:
        return verify(head, {key.accessKeyId: key}, now.astimezone(UTC).timestamp())
    except FCError as error:
        return error


def test_every_vector_is_in_the_table() -> None:
    """The table has all recorded requests, valid and invalid ones."""
    assert len(VECTORS) == 65
    assert {vector["expect"]["result"] for vector in VECTORS} == {"accept", "reject"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vector(vector: dict[str, Any]) -> None:
    """A recorded request is accepted, or refused with the recorded status, code and message."""
    result, expected = outcome(vector), vector["expect"]
    if expected["result"] == "accept":
        assert result == vector["access_key_id"]
        return
    assert isinstance(result, FCError)
    assert result.status == expected["status"]
    assert result.code == expected.get("Code", result.code)
    assert result.message == expected.get("Message", result.message)
    assert expected.get("Message_contains", "") in result.message
    assert not result.billed
