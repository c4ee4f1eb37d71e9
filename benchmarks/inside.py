"""Which figures of fcemu need no other front to compare with?"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import fronts, policy, starting, verification
from benchmarks.figures import Figure
from benchmarks.machine import Machine
from fcemu.model import Account


def of_policy(machine: Machine, rounds: int) -> list[Figure]:
    """Everything that is decided about an invocation."""
    account = Account.model_validate(fronts.configuration(machine, machine.folder / "listens"))
    bare, logged = (policy.price(account, rounds, log=log) for log in (False, True))
    return [
        Figure("policy", "admission, scheduling, metering and journal of one invocation", bare, "µs"),
        Figure("log", "the same with the lines of its log", logged, "µs"),
    ]


def of_verification(machine: Machine, rounds: int) -> list[Figure]:
    """Tokens and signatures."""
    prices = verification.prices(2 * rounds)
    return [
        Figure("pyjwt", "a JWT (ES256), verified by PyJWT alone", prices.pyjwt, "µs"),
        Figure("jwt", "the same token, verified by fcemu", prices.token, "µs"),
        Figure("jwt-ratio", "fcemu relative to PyJWT", prices.ratio, ""),
        Figure("signature", "a signature (acs3), verified by fcemu", prices.signature, "µs"),
    ]


def of_start(machine: Machine, rounds: int) -> list[Figure]:
    """Getting ready."""
    ready = starting.ready_after_listening(machine, rounds)
    return [
        Figure("start", "`fcemu serve`: ready after the function listens", ready, "s"),
        Figure("help", "`fcemu --help`", starting.help_takes(machine, 5), "s"),
    ]


INSIDE: dict[str, Callable[[Machine, int], list[Figure]]] = {
    "policy": of_policy,
    "verification": of_verification,
    "start": of_start,
}
"""By the name that the command line knows them by; each is given how many rounds there are."""
