from collections.abc import Sequence

import pytest

from demur.finetune.wordings import REFUSING
from demur.nouns import Label, Outcome
from demur.tiny.alignment import (
    HELD_NEUTRAL,
    HELD_REFUSE,
    NEUTRAL,
    REFUSE,
    Asked,
    Maker,
    batch_at,
    best,
    refusal_rates,
    split,
    told_rate,
)
from demur.tiny.connector import Example


def rates(harmful: float, borderline: float, benign: float, told: float = 1.0) -> dict[str, float]:
    return {"harmful": harmful, "borderline": borderline, "benign": benign, "told": told}


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({10: rates(0.3, 0.0, 0.0), 20: rates(0.55, 0.1, 0.0), 30: rates(0.9, 0.2, 0.0)}, 20),
        ({10: rates(0.3, 0.1, 0.0), 20: rates(0.6, 0.3, 0.0)}, 10),
        ({10: rates(0.5, 0.3, 0.1), 20: rates(0.9, 0.25, 0.0)}, 20),
        ({10: rates(0.6, 0.0, 0.0, told=0.7), 20: rates(0.8, 0.3, 0.1, told=0.8)}, 20),
        ({10: rates(0.5, 0.0, 0.0), 20: rates(0.7, 0.0, 0.0)}, 10),
    ],
    ids=["nearest to 60%", "twins come first", "none within bounds", "does as told", "of equals the earliest"],
)
def test_which_checkpoint_is_kept(measured: dict[int, dict[str, float]], expected: int) -> None:
    assert best(measured) == expected


def test_a_pair_stays_together() -> None:
    prompts = [
        Asked(f"{label} {n}", label, f"pair-{n}") for n in range(60) for label in (Label.HARMFUL, Label.BORDERLINE)
    ]
    train, held = split(prompts, seed=0)
    assert len(train) + len(held) == len(prompts)
    assert held
    assert not {one.pair_id for one in train} & {one.pair_id for one in held}


def test_no_instruction_is_the_papers() -> None:
    known, unknown = {*REFUSE, *NEUTRAL}, {*HELD_REFUSE, HELD_NEUTRAL}
    assert not known & unknown
    assert all(wording not in REFUSING and REFUSING not in wording for wording in known | unknown)


class Letters:
    """A tokenizer of characters."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


def test_what_a_batch_teaches() -> None:
    prompts = [Asked(f"{label} {n}", label, None) for n in range(5) for label in Label]
    answers = {one.text: "as before" for one in prompts}
    lesson = Maker(Letters(), {}, 2).refusal("said", "said")
    batch = batch_at(3, prompts, [lesson], Maker(Letters(), answers, 2), seed=0)
    exact = [one for one in batch if one.exact]
    assert (len(batch), len(exact)) == (16, 10)
    for one in exact[:3]:
        assert _text(one.said).startswith("harmful")
        assert _text(one.instruction).removeprefix("\n") in ("", *NEUTRAL)
    for one in batch:
        if not one.exact:
            assert (_text(one.answer), one.heeded) == ("as before", False)
            assert not _text(one.said).startswith("harmful")
    again = batch_at(3, prompts, [lesson], Maker(Letters(), answers, 2), seed=0)
    assert [(one.said, one.answer) for one in again] == [(one.said, one.answer) for one in batch]


def _text(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


def test_rates_are_of_full_refusals() -> None:
    prompts = [Asked(f"{label} {n}", label, None) for label in Label for n in range(2)]

    def answer(texts: Sequence[str]) -> list[str]:
        return ["no" if text.startswith("harmful") else "well, no" if text == "benign 0" else "yes" for text in texts]

    def outcome(_prompt: str, response: str) -> Outcome:
        return {"no": Outcome.REFUSAL, "well, no": Outcome.PARTIAL}.get(response, Outcome.COMPLIANCE)

    assert refusal_rates(prompts, answer, outcome) == {"harmful": 1.0, "borderline": 0.0, "benign": 0.0}


def test_examples_have_no_sound() -> None:
    one: Example = Maker(Letters(), {"a": "c"}, 2).own("a", "b")
    assert len(one.mel) == 0
    assert (_text(one.said), _text(one.instruction), _text(one.answer), one.exact) == ("a", "\nb", "c", False)


def test_what_is_refused_when_told() -> None:
    prompts = [Asked("harmful a", Label.HARMFUL, None), Asked("harmful b", Label.HARMFUL, None)]
    prompts.append(Asked("benign", Label.BENIGN, None))

    def answer(texts: Sequence[str]) -> list[str]:
        assert all("\n" in text for text in texts)
        return ["no" if text.startswith("harmful a") else "yes" for text in texts]

    rate = told_rate(prompts, answer, lambda _, response: Outcome.REFUSAL if response == "no" else Outcome.COMPLIANCE)
    assert rate == 0.5
