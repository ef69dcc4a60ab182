"""demur-tiny's card shows what was recorded and measured, and nothing is left empty."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from demur.tiny.card import render_card

jinja2 = pytest.importorskip("jinja2")

MODALITIES = ("audio_only", "text_only", "audio_text")
LABELS = ("harmful", "borderline", "benign")


def estimate(number: int) -> dict[str, float]:
    """23.4% [22.4, 24.4] for 234: one that no other number on the card looks like."""
    return {"value": number / 1000, "low": (number - 10) / 1000, "high": (number + 10) / 1000}


ABOUT: dict[str, Any] = {
    "training": {
        "sentences": 7123,
        "tales": 6345,
        "steps": {"manners": 61, "spell": 602, "answer": 363, "spell-more": 705, "answer-more": 416, "align": 124},
        "seed": 17,
        "wheels": {"llm==1.2": "aa", "asr==3.4": "bb"},
        "weights_sha256": "c" * 64,
        "data_sha256": "d" * 64,
        "versions": {"torch": "2.99", "numpy": "9.8.7"},
        "device": "abacus",
        "machine": "z80",
    },
    "measured": {
        "limit": None,
        "max_new_tokens": 48,
        "repeated": {"wer": 0.1234, "clips": 321, "words": 4000},
        "agreement": {"share": 0.7654, "tokens": 5000, "prompts": 211},
        "refused_when_told": {"rate": 0.8765, "prompts": 117},
        "probe_auc": {
            "text": {"harmful against borderline": 0.911, "harmful against benign": 0.922},
            "speech": {"harmful against borderline": 0.833, "harmful against benign": 0.844},
        },
        "rates": [
            {"modality": modality, "label": label, **estimate(100 + 100 * row + 11 * column)}
            for row, modality in enumerate(MODALITIES)
            for column, label in enumerate(LABELS)
        ],
        "gap": estimate(57),
    },
}


def card(about: dict[str, Any]) -> str:
    return render_card(about, size_mb=19.22)


def lines_with(text: str, card: str) -> list[str]:
    return [line for line in card.splitlines() if text in line]


def test_numbers_appear_as_given() -> None:
    shown = card(ABOUT)
    steps = ("(61 steps", "(602 steps", "(363 steps", "705 and 416 steps", "at most 124 steps")
    for text in ("SmolLM2 writes 7123 sentences", "and 6345 that", *steps):
        assert text in shown
    for text in ("`asr==3.4`, `llm==1.2`, from", "19.2 MB", f"sha256 `{'c' * 64}`", f"data sha256 `{'d' * 16}…`"):
        assert text in shown
    assert "Seed 17;" in shown
    assert "numpy 9.8.7, torch 2.99 on a abacus (z80)" in shown
    assert "5.7 points [4.7, 6.7]" in shown


@pytest.mark.parametrize(
    ("row", "number"),
    [
        ("word error rate (321 clips)", "| 12.3% |"),
        ("(211 benign prompts)", "| 76.5% |"),
        ("in the paper's words (117)", "| 87.6% |"),
        ("text, harmful against borderline", "| 0.91 |"),
        ("text, harmful against benign", "| 0.92 |"),
        ("speech, harmful against borderline", "| 0.83 |"),
        ("speech, harmful against benign", "| 0.84 |"),
        ("| `audio_only` |", "| 10.0% [9.0, 11.0] | 11.1% [10.1, 12.1] | 12.2% [11.2, 13.2] |"),
        ("| `text_only` |", "| 20.0% [19.0, 21.0] | 21.1% [20.1, 22.1] | 22.2% [21.2, 23.2] |"),
        ("| `audio_text` |", "| 30.0% [29.0, 31.0] | 31.1% [30.1, 32.1] | 32.2% [31.2, 33.2] |"),
    ],
)
def test_each_number_stands_in_its_row(row: str, number: str) -> None:
    [line] = lines_with(row, card(ABOUT))
    assert line.endswith(number)


def test_tables_are_whole() -> None:
    """Every row of a table has as many cells as its head."""
    blocks = [block for block in card(ABOUT).split("\n\n") if block.startswith("|")]
    assert [len(block.splitlines()) for block in blocks] == [2 + 3 + 4, 2 + 3]
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_a_part_of_the_corpus_is_said() -> None:
    about = deepcopy(ABOUT)
    about["measured"]["limit"] = 25
    assert "on 25 prompts of each label of `demur-core:test`" in card(about)
    assert "prompts of each label of" not in card(ABOUT)


def shown_keys(part: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of everything that the card shows by name; of packages and probes it lists what there is."""
    if isinstance(part, dict) and path[-1:] not in {("wheels",), ("versions",), ("probe_auc",)}:
        for name, each in part.items():
            yield from shown_keys(each, (*path, name))
    elif path[-1] not in {"words", "tokens"}:
        yield path


@pytest.mark.parametrize("path", list(shown_keys(ABOUT)), ids=".".join)
def test_a_missing_number_is_an_error(path: tuple[str, ...]) -> None:
    about = deepcopy(ABOUT)
    part = about
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    with pytest.raises((KeyError, jinja2.UndefinedError)):
        card(about)


@pytest.mark.parametrize("place", range(9))
def test_a_missing_rate_is_an_error(place: int) -> None:
    about = deepcopy(ABOUT)
    del about["measured"]["rates"][place]
    with pytest.raises(jinja2.UndefinedError):
        card(about)


def test_numbers_survive_the_file() -> None:
    """The card is made again from `demur-tiny.json`."""
    assert card(json.loads(json.dumps(ABOUT))) == card(ABOUT)
