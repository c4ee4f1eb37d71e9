"""What does a configuration file say? YAML in; an `Account` out, or every mistake with its line.

The stages, each adding to the findings: YAML nodes to plain data with lines; one of three shapes to one account; what
the API writes differently (JSON in strings, relative folders) made equal; the models' own checks, put into words.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcemu.configuration import serverless_devs
from fcemu.configuration.translation import ACCOUNT_KEYS, KeyPath, Remark, Translation
from fcemu.configuration.validation import shown, validate
from fcemu.configuration.yaml_lines import Unusable, parse
from fcemu.errors import ConfigError, Problem
from fcemu.model import Account, Function

_USUAL_NAMES = ("trigger.yaml", "trigger.yml", "s.yaml", "s.yml")

_WAYS_TO_BEGIN = (
    "describe one function (`functionName:` at the top), several (`functions:`), or give an s.yaml (`resources:`)"
)


@dataclass(frozen=True)
class Configuration:
    """A configuration that can be served.

    Attributes:
        account: what it describes; its folders and files are absolute paths.
        path: the file, as it was given.
        ignored: what is written there but left out, such as triggers of other types.
    """

    account: Account
    path: Path
    ignored: tuple[Problem, ...] = ()


def load(path: Path) -> Configuration:
    """Read a configuration file: one function, several under `functions:`, or an s.yaml of Serverless Devs.

    Args:
        path: the file; what it names relatively is meant relative to its folder.

    Raises:
        ConfigError: the file cannot be used; it holds every problem found, in the order of lines.
    """
    file = str(path)
    try:
        reader, data = parse(_read(path))
        translation = _account_data(data, known=bool(reader.unreadable))
    except Unusable as unusable:
        raise ConfigError([Problem(file, unusable.line, "", unusable.text)]) from None
    _normalise(translation, path.parent)
    account, invalid = validate(translation)

    # A value that an earlier stage refused is not refused again by the models.
    refused = {remark.path for remark in (*reader.unreadable, *translation.problems)}
    remarks = [*reader.duplicates, *reader.unreadable, *translation.problems]
    remarks += [remark for remark in invalid if remark.path not in refused]
    problems = _problems(file, reader.lines, remarks)
    if problems or account is None:
        raise ConfigError(problems)
    return Configuration(account, path, tuple(_problems(file, reader.lines, translation.ignored)))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration, for editors: one function, or several under `functions:`."""
    several = Account.model_json_schema()
    definitions = several.pop("$defs")
    function = definitions["Function"]
    beside = {key: value for key, value in several["properties"].items() if key in ACCOUNT_KEYS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fcemu configuration",
        "anyOf": [{**function, "properties": {**function["properties"], **beside}}, several],
        "$defs": definitions,
    }


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Unusable("this line is not UTF-8; save the file with the encoding UTF-8", line) from None
    except FileNotFoundError:
        text = "there is no such file" + _instead_of(path.parent, "fcemu serve --example runs without one")
    except IsADirectoryError:
        text = "this is a folder, not a file" + _instead_of(path, "name the YAML file in it")
    except (OSError, ValueError) as error:
        text = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
    raise Unusable(text)


def _instead_of(folder: Path, otherwise: str) -> str:
    there = next((folder / name for name in _USUAL_NAMES if os.path.isfile(folder / name)), None)
    return f"; did you mean {there}?" if there else f"; {otherwise}"


# --- three shapes, one account ------------------------------------------------------------------------------------


def _account_data(data: Any, known: bool) -> Translation:
    """The account's data. `known`: there is a finding already, so that an empty file needs no other."""
    if data is None and not known:
        raise Unusable(f"the file is empty; {_WAYS_TO_BEGIN}")
    if not isinstance(data, dict):
        raise Unusable(f"expected a mapping (`key: value` lines), found {shown(data)}; {_WAYS_TO_BEGIN}")
    if "resources" in data:
        return serverless_devs.translate(data, os.environ)
    if "functions" in data:
        empty = [
            Remark(("functions",), "expected at least one function; write `functions: [{functionName: my-function}]`")
        ]
        return Translation(dict(data), {(): ()}, problems=empty if data["functions"] == [] else [])
    if "services" in data and "functionName" not in data:
        raise Unusable(
            "this is an s.yaml of edition 1 (Function Compute 2.0); fcemu reads edition 3 with component fc3"
        )
    if not data.keys() & {*Function.model_fields, *ACCOUNT_KEYS} and "functionname" not in map(str.lower, data):
        raise Unusable(f"no key here is known; {_WAYS_TO_BEGIN}")
    beside = {key: value for key, value in data.items() if key in ACCOUNT_KEYS}
    function = {key: value for key, value in data.items() if key not in ACCOUNT_KEYS}
    return Translation({**beside, "functions": [function]}, {(): (), ("functions", 0): ()})


def _normalise(translation: Translation, folder: Path) -> None:
    """Read the API's JSON texts, leave out other triggers, and make folders absolute; in place."""
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
            what = "is a file; unpack it and name its folder" if os.path.isfile(absolute) else "does not exist"
            translation.problems.append(Remark(place, f"the folder {absolute} {what}"))
    elif isinstance(code, dict):
        here = code.get("src") if isinstance(code.get("src"), str) else "./code"
        text = f"fcemu runs the code of a local folder, not a package in OSS; write `code: {here}`"
        translation.problems.append(Remark(place, text))


def _keep_http_triggers(translation: Translation, function: dict[str, Any], where: KeyPath) -> None:
    triggers = function.get("triggers")
    if not isinstance(triggers, list):
        return
    kept: list[Any] = []
    for place, trigger in enumerate(triggers):
        source = translation.origin((*where, "triggers", place))
        kind = trigger.get("triggerType") if isinstance(trigger, dict) else None
        # Something close to http is a slip, which the model explains.
        if isinstance(kind, str) and not difflib.get_close_matches(kind.lower(), ["http"]):
            text = f"a trigger of type {kind} is not served; fcemu emulates HTTP triggers only"
            translation.ignored.append(Remark(source, text))
            continue
        translation.origins[*where, "triggers", len(kept)] = source
        kept.append(trigger)
    function["triggers"] = kept


def _read_json(translation: Translation, mapping: dict[str, Any], key: str, where: KeyPath) -> None:
    """Replace a JSON text by what it says: the API wants text where s.yaml has a mapping."""
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
        translation.problems.append(Remark(place, f"expected a mapping, or its JSON as a text: {error}"))


# --- where it is --------------------------------------------------------------------------------------------------


def _problems(file: str, lines: dict[KeyPath, int], remarks: Iterable[Remark]) -> list[Problem]:
    """The remarks with lines, in their order; a mistake in a merged block is told once, not once for each use."""
    found: dict[tuple[int, str | int, str], Problem] = {}
    for remark in remarks:
        # What is not written, such as a missing key, is on the line of what it is missing from.
        known = (remark.path[:length] for length in range(len(remark.path), 0, -1))
        line = next((lines[path] for path in known if path in lines), 1)
        last = remark.path[-1] if remark.path else ""
        found.setdefault((line, last, remark.text), Problem(file, line, _written(remark.path), remark.text))
    return sorted(found.values(), key=lambda problem: problem.line)


def _written(path: KeyPath) -> str:
    """A key path as one would say it: `triggers[0].triggerConfig.methods`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[\w*/<-]+", part) else repr(part)
            text += f".{shown}" if text else shown
    return text
