"""Tables of any layout, read by their columns."""

from collections.abc import Mapping
from typing import Any

import pytest

from builders.prompts.generic import SPELLINGS, read_label, read_rows
from builders.prompts.source import Item, Table, TableOptions
from demur.errors import InputError
from demur.nouns import Label


def rows(*rows_: Mapping[str, Any], **options: Any) -> list[Item]:
    columns = tuple(dict.fromkeys(column for row in rows_ for column in row))
    return list(read_rows(Table("mine.csv", columns, rows_, "0"), TableOptions(**options)))


def test_usual_columns_are_found_whatever_their_case() -> None:
    item = {"id": 1, "Question": "Why?", "Label": "Safe", "category": "hate", "kind": "homonyms", "pair_id": "7"}
    assert rows(item) == [Item("Why?", Label.BORDERLINE, "hate", "homonyms", "7")]


def test_named_columns() -> None:
    item = {"prompt": "not this", "q": "this", "verdict": "1"}
    assert rows(item, text_column="q", label_column="verdict") == [Item("this", Label.HARMFUL)]


def test_one_label_for_all_and_for_blanks_only() -> None:
    assert [item.label for item in rows({"q": "a"}, {"q": "b"}, label=Label.BENIGN)] == [Label.BENIGN] * 2
    mixed = rows({"prompt": "a", "label": "toxic"}, {"prompt": "b", "label": ""}, {"prompt": "c"}, label=Label.BENIGN)
    assert [item.label for item in mixed] == [Label.HARMFUL, Label.BENIGN, Label.BENIGN]


@pytest.mark.parametrize(("label", "spelling"), [(label, word) for label, words in SPELLINGS.items() for word in words])
def test_every_spelling_is_read(label: Label, spelling: str) -> None:
    assert read_label(f" {spelling.upper()} ") is label


@pytest.mark.parametrize(
    ("value", "column", "label"),
    [
        (True, "is_safe", Label.BORDERLINE),
        (0, "safe", Label.HARMFUL),
        (True, "unsafe", Label.HARMFUL),
        (0.0, "toxic", Label.BENIGN),
        (1, "safety_violation", Label.HARMFUL),
        ("unsafe", "is_safe", Label.HARMFUL),
        (None, "label", None),
        (2, "label", None),
    ],
)
def test_numbers_mean_what_the_column_asks(value: Any, column: str, label: Label | None) -> None:
    assert read_label(value, column) is label


@pytest.mark.parametrize(
    ("row", "options", "parts"),
    [
        ({"a": "x", "b": "y"}, {}, ["mine.csv", "--text-column", "a, b"]),
        ({"prompt": "x", "b": "y"}, {}, ["--label-column", "--label", "prompt, b"]),
        ({"prompt": "x", "b": "y"}, {"text_column": "promt"}, ["'promt'", "prompt, b"]),
        ({"prompt": "x", "b": "y"}, {"label_column": "c"}, ["'c'", "prompt, b"]),
        ({"prompt": "x", "label": "meh"}, {}, ["'meh'", "harmful (harmful, unsafe, toxic", "borderline (", "benign ("]),
        ({"prompt": "x", "label": None}, {}, ["unknown labels", "'None'"]),
        ({"prompt": "x", "label": ["harmful"]}, {}, ["unknown labels"]),
    ],
)
def test_errors_name_what_there_is(row: dict[str, Any], options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        rows(row, **options)
    for part in parts:
        assert part in str(error.value)
