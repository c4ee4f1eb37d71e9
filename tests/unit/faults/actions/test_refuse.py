"""The action `refuse`."""

from __future__ import annotations

from typing import Literal

import pytest

from fcemu.faults.actions.refuse import Refuse


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_refusal_is_the_clouds(status: Literal[400, 403, 404, 429, 500, 503]) -> None:
    """Each documented status has the cloud's code and a message; the rule is named in the log only."""
    error = Refuse(refuse=status).refusal("busy", "fn")
    assert error.status == status
    assert "busy" in error.reason
    assert "busy" not in error.message
    assert "{" not in error.message


def test_failures() -> None:
    """The matrix has a scenario for each status after which a client is right to try again."""
    found = Refuse.failures(1.0)
    assert [each.name for each in found] == [
        "refused-403", "refused-404", "refused-429", "refused-500", "refused-503",
    ]  # fmt: skip
    assert [each.name for each in found if each.of_credentials] == ["refused-403"]
