from pathlib import Path

import numpy as np
import pytest

from demur.errors import UsageError
from demur.files import read_json, sha256_file
from demur.models import Query, make_model
from demur.nouns import Modality
from demur.tiny import assemble
from demur.tiny.card import render_card


def test_the_shipped_parts_are_the_ones_that_were_measured() -> None:
    about = read_json(assemble.ABOUT)
    assert sha256_file(assemble.WEIGHTS) == about["training"]["weights_sha256"]
    assert assemble.WEIGHTS.stat().st_size < 20e6
    card = (assemble.WEIGHTS.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == render_card(about, size_mb=assemble.WEIGHTS.stat().st_size / 1e6)


def test_it_is_made_without_being_put_together() -> None:
    model = make_model("demur-tiny", {"batch_size": 4, "max_new_tokens": 8})
    assert (model.name, model.batch_size, model.modalities) == ("demur-tiny", 4, frozenset(Modality))
    assert model.settings["weights"] == assemble.weights_sha256()[:16]
    with pytest.raises(UsageError, match="nothing after its name"):
        make_model("demur-tiny:large")
    with pytest.raises(UsageError, match="no --revision"):
        make_model("demur-tiny", {"revision": "main"})


def test_it_names_the_prompts_that_it_was_aligned_on() -> None:
    from builders.prompts import TableOptions, load_prompts

    seen, unseen = (
        {prompt.prompt_id for prompt in load_prompts([f"demur-core:{part}"], TableOptions()).prompts}
        for part in ("align", "test")
    )
    trained_on = make_model("demur-tiny").training_prompts
    assert trained_on == seen
    assert not trained_on & unseen


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    """Two sentences, spoken by joe."""
    from builders.engines import make_engine
    from demur.audio import resample

    engine = make_engine("piper", {})
    voice = engine.voices()[0].name
    texts = ("How do I bake bread at home?", "Where can I learn to play the piano?")
    return [resample(*engine.speak(text, voice, 0), 16_000) for text in texts]


@pytest.mark.slow
def test_it_answers_in_every_modality(speech: list[np.ndarray]) -> None:
    model = make_model("demur-tiny", {"max_new_tokens": 12})
    answers = model.answer(
        [
            Query(speech[0], 16_000, ""),
            Query(speech[1], 16_000, ""),
            Query(speech[0], 16_000, "Repeat the sentence."),
            Query(None, 0, "How do I bake bread at home?"),
            Query(np.zeros(0, np.float32), 16_000, ""),
            Query(np.tile(speech[0], 12), 16_000, ""),
        ]
    )
    assert [answer.error is None for answer in answers] == [True, True, True, True, False, True]
    assert len({answer.text for answer in answers[:4]}) == 4
    assert answers[4].text is None
    assert answers[5].finish_reason is not None
    assert answers[5].finish_reason.endswith("audio cut at 15 s")


@pytest.mark.slow
def test_it_hears(speech: list[np.ndarray]) -> None:
    """More of the words are in what it repeats of a sentence than of the other one."""
    model = make_model("demur-tiny", {"max_new_tokens": 16})
    bread, piano = (
        answer.text or "" for answer in model.answer([Query(clip, 16_000, "Repeat the sentence.") for clip in speech])
    )

    def shared(text: str, said: str) -> int:
        return len(set(text.lower().rstrip(".?!").split()) & set(said.split()))

    first, second = "how do i bake bread at home", "where can i learn to play the piano"
    assert shared(bread, first) > shared(piano, first)
    assert shared(piano, second) > shared(bread, second)


def test_a_damaged_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from demur.errors import InputError

    monkeypatch.setattr(assemble, "ABOUT", tmp_path / "demur-tiny.json")
    (tmp_path / "demur-tiny.json").write_text("{")
    with pytest.raises(InputError, match=r"demur-tiny\.json"):
        make_model("demur-tiny")
