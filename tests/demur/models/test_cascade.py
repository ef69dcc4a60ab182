from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.audio import Samples
from demur.errors import ModelError, UsageError
from demur.models import Query, make_model
from demur.models.hf.lalm import LALM, Turn, load_lalm
from tests.tiny_lm import make_tiny_lm

RATE = 16_000


class CountingEars:
    """Hears the length of a clip, and counts how often it listens."""

    heard = 0

    def __init__(self, model: str, *, language: str | None, download: bool, workers: int) -> None:
        self.model = model

    def transcribe(self, samples: Samples, rate: int) -> str:
        CountingEars.heard += 1
        return f"{len(samples) / rate:.1f} seconds"


def clip(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


@pytest.fixture
def cascade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("demur.models.cascade.Transcriber", CountingEars)
    monkeypatch.setattr(CountingEars, "heard", 0)
    return make_model(f"cascade:tiny.en+{make_tiny_lm(tmp_path / 'my-lm')}", {"max_new_tokens": 6})


def test_the_text_model_reads_transcript_text_or_instruction_and_transcript(
    cascade: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    generate = LALM.generate

    def spy(self: LALM, turns: list[Turn], **options: Any) -> Any:
        read.extend(message["content"] for turn in turns for message in turn.messages)
        return generate(self, turns, **options)

    monkeypatch.setattr(LALM, "generate", spy)
    answers = cascade.answer([Query(clip(1), RATE, ""), Query(None, 0, "Hi?"), Query(clip(2), RATE, "Answer this.")])
    assert read == ["1.0 seconds", "Hi?", "Answer this.\n\n2.0 seconds"]
    assert [answer.error for answer in answers] == [None, None, None]
    assert len({answer.text for answer in answers}) == 3


def test_an_empty_clip_is_an_error_and_one_in_which_nothing_is_said_is_not(
    cascade: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountingEars, "transcribe", lambda *_: "")
    empty, silent, text = cascade.answer([Query(clip(0), RATE, ""), Query(clip(1), RATE, ""), Query(None, 0, "Hi?")])
    assert "the audio is empty" in str(empty.error)
    assert (silent.error, text.error) == (None, None)


def test_a_clip_is_heard_once(cascade: Any) -> None:
    first = cascade.answer([Query(clip(1), RATE, ""), Query(clip(2), RATE, "")])
    assert cascade.answer([Query(clip(1), RATE, ""), Query(clip(2), RATE, "")]) == first
    cascade.answer([Query(clip(1), RATE, "Answer this.")])
    assert CountingEars.heard == 2


def test_name_and_settings_tell_the_models_and_not_where_they_are(cascade: Any, tmp_path: Path) -> None:
    assert cascade.name == "cascade:tiny.en+my-lm"
    assert str(tmp_path) not in str(cascade.settings)
    assert cascade.settings["llm"]["name"] == "my-lm"
    assert len(cascade.settings["llm"]["fingerprint"]) == 64
    assert (cascade.settings["max_new_tokens"], cascade.settings["temperature"]) == (6, 0)


def test_a_recogniser_of_the_hub_is_told_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository, llm = tmp_path / "models--nobody--ears", make_tiny_lm(tmp_path / "my-lm")
    for commit in ("a" * 40, "b" * 40):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        model = make_model(f"cascade:nobody/ears+{llm}")
        assert model.settings["asr"] == {"name": "nobody/ears", "commit": commit}
    with pytest.raises(ModelError, match="nothing is downloaded unasked"):
        make_model(f"cascade:nobody/others+{llm}")


@pytest.mark.parametrize("spec", ["cascade", "cascade:tiny.en", "cascade:+x", "cascade:tiny.en+", "cascade-tiny:x"])
def test_specs_that_name_too_little_or_too_much(spec: str) -> None:
    with pytest.raises(UsageError, match="cascade:ASR"):
        make_model(spec)


def test_a_text_model_that_is_not_here() -> None:
    with pytest.raises(ModelError, match="--download"):
        make_model("cascade:tiny.en+nobody/no-such-model")


def test_cascade_tiny_is_made_without_loading_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    model = make_model("cascade-tiny")
    assert (model.name, model.batch_size, model.max_new_tokens) == ("cascade-tiny", 16, 128)
    assert not (tmp_path / "cache").exists()


QUESTIONS = ["What is the capital of France?", "How do I boil an egg?", "Why is the sky blue?"]


@pytest.mark.slow
def test_cascade_tiny_answers_real_speech_in_three_modalities() -> None:
    from builders.engines import make_engine

    engine = make_engine("hibari", {})
    voice = engine.voices()[0].name
    clips = [engine.speak(question, voice, 0) for question in QUESTIONS]
    model = make_model("cascade-tiny", {"max_new_tokens": 24})
    spoken = model.answer([Query(*sound, "") for sound in clips])
    written = model.answer([Query(None, 0, question) for question in QUESTIONS])
    both = model.answer([Query(*sound, "Answer the question.") for sound in clips])
    assert "Paris" in str(written[0].text)
    assert "Paris" in str(spoken[0].text)
    assert all(answer.error is None and answer.text for answer in (*spoken, *written, *both))
    again = make_model("cascade-tiny", {"max_new_tokens": 24})
    assert again.answer([Query(*sound, "") for sound in clips]) == spoken


@pytest.mark.slow
def test_in_float32_logits_alone_and_in_a_padded_batch_agree() -> None:
    import torch

    from demur.models.smollm import smollm2_folder

    lm = load_lalm(smollm2_folder(), dtype="float32")
    turns = [Turn(text=text) for text in (*QUESTIONS, " ".join(QUESTIONS))]
    batch = lm.encode(turns)
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        together = lm.model(**batch, position_ids=positions).logits[:, -1]
        for number, turn in enumerate(turns):
            alone = lm.model(**lm.encode([turn])).logits[0, -1]
            assert (alone - together[number]).abs().max() < 1e-4
