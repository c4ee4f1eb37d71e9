"""How is a function started under a debugger? With Node's inspector or debugpy, and without waiting for anybody.

Node itself gets its flag. Where a tool starts Node, as in `npm start`, the flag would give the inspector to the tool;
there `inspector.cjs`, which NODE_OPTIONS brings into every Node process, opens one in the process that listens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal, NamedTuple

from fcemu.errors import StartError

Language = Literal["node", "python"]

FIRST_PORT: dict[Language, int] = {"node": 9229, "python": 5678}
"""Where debuggers look by default; each further instance needs a port of its own."""

_HOST = "127.0.0.1"
_PRELOADED = str(Path(__file__).with_name("inspector.cjs"))

_NODE = re.compile(r"node(js)?\d*")
_NODE_TOOL = re.compile(r"np[mx]|yarn|pnpm|corepack")
_PYTHON = re.compile(r"python(\d+(\.\d+t?)?)?")
_SHELL = re.compile(r"(ba|da|a|z|k)?sh")
_ENV = re.compile("env")

_NODE_IN_SHELL = re.compile(r"^[^#\n]*?(?<![\w.-])(node(js)?|np[mx]|yarn|pnpm)(?![\w./-])", re.MULTILINE)
_PYTHON_FLAG = re.compile(r"-([^cmWX]*)([cmWX]?)(.*)", re.DOTALL)
# How pip begins a console script whose interpreter is too long for a first line, or has a blank in its path.
_PIP_BEGINS = re.compile(r"""#!/bin/sh\n'''exec' "?([^"\n]+?)"? "\$0" "\$@"\n""")


class Script(NamedTuple):
    """A program that is a text."""

    path: str
    text: str
    """Its beginning; some kilobytes do."""


@dataclass(frozen=True)
class Debuggable:
    """A start command that a debugger can be put into.

    Attributes:
        language: whose debugger.
        head: the words before the debugger's: the interpreter and its flags. Empty where a tool starts Node.
        rest: the words behind it.
    """

    language: Language
    head: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def probe(self) -> list[str]:
        """For Python: a command that ends with 0 if the function's interpreter has a debugpy of its own."""
        return [*self.head, "-c", "import debugpy"]


@dataclass(frozen=True)
class Debugged:
    """A start command with a debugger in it.

    Attributes:
        argv: what to run instead.
        environment: variables to set.
        attach: a line for the user: where to attach, and with what.
    """

    argv: list[str]
    environment: dict[str, str]
    attach: str


def debuggable(argv: Sequence[str], script: Callable[[str], Script | None]) -> Debuggable | None:
    """Whose debugger a start command takes, and where; None if that is not known, as for a compiled program.

    Args:
        argv: the start command.
        script: the text that a word names as a program: a path, relative to the code folder, or a name in the
            function's PATH; None if there is no such file, or it is a binary.
    """
    env, words = _after_env(argv)
    if not words:
        return None
    direct = True
    if not any(_is(kind, words[0]) for kind in (_NODE, _NODE_TOOL, _PYTHON, _SHELL)):
        found = script(words[0])
        if found is None or not (interpreter := _interpreter(found.text)):
            return None
        direct = False
        words = [*interpreter, found.path, *words[1:]]
    if _is(_PYTHON, words[0]):
        flags, target = _python(words)
        return Debuggable("python", (*env, *flags), tuple(target)) if target else None
    if _is(_NODE, words[0]) and direct:
        # An inspector that the command asks for itself would be another port than the one that is told.
        flags = list(takewhile(lambda word: word.startswith("-"), words[1:]))
        kept = [flag for flag in flags if not flag.startswith("--inspect")]
        return Debuggable("node", (*env, words[0]), (*kept, *words[1 + len(flags) :]))
    if _is(_NODE, words[0]) or _is(_NODE_TOOL, words[0]) or (_is(_SHELL, words[0]) and _runs_node(words, script)):
        return Debuggable("node", (), tuple(argv))
    return None


