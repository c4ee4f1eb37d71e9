"""Does the request carry one of the configured tokens? (`authType: bearer`, D/06/02)"""

from __future__ import annotations

import hmac

from fcemu.errors import FCError, Refusal
from fcemu.model import BearerAuthConfig
from fcemu.trigger.request import RequestHead

_SCHEME = b"Bearer "


class BearerAuthenticator:
    """Requires `Authorization: Bearer <tokenData>`."""

    needs_body = False
    secret_parameters: frozenset[str] = frozenset()

    def __init__(self, config: BearerAuthConfig) -> None:
        self._tokens = config.opaqueTokenConfig.tokens

    def authenticate(self, head: RequestHead, body: bytes | None, wall_now: float) -> tuple[RequestHead, bytes | None]:
        """The request to forward: unchanged, with its Authorization header (INF).

        Raises:
            FCError: BEARER_MISSING or BEARER_INVALID.
        """
        sent = [value for name, value in head.headers if name.lower() == b"authorization"]
        remedy = "send `Authorization: Bearer <tokenData>` with an enabled token of authConfig"
        if not sent:
            raise FCError(Refusal.BEARER_MISSING, reason="there is no Authorization header", remedy=remedy)
        if len(sent) > 1:
            reason = "there are several Authorization headers"
        elif not sent[0].startswith(_SCHEME):
            reason = "the Authorization header does not start with 'Bearer '"
        else:
            # Compare all tokens, so that the time does not reveal which one is close.
            found = [
                token
                for token in self._tokens
                if hmac.compare_digest(sent[0].removeprefix(_SCHEME), token.tokenData.encode())
            ]
            if any(token.enable for token in found):
                return head, body
            reason = (
                f"the token {found[0].tokenName!r} is disabled" if found else "no configured token is like this one"
            )
        raise FCError(Refusal.BEARER_INVALID, reason=reason, remedy=remedy)
