"""Seeds and draws that depend on what they are for, never on the order of the work."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from a hash of the parts: the same for the same parts on any machine, in any order of work."""
    joined = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(joined.encode()).digest()[:8], "big") >> 1


def shuffled(items: Iterable[T], *parts: object, key: Callable[[T], str] = str) -> list[T]:
    """The items in an order drawn by the parts and each item's own key, whatever order they came in."""
    return sorted(items, key=lambda item: (derive_seed(*parts, key(item)), key(item)))
