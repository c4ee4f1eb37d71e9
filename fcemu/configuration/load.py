"""Loads a configuration file: YAML in; an `Account` out, or every mistake with its line.

The stages, each of which adds findings:

1. from YAML to plain data with line numbers,
2. from one of three shapes (one function, `functions:`, s.yaml) to the data of an account,
3. normalise what can be written in several ways: JSON in strings, relative folders,
4. validate the data with the models, and explain what they refuse.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcemu.configuration import serverless_devs
from fcemu.configuration.translation import ACCOUNT_KEYS, Translation
from fcemu.configuration.validation import shown, validate
from fcemu.configuration.yaml_lines import UnusableFile, parse
from fcemu.errors import ConfigError, Finding, KeyPath
from fcemu.model import Account, Function

_USUAL_NAMES = ("trigger.yaml", "trigger.yml", "s.yaml", "s.yml")

_SHAPES = "write one function (`functionName:` at the top level), several (`functions:`), or an s.yaml (`resources:`)"


@dataclass(frozen=True)
class Configuration:
    """A configuration that can be served.

    Attributes:
        account: the account that it describes; all paths in it are absolute.
        path: the file, as it was given.
        ignored: the parts of the file that are left out, such as triggers of other types.
    """

    account: Account
    path: Path
    ignored: tuple[Finding, ...] = ()


def load(path: Path) -> Configuration:
    """Read a configuration file: one function, several under `functions:`, or an s.yaml of Serverless Devs.

    Args:
        path: the file; paths in it are relative to its folder.

    Raises:
        ConfigError: the file cannot be used; the error has every mistake, in the order of lines.
    """
    file = str(path)
    try:
        reader, data = parse(_read(path))
        translation = _account_data(data, known=bool(reader.unreadable))
    except UnusableFile as unusable:
        raise ConfigError([Finding(unusable.text, file=file, line=unusable.line)]) from None
    _normalise(translation, path.parent)
    account, invalid = validate(translation)

    # Report only once what an earlier stage has found, too.
    known = {finding.path for finding in (*reader.unreadable, *translation.mistakes)}
    mistakes = [*reader.duplicates, *reader.unreadable, *translation.mistakes]
    mistakes += [finding for finding in invalid if finding.path not in known]
    if mistakes or account is None:
        raise ConfigError(_located(file, reader.lines, mistakes))
    return Configuration(account, path, tuple(_located(file, reader.lines, translation.ignored)))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration, for editors: one function, or several under `functions:`."""
    several = Account.model_json_schema()
    definitions = several.pop("$defs")
    function = definitions["Function"]
    shared = {key: value for key, value in several["properties"].items() if key in ACCOUNT_KEYS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fcemu configuration",
        "anyOf": [{**function, "properties": {**function["properties"], **shared}}, several],
        "$defs": definitions,
    }


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UnusableFile("this line is not UTF-8; save the file as UTF-8", line) from None
    except FileNotFoundError:
        text = "this file does not exist" + _alternative(path.parent, "`fcemu serve --example` needs no file")
    except IsADirectoryError:
        text = "this is a folder, not a file" + _alternative(path, "pass the YAML file in it")
    except (OSError, ValueError) as error:
        text = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
    raise UnusableFile(text)


def _alternative(folder: Path, otherwise: str) -> str:
    existing = next((folder / name for name in _USUAL_NAMES if os.path.isfile(folder / name)), None)
    return f"; did you mean {existing}?" if existing else f"; {otherwise}"


# --- three shapes, one account ------------------------------------------------------------------------------------


def _account_data(data: Any, known: bool) -> Translation:
    """The data of the account. `known`: there already is a finding, so an empty file needs no further one."""
    if data is None and not known:
        raise UnusableFile(f"the file is empty; {_SHAPES}")
    if not isinstance(data, dict):
        raise UnusableFile(f"expected a mapping (`key: value` lines), found {shown(data)}; {_SHAPES}")
    if "resources" in data:
        return serverless_devs.translate(data, os.environ)
    if "functions" in data:
        empty = [
            Finding("expected at least one function; write `functions: [{functionName: my-function}]`", ("functions",))
        ]
        return Translation(dict(data), {(): ()}, mistakes=empty if data["functions"] == [] else [])
    if "services" in data and "functionName" not in data:
        raise UnusableFile(
            "this is an s.yaml of edition 1 (Function Compute 2.0); fcemu reads edition 3 with component fc3"
        )
    if not data.keys() & {*Function.model_fields, *ACCOUNT_KEYS} and "functionname" not in map(str.lower, data):
        raise UnusableFile(f"none of these keys is known; {_SHAPES}")
    shared = {key: value for key, value in data.items() if key in ACCOUNT_KEYS}
    function = {key: value for key, value in data.items() if key not in ACCOUNT_KEYS}
    return Translation({**shared, "functions": [function]}, {(): (), ("functions", 0): ()})


