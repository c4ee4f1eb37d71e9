"""The command line: its output and its exit codes."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml

from fcemu.model import AccessKey
from fcemu.trigger.request import RequestHead
from fcemu.trigger.signature import verify
from tests.conftest import EXAMPLES, FUNCTIONS


def fcemu(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "fcemu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, env=env, check=False)


def config(folder: Path, **props: Any) -> str:
    """Write a configuration of one function; returns its path."""
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
    file = folder / "trigger.yaml"
    command = {"command": [sys.executable, "echo.py"]}
    defaults = {
        "functionName": "fn",
        "code": str(FUNCTIONS),
        "timeout": 9,
        "customRuntimeConfig": command,
        "triggers": [trigger],
    }
    file.write_text(yaml.safe_dump({**defaults, **props}))
    return str(file)


def test_check_prints_the_url_map(tmp_path: Path) -> None:
    """`check` validates a configuration and prints the addresses that would be served."""
    ended = fcemu("check", config(tmp_path))
    assert ended.returncode == 0
    assert "ws://127.0.0.1:8080/" in ended.stdout
    assert ended.stdout.endswith("OK\n")


def test_check_warns_about_what_will_hurt(tmp_path: Path) -> None:
    """`check` warns about a trigger without GET and about a timeout that is not set."""
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["POST"], "authType": "anonymous"}}
    file = tmp_path / "trigger.yaml"
    file.write_text(yaml.safe_dump({"functionName": "fn", "triggers": [trigger]}))
    ended = fcemu("check", str(file))
    assert ended.returncode == 0
    assert "GET" in ended.stdout.partition("warning:")[2]
    assert "timeout" in ended.stdout


def test_bad_configuration_is_told_whole_with_exit_code_2(tmp_path: Path) -> None:
    """Every mistake of a file is printed with file and line, and the exit code is 2."""
    file = tmp_path / "trigger.yaml"
    file.write_text("functionName: fn\ntimeout: 100000\ninstanceConcurency: 2\n")
    for command in (["check", "trigger.yaml"], ["serve", "trigger.yaml", "--port", "0"]):
        ended = fcemu(*command, cwd=tmp_path)
        assert ended.returncode == 2
        assert "trigger.yaml:2: timeout: " in ended.stderr
        assert "trigger.yaml:3: instanceConcurency: " in ended.stderr
        assert "did you mean `instanceConcurrency`" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_missing_file_is_told_with_exit_code_2(tmp_path: Path) -> None:
    """A file that does not exist is an unusable configuration: exit code 2."""
    ended = fcemu("serve", cwd=tmp_path)
    assert ended.returncode == 2
    assert "trigger.yaml" in ended.stderr


def test_function_that_does_not_start_ends_with_its_last_output(tmp_path: Path) -> None:
    """If a function exits at the start, fcemu prints its output and exits with 1."""
    ready = tmp_path / "ready.json"
    file = config(tmp_path, customRuntimeConfig={"command": [sys.executable, "listen.py", "exit"]})
    ended = fcemu("serve", file, "--port", "0", "--ready-file", str(ready))
    assert ended.returncode == 1
    assert "No module named uvicorn" in ended.stderr
    assert "ready:" not in ended.stdout
    assert not ready.exists()


def test_taken_address_is_told_with_exit_code_1(tmp_path: Path) -> None:
    """A port that is in use is reported in a sentence, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = fcemu("serve", config(tmp_path), "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    assert "cannot listen on" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_env_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """An envFile that does not exist is an error."""
    ended = fcemu("serve", config(tmp_path, fcemu={"envFile": "no.env"}), "--port", "0")
    assert ended.returncode != 0
    assert "no.env" in ended.stderr


def test_env_file_reaches_the_function(tmp_path: Path) -> None:
    """The function gets the variables of the .env file, which override the configured ones."""
    (tmp_path / "local.env").write_text("ROOM=lobby\n# a comment\nQUOTED='a b'\n")
    script = tmp_path / "show.py"
    script.write_text("import json, os\nprint(json.dumps(dict(os.environ)), flush=True)\nraise SystemExit(7)\n")
    file = config(
        tmp_path,
        code=".",
        customRuntimeConfig={"command": [sys.executable, "show.py"]},
        environmentVariables={"ROOM": "hall"},
        fcemu={"envFile": "local.env"},
    )
    ended = fcemu("serve", file, "--port", "0")
    line = next(line for line in ended.stdout.splitlines() if "stdout | {" in line)
    environment = json.loads(line.partition(" | ")[2])
    assert (environment["ROOM"], environment["QUOTED"]) == ("lobby", "a b")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command that keeps its state in the test's folder."""
    return {**os.environ, "XDG_STATE_HOME": str(folder), **more}


KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-test", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "a secret"}


def test_sign_needs_a_key_and_says_where_from(tmp_path: Path) -> None:
    """`sign` without a key pair says how to pass one."""
    none = {name: value for name, value in os.environ.items() if not name.startswith("ALIBABA_CLOUD_")}
    ended = fcemu("sign", "GET", "http://a.test/", env=none)
    assert ended.returncode == 1
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in ended.stderr


@pytest.mark.parametrize("scheme", ["acs3", "fc", "acs"])
def test_sign_prints_headers_that_verify(tmp_path: Path, scheme: str) -> None:
    """`sign` prints headers that make a request valid, in each scheme, and signs extra headers."""
    extra = "x-acs-meta:1" if scheme != "fc" else "x-fc-meta:1"
    ended = fcemu(
        "sign", "POST", "http://a.test/x?y=z", "--scheme", scheme, "--header", extra, env=environment(tmp_path, **KEYS)
    )
    pairs = tuple((k.encode(), v.strip().encode()) for k, _, v in (x.partition(":") for x in ended.stdout.splitlines()))
    head = RequestHead("POST", "/x?y=z", ((b"Host", b"a.test"), *pairs))
    key = AccessKey(accessKeyId="LTAI-test", accessKeySecret="a secret")
    assert verify(head, {key.accessKeyId: key}, time.time()) == "LTAI-test"


def test_sign_takes_the_key_of_a_configuration(tmp_path: Path) -> None:
    """`sign --config` signs with the file's key, and --access-key-id chooses one of several."""
    keys = [{"accessKeyId": f"ak{n}", "accessKeySecret": "s"} for n in (1, 2)]
    file = config(tmp_path, accessKeys=keys)
    assert "Credential=ak1," in fcemu("sign", "GET", "http://a.test/", "--config", file).stdout
    chosen = fcemu("sign", "GET", "http://a.test/", "--config", file, "--access-key-id", "ak2").stdout
    assert "Credential=ak2," in chosen


def test_sign_prints_a_presigned_url_and_a_curl_line(tmp_path: Path) -> None:
    """`sign` prints a URL that needs no header, or a command to paste."""
    env = environment(tmp_path, **KEYS)
    url = fcemu("sign", "GET", "ws://127.0.0.1:1/a", "--scheme", "presigned", env=env).stdout
    assert url.startswith("ws://127.0.0.1:1/a?x-fc-access-key-id=LTAI-test&x-fc-expires=")
    words = shlex.split(fcemu("sign", "GET", "ws://127.0.0.1:1/a", "--as", "curl", env=env).stdout)
    assert words[0] == "curl"
    assert words[-1] == "http://127.0.0.1:1/a"
    assert "x-acs-security-token;" in words


def test_token_keeps_its_key_private_and_uses_it_again(tmp_path: Path) -> None:
    """`token` creates a key once, which only its owner can read; its JWKS verifies all of its tokens."""
    env = environment(tmp_path)
    made = fcemu("token", "--claim", "sub=me", "--claim", "level=5", "--expires", "60", env=env).stdout.strip()
    jwks = json.loads(fcemu("token", "--jwks", env=env).stdout)
    (file,) = (tmp_path / "fcemu").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    claims = jwt.decode(made, jwt.PyJWKSet.from_dict(jwks).keys[0], algorithms=["ES256"])
    assert (claims["sub"], claims["level"], claims["exp"] - claims["iat"]) == ("me", 5, 60)


def test_token_of_an_unknown_algorithm_is_told(tmp_path: Path) -> None:
    """`token` with an unknown algorithm lists the known ones."""
    ended = fcemu("token", "--alg", "none", env=environment(tmp_path))
    assert ended.returncode == 1
    assert "RS256" in ended.stderr
    assert not (tmp_path / "fcemu").exists()


def test_explain_of_an_unknown_id_is_told(tmp_path: Path) -> None:
    """`explain` says if it does not know the request."""
    ended = fcemu("explain", "1-a-b-c", env=environment(tmp_path))
    assert ended.returncode == 1
    assert "1-a-b-c" in ended.stderr


def test_version_and_help_answer() -> None:
    """`--version` and `--help` say what they should."""
    assert fcemu("--version").stdout.startswith("fcemu, version ")
    assert "serve" in fcemu("--help").stdout


def test_one_unknown_option_is_a_usage_error() -> None:
    """An unknown option ends with exit code 2 and a hint."""
    ended = fcemu("serve", "--prot", "1")
    assert ended.returncode == 2
    assert "--port" in ended.stderr


def test_example_configurations_pass_the_check() -> None:
    """The examples that come with fcemu pass `check`."""
    for example in ("echo-node", "echo-python"):
        assert fcemu("check", str(EXAMPLES / example / "trigger.yaml")).returncode == 0
