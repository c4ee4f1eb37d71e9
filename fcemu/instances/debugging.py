"""How is a function started under a debugger? With Node's inspector or with debugpy; neither pauses the function.

A `node` command gets a flag. A tool that starts Node, as `npm start` does, would open the inspector in itself. There
NODE_OPTIONS loads `inspector.cjs` into every Node process, and it opens the inspector in the process that listens.
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
"""Default ports of the debuggers. Each further instance needs a port of its own."""

_HOST = "127.0.0.1"
_PRELOADED = str(Path(__file__).with_name("inspector.cjs"))

_NODE = re.compile(r"node(js)?\d*")
_NODE_TOOL = re.compile(r"np[mx]|yarn|pnpm|corepack")
_PYTHON = re.compile(r"python(\d+(\.\d+t?)?)?")
_SHELL = re.compile(r"(ba|da|a|z|k)?sh")
_ENV = re.compile("env")

_NODE_IN_SHELL = re.compile(r"^[^#\n]*?(?<![\w.-])(node(js)?|np[mx]|yarn|pnpm)(?![\w./-])", re.MULTILINE)
_PYTHON_FLAG = re.compile(r"-([^cmWX]*)([cmWX]?)(.*)", re.DOTALL)
# The beginning of a console script by pip, if the interpreter's path is too long for the first line or has a blank.
_PIP_BEGINS = re.compile(r"""#!/bin/sh\n'''exec' "?([^"\n]+?)"? "\$0" "\$@"\n""")


class Script(NamedTuple):
    """A program that is a text file."""

    path: str
    text: str
    """The first kilobytes of its text."""


@dataclass(frozen=True)
class Debuggable:
    """A start command into which a debugger can be inserted.

    Attributes:
        language: which debugger fits.
        head: the words before the debugger: the interpreter and its flags. Empty if a tool starts Node.
        rest: the words after the debugger.
    """

    language: Language
    head: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def probe(self) -> list[str]:
        """For Python: a command that exits with 0 if the function's interpreter has debugpy installed."""
        return [*self.head, "-c", "import debugpy"]


@dataclass(frozen=True)
class Debugged:
    """A start command with a debugger in it.

    Attributes:
        argv: the command to run instead.
        environment: variables to set.
        attach: a line for the user that says where and how to attach.
    """

    argv: list[str]
    environment: dict[str, str]
    attach: str


def debuggable(argv: Sequence[str], script: Callable[[str], Script | None]) -> Debuggable | None:
    """Which debugger fits a start command, and where it goes; None if none is known, as for a compiled program.

    Args:
        argv: the start command.
        script: finds the script that a word means: a path relative to the code folder, or a name in the function's
            PATH; None if there is no such file or it is binary.
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
        # The command's own --inspect would open another port than the one that is reported.
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
    """The command with a debugger in it that listens on 127.0.0.1.

    Args:
        port: where the debugger listens.
        environment: the function's variables; its NODE_OPTIONS are kept.
        own_debugpy: whether the function's interpreter has debugpy (`Debuggable.probe`).
        our_debugpy: the folder of fcemu's debugpy, which is run by its path if the function's interpreter has none.

    Raises:
        StartError: there is no debugpy.
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
            # Otherwise Python 3.11 and later print three lines at each start: frozen modules cannot be debugged.
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
    """Splits a command into `env` with its assignments, if it begins so, and the rest."""
    length = 0
    if argv and _is(_ENV, argv[0]):
        length = 1 + len(list(takewhile(lambda word: "=" in word, argv[1:])))
    return list(argv[:length]), list(argv[length:])


def _interpreter(text: str) -> list[str]:
    """The interpreter in a script's first line. `env` is left out, because names are looked up in PATH anyway."""
    if begins := _PIP_BEGINS.match(text):
        return [begins[1]]
    words = text.partition("\n")[0].removeprefix("#!").split() if text.startswith("#!") else []
    return [word for word in words[1:] if word != "-S"] if words and _is(_ENV, words[0]) else words


def _python(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits a Python command into the interpreter with its flags, and what it runs: a file, `-m`, `-c`, or nothing."""
    position = 1
    while position < len(words) and words[position] != "-":
        flag = _PYTHON_FLAG.fullmatch(words[position])
        if flag is None:  # a file
            return words[:position], words[position:]
        letters, option, value = flag.groups()
        if option in ("c", "m"):  # also `-um module` and `-mmodule`
            target = [f"-{option}", *([value] if value else []), *words[position + 1 :]]
            return [*words[:position], *([f"-{letters}"] if letters else [])], target
        position += 2 if option and not value else 1
    return words, []


def _runs_node(words: list[str], script: Callable[[str], Script | None]) -> bool:
    """Whether the script of a shell command, or the text after its `-c`, names Node or a tool that starts Node."""
    name = next((word for word in words[1:] if not word.startswith("-")), "")
    file = script(name if "/" in name else f"./{name}")
    return _NODE_IN_SHELL.search(file.text if file else "\n".join(words[1:])) is not None


def _quoted(path: str) -> str:
    """A path as one word of NODE_OPTIONS."""
    if not re.search(r'[\s"\\]', path):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