def _normalise(translation: Translation, folder: Path) -> None:
    """Parse JSON in strings, leave out triggers of other types, and make paths absolute; in place."""
    account = translation.account
    for index, function in _mappings(account.get("functions")):
        _resolve_code(translation, function, ("functions", index), folder)
        _keep_http_triggers(translation, function, ("functions", index))
        _read_json(translation, function, "sessionAffinityConfig", ("functions", index))
        for place, trigger in _mappings(function.get("triggers")):
            where = ("functions", index, "triggers", place)
            _read_json(translation, trigger, "triggerConfig", where)
            if isinstance(config := trigger.get("triggerConfig"), dict):
                _read_json(translation, config, "authConfig", (*where, "triggerConfig"))
    for index, domain in _mappings(account.get("customDomains")):
        if isinstance(config := domain.get("authConfig"), dict):
            _read_json(translation, config, "authInfo", ("customDomains", index, "authConfig"))
    settings = account.get("fcemu")
    if isinstance(settings, dict) and isinstance(file := settings.get("envFile"), str):
        settings["envFile"] = os.path.abspath(folder / file)


def _mappings(items: object) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield index, item


def _resolve_code(translation: Translation, function: dict[str, Any], where: KeyPath, folder: Path) -> None:
    code = function.get("code", ".")
    place = translation.origin((*where, "code"))
    if isinstance(code, str):
        absolute = os.path.abspath(folder / code)
        function["code"] = absolute
        if not os.path.isdir(absolute):
            text = f"the folder {absolute} does not exist"
            if os.path.isfile(absolute):
                text = f"expected a folder, found the file {absolute}; unpack it, and write its folder"
            translation.mistakes.append(Finding(text, place))
    elif isinstance(code, dict):
        here = code.get("src") if isinstance(code.get("src"), str) else "./code"
        text = f"fcemu runs code from a local folder, not a package in OSS; write `code: {here}`"
        translation.mistakes.append(Finding(text, place))


def _keep_http_triggers(translation: Translation, function: dict[str, Any], where: KeyPath) -> None:
    triggers = function.get("triggers")
    if not isinstance(triggers, list):
        return
    kept: list[Any] = []
    for place, trigger in enumerate(triggers):
        source = translation.origin((*where, "triggers", place))
        kind = trigger.get("triggerType") if isinstance(trigger, dict) else None
        # A type that resembles "http" is a typing mistake, which the model explains.
        if isinstance(kind, str) and not difflib.get_close_matches(kind.lower(), ["http"]):
            text = f"fcemu serves only HTTP triggers, not triggers of type {kind}"
            translation.ignored.append(Finding(text, source))
            continue
        translation.origins[*where, "triggers", len(kept)] = source
        kept.append(trigger)
    function["triggers"] = kept


def _read_json(translation: Translation, mapping: dict[str, Any], key: str, where: KeyPath) -> None:
    """Replace a string by the JSON in it: the API takes a string where s.yaml has a mapping."""
    text = mapping.get(key)
    if not isinstance(text, str):
        return
    if not text.strip():
        del mapping[key]
        return
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        mapping[key] = value
    except (ValueError, RecursionError) as error:
        place = translation.origin((*where, key))
        translation.mistakes.append(Finding(f"expected a mapping, or a string with its JSON: {error}", place))


# --- lines --------------------------------------------------------------------------------------------------------


def _located(file: str, lines: dict[KeyPath, int], findings: Iterable[Finding]) -> list[Finding]:
    """The findings with file and line, in the order of lines. One in a merged block appears once, not once per use."""
    found: dict[tuple[int, str | int, str], Finding] = {}
    for finding in findings:
        # A missing key has no line; take that of the mapping that lacks it.
        known = (finding.path[:length] for length in range(len(finding.path), 0, -1))
        line = next((lines[path] for path in known if path in lines), 1)
        last = finding.path[-1] if finding.path else ""
        found.setdefault((line, last, finding.text), replace(finding, file=file, line=line))
    return sorted(found.values(), key=lambda finding: finding.line)
