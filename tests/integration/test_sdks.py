"""The vendor's own clients, which sign as they do for the cloud, pass a trigger with authType `function`.

`alibabacloud-openapi-util` is used as the documentation's samples use it; `aliyun-fc2` and `alibabacloud-tea-openapi`
send the requests themselves.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import aiohttp
import fc2
import fc2.auth
import pytest
from alibabacloud_openapi_util.client import Client as OpenApiUtil
from alibabacloud_tea_openapi.client import Client as TeaClient
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from alibabacloud_tea_openapi.websocket_utils import GeneralWebSocketHandler
from darabonba.runtime import RuntimeOptions
from Tea.request import TeaRequest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from yarl import URL

from fcemu.emulator import Emulator
from fcemu.journal import InvocationEnded
from fcemu.model import AccessKey
from fcemu.report import as_json, as_text
from fcemu.trigger.signature import SCHEMES, sign
from tests.conftest import FUNCTIONS, Serve, function
from tests.integration.conftest import Made

PLAIN = AccessKey(accessKeyId="sdk-test-key", accessKeySecret="sdk-test-secret-of-the-plain-key")
STS = AccessKey(
    accessKeyId="STS.sdk-test-key",
    accessKeySecret="sdk-test-secret-of-the-sts-key",
    securityToken="CAISsdk-test-token+/0123456789==",
)
KEYS = [pytest.param(PLAIN, id="key"), pytest.param(STS, id="sts")]

UPGRADE = [pytest.param(False, id="http"), pytest.param(True, id="upgrade")]

OLD = 16 * 60 + 30
"""Seconds; a request this old is refused, and says so as `16 min …`."""

Seen = dict[str, Any]


def wrong(key: AccessKey) -> AccessKey:
    """The same key with another secret."""
    return key.model_copy(update={"accessKeySecret": "sdk-test-secret-that-is-wrong"})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the SDKs from using a proxy of the environment."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
async def emulator(serve: Serve) -> Emulator:
    """A function behind a trigger that verifies signatures; it starts at the first accepted request."""
    return await serve(function(triggerConfig={"authType": "function"}), accessKeys=[PLAIN, STS], start="lazy")


@dataclass(frozen=True)
class Reply:
    """The answer that a client got; with status 101, `body` is the echoed message."""

    status: int
    body: str

    @property
    def seen(self) -> Seen:
        """The request as the function saw it."""
        assert self.status == 200, self.body
        seen: Seen = json.loads(self.body)
        return seen

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and error code."""
        return self.status, json.loads(self.body)["Code"]


async def ask(
    emulator: Emulator,
    target: str,
    headers: Mapping[str, str],
    *,
    method: str = "GET",
    body: str | None = None,
    upgrade: bool = False,
) -> Reply:
    """Send a request as signed; for an upgrade, say `hello` if it is accepted."""
    if not upgrade:
        url = URL(f"http://127.0.0.1:{emulator.port}{target}", encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, data=body, skip_auto_headers=["Content-Type"]) as response,
        ):
            return Reply(response.status, await response.text())
    try:
        async with connect(
            f"ws://127.0.0.1:{emulator.port}{target}", additional_headers=dict(headers), proxy=None
        ) as socket:
            await socket.send("hello")
            return Reply(101, str(await socket.recv()))
    except InvalidStatus as refused:
        return Reply(refused.response.status_code, refused.response.body.decode())


def ends(emulator: Emulator) -> list[InvocationEnded]:
    return [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]


def http_date(age: float) -> str:
    return formatdate(time.time() - age, usegmt=True)


# ---- how each SDK signs


def fc2_client(emulator: Emulator, key: AccessKey) -> Any:
    return fc2.Client(
        endpoint=f"http://127.0.0.1:{emulator.port}",
        accessKeyID=key.accessKeyId,
        accessKeySecret=key.accessKeySecret,
        securityToken=key.securityToken or "",
    )


