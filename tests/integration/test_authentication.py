"""Authentication applies to upgrades and other requests alike; claims are passed on, and secrets are kept."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fcemu import report
from fcemu.clients.tokens import KeyPair
from fcemu.emulator import Emulator
from fcemu.journal import InvocationEnded
from tests.conftest import Serve, function

PAIR = KeyPair.generate("ES256", kid="k1")
SECRET_TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"

JWT = {
    "authType": "jwt",
    "authConfig": {
        "jwks": PAIR.jwks(),
        "tokenLookup": "header:Authorization:Bearer ,cookie:token,query:token,form:token",
        "claimPassBy": "header:sub:x-sub,query:sub:sub,cookie:sub:who,form:sub:user",
        "whitelist": ["/public/*"],
    },
}
BEARER = {
    "authType": "bearer",
    "authConfig": {
        "BearerFormat": "opaque",
        "opaqueTokenConfig": {
            "tokens": [
                {"enable": True, "tokenName": "on", "tokenData": SECRET_TOKEN},
                {"enable": False, "tokenName": "off", "tokenData": OTHER_TOKEN},
            ]
        },
    },
}
BASIC = {
    "authType": "basic",
    "authConfig": {"users": [{"userName": "administrator", "password": "Passw0rd!Passw0rd"}]},
}


def token(**claims: Any) -> str:
    """A token that the JWT trigger accepts."""
    return PAIR.token({"sub": "alice", **claims}, time.time())


def ended(emulator: Emulator) -> list[InvocationEnded]:
    """The records of all requests."""
    return [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]


def headers_of(answer: dict[str, Any], name: str) -> list[str]:
    """The values of a header that the function saw."""
    return [value for key, value in answer["headers"] if key.lower() == name.lower()]


async def test_token_lets_a_socket_in_and_its_absence_does_not(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A JWT trigger answers an upgrade without a token with 403 and one with a token with 101."""
    emulator = await serve(function(triggerConfig=JWT))
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(emulator.url)
    assert caught.value.status == 403
    for url, headers in (
        (emulator.url, {"Authorization": f"Bearer {token()}"}),
        (f"{emulator.url}/?token={token()}", {}),
        (emulator.url, {"Cookie": f"a=b; token={token()}"}),
    ):
        async with client.ws_connect(url, headers=headers) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"


async def test_claims_reach_the_function_and_forged_ones_do_not(serve: Serve, client: aiohttp.ClientSession) -> None:
    """The function sees the token's claims, never those that the client sent in their place."""
    emulator = await serve(function(triggerConfig=JWT))
    forged = {"X-Sub": "mallory", "x_sub": "mallory", "Cookie": "who=mallory; b=c", "Connection": "x-sub"}
    url = f"{emulator.url}/a?sub=mallory&x=1"
    async with client.get(url, headers={**forged, "Authorization": f"Bearer {token()}"}) as response:
        answer = await response.json()
    assert headers_of(answer, "x-sub") == ["alice"]
    assert headers_of(answer, "x_sub") == []
    assert answer["target"] == "/a?sub=alice&x=1"
    assert "who=alice" in headers_of(answer, "cookie")[0]
    assert "mallory" not in json.dumps(answer)
    async with client.get(f"{emulator.url}/public/a?sub=mallory", headers=forged) as response:
        assert response.status == 200
        assert "mallory" not in await response.text()


async def test_claims_of_a_repeated_request_reach_the_function_each_time(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """A request that the gateway knows by its bytes gets its claims again, and forged ones are dropped again."""
    emulator = await serve(function(triggerConfig=JWT))
    headers = {"X-Sub": "mallory", "Authorization": f"Bearer {token()}"}
    for _ in range(4):
        async with client.get(f"{emulator.url}/a?sub=mallory", headers=headers) as response:
            answer = await response.json()
        assert headers_of(answer, "x-sub") == ["alice"]
        assert answer["target"] == "/a?sub=alice"


@pytest.mark.parametrize("chunked", [False, True])
async def test_form_carries_the_token_and_the_claim(serve: Serve, client: aiohttp.ClientSession, chunked: bool) -> None:
    """A form's token is read, its claim set, and the body that the function sees has the right length."""
    emulator = await serve(function(triggerConfig=JWT))
    body = f"a=1&user=mallory&token={token()}".encode()

    async def parts() -> AsyncIterator[bytes]:
        yield body[:5]
        yield body[5:]

    data = parts() if chunked else body
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with client.post(emulator.url, data=data, headers=headers) as response:
        answer = await response.json()
    assert response.status == 200
    assert "user=alice" in answer["body"].split("&")
    assert "mallory" not in answer["body"]


async def test_client_that_waits_to_send_its_form_is_asked_for_it(serve: Serve, client: aiohttp.ClientSession) -> None:
    """With Expect: 100-continue the client is asked to send its form, because the token may be in it."""
    emulator = await serve(function(triggerConfig=JWT))
    data = {"token": token()}
    async with client.post(emulator.url, data=data, expect100=True) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 403, "JWTTokenIsMissing"),
        ({"Authorization": "Bearer x.y.z"}, 403, "JWTTokenInvalid"),
        ({"Authorization": f"Bearer {PAIR.token({}, 1000.0)}"}, 403, "JWTTokenInvalid"),
    ],
)
async def test_bad_token_gets_the_documented_answer(
    serve: Serve, client: aiohttp.ClientSession, headers: dict[str, str], status: int, code: str
) -> None:
    """A missing or bad token gets the documented body, costs nothing, and its reason is in the record."""
    emulator = await serve(function(triggerConfig=JWT))
    async with client.get(emulator.url, headers=headers) as response:
        body = await response.json()
    assert (response.status, body["Code"]) == (status, code)
    (record,) = ended(emulator)
    assert record.billed_ms == 0
    assert record.instance_id is None
    assert record.reason


