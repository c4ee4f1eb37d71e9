"""The documentation is complete, and what it shows works."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydantic import BaseModel

from fcemu import model
from fcemu.cli.group import cli
from fcemu.configuration.load import load
from fcemu.errors import Refusal
from fcemu.faults.actions.registry import ACTIONS

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
MODELS = [thing for thing in vars(model).values() if isinstance(thing, type) and issubclass(thing, BaseModel)]


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl, which is not installed")


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_command_is_documented_with_its_options(command: str) -> None:
    """Every command, and every option of it, is in the reference and has help."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert f"`fcemu {command}" in page
    assert cli.commands[command].help
    for parameter in cli.commands[command].params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert f"`{option}" in page


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.name)
def test_refusal_is_documented(refusal: Refusal) -> None:
    """Every status and code that a client can get is in the reference."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    row = re.search(rf"^\| {refusal.value.status} \| `{refusal.value.code}` \| .* \| (yes|no) \|$", page, re.MULTILINE)
    assert row
    assert (row[1] == "yes") is refusal.value.billed


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_configuration_key_is_documented(kind: type[BaseModel]) -> None:
    """Every key of every model is in the configuration reference."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    missing = [name for name in kind.model_fields if not re.search(rf"[`.]{name}`|`{name}\.", page)]
    assert missing == []


def test_fault_actions_are_documented() -> None:
    """The reference's table of actions is what the actions say of themselves, in their order."""
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    rows = []
    for action in ACTIONS.values():
        models = {key: field.annotation for key, field in action.model_fields.items()}
        keys = [
            f"`{key}.{inner}`" if inner else f"`{key}`"
            for key, kind in models.items()
            for inner in (kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else [""])
        ]
        text = action.description()
        rows.append(f"| {', '.join(keys)} | {text[0].lower()}{text[1:]} |\n")
    assert "| action | what it does |\n|---|---|\n" + "".join(rows) in page


def test_fault_actions_have_an_example() -> None:
    """The how-to guide has a question, and a rule that answers it, for each action."""
    page = (ROOT / "docs" / "how-to" / "faults.md").read_text()
    rules = [yaml.safe_load(rule) for rule in re.findall(r"`(\{.*?\})`", page) if "|" not in rule]
    assert {model.FaultRule.model_validate(rule).action.key for rule in rules} == ACTIONS.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link of a page names a file that exists."""
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configuration_in_a_page_loads(page: Path, tmp_path: Path) -> None:
    """Every YAML block is a configuration that loads, or the `fcemu:` part of one."""
    for block in blocks(page, "yaml"):
        data: dict[str, Any] = yaml.safe_load(block)
        if set(data) == {"fcemu"}:
            block += "functions: [{functionName: fn}]\n"
        for function in data.get("functions", [data]):
            (tmp_path / function.get("code", ".")).mkdir(exist_ok=True)
        (tmp_path / "trigger.yaml").write_text(block)
        load(tmp_path / "trigger.yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_a_page_exist(page: Path) -> None:
    """Every fcemu command line of a page is one that the program understands."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removesuffix("&"), comments=True)
            if words and words[0].endswith("fcemu"):
                end = words.index("--") if "--" in words else len(words)  # what follows is another program's
                arguments = [word for word in words[2:end] if word not in ("&", ">")]
                command = cli.commands[words[1]]
                command.make_context(words[1], arguments, resilient_parsing=True)
                assert all(
                    word.split("=")[0] in {o for p in command.params for o in p.opts}
                    for word in arguments
                    if word.startswith("--")
                )


CI_PAGE = ROOT / "docs" / "how-to" / "ci.md"


@pytest.fixture
def follow(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a script in a folder that has a configuration of the echo function and a package whose test asks it."""
    example = ROOT / "examples" / "echo-python"
    config = (example / "trigger.yaml").read_text().replace("python3", sys.executable)
    (tmp_path / "trigger.yaml").write_text(config.replace("code: .", f"code: {example}"))
    package = {"scripts": {"test": 'curl --fail --silent --show-error "$FCEMU_URL/"'}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "fcemu").write_text(f'#!/bin/sh\nexec {sys.executable} -m fcemu "$@"\n')
    (bin_ / "fcemu").chmod(0o755)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": f"{bin_}:{os.environ['PATH']}"}

    def run(script: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False)

    return run


@needs_curl
@pytest.mark.parametrize("script", blocks(CI_PAGE, "sh"), ids=lambda script: " ".join(script.split()[:2]))
def test_ci_page_works_as_written(script: str, follow: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """Each script on the page about CI runs as it is written, and reaches the function."""
    ended = follow(script)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert '"method": "GET"' in ended.stdout or " passed in " in ended.stdout.splitlines()[-1]


@needs_curl
@pytest.mark.skipif(shutil.which("npm") is None, reason="the page uses npm, which is not installed")
@pytest.mark.parametrize("number", [0, 1], ids=["github", "gitlab"])
def test_ci_workflow_works_as_written(
    number: int, follow: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The fcemu commands of each workflow run as they are written, and create the files that the workflow keeps."""
    found = blocks(CI_PAGE, "yml")
    assert len(found) == 2
    job = yaml.safe_load(found[number])
    if number == 0:
        steps = job["jobs"]["functions"]["steps"]
        commands = [step["run"] for step in steps if "run" in step]
        kept = steps[-1]["with"]["path"].split()
    else:
        commands, kept = job["functions"]["script"], [job["functions"]["artifacts"]["reports"]["junit"]]
    ours = [command for command in commands if command.startswith("fcemu ")]
    assert len(ours) == len(commands) - 1  # all but the installation
    for command in ours:
        ended = follow(command)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all((tmp_path / name).stat().st_size for name in kept)
    assert ElementTree.parse(tmp_path / "smoke.xml").getroot().tag == "testsuites"


@needs_curl
@pytest.mark.parametrize("kind", ["signature", "jwt", "bearer", "basic"])
def test_authentication_page_works_when_followed(kind: str, tmp_path: Path) -> None:
    """A reader who follows the page on a kind of authentication gets in, and can find out why a request was refused."""
    page = ROOT / "docs" / "how-to" / f"{kind}.md"
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "fcemu").write_text(f'#!/bin/sh\nexec {sys.executable} -m fcemu "$@"\n')
    (bin_ / "fcemu").chmod(0o755)
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": f"{bin_}:{os.environ['PATH']}"}

    def follow(script: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8080", f"127.0.0.1:{port}")]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    port = 0
    (block,) = blocks(page, "yaml")
    config = yaml.safe_load(block)
    config |= {"code": str(ROOT / "examples" / "echo-python"), "timeout": 30}
    config["customRuntimeConfig"] = {"command": [sys.executable, "server.py"]}
    if kind == "jwt":
        jwks = json.loads(follow(blocks(page, "sh")[0]))
        config["triggers"][0]["triggerConfig"]["authConfig"]["jwks"] = jwks
    (tmp_path / "trigger.yaml").write_text(yaml.safe_dump(config))
    ready = tmp_path / "ready.json"
    command = [str(bin_ / "fcemu"), "serve", "trigger.yaml", "--port", "0", "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL) as serving:
        try:
            while not ready.exists():
                assert serving.poll() is None
                time.sleep(0.02)
            port = json.loads(ready.read_text())["port"]
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/")
            with caught.value as refused:
                request_id = json.loads(refused.read())["RequestId"]
            scripts = blocks(page, "sh")
            if kind == "signature":
                assert '"path": "/hello"' in follow(follow(scripts[0]))
                url = follow(scripts[1]).strip().replace("ws:", "http:", 1)
                assert '"method": "GET"' in follow(f"curl --fail --silent {shlex.quote(url)}")
                (example,) = re.findall(r"explain (\S+)", scripts[2])
                assert "answer: 400" in follow(scripts[2].replace(example, request_id))
            else:
                script = scripts[-1].replace("curl ", "curl --fail --silent ")
                assert follow(script).count('"method": "GET"') == script.count("curl ")
                assert "reason: " in follow(f"fcemu explain {request_id}")
        finally:
            serving.terminate()


def test_readme_has_exactly_the_two_commands() -> None:
    """The README has one command for the example and one for the tests; the gate runs the latter."""
    commands = re.findall(r"^<!-- (\w+) -->\n```sh\n(.*)\n```", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _ in commands] == ["example", "test"]
    assert "readme test" in (ROOT / ".ci" / "run").read_text()


def test_fidelity_names_tests_that_exist() -> None:
    """Every test that docs/fidelity.md names exists."""
    page = (ROOT / "docs" / "fidelity.md").read_text()
    names = set(re.findall(r"\b(test_\w+\.py)", page))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert names <= there
    assert names


def test_schema_describes_the_examples() -> None:
    """`fcemu schema` prints JSON that knows the keys of the example."""
    output = subprocess.run(
        [sys.executable, "-m", "fcemu", "schema"], capture_output=True, text=True, check=True
    ).stdout
    schema = json.loads(output)
    assert "instanceConcurrency" in schema["$defs"]["Function"]["properties"]


@pytest.mark.parametrize("example", ["echo-node", "echo-python"])
def test_example_is_valid(example: str) -> None:
    """Each example's configuration loads."""
    assert load(ROOT / "examples" / example / "trigger.yaml").account.functions
