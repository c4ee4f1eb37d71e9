"""The common parts of all fault actions."""

from __future__ import annotations

from fcemu.faults.actions.action import Connection, ConnectionAction


class Shout(ConnectionAction):
    """The client
    hears it."""

    shout: int
    louder: float | None = None

    def apply(self, connection: Connection) -> None:
        connection.cut()


def test_first_field_names_the_action() -> None:
    """An action's key is its first field, and its docstring its description, in one line without a full stop."""
    assert Shout.key == "shout"
    assert Shout.description() == "The client hears it"


def test_action_needs_no_scenario() -> None:
    """An action makes no documented failure, and does not wait for silence, unless it says so."""
    assert Shout.failures(1.0) == ()
    assert Shout(shout=1).idle_for is None
