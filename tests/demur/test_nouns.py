"""The nouns that every stage shares."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from demur.nouns import Label, Modality, Prompt, Verdict, normalise_text, prompt_id


def test_a_prompt_id_is_the_hash_of_the_normalised_text() -> None:
    expected = hashlib.sha256(b"what's a proxy?").hexdigest()[:16]
    assert prompt_id(" What\u2019s  a\nPROXY? ") == expected
    assert Prompt(text="What's a proxy?", label=Label.BENIGN, source="test").prompt_id == expected


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise_text(normalise_text(text)) == normalise_text(text)


def test_records_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError):
        Prompt(text="", label=Label.BENIGN, source="test")
    with pytest.raises(ValidationError):
        Verdict(id="a", modality=Modality.TEXT_ONLY, scorer="judge", outcome="safe")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Verdict(id="a", modality=Modality.TEXT_ONLY, scorer="judge", outcome=None, score=6)
