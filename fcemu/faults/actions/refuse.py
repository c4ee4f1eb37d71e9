"""Refuse a request, as the cloud would."""

from __future__ import annotations

from typing import Literal

from fcemu.errors import FCError, Refusal
from fcemu.faults.actions.action import RequestAction
from fcemu.faults.actions.failure import Failure, first

_REFUSALS: dict[int, tuple[Refusal, dict[str, object]]] = {
    400: (Refusal.BAD_REQUEST, {"detail": "the request is refused by a fault rule"}),
    403: (Refusal.AUTHENTICATION_UNAVAILABLE, {}),
    404: (Refusal.TRIGGER_NOT_FOUND, {}),
    429: (Refusal.RESOURCE_EXHAUSTED, {"detail": "the concurrency limit is exceeded"}),
    500: (Refusal.INTERNAL_SERVER_ERROR, {}),
    503: (Refusal.SYSTEM_THROTTLED, {}),
}

_FAILURES = {
    # Without 400: it says that the request is wrong, so a client is right to give up.
    403: ("the signature or token has expired", "get a new signature or token for each attempt"),
    404: ("the trigger is not known everywhere yet", "retry after 404: a new trigger takes about 10 seconds"),
    429: ("too many requests at once", "retry after 429, with increasing delays"),
    500: ("system error", "retry after 500"),
    503: ("system throttling", "retry after 503, with increasing delays"),
}


class Refuse(RequestAction):
    """The request gets 400, 403, 404, 429, 500 or 503 with the cloud's body, and does not reach the function."""

    refuse: Literal[400, 403, 404, 429, 500, 503]

    def refusal(self, fault: str, function: str) -> FCError:
        """The documented answer with this status."""
        row, values = _REFUSALS[self.refuse]
        reason, remedy = f"fault {fault}: refused on purpose", "remove the rule from fcemu.faults"
        return FCError(row, reason=reason, remedy=remedy, **{"function": function, **values})

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return tuple(
            Failure(
                f"refused-{status}",
                f"the first request is refused with {status}: {why}",
                "PAGE",
                advice,
                rules=(first(refuse=status),),
                of_credentials=status == 403,
            )
            for status, (why, advice) in _FAILURES.items()
        )
