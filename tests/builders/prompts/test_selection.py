"""Drawing a part of a prompt set."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.prompts import select
from demur.errors import UsageError
from demur.nouns import Label, Prompt


def prompts(pairs: int, harmful: int = 0, borderline: int = 0, benign: int = 0) -> list[Prompt]:
    made = [
        Prompt(text=f"{label} {number} of a pair", label=label, source="s", pair_id=str(number))
        for number in range(pairs)
        for label in (Label.HARMFUL, Label.BORDERLINE)
    ]
    for label, count in zip(Label, (harmful, borderline, benign), strict=True):
        made += [Prompt(text=f"{label} {number} alone", label=label, source="s") for number in range(count)]
    return made


@given(*[st.integers(0, 6)] * 4, st.integers(1, 8), st.integers(0, 3))
def test_as_many_of_each_label_as_asked_and_twins_together(
    pairs: int, harmful: int, borderline: int, benign: int, limit: int, seed: int
) -> None:
    given_ = prompts(pairs, harmful, borderline, benign)
    drawn = select(given_, limit, seed)
    there, counts = Counter(p.label for p in given_), Counter(p.label for p in drawn)
    assert all(counts[label] == min(limit, there[label]) for label in Label)
    assert set(Counter(p.pair_id for p in drawn if p.pair_id).values()) <= {2}
    assert drawn == [prompt for prompt in given_ if prompt in drawn]
    assert select(list(reversed(given_)), limit, seed) == list(reversed(drawn))


def test_the_seed_draws() -> None:
    given_ = prompts(pairs=30, benign=30)
    assert select(given_, 5, 0) == select(given_, 5, 0)
    assert select(given_, 5, 0) != select(given_, 5, 1)


def test_without_a_limit_all_are_taken() -> None:
    given_ = prompts(pairs=2, benign=1)
    assert select(given_, None, 0) == given_


def test_a_limit_below_one_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--limit 0"):
        select([], 0, 0)
