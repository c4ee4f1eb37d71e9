"""Ids as the cloud makes them. Randomness and time are passed in."""

from __future__ import annotations


def request_id(wall_now: float, random_bits: int) -> str:
    """An FC 3.0 request id, `1-<8 hex unix seconds>-<up to 8 hex>-<12 hex>` (semantics 1.4).

    The middle group is not padded, as in the cloud.

    Args:
        wall_now: seconds since 1970 UTC.
        random_bits: at least 80 random bits.
    """
    return f"1-{int(wall_now):08x}-{random_bits >> 48 & 0xFFFFFFFF:x}-{random_bits & 0xFFFFFFFFFFFF:012x}"


def instance_id(wall_now: float, random_bits: int) -> str:
    """An instance id, `c-<8 hex unix seconds>-<8 hex>-<12 hex>` (semantics 6); the arguments are `request_id`'s."""
    return f"c-{int(wall_now):08x}-{random_bits >> 48 & 0xFFFFFFFF:08x}-{random_bits & 0xFFFFFFFFFFFF:012x}"
