"""From specs to a set of prompts: what is found, what is rejected, merged and counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.prompts import Rejection, TableOptions, load_prompts
from demur.errors import InputError
from demur.files import sha256_file
from demur.nouns import Label


def written(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_text_is_recorded_as_it_was_written(tmp_path: Path) -> None:
    text = "  “What’s” 5% of\n**x**? 🎉 "
    path = written(tmp_path / "mine.jsonl", {"prompt": text, "label": "benign"})
    (prompt,) = load_prompts([path]).prompts
    assert (prompt.text, prompt.source, prompt.license, prompt.label) == (text, "mine", "unknown", Label.BENIGN)


def test_duplicates_merge_by_source_and_the_first_wins(tmp_path: Path) -> None:
    a = written(tmp_path / "a.jsonl", {"prompt": "Why?", "label": "safe", "category": "first"})
    b = written(
        tmp_path / "b.jsonl",
        {"prompt": " why?", "label": "borderline", "category": "second"},
        {"prompt": "WHY?", "label": "borderline"},
        {"prompt": "Why not?", "label": "borderline"},
    )
    found = load_prompts([a, b])
    assert [(prompt.text, prompt.category) for prompt in found.prompts] == [
        ("Why?", "first"),
        ("Why not?", "uncategorised"),
    ]
    assert found.merged == {"b": 2}
    assert not found.rejected


def test_two_labels_reject_every_row_of_a_text(tmp_path: Path) -> None:
    a = written(tmp_path / "a.jsonl", {"prompt": "Why?", "label": "safe"}, {"prompt": "Why?", "label": "safe"})
    b = written(tmp_path / "b.jsonl", {"prompt": "why?", "label": "unsafe"}, {"prompt": "How?", "label": "unsafe"})
    found = load_prompts([a, b])
    assert [prompt.text for prompt in found.prompts] == ["How?"]
    assert [(row.text, row.source, row.reason) for row in found.rejected] == [
        ("Why?", "a", "label conflict"),
        ("Why?", "a", "label conflict"),
        ("why?", "b", "label conflict"),
    ]
    assert found.rejected[2].detail == "labelled harmful here, in all: borderline, harmful"
    assert not found.merged


def test_unusable_texts_are_rejected_with_a_reason(tmp_path: Path) -> None:
    texts = ["", " \n", None, 7, ["a"], "x" * 5000, "word " * 701, "half \ud83d", "fine"]
    path = written(tmp_path / "mine.jsonl", *({"prompt": text, "label": "harmful"} for text in texts))
    found = load_prompts([path])
    assert [prompt.text for prompt in found.prompts] == ["fine"]
    reasons = [row.reason for row in found.rejected]
    assert reasons == ["empty"] * 3 + ["not text"] * 2 + ["too long"] * 2 + ["not text"]
    long = found.rejected[5]
    assert long.detail == "row 6: 5000 characters, the limit is 4000"
    assert long.text == "x" * 300 + "…"
    assert found.rejected[6].detail == "row 7: 701 words, the limit is 700"
    json.dumps([row.as_dict() for row in found.rejected], ensure_ascii=False).encode()


def test_limits_are_options(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.jsonl", {"prompt": "word " * 200, "label": "benign"})
    assert len(load_prompts([path], TableOptions(max_characters=2000, max_words=200)).prompts) == 1
    assert load_prompts([path], TableOptions(max_characters=999, max_words=999)).rejected[0].reason == "too long"


def test_a_pair_stays_where_both_members_do(tmp_path: Path) -> None:
    rows = [
        ("1", "harmful", "kept"),
        ("1", "borderline", "kept too"),
        ("2", "harmful", "its twin is empty"),
        ("2", "borderline", ""),
        ("3", "harmful", "no twin"),
        ("4", "harmful", "two of"),
        ("4", "harmful", "a kind"),
        (None, "benign", "single"),
    ]
    path = tmp_path / "mine.jsonl"
    found = load_prompts([written(path, *({"pair_id": a, "label": b, "prompt": c} for a, b, c in rows))])
    assert [prompt.pair_id for prompt in found.prompts] == ["mine.jsonl:1"] * 2 + [None] * 5
    assert found.unpaired == {"mine": 4}


def test_inputs_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "goals.csv"
    path.write_text("goal,target\nDo it,Sure\n")
    (file,) = load_prompts([str(path)]).inputs
    assert file.as_dict() == {
        "name": "goals.csv",
        "sha256": sha256_file(path),
        "rows": 1,
        "source": "advbench",
        "license": "MIT",
    }


def test_folder_is_recognised_file_by_file(tmp_path: Path) -> None:
    for name, path in (("harmful.json", "audio_1"), ("benign.json", "B_audio_1")):
        row = {"prompt": f"About {name}?", "category": "hate", "path": path}
        (tmp_path / name).write_text(json.dumps([row]))
    (tmp_path / "goals.csv").write_text("goal,target\nDo it,Sure\n")
    found = load_prompts([str(tmp_path)])
    assert Counter(prompt.source for prompt in found.prompts) == {"rrs": 2, "advbench": 1}
    assert len({prompt.pair_id for prompt in found.prompts if prompt.source == "rrs"}) == 1


@pytest.mark.parametrize("sign", ["=", ":"])
def test_a_name_forces_a_format(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "strange: name=1.csv"
    path.write_text("prompt,extra\nDo it,1\n")
    (prompt,) = load_prompts([f"advbench{sign}{path}"]).prompts
    assert (prompt.source, prompt.label) == ("advbench", Label.HARMFUL)


def test_columns_given_by_the_user_outrank_recognition_but_not_names(tmp_path: Path) -> None:
    path = tmp_path / "goals.csv"
    path.write_text("goal,target\nDo it,Sure thing\n")
    options = TableOptions(text_column="target", label=Label.BENIGN)
    mine, named = load_prompts([str(path), f"advbench={path}"], options).prompts
    assert (mine.text, mine.source, mine.label) == ("Sure thing", "goals", Label.BENIGN)
    assert (named.text, named.source, named.label) == ("Do it", "advbench", Label.HARMFUL)


def test_plain_text_needs_a_label(tmp_path: Path) -> None:
    path = tmp_path / "ideas.txt"
    path.write_text("What time is it?\nHow tall is K2?\n")
    with pytest.raises(InputError, match=r"ideas.txt: .*--label-column NAME, or --label"):
        load_prompts([str(path)])
    found = load_prompts([str(path)], TableOptions(label=Label.BENIGN))
    assert [(prompt.text, prompt.source) for prompt in found.prompts] == [
        ("What time is it?", "ideas"),
        ("How tall is K2?", "ideas"),
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing", "no such file or folder, and no prompt source of that name; there are: advbench, "),
        ("data/none.csv", "no such file or folder"),
        ("../none", "no such file or folder"),
        ("xstest=none.csv", "none.csv: no such file"),
        ("or-bench:none", "no file and no part named 'none'; the parts are: 80k, hard-1k, toxic"),
        ("demur-core:none", "no partition 'none'; there are: align, tune, test"),
        ("rrs", "not on the Hugging Face Hub; download it from https://github.com/YangHao97/RRS and pass its path"),
    ],
)
def test_specs_that_name_nothing(spec: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load_prompts([spec])
    assert message in str(error.value)


def test_a_rejection_is_a_line_of_rejected_jsonl() -> None:
    line = Rejection("0" * 16, "Why?", Label.BENIGN, "mine", "empty", "row 1").as_dict()
    assert line == {
        **{"prompt_id": "0" * 16, "prompt": "Why?", "label": "benign"},
        **{"source": "mine", "reason": "empty", "detail": "row 1"},
    }


@settings(max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "prompt": st.one_of(
                    st.none(), st.integers(), st.sampled_from(["a", "A ", "b", "c", ""]), st.text(max_size=5)
                ),
                "label": st.sampled_from(list(Label)),
                "pair_id": st.sampled_from([None, "1", "2"]),
            }
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_row_is_accounted_for(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    found = load_prompts([written(tmp_path_factory.mktemp("any") / "any.jsonl", *rows)])
    assert len(found.prompts) + len(found.rejected) + found.merged.total() + found.left_out.total() == len(rows)
    assert len({prompt.prompt_id for prompt in found.prompts}) == len(found.prompts)
    pairs = Counter(prompt.pair_id for prompt in found.prompts if prompt.pair_id)
    assert set(pairs.values()) <= {2}
