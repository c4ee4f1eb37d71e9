"""What do the cloud's ids look like? Randomness and time are passed in."""

from __future__ import annotations


def request_id(wall_now: float, random_bits: int) -> str:
    """An FC 3.0 request id, `1-<8 hex unix seconds>-<up to 8 hex>-<12 hex>` (fc-semantics 1.4).

    `random_bits` holds at least 80 random bits. The middle group is not padded, as in the cloud.
    """
    return f"1-{int(wall_now):08x}-{random_bits >> 48 & 0xFFFFFFFF:x}-{random_bits & 0xFFFFFFFFFFFF:012x}"


def instance_id(wall_now: float, random_bits: int) -> str:
    """An instance id, `c-<8 hex unix seconds>-<8 hex>-<12 hex>` (fc-semantics 6)."""
    return f"c-{int(wall_now):08x}-{random_bits >> 48 & 0xFFFFFFFF:08x}-{random_bits & 0xFFFFFFFFFFFF:012x}"