def fc_headers(method: str, target: str, key: AccessKey, age: float = 0) -> dict[str, str]:
    """Headers of `Authorization: FC …`, by aliyun-fc2's own signer."""
    headers = {"date": http_date(age)} | ({"x-fc-security-token": key.securityToken} if key.securityToken else {})
    auth = fc2.auth.Auth(key.accessKeyId, key.accessKeySecret, key.securityToken or "")
    parts = urlsplit(target)
    queries = parse_qs(parts.query, keep_blank_values=True)
    return {**headers, "authorization": auth.sign_request(method, unquote(parts.path), headers, queries)}


def tea_request(method: str, target: str, headers: dict[str, str]) -> Any:
    """A request as the documentation's Python sample fills it in."""
    parts = urlsplit(target)
    request = TeaRequest()
    request.method = method
    request.pathname = parts.path.replace("$", "%24")
    request.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    request.headers = headers
    return request


def acs3_headers(method: str, target: str, key: AccessKey, age: float = 0) -> dict[str, str]:
    """Headers of `Authorization: ACS3-HMAC-SHA256 …`, as the documentation's Python sample makes them."""
    date = datetime.fromtimestamp(time.time() - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {"x-acs-date": date, "x-acs-security-token": key.securityToken or ""}
    request = tea_request(method, target, headers)
    authorization = OpenApiUtil.get_authorization(request, "ACS3-HMAC-SHA256", "", key.accessKeyId, key.accessKeySecret)
    return {**headers, "authorization": authorization}


def roa_headers(method: str, target: str, key: AccessKey, age: float = 0) -> dict[str, str]:
    """Headers of `Authorization: acs …`, by openapi-util's ROA functions."""
    headers = {"date": http_date(age), "accept": "application/json"}
    if key.securityToken:
        headers["x-acs-security-token"] = key.securityToken
    request = tea_request(method, target, headers)
    request.pathname = urlsplit(target).path
    signature = OpenApiUtil.get_roasignature(OpenApiUtil.get_string_to_sign(request), key.accessKeySecret)
    return {**headers, "authorization": f"acs {key.accessKeyId}:{signature}"}


Signer = Callable[..., dict[str, str]]

SIGNERS = [
    pytest.param(fc_headers, id="aliyun-fc2"),
    pytest.param(acs3_headers, id="openapi-util-acs3"),
    pytest.param(roa_headers, id="openapi-util-roa"),
]

TARGETS = [
    "/",
    "/hello?foo=bar&b=2&a=1",
    "/a%20b/%E4%BD%A0?city=%E4%B8%8A%E6%B5%B7&q=a%2Bb~%2A%20c",
    "/a$b$c/d+e*f%7Eg?x=1",
]


# ---- every signer, plain and upgrading


@pytest.mark.parametrize("upgrade", UPGRADE)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("signer", SIGNERS)
async def test_signed_request_passes(emulator: Emulator, signer: Signer, key: AccessKey, upgrade: bool) -> None:
    """A request with an SDK's headers reaches the function, whatever its path and query."""
    for target in TARGETS:
        reply = await ask(emulator, target, signer("GET", target, key), upgrade=upgrade)
        if upgrade:
            assert (reply.status, reply.body) == (101, "hello"), target
        else:
            assert reply.seen["target"] == target


@pytest.mark.parametrize("signer", SIGNERS)
async def test_signed_body_passes(emulator: Emulator, signer: Signer) -> None:
    """A POST reaches the function with its body, which none of these signers signs."""
    headers = signer("POST", "/hello?foo=bar", PLAIN)
    seen = (await ask(emulator, "/hello?foo=bar", headers, method="POST", body="hello world")).seen
    assert (seen["method"], seen["body"]) == ("POST", "hello world")


@pytest.mark.parametrize("upgrade", UPGRADE)
@pytest.mark.parametrize("signer", SIGNERS)
async def test_refusals_of_signed_requests(emulator: Emulator, signer: Signer, upgrade: bool) -> None:
    """An upgrade is refused for the same reasons, and with the same answers, as any other request."""
    unknown = PLAIN.model_copy(update={"accessKeyId": "sdk-test-unknown"})
    other_token = STS.model_copy(update={"securityToken": "another-token"})
    table: list[tuple[dict[str, str], tuple[int, str]]] = [
        (signer("GET", "/room?a=1", wrong(PLAIN)), (403, "SignatureNotMatch")),
        (signer("GET", "/room?a=1", wrong(STS)), (403, "SignatureNotMatch")),
        (signer("GET", "/room?a=1", other_token), (403, "SignatureNotMatch")),
        (signer("GET", "/room?a=2", PLAIN), (403, "SignatureNotMatch")),
        (signer("GET", "/other?a=1", PLAIN), (403, "SignatureNotMatch")),
        (signer("POST", "/room?a=1", PLAIN), (403, "SignatureNotMatch")),
        (signer("GET", "/room?a=1", unknown), (403, "InvalidAccessKeyID")),
        (signer("GET", "/room?a=1", PLAIN, OLD), (403, "AccessDenied")),
        (signer("GET", "/room?a=1", PLAIN, -OLD), (403, "AccessDenied")),
        ({}, (400, "MissingRequiredHeader")),
    ]
    for headers, expected in table:
        reply = await ask(emulator, "/room?a=1", headers, upgrade=upgrade)
        assert reply.refusal == expected
    assert [end.status for end in ends(emulator)] == [status for _, (status, _) in table]
    assert all(end.instance_id is None and end.billed_ms == 0 for end in ends(emulator))


@pytest.mark.parametrize("upgrade", UPGRADE)
@pytest.mark.parametrize("signer", SIGNERS)
async def test_old_request_says_how_old(emulator: Emulator, signer: Signer, upgrade: bool) -> None:
    """The record of a request refused for its date says how old it is, or how far in the future."""
    for age, words in ((OLD, "16 min 3[0-9] s old"), (-OLD, "16 min [0-9]+ s in the future")):
        reply = await ask(emulator, "/", signer("GET", "/", PLAIN, age), upgrade=upgrade)
        assert reply.refusal == (403, "AccessDenied")
        assert "the difference between the request time" in json.loads(reply.body)["Message"]
        assert re.search(words, ends(emulator)[-1].reason or "")


# ---- the clients themselves


@pytest.mark.parametrize("key", KEYS)
async def test_fc2_client(emulator: Emulator, key: AccessKey) -> None:
    """aliyun-fc2's client gets through with a query and with a body, and is refused with a wrong secret."""
    client = fc2_client(emulator, key)
    query = {"hello": "world", "a": ["2", "1"], "blank": "", "city": "上海"}
    answer = await asyncio.to_thread(client.do_http_request, "GET", "service", "fn", "/a%20b", params=query)
    assert answer.status_code == 200
    expected = "/2016-08-15/proxy/service/fn/a%20b?hello=world&a=2&a=1&blank=&city=%E4%B8%8A%E6%B5%B7"
    assert answer.json()["target"] == expected
    headers = {"x-fc-trace-id": "trace", "content-type": "text/plain"}
    answer = await asyncio.to_thread(
        client.do_http_request, "POST", "service.LATEST", "fn", "/x", headers=headers, body="hello world"
    )
    assert (answer.status_code, answer.json()["body"]) == (200, "hello world")
    forger = fc2_client(emulator, wrong(key))
    answer = await asyncio.to_thread(forger.do_http_request, "GET", "service", "fn", "/")
    assert (answer.status_code, answer.json()["Code"]) == (403, "SignatureNotMatch")
    headers = {"date": http_date(OLD)}
    answer = await asyncio.to_thread(client.do_http_request, "GET", "service", "fn", "/", headers=headers)
    assert (answer.status_code, answer.json()["Code"]) == (403, "AccessDenied")


def tea_call(
    emulator: Emulator,
    key: AccessKey,
    *,
    method: str = "GET",
    body: Any = None,
    protocol: str = "http",
    runtime: RuntimeOptions | None = None,
) -> Any:
    """One call of alibabacloud-tea-openapi's client; blocks."""
    config = Config(
        access_key_id=key.accessKeyId,
        access_key_secret=key.accessKeySecret,
        security_token=key.securityToken,
        endpoint=f"127.0.0.1:{emulator.port}",
        protocol=protocol,
    )
    params = Params(
        action="Hello",
        version="2023-03-30",
        protocol=protocol,
        pathname="/hello/%E4%BD%A0",
        method=method,
        auth_type="AK",
        style="ROA",
        req_body_type="json",
        body_type="json",
        websocket_sub_protocol="general",
    )
    request = OpenApiRequest(query={"city": "上海", "a": "1 2"}, body=body)
    return TeaClient(config).do_request(params, request, runtime or RuntimeOptions())


@pytest.mark.parametrize("key", KEYS)
async def test_tea_client(emulator: Emulator, key: AccessKey) -> None:
    """alibabacloud-tea-openapi's client, which signs all its headers and its body's hash, gets through."""
    answer = await asyncio.to_thread(tea_call, emulator, key, method="POST", body={"hello": "world"})
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]["body"]) == {"hello": "world"}
    names = {name.lower() for name, _ in answer["body"]["headers"]}
    assert {"x-acs-content-sha256", "x-acs-signature-nonce"} <= names
    answer = await asyncio.to_thread(tea_call, emulator, key)
    assert answer["statusCode"] == 200
    with pytest.raises(ClientException) as caught:
        await asyncio.to_thread(tea_call, emulator, wrong(key))
    assert (caught.value.status_code, caught.value.code) == (403, "SignatureNotMatch")