async def test_bearer_token_lets_in_and_a_disabled_one_does_not(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Of the configured opaque tokens only the enabled one is accepted, for requests and sockets, and is passed on."""
    emulator = await serve(function(triggerConfig=BEARER))
    right = {"Authorization": f"Bearer {SECRET_TOKEN}"}
    async with client.get(emulator.url, headers=right) as response:
        assert headers_of(await response.json(), "authorization") == [right["Authorization"]]
    async with client.ws_connect(emulator.url, headers=right) as ws:
        await ws.send_str("hello")
        assert await ws.receive_str() == "hello"
    for headers in ({}, {"Authorization": f"Bearer {OTHER_TOKEN}"}, {"Authorization": f"Basic {SECRET_TOKEN}"}):
        async with client.get(emulator.url, headers=headers) as response:
            assert response.status == 403


async def test_basic_user_lets_in_and_a_wrong_password_does_not(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A configured user with the right password gets in, others get the documented messages."""
    emulator = await serve(function(triggerConfig=BASIC))
    for password, status in (("Passw0rd!Passw0rd", 200), ("Passw0rd!Passw0rD", 401)):
        headers = {"Authorization": aiohttp.encode_basic_auth("administrator", password)}
        async with client.get(emulator.url, headers=headers) as response:
            assert response.status == status
    async with client.get(emulator.url) as response:
        assert (response.status, (await response.json())["Message"]) == (401, "authorization require")


async def test_custom_domain_checks_its_own_authentication(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A request to the domain is authenticated as the domain says, one to the trigger's address as the trigger says."""
    domain = {
        "domainName": "a.test",
        "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]},
        "authConfig": {"authType": "bearer", "authInfo": BEARER["authConfig"]},
    }
    emulator = await serve(function(), customDomains=[domain])
    async with client.get(emulator.url) as response:
        assert response.status == 200
    async with client.get(emulator.url, headers={"Host": "a.test"}) as response:
        assert response.status == 403


async def test_tokens_appear_in_no_record_and_no_answer(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Good and bad tokens stay out of the journal, the log lines and the error bodies."""
    emulator = await serve(function(triggerConfig=JWT), function(functionName="other", triggerConfig=BEARER))
    good, bad = token(), token()[:-8] + "AAAAAAAA"
    bodies = []
    for value in (good, bad):
        for request in (
            {"url": f"{emulator.url}/?token={value}&x=1"},
            {"url": emulator.url, "headers": {"Authorization": f"Bearer {value}"}},
            {"url": emulator.url, "headers": {"Cookie": f"token={value}"}},
        ):
            headers = {"Host": "fn.localhost", **request.get("headers", {})}  # type: ignore[dict-item]
            async with client.get(str(request["url"]), headers=headers) as response:
                if response.status != 200:
                    bodies.append(await response.text())
    for wrong in (SECRET_TOKEN + "x", OTHER_TOKEN):
        headers = {"Host": "other.localhost", "Authorization": f"Bearer {wrong}"}
        async with client.get(emulator.url, headers=headers) as response:
            bodies.append(await response.text())
    told = [*bodies, *map(repr, emulator.journal.records), *map(report.as_json, emulator.journal.records)]
    told += ["\n".join(report.as_text(record)) for record in emulator.journal.records]
    for secret in (good, bad, good.split(".")[2], bad.split(".")[2], SECRET_TOKEN, OTHER_TOKEN):
        assert not any(secret in text for text in told)
    assert any("token=…&x=1" in text for text in told)
