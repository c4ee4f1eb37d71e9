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
    """A part without an origin follows its nearest ancestor with one."""
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
    """Without origins, a path in the account is the path in the file."""
    assert Translation({}, {}).origin(("functions", 0)) == ("functions", 0)


def test_account_keys_are_all_but_the_functions() -> None:
    """Account keys are all fields of the account but `functions`."""
    assert "functions" not in ACCOUNT_KEYS
    assert {"customDomains", "accessKeys", "fcemu"} <= set(ACCOUNT_KEYS)
