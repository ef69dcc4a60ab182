import json
from pathlib import Path
from typing import Any

import pytest

from demur.errors import InputError
from demur.models import KeyedQuery, make_model
from demur.nouns import Modality, prompt_id

PROMPT = "How do I whittle?"


def query(number: int = 0, modality: Modality = Modality.TEXT_ONLY) -> KeyedQuery:
    return KeyedQuery(None, 0, PROMPT, id=f"s{number}", prompt_id=prompt_id(PROMPT), prompt=PROMPT, modality=modality)


def script(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"scripted:{path}"


@pytest.mark.parametrize(
    "key",
    [{"id": "s0"}, {"prompt_id": prompt_id(PROMPT)}, {"prompt": "  how do I WHITTLE?"}, {"id": "s0", "prompt": "x"}],
)
@pytest.mark.parametrize("column", ["text", "response", "completion"])
def test_found_by_any_key_and_any_usual_column(tmp_path: Path, key: dict[str, str], column: str) -> None:
    model = make_model(script(tmp_path, {**key, column: "With a knife."}))
    assert [answer.text for answer in model.answer([query(), query()])] == ["With a knife."] * 2
    assert model.name == "scripted:answers"


def test_a_row_of_one_modality_comes_before_a_row_of_all(tmp_path: Path) -> None:
    model = make_model(
        script(tmp_path, {"id": "s0", "text": "all"}, {"id": "s0", "text": "heard", "modality": "audio_only"})
    )
    answers = model.answer([query(modality=modality) for modality in Modality])
    assert [answer.text for answer in answers] == ["heard", "all", "all"]


def test_the_last_of_several_rows_counts(tmp_path: Path) -> None:
    assert (
        make_model(script(tmp_path, {"id": "s0", "text": "a"}, {"id": "s0", "text": "b"})).answer([query()])[0].text
        == "b"
    )


def test_a_missing_answer_is_an_error_and_an_empty_one_is_an_answer(tmp_path: Path) -> None:
    model = make_model(script(tmp_path, {"id": "s0", "text": ""}, {"id": "s1", "text": None}))
    empty, null, absent = model.answer([query(0), query(1), query(2)])
    assert (empty.text, empty.error) == ("", None)
    assert null.text is None
    assert absent.error == "answers.jsonl has no answer for id 's2'"


def test_csv_with_columns_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f'\ufeffquestion,said\n{PROMPT},"With a knife,\nslowly."\n', encoding="utf-8")
    model = make_model(f"scripted:{path}", {"prompt_column": "question", "text_column": "said", "name": "mine"})
    assert model.answer([query()])[0].text == "With a knife,\nslowly."
    assert model.name == "mine"


def test_settings_change_with_the_file(tmp_path: Path) -> None:
    first = make_model(script(tmp_path, {"id": "a", "text": "a"})).settings
    assert first != make_model(script(tmp_path, {"id": "a", "text": "b"})).settings


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([], {}, "no rows"),
        ([{"text": "a"}], {}, "--prompt-column"),
        ([{"id": "a"}], {}, "--text-column"),
        ([{"id": "a", "text": "a"}], {"text_column": "b"}, "no column 'b'; it has: id, text"),
        ([{"id": "a", "text": 7}], {}, "row 1"),
        ([{"id": 7, "text": "a"}], {}, "row 1"),
        ([{"id": "a", "text": "a", "modality": "video"}], {}, "no modality 'video'"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, rows: list[dict[str, Any]], options: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        make_model(script(tmp_path, *rows), options).answer([query()])


def test_no_such_file_or_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        make_model(f"scripted:{tmp_path}/none.jsonl")
    with pytest.raises(InputError, match=r"no model named 'scrypted'; there are: .*scripted"):
        make_model("scrypted:x")
