"""Does the request carry the name and password of a configured user? (`authType: basic`, D/06/03)

The vendor documents three messages. The status 401, the code, and the message for a wrong password are INF.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from fcemu.errors import FCError, Refusal
from fcemu.model import BasicAuthConfig
from fcemu.trigger.request import RequestHead

_SCHEME = b"Basic "


class BasicAuthenticator:
    """Requires `Authorization: Basic base64(user name:password)` (RFC 7617)."""

    needs_body = False
    secret_parameters: frozenset[str] = frozenset()

    def __init__(self, config: BasicAuthConfig) -> None:
        self._known = [f"{user.userName}:{user.password}".encode() for user in config.users]

    def authenticate(self, head: RequestHead, body: bytes | None, wall_now: float) -> tuple[RequestHead, bytes | None]:
        """The request to forward: unchanged, with its Authorization header (INF).

        Raises:
            FCError: BASIC_MISSING, BASIC_OTHER_SCHEME, BASIC_NOT_BASE64 or BASIC_INVALID.
        """
        sent = [value for name, value in head.headers if name.lower() == b"authorization"]
        remedy = "send `Authorization: Basic …`, as `curl -u name:password` does, with a user of authConfig"
        if not sent:
            raise FCError(Refusal.BASIC_MISSING, reason="there is no Authorization header", remedy=remedy)
        if len(sent) > 1:
            raise FCError(Refusal.BASIC_INVALID, reason="there are several Authorization headers", remedy=remedy)
        if not sent[0].startswith(_SCHEME):
            reason = "the Authorization header does not start with 'Basic '"
            raise FCError(Refusal.BASIC_OTHER_SCHEME, reason=reason, remedy=remedy)
        encoded = sent[0].removeprefix(_SCHEME)
        try:
            credentials = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            # The client gets back what it sent, as documented. The log must not contain it.
            value = encoded.decode("ascii", "replace")
            reason = "what follows 'Basic ' is not base64"
            raise FCError(Refusal.BASIC_NOT_BASE64, value=value, reason=reason, remedy=remedy) from None
        # Compare all users, so that the time does not reveal which one is close.
        if not sum(hmac.compare_digest(credentials, known) for known in self._known):
            raise FCError(Refusal.BASIC_INVALID, reason="no configured user is like this one", remedy=remedy)
        return head, body
