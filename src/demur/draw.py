"""`--limit N`: the same draw of prompts wherever it is asked for."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from demur.seeds import shuffled

T = TypeVar("T")


def draw(
    items: Iterable[T],
    limit: int,
    seed: int,
    *,
    key: Callable[[T], str],
    label: Callable[[T], Hashable],
    pair: Callable[[T], str | None],
) -> list[T]:
    """`limit` items of each label, drawn by seed and each item's key, in the order they came; twins together.

    Twins come before items without one, so that every label reaches its number if it has as many. A label comes out
    short where it has fewer items, or where what is left of it has a twin whose label is full. Whatever else
    is in the list, or its order, a draw of the same seed prefers the same items.
    """
    chosen = list(items)
    groups: dict[tuple[str, str], list[T]] = defaultdict(list)
    for item in chosen:
        twins = pair(item)
        groups["pair" if twins else "alone", twins or key(item)].append(item)
    order = shuffled(groups, "limit", seed, key="\x1f".join)
    room: Counter[Hashable] = Counter({label(item): limit for item in chosen})
    kept: set[str] = set()
    for name in sorted(order, key=lambda name: len(groups[name]) == 1):
        needed = Counter(label(item) for item in groups[name])
        if all(room[which] >= count for which, count in needed.items()):
            room.subtract(needed)
            kept.update(key(item) for item in groups[name])
    return [item for item in chosen if key(item) in kept]
