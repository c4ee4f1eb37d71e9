"""fcemu emulates the HTTP trigger of Alibaba Cloud Function Compute, with WebSocket passthrough, on your machine.

Public names are imported on first use, so that `import fcemu` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcemu.clients.tokens import KeyPair as KeyPair
    from fcemu.configuration.load import load as load
    from fcemu.emulator import Emulator as Emulator
    from fcemu.serving.refusals import explained as explained
    from fcemu.testing.kit import Kit as Kit
    from fcemu.trigger.signature import sign as sign


__version__ = "0.1.0"

_PUBLIC = {
    "Emulator": "fcemu.emulator",
    "KeyPair": "fcemu.clients.tokens",
    "Kit": "fcemu.testing.kit",
    "explained": "fcemu.serving.refusals",
    "load": "fcemu.configuration.load",
    "sign": "fcemu.trigger.signature",
}

__all__ = ["Emulator", "KeyPair", "Kit", "__version__", "explained", "load", "sign"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fcemu' has no attribute {name!r}")
