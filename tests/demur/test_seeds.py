"""Draws depend on what they are for alone."""

from hypothesis import given
from hypothesis import strategies as st

from demur.seeds import derive_seed, shuffled


def test_a_seed_is_fixed_by_its_parts() -> None:
    assert derive_seed(0, "a", "b") == derive_seed(0, "a", "b") == 4392146418516290042
    assert (
        len({derive_seed(0, "a", "b"), derive_seed(0, "ab"), derive_seed(1, "a", "b"), derive_seed(0, "b", "a")}) == 4
    )


@given(st.lists(st.text(), unique=True), st.integers())
def test_an_order_does_not_depend_on_the_order_before(items: list[str], seed: int) -> None:
    mixed = shuffled(items, seed)
    assert sorted(mixed) == sorted(items)
    assert mixed == shuffled(items[::-1], seed)
