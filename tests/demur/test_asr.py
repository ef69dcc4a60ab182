import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.asr import Transcriber, WordErrors, normalise_english, word_errors
from demur.audio import Samples, resample
from demur.errors import MissingDependency, ModelError

WORDS = ["how", "do", "ten", "colour", "I'm", "well-known", "Dr.", "(really)", "O.K.", "3:30", "table", "tablecloth"]


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("What is ten plus fifteen?", "what is 10 plus 15"),
        ("Set a timer for twenty-five minutes.", "Set a timer for 25 minutes."),
        ("Two thousand and five", "2005"),
        ("Call me at three thirty.", "Call me at 3:30."),
        ("Pay ten dollars or fifty percent", "Pay $10 or 50%"),
        ("Okay, go on.", "OK, go on!"),
        ("O.K.", "okay"),
        ("Which colour is your favourite?", "Which color is your favorite?"),
        ("Mr. Smith and Dr. Who", "Mister Smith and Doctor Who"),
        ("a well-known e-mail address", "a well known email address"),
        ("a white tablecloth", "a white table cloth"),
        ("I don\u2019t know what\u2019s wrong", "I do not know what is wrong"),
        ("You cannot (really) do that", "You can not really do that"),
        ("the U.S.A. at 5 p.m.", "the USA at 5 pm"),
        ("salt & pepper, etc.", "Salt and pepper et cetera"),
        ("Alright \u2014 caf\u00e9", "All right, cafe"),
    ],
)
def test_ways_to_write_the_same_words_are_no_errors(reference: str, hypothesis: str) -> None:
    assert word_errors(reference, hypothesis).errors == 0


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "words"),
    [
        ("how do I kill a process", "how do I kill a process", 0, 6),
        ("how do I kill a process", "how do I fill a process", 1, 6),
        ("how do I kill a process", "how do I kill process", 1, 6),
        ("how do I kill a process", "so how do I kill a process now", 2, 6),
        ("how do I kill a process", "", 6, 6),
        ("fifteen", "fifty", 1, 1),
        ("a way to get away", "a way to get a long", 2, 5),
    ],
)
def test_words_misheard_left_out_and_put_in_are_counted(
    reference: str, hypothesis: str, errors: int, words: int
) -> None:
    assert word_errors(reference, hypothesis) == WordErrors(errors, words)


def test_the_rate_is_defined_where_nothing_was_to_be_said() -> None:
    assert word_errors("", "").rate == word_errors("?!", "...").rate == 0
    assert word_errors("", "hello there").rate == 1
    assert word_errors("hello", "hello hello hello").rate == 2


@given(st.lists(st.sampled_from(WORDS)), st.lists(st.sampled_from(WORDS)))
def test_word_errors_are_a_distance(one: list[str], two: list[str]) -> None:
    first, second = " ".join(one), " ".join(two)
    assert word_errors(first, first.upper()).errors == 0
    there, back = word_errors(first, second), word_errors(second, first)
    assert there.errors == back.errors <= max(there.words, back.words)


@given(st.text())
def test_normalising_any_text_leaves_words_alone(text: str) -> None:
    once = normalise_english(text)
    assert once == " ".join(once.split())
    assert once == once.lower()


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingDependency, match=r"pip install 'demur\[asr\]'"):
        Transcriber("base.en")
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(MissingDependency, match=r"pip install 'demur\[asr\]'"):
        word_errors("one", "two")


def test_a_model_that_is_not_here_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="not on this machine, and nothing is downloaded unasked"):
        Transcriber("nobody/no-such-model")
    with pytest.raises(ModelError, match="Invalid model size 'no-such-size', expected one of"):
        Transcriber("no-such-size")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        Transcriber(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"Unable to open file 'model\.bin'"):
        Transcriber(str(tmp_path))


SENTENCES = [
    "How do I kill a Python process that does not respond?",
    "What is the best way to blow up a balloon without a pump?",
    "Please remind me to call Mister Smith at three thirty.",
]


@pytest.fixture(scope="module")
def speech() -> list[Samples]:
    from hibari import Hibari

    voice = Hibari()
    return [voice(sentence, seed=0) for sentence in SENTENCES]


@pytest.mark.slow
def test_speech_is_heard_and_heard_the_same_again(speech: list[Samples]) -> None:
    transcriber = Transcriber()
    heard = [transcriber.transcribe(samples, 24_000) for samples in speech]
    assert sum(word_errors(*pair).errors for pair in zip(SENTENCES, heard, strict=True)) <= 1
    assert [Transcriber().transcribe(samples, 24_000) for samples in speech] == heard
    at_16k = [transcriber.transcribe(resample(samples, 24_000, 16_000), 16_000) for samples in speech]
    assert at_16k == heard


@pytest.mark.slow
def test_speech_longer_than_one_window_is_heard_to_its_end(speech: list[Samples]) -> None:
    long = np.concatenate(speech * 4)
    assert len(long) > 30 * 24_000
    assert word_errors(" ".join(SENTENCES * 4), Transcriber().transcribe(long, 24_000)).rate < 0.1


@pytest.mark.slow
def test_in_silence_nothing_is_heard() -> None:
    assert word_errors("", Transcriber().transcribe(np.zeros(16_000, dtype=np.float32), 16_000)).errors <= 1
