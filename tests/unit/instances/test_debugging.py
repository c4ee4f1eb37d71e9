"""The debugger for a start command, and its address."""

from __future__ import annotations

import json
import shlex

import pytest

from fcemu.errors import StartError
from fcemu.instances.debugging import Script, debuggable, debugged

SCRIPTS = {
    "npm-cli": "#!/usr/bin/env node\nrequire('x')\n",
    "tsx": "#!/usr/bin/env -S node --no-warnings\n",
    "uvicorn": "#!/venv/bin/python3.11\nimport sys\n",
    "flask": "#!/usr/bin/env python3\n",
    "gunicorn": "#!/bin/sh\n'''exec' \"/a folder/bin/python\" \"$0\" \"$@\"\n' '''\nimport sys\n",
    "quiet": "#!/usr/bin/python3 -u -s\n",
    "./bootstrap": "#!/bin/bash\nset -e\nexport A=1\nexec node index.js\n",
    "./start.sh": "npm run build\nnpm start\n",
    "./serve": "#!/bin/sh\n# needs node\nexec ./server\n",
    "./pyboot": "#!/bin/sh\nexec python3 server.py\n",
    "./no-first-line": "node index.js\n",
    "./perl": "#!/usr/bin/perl\n",
    "./empty": "",
}


def script(word: str) -> Script | None:
    """The scripts of a machine: those of PATH are in /bin, those of the folder in /code."""
    word = word.replace("/code/", "./").replace("/bin/", "")
    place = word.replace("./", "/code/") if "/" in word else f"/bin/{word}"
    return Script(place, SCRIPTS[word]) if word in SCRIPTS else None


def words(command: str) -> str | None:
    """The command that runs under the debugger, with its arguments shown as INSPECT or DEBUGPY."""
    found = debuggable(shlex.split(command), script)
    if found is None:
        return None
    argv = debugged(found, 7000, {}, our_debugpy="/ours/debugpy").argv
    text = " ".join(argv).replace("/ours/debugpy --listen 127.0.0.1:7000", "DEBUGPY")
    return text.replace("--inspect=127.0.0.1:7000", "INSPECT")


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        ("node index.js", "node INSPECT index.js"),
        ("/usr/bin/node --title=x index.js --inspect", "/usr/bin/node INSPECT --title=x index.js --inspect"),
        ("nodejs -r ./x.js index.js", "nodejs INSPECT -r ./x.js index.js"),
        ("node20 index.js", "node20 INSPECT index.js"),
        ("env A=1 B=2 node index.js", "env A=1 B=2 node INSPECT index.js"),
        ("node --inspect-brk=0.0.0.0:9229 --title=x index.js", "node INSPECT --title=x index.js"),
        ("node", "node INSPECT"),
    ],
)
def test_node_gets_its_flag(command: str, instead: str) -> None:
    """Node gets its inspector flag before its other flags; an inspector flag of the command is removed."""
    assert words(command) == instead


