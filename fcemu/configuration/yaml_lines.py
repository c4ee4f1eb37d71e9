"""Parses YAML: text in; plain data, and the line of each key and list item, out."""

from __future__ import annotations

import re
from typing import Any

import yaml

from fcemu.errors import Finding, KeyPath

_MAX_NODES = 100_000
"""More nodes than any configuration has. Nested aliases can make a short file expand without end."""


class UnusableFile(Exception):
    """The file cannot be read beyond a line.

    Attributes:
        text: what is wrong, and what to do.
        line: counted from 1.
    """

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.line = line


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2 and Serverless Devs do: `on` and `12:30` are strings, `010` is ten."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), list(_first))

_REMEDIES = {
    "cannot start any token": "indent with spaces instead of tabs; quote a value that starts with @ or `",
    "mapping values are not allowed": "quote a value that contains `: `, and check the indentation",
    "could not find expected ':'": "write `key: value`, with a space after the colon",
    "expected <block end>": "keys of one mapping must start in the same column",
    "another document": "a file may have only one document; remove everything from the second `---` on",
    "found unexpected end of stream": "a quote or bracket is not closed",
    "expected ',' or": "a bracket is not closed, or a comma is missing",
    "undefined alias": "an anchor (&name) must come before its aliases (*name); quote a string that starts with *",
}


def parse(text: str) -> tuple[Reader, Any]:
    """Parse YAML.

    Returns:
        The reader, which has the lines; and the content as plain data, None if it is empty.

    Raises:
        UnusableFile: the text is not valid YAML.
    """
    reader = Reader()
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = None if node is None else reader.read(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = str(error.problem or error.context)
        remedies = "".join(f"; {remedy}" for sign, remedy in _REMEDIES.items() if sign in what)
        raise UnusableFile(f"this is not valid YAML: {what}{remedies}", mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnusableFile(
            f"this line has a character that YAML does not allow (#x{error.character:04x})", line
        ) from None
    except RecursionError:
        raise UnusableFile("this is nested too deeply, or an anchor contains itself") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UnusableFile(f"this is not valid YAML: {error}") from None
    return reader, data


class Reader:
    """Converts YAML nodes to plain data.

    Attributes:
        lines: the line of each key and list item, counted from 1.
        duplicates: keys that are written twice.
        unreadable: values and keys that cannot be converted.
    """

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.duplicates: list[Finding] = []
        self.unreadable: list[Finding] = []
        self._nodes = 0

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        """The plain data of a node. Aliases are expanded: each use has its own copy and its own path."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise UnusableFile(
                f"the aliases of this file expand to more than {_MAX_NODES} values; use fewer of them", _line(node)
            )
        if isinstance(node, yaml.MappingNode):
            data = {}
            for key, (key_node, value) in self._entries(node, path).items():
                self.lines[*path, key] = _line(key_node)
                data[key] = self.read(value, (*path, key))
            return data
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[*path, index] = _line(item)
                items.append(self.read(item, (*path, index)))
            return items
        try:
            return _scalar(node)
        except (KeyError, ValueError):
            kind = node.tag.rpartition(":")[2]
            text = f"this cannot be read as {kind!r}; write a plain value, or put a string in quotes"
            self.unreadable.append(Finding(text, path))
            return None

    def _entries(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key and value nodes by key. Own keys take precedence over merged ones, earlier merges over later ones."""
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        written: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(base, yaml.MappingNode):
                        merged = {**self._entries(base, path), **merged}
                    else:
                        self.lines[*path, "<<"] = _line(key_node)
                        self.unreadable.append(
                            Finding("`<<` must be a mapping; write for example `<<: *base`", (*path, "<<"))
                        )
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                text = (
                    f"line {_line(key_node)}: a key must be a string, not a list or mapping; put `{{{{…}}}}` in quotes"
                )
                self.unreadable.append(Finding(text, path))
                continue
            key = key_node.value
            if key in written:
                first = _line(written[key][0])
                text = f"this key is written twice, first on line {first}; keep only one"
                self.duplicates.append(Finding(text, (*path, key)))
            written[key] = key_node, value
        return {**merged, **written}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: yaml.Node) -> Any:
    """The value of a scalar.

    Raises:
        KeyError, ValueError: its text does not match its tag.
    """
    text: str = node.value
    match node.tag.removeprefix("tag:yaml.org,2002:"):
        case "null":
            return None
        case "bool":
            return {"true": True, "false": False}[text.lower()]
        case "int":
            return int(text, 0 if text.startswith(("0o", "0x")) else 10)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        case "str" | "merge":
            text.encode()  # an escape can write a lone surrogate ("\ud800"), which cannot be printed
            return text
    raise KeyError(node.tag)