def debugged(
    command: Debuggable,
    port: int,
    environment: Mapping[str, str],
    *,
    own_debugpy: bool = False,
    our_debugpy: str | None = None,
) -> Debugged:
    """The command with a debugger that listens on a port of 127.0.0.1.

    Args:
        environment: the function's variables; its NODE_OPTIONS are kept.
        own_debugpy: whether the function's interpreter has debugpy (`Debuggable.probe`).
        our_debugpy: the folder of fcemu's debugpy, run by its path where the function's interpreter has none.

    Raises:
        StartError: there is no debugpy at all.
    """
    if command.language == "python":
        if own_debugpy:
            debugpy = ["-m", "debugpy"]
        elif our_debugpy is not None:
            debugpy = [our_debugpy]
        else:
            raise StartError("debugging Python needs debugpy: pip install 'fcemu[debug]'")
        return Debugged(
            [*command.head, *debugpy, "--listen", f"{_HOST}:{port}", *command.rest],
            # Else three lines of warning at each start, since Python 3.11: its frozen modules cannot be debugged.
            {"PYDEVD_DISABLE_FILE_VALIDATION": "1"},
            f"debugpy on {_HOST}:{port}: VS Code, launch.json "
            f'{{"name": "fcemu", "type": "debugpy", "request": "attach", '
            f'"connect": {{"host": "{_HOST}", "port": {port}}}}}',
        )
    attach = (
        f"inspector on {_HOST}:{port}: chrome://inspect, or VS Code, launch.json "
        f'{{"name": "fcemu", "type": "node", "request": "attach", "port": {port}}}'
    )
    if command.head:
        return Debugged([*command.head, f"--inspect={_HOST}:{port}", *command.rest], {}, attach)
    options = f"{environment.get('NODE_OPTIONS', '')} --require={_quoted(_PRELOADED)}".lstrip()
    return Debugged(list(command.rest), {"NODE_OPTIONS": options, "FCEMU_INSPECTOR_PORT": str(port)}, attach)


def _is(kind: re.Pattern[str], word: str) -> bool:
    return kind.fullmatch(word.rpartition("/")[2]) is not None


def _after_env(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """`env` with its assignments, if the command begins so, and the command behind it."""
    length = 0
    if argv and _is(_ENV, argv[0]):
        length = 1 + len(list(takewhile(lambda word: "=" in word, argv[1:])))
    return list(argv[:length]), list(argv[length:])


def _interpreter(text: str) -> list[str]:
    """What the kernel runs a script with; `env` is left out, since names are looked up in PATH anyhow."""
    if begins := _PIP_BEGINS.match(text):
        return [begins[1]]
    words = text.partition("\n")[0].removeprefix("#!").split() if text.startswith("#!") else []
    return [word for word in words[1:] if word != "-S"] if words and _is(_ENV, words[0]) else words


def _python(words: list[str]) -> tuple[list[str], list[str]]:
    """A Python command's interpreter with its flags, and what it runs: a file, `-m` or `-c`; nothing if it asks."""
    position = 1
    while position < len(words) and words[position] != "-":
        flag = _PYTHON_FLAG.fullmatch(words[position])
        if flag is None:  # no flag
            return words[:position], words[position:]
        letters, option, value = flag.groups()
        if option in ("c", "m"):  # also `-um module` and `-mmodule`
            target = [f"-{option}", *([value] if value else []), *words[position + 1 :]]
            return [*words[:position], *([f"-{letters}"] if letters else [])], target
        position += 2 if option and not value else 1
    return words, []


def _runs_node(words: list[str], script: Callable[[str], Script | None]) -> bool:
    """Whether a shell's script, or the text behind its `-c`, names Node or a tool that starts it."""
    name = next((word for word in words[1:] if not word.startswith("-")), "")
    file = script(name if "/" in name else f"./{name}")
    return _NODE_IN_SHELL.search(file.text if file else "\n".join(words[1:])) is not None


def _quoted(path: str) -> str:
    """A path as one word of NODE_OPTIONS."""
    if not re.search(r'[\s"\\]', path):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
