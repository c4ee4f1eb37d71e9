"""Which fault actions are there? The configuration's keys, its documentation and the matrix derive from this table."""

from __future__ import annotations

from collections.abc import Mapping

from fcemu.faults.actions.action import Action
from fcemu.faults.actions.bandwidth import Bandwidth
from fcemu.faults.actions.close import Close
from fcemu.faults.actions.cold_start_delay import ColdStartDelay
from fcemu.faults.actions.crash import Crash
from fcemu.faults.actions.cut import Cut
from fcemu.faults.actions.delay import Delay
from fcemu.faults.actions.idle import Idle
from fcemu.faults.actions.refuse import Refuse
from fcemu.faults.actions.refuse_to_start import RefuseToStart
from fcemu.faults.actions.stall import Stall

ACTIONS: Mapping[str, type[Action]] = {
    action.key: action
    for action in (Refuse, ColdStartDelay, RefuseToStart, Cut, Close, Idle, Stall, Delay, Bandwidth, Crash)
}
"""Every action by its key, in the order of messages and scenarios."""
