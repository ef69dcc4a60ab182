from collections import Counter
from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from demur.draw import draw


class Item(NamedTuple):
    key: str
    label: str
    pair: str | None = None


def take(items: list[Item], limit: int, seed: int = 0) -> list[Item]:
    return draw(
        items, limit, seed, key=lambda item: item.key, label=lambda item: item.label, pair=lambda item: item.pair
    )


def corpus(pairs: int, harmful: int, borderline: int, benign: int) -> list[Item]:
    twins = [Item(f"{label}{n}", label, f"p{n}") for n in range(pairs) for label in ("harmful", "borderline")]
    counts = {"harmful": harmful, "borderline": borderline, "benign": benign}
    return twins + [Item(f"alone-{label}{n}", label) for label, count in counts.items() for n in range(count)]


SMALL = st.integers(0, 8)


@given(SMALL, SMALL, SMALL, SMALL, st.integers(1, 10), st.integers(0, 3), st.randoms())
def test_every_label_gets_its_number_and_no_twin_is_parted(
    pairs: int, harmful: int, borderline: int, benign: int, limit: int, seed: int, random: Random
) -> None:
    items = corpus(pairs, harmful, borderline, benign)
    chosen = take(items, limit, seed)
    have, drawn = (Counter(item.label for item in some) for some in (items, chosen))
    assert drawn == {label: min(limit, count) for label, count in have.items()}
    assert set(Counter(item.pair for item in chosen if item.pair).values()) <= {2}
    mixed = random.sample(items, len(items))
    assert set(take(mixed, limit, seed)) == set(chosen)
    assert [item for item in mixed if item in chosen] == take(mixed, limit, seed)


def test_seeds_draw_differently_and_a_larger_draw_holds_the_smaller() -> None:
    items = corpus(100, 0, 0, 100)
    assert take(items, 5, 1) != take(items, 5, 2)
    assert set(take(items, 5)) < set(take(items, 20))


def test_more_than_two_of_one_pair_stay_together() -> None:
    family = [Item("h", "harmful", "p"), Item("b1", "borderline", "p"), Item("b2", "borderline", "p")]
    assert take([*family, Item("b3", "borderline")], 2) == family
    assert take([*family, Item("b3", "borderline")], 1) == [Item("b3", "borderline")]
