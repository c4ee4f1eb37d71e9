"""Where the parts of a translated account were written."""

from __future__ import annotations

import pytest

from fcemu.configuration.translation import ACCOUNT_KEYS, Translation
from fcemu.errors import KeyPath


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("functions", 0), ("resources", "web", "props")),
        (("functions", 0, "timeout"), ("resources", "web", "props", "timeout")),
        (("functions", 0, "triggers", 1, "triggerName"), ("resources", "web", "props", "triggers", 3, "triggerName")),
        (("functions", 1), ("functions", 1)),
        ((), ()),
    ],
)
def test_part_follows_the_nearest_known_one_above_it(path: KeyPath, written: KeyPath) -> None:
    """A part that is not listed itself was written below the nearest listed part."""
    translation = Translation(
        {},
        {
            (): (),
            ("functions", 0): ("resources", "web", "props"),
            ("functions", 0, "triggers", 1): ("resources", "web", "props", "triggers", 3),
        },
    )
    assert translation.origin(path) == written


def test_path_stays_where_nothing_is_known() -> None:
    """Without any origin a path is the file's own."""
    assert Translation({}, {}).origin(("functions", 0)) == ("functions", 0)


def test_account_keys_are_all_but_the_functions() -> None:
    """The keys that stand beside one function's props are those of the account."""
    assert "functions" not in ACCOUNT_KEYS
    assert {"customDomains", "accessKeys", "fcemu"} <= set(ACCOUNT_KEYS)