class Listener(GeneralWebSocketHandler):  # type: ignore[misc]
    """Keeps the first message that alibabacloud-tea-openapi's WebSocket client hands it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()
        self.message: Any = None

    def handle_general_message(self, session: Any, message: Any) -> None:
        self.message = message["body"]
        self.heard.set()


@pytest.mark.parametrize("key", KEYS)
async def test_tea_websocket_client(emulator: Emulator, key: AccessKey) -> None:
    """alibabacloud-tea-openapi's WebSocket client is let through, and refused with a wrong secret."""
    listener = Listener()
    runtime = RuntimeOptions(web_socket_handler=listener)

    def talk() -> None:
        client = tea_call(emulator, key, protocol="ws", runtime=runtime)["webSocketClient"]
        client.send_general_text_message("hello")
        assert listener.heard.wait(30)
        client.close()

    await asyncio.to_thread(talk)
    assert listener.message == {"body": "hello"}
    with pytest.raises(Exception, match="403 Forbidden"):
        await asyncio.to_thread(tea_call, emulator, wrong(key), protocol="ws", runtime=runtime)
    assert ends(emulator)[-1].error_code == "SignatureNotMatch"


# ---- Node


@pytest.fixture(scope="session")
def node_modules(made_once: Made) -> Path:
    """The vendor's Node SDKs and `ws`, installed."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the vendor's Node SDKs were NOT tested")

    def fill(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        subprocess.run(command, cwd=folder, check=True)

    packages = ["@alicloud/fc2@^2.6.6", "@alicloud/openapi-util@^0.3.3", "@alicloud/tea-typescript@^1.8.0", "ws@^8.18"]
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", *packages]
    return made_once("node-sdks", fill) / "node_modules"


NodeSdk = Callable[..., Awaitable[Reply]]


@pytest.fixture
def node_sdk(node_modules: Path, emulator: Emulator) -> NodeSdk:
    """Run tests/functions/sdk-client.js: `await node_sdk("fc2", key, path=…, query=…)`."""

    async def run(sdk: str, key: AccessKey, **job: Any) -> Reply:
        origin = f"http://127.0.0.1:{emulator.port}"
        process = await asyncio.create_subprocess_exec(
            "node",
            str(FUNCTIONS / "sdk-client.js"),
            json.dumps({"sdk": sdk, "origin": origin, "key": key.model_dump(exclude_none=True), **job}),
            env={**os.environ, "NODE_PATH": str(node_modules)},
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return Reply(**json.loads(output))

    return run


NODE_SDKS = ["fc2", "acs3", "roa"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("sdk", NODE_SDKS)
async def test_node_sdk(emulator: Emulator, node_sdk: NodeSdk, sdk: str, key: AccessKey) -> None:
    """A Node SDK gets through with a query and with a body, and is refused with a wrong secret."""
    prefix = "/2016-08-15/proxy/service/fn" if sdk == "fc2" else ""
    query = {"b": "2", "a": "1", "blank": "", "city": "x y"}
    reply = await node_sdk(sdk, key, path="/a/b", query=query)
    assert reply.seen["target"] == f"{prefix}/a/b?b=2&a=1&blank=&city=x%20y"
    reply = await node_sdk(sdk, key, method="POST", path="/x", query={"foo": "bar"}, body="hello world")
    assert reply.seen["body"] == "hello world"
    assert (await node_sdk(sdk, wrong(key))).status == 403
    assert ends(emulator)[-1].error_code == "SignatureNotMatch"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("sdk", NODE_SDKS)
async def test_node_sdk_upgrades(emulator: Emulator, node_sdk: NodeSdk, sdk: str, key: AccessKey) -> None:
    """npm's `ws` with a Node SDK's headers opens a socket, and is refused with a wrong secret."""
    reply = await node_sdk(sdk, key, path="/room", query={"id": "1"}, socket="hello")
    assert (reply.status, reply.body) == (101, "hello")
    reply = await node_sdk(sdk, wrong(key), path="/room", query={"id": "1"}, socket="hello")
    assert reply.refusal == (403, "SignatureNotMatch")


async def test_node_sdk_escapes_once(emulator: Emulator, node_sdk: NodeSdk) -> None:
    """The path that Node's openapi-util signs, with only the first of each special character escaped, passes."""
    reply = await node_sdk("acs3", PLAIN, path="/a$b$c/d+e+f/g*h*i/%7Ej%7Ek")
    assert reply.seen["target"] == "/a$b$c/d+e+f/g*h*i/%7Ej%7Ek"