@pytest.mark.parametrize(
    "command",
    [
        "npm start",
        "/usr/bin/npm run x",
        "npx serve",
        "yarn start",
        "pnpm start",
        "corepack yarn start",
        "env A=1 npm start",
        "npm-cli start",
        "tsx server.ts",
        "./bootstrap",
        "/code/bootstrap",
        "sh ./start.sh",
        "bash -e start.sh",
        "/bin/sh -c 'exec node index.js'",
        "bash -o pipefail -c 'node index.js'",
    ],
)
def test_what_starts_node_gets_the_environment(command: str) -> None:
    """A tool or a shell that starts Node runs as it is; the inspector comes by NODE_OPTIONS."""
    found = debuggable(shlex.split(command), script)
    assert found is not None
    made = debugged(found, 7000, {})
    assert (found.language, made.argv) == ("node", shlex.split(command))
    assert made.environment["NODE_OPTIONS"].startswith("--require=")
    assert made.environment["FCEMU_INSPECTOR_PORT"] == "7000"


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        ("python server.py", "python DEBUGPY server.py"),
        ("/usr/bin/env python3 server.py 9000", "/usr/bin/env python3 DEBUGPY server.py 9000"),
        ("python3.13t server.py -c x", "python3.13t DEBUGPY server.py -c x"),
        ("python -X dev -u -W error server.py", "python -X dev -u -W error DEBUGPY server.py"),
        ("python -Xdev -Werror server.py", "python -Xdev -Werror DEBUGPY server.py"),
        ("python -m uvicorn app:app --port 9000", "python DEBUGPY -m uvicorn app:app --port 9000"),
        ("python -um uvicorn app:app", "python -u DEBUGPY -m uvicorn app:app"),
        ("python -muvicorn app:app", "python DEBUGPY -m uvicorn app:app"),
        ("python -I -c import(server) x", "python -I DEBUGPY -c import(server) x"),
        ("uvicorn app:app --workers 2", "/venv/bin/python3.11 DEBUGPY /bin/uvicorn app:app --workers 2"),
        ("env A=1 flask run", "env A=1 python3 DEBUGPY /bin/flask run"),
        ("gunicorn app:app", "/a folder/bin/python DEBUGPY /bin/gunicorn app:app"),
        ("quiet x", "/usr/bin/python3 -u -s DEBUGPY /bin/quiet x"),
    ],
)
def test_python_runs_debugpy(command: str, instead: str) -> None:
    """Python keeps its flags and runs debugpy, which runs the rest; a console script's first line names its Python."""
    assert words(command) == instead


@pytest.mark.parametrize(
    "command",
    [
        "./server",
        "java -jar x.jar",
        "./serve",
        "./pyboot",
        "sh -c 'exec python3 server.py'",
        "sh -c './nodes node.js node/x'",
        "python",
        "python -",
        "python -V",
        "python --version",
        "./no-first-line",
        "./perl",
        "./empty",
        "env",
        "env -i node index.js",
        "",
    ],
)
def test_unknown_command_is_left_alone(command: str) -> None:
    """A binary, another language, a shell that starts Python, and a command that runs no program get no debugger."""
    assert words(command) is None


def test_no_command_is_no_mistake() -> None:
    """An empty command has no debugger."""
    assert debuggable([], script) is None


def test_options_of_the_developer_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The NODE_OPTIONS of the function stand before ours, whose path is quoted where it must be."""
    found = debuggable(["npm", "start"], script)
    assert found is not None
    monkeypatch.setattr("fcemu.instances.debugging._PRELOADED", r'/a "b"\c/x.cjs')
    made = debugged(found, 7000, {"NODE_OPTIONS": "--title=x"})
    assert made.environment["NODE_OPTIONS"] == r'--title=x --require="/a \"b\"\\c/x.cjs"'


def test_debugpy_of_the_function_goes_before_ours() -> None:
    """The probe asks the function's own interpreter, with its flags; its debugpy is run as a module."""
    found = debuggable(["python", "-I", "server.py"], script)
    assert found is not None
    assert found.probe == ["python", "-I", "-c", "import debugpy"]
    made = debugged(found, 7000, {}, own_debugpy=True, our_debugpy="/ours/debugpy")
    assert made.argv == ["python", "-I", "-m", "debugpy", "--listen", "127.0.0.1:7000", "server.py"]
    assert made.environment == {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def test_without_debugpy_the_remedy_is_told() -> None:
    """If there is no debugpy, the error says what to install."""
    found = debuggable(["python", "server.py"], script)
    assert found is not None
    with pytest.raises(StartError, match=r"pip install 'fcemu\[debug\]'"):
        debugged(found, 7000, {})


@pytest.mark.parametrize("command", ["node x.js", "npm start", "python x.py"])
def test_line_says_where_to_attach(command: str) -> None:
    """The line for the user has the address, and a configuration of VS Code that can be pasted."""
    found = debuggable(command.split(), script)
    assert found is not None
    attach = debugged(found, 7000, {}, own_debugpy=True).attach
    assert "127.0.0.1:7000" in attach
    pasted = json.loads(attach[attach.index("{") :])
    assert pasted["request"] == "attach"
    assert pasted.get("connect", pasted)["port"] == 7000
