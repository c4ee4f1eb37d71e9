"""Finds the line on which a function, a trigger or a custom domain is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fcemu.configuration import serverless_devs
from fcemu.configuration.translation import Translation
from fcemu.configuration.yaml_lines import parse
from fcemu.errors import KeyPath


class SourceLines:
    """The line numbers of a valid configuration.

    Args:
        text: the content of the file.
        environment: the variables that an s.yaml reads.
    """

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        reader, data = parse(text.removeprefix("\ufeff"))
        self._lines = reader.lines
        if "resources" in data:
            self._translation = serverless_devs.translate(data, environment)
        elif "functions" in data:
            self._translation = Translation(data, {(): ()})
        else:
            self._translation = Translation({**data, "functions": [data]}, {(): (), ("functions", 0): ()})

    def line(self, function: str = "", trigger: str | None = None, domain: str | None = None) -> int:
        """The line of a function, of one of its triggers, or of a custom domain.

        Args:
            function, trigger, domain: names; `domain` takes precedence, then `trigger` of `function`.

        Returns:
            The line, counted from 1; 1 if it is not found.
        """
        account = self._translation.account
        if domain is not None:
            path = _path(account, "customDomains", "domainName", domain)
            return self._line_of((*path, "domainName") if path else ())
        path = _path(account, "functions", "functionName", function)
        if path and trigger is not None:
            inner = _path(account["functions"][path[-1]], "triggers", "triggerName", trigger)
            return self._line_of((*path, *inner))
        return self._line_of((*path, "functionName") if path else ())

    def _line_of(self, path: KeyPath) -> int:
        path = self._translation.origin(path)
        known = (path[:length] for length in range(len(path), 0, -1))
        return next((self._lines[path] for path in known if path in self._lines), 1)


def _path(resource: Mapping[str, Any], key: str, name: str, value: str) -> KeyPath:
    """The path of the item of `resource[key]` whose `name` is `value`; empty if there is none."""
    items = resource.get(key)
    for index, item in enumerate(items if isinstance(items, Sequence) else ()):
        if isinstance(item, Mapping) and str(item.get(name)).lower() == value.lower():
            return key, index
    return ()