# ---- pre-signed URLs


@pytest.mark.parametrize("key", KEYS)
async def test_presigned_url_opens_a_socket(emulator: Emulator, key: AccessKey) -> None:
    """A pre-signed URL opens a socket without any header, as a browser would, until it expires."""
    url = f"ws://127.0.0.1:{emulator.port}/2016-08-15/proxy/service/fn/room?id=1"
    signed = sign("GET", url, key, time.time(), scheme="presigned", expires=60)
    assert signed.headers == ()
    async with connect(signed.url, proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
    expired = sign("GET", url, key, time.time() - OLD, scheme="presigned", expires=60)
    reply = await ask(emulator, expired.url.partition(str(emulator.port))[2], {}, upgrade=True)
    assert reply.refusal == (403, "AccessDenied")
    assert re.fullmatch(r"the pre-signed URL expired 15 min 3[0-9] s ago", ends(emulator)[-1].reason or "")


@pytest.mark.parametrize("upgrade", UPGRADE)
async def test_presigned_url_that_is_wrong(emulator: Emulator, upgrade: bool) -> None:
    """A pre-signed URL that was changed, or made with a wrong secret or unknown key, is refused."""
    base = f"http://127.0.0.1:{emulator.port}"
    unknown = PLAIN.model_copy(update={"accessKeyId": "sdk-test-unknown"})

    def target(key: AccessKey) -> str:
        return sign("GET", f"{base}/room?id=1", key, time.time(), scheme="presigned").url.removeprefix(base)

    good = target(PLAIN)
    later = re.sub(r"x-fc-expires=\d+", f"x-fc-expires={int(time.time()) + 86400}", good)
    assert later != good
    for changed, code in (
        (target(wrong(PLAIN)), "SignatureNotMatch"),
        (target(unknown), "InvalidAccessKeyID"),
        (good.replace("id=1", "id=2"), "SignatureNotMatch"),
        (later, "SignatureNotMatch"),
        (good + "&x-fc-signature=again", "SignatureNotMatch"),
    ):
        assert (await ask(emulator, changed, {}, upgrade=upgrade)).refusal == (403, code)


# ---- what is told to whom


@pytest.mark.parametrize("upgrade", UPGRADE)
async def test_unsigned_request(emulator: Emulator, upgrade: bool) -> None:
    """A request without a signature is refused as documented, whatever else it contains."""
    reply = await ask(emulator, "/", {"x-fc-trace-id": "1"}, upgrade=upgrade)
    assert reply.refusal == (400, "MissingRequiredHeader")
    assert json.loads(reply.body)["Message"] == "required HTTP header Date was not specified"
    reply = await ask(emulator, "/", {"Date": http_date(0)}, upgrade=upgrade)
    assert reply.refusal == (400, "MissingRequiredHeader")
    assert json.loads(reply.body)["Message"] == "required HTTP header Authorization was not specified"


@pytest.mark.parametrize("upgrade", UPGRADE)
async def test_secrets_are_told_to_nobody(emulator: Emulator, upgrade: bool) -> None:
    """No secret, token, signature or Authorization value is in a record, a log line or an error body."""
    unknown = PLAIN.model_copy(update={"accessKeyId": "sdk-test-unknown"})
    tokenless = STS.model_copy(update={"securityToken": None})
    other_token = STS.model_copy(update={"securityToken": "sdk-test-other-token"})
    base = f"http://127.0.0.1:{emulator.port}"
    secrets = {"sdk-test-secret", "sdk-test-token", quote("sdk-test-token+/", safe=""), "sdk-test-other-token"}
    told: list[str] = []

    async def send(target: str, headers: Mapping[str, str]) -> int:
        reply = await ask(emulator, target, headers, upgrade=upgrade)
        if reply.status >= 400:
            told.append(reply.body)
        return reply.status

    statuses: list[int] = []
    for scheme in SCHEMES:
        for key in (PLAIN, STS, wrong(PLAIN), wrong(STS), unknown, tokenless, other_token):
            for age in (0, 2 * OLD):
                signed = sign("GET", f"{base}/room?id=1", key, time.time() - age, scheme=scheme)
                for name, value in signed.headers:
                    if name.lower() == "authorization":
                        secrets |= {value, re.split("[:=]", value.rstrip("="))[-1]}
                if scheme == "presigned":
                    signature = signed.url.partition("x-fc-signature=")[2]
                    secrets |= {signature, unquote(signature)}
                statuses.append(await send(signed.url.removeprefix(base), dict(signed.headers)))
    assert statuses.count(101 if upgrade else 200) == 2 * len(SCHEMES)
    opaque = "sdk-test-opaque-value"
    secrets |= {opaque, opaque[:12], b64encode(b"user:sdk-test-password").decode()}
    for value in (opaque, f"Bearer {opaque}", f"FC {opaque}", f"acs {opaque}:", f"ACS3-HMAC-SHA256 {opaque}"):
        assert await send("/", {"Date": http_date(0), "Authorization": value}) == 403
    basic = "Basic " + b64encode(b"user:sdk-test-password").decode()
    assert await send("/", {"Date": http_date(0), "Authorization": basic}) == 403
    assert await send(f"/?x-fc-signature={opaque}&x-fc-security-token={opaque}&x-fc-expires=1", {}) == 403
    assert await send(f"/?x-fc-signature={opaque}&x-fc-signature={opaque}&x-fc-expires=9999999999", {}) == 403

    records = list(emulator.journal.records)
    told += [repr(record) for record in records]
    told += [as_json(record) for record in records]
    told += [line for record in records for line in as_text(record)]
    text = "\n".join(told)
    assert "SignatureNotMatch" in text
    assert {secret for secret in secrets if secret in text} == set()
