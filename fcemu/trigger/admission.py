"""May this request enter? The order in which refusals apply.

404 no such host, function, trigger or route → 403 internet URL disabled → 403 method → 400 limits → authentication
(`authentication.py`). The vendor documents each refusal (PAGE, table; semantics 2, 14) but not their order. This order
is ours; docs/fidelity.md lists it. A refused request is never billed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fcemu.errors import FCError, Refusal
from fcemu.trigger import cors, limits
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route


@dataclass(frozen=True)
class Admission:
    """A request that may enter."""

    preflight: bool = False
    """The gateway answers the request itself; no function runs."""


_ENTER, _PREFLIGHT = Admission(), Admission(preflight=True)


def admit(route: Route, head: RequestHead) -> Admission:
    """Admit a request.

    Args:
        route: where the request goes. A request without a route has been refused already (404).
        head: the request before its body.

    Raises:
        FCError: the first refusal that applies.
    """
    trigger = route.trigger
    if trigger is not None and route.public and trigger.triggerConfig.disableURLInternet:
        raise FCError(
            Refusal.INTERNET_URL_DISABLED,
            reason=f"trigger {trigger.triggerName} has disableURLInternet: true",
            remedy=f"call {route.function.functionName}-vpc.localhost or a custom domain, "
            "or set disableURLInternet: false",
        )
    methods = route.methods
    # D/04/002: if the methods lack OPTIONS, the gateway answers a preflight itself.
    if cors.is_preflight(head) and "OPTIONS" not in methods:
        limits.enforce_request(head)
        return _PREFLIGHT
    if head.method not in methods:
        name = trigger.triggerName if trigger else f"{route.domain.domainName if route.domain else ''} route"
        raise FCError(
            Refusal.METHOD_NOT_ALLOWED,
            method=head.method,
            reason=f"{name} allows {', '.join(methods)}, not {head.method}",
            remedy=f"add {head.method} to `methods`" + (" (WebSocket needs GET)" if head.method == "GET" else ""),
        )
    limits.enforce_request(head)
    return _ENTER
