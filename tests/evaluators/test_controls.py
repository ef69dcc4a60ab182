from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demur.corpus import Corpus
from demur.errors import IncompleteError, ModelError, UsageError
from demur.files import read_json, read_jsonl
from demur.models import Answer, Query, make_model
from demur.nouns import Modality
from evaluators.controls import Control, audio_dependence, controls_due
from evaluators.run_folder import RunFolder
from evaluators.run_model import RespondSettings, run_model
from tests.chat_server import Reply, chat_server, completion, fault
from tests.corpora import INSTRUCTION, make_corpus, some_prompts
from tests.evaluators.listeners import Listener, TextOnly

AUDIO = {Modality.AUDIO_ONLY, Modality.AUDIO_TEXT}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpora") / "c", some_prompts(4, 4), voices=("a", "b")))


def ask(corpus: Corpus, model: Any, out: Path, controls: int = 6, **settings: Any) -> None:
    run_model(corpus, model, out, RespondSettings(controls=controls, **settings), quiet=True)


def control_lines(out: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(out / "controls.jsonl"))


class Deaf(Listener):
    """Answers what it reads; where it reads nothing, that it hears nothing, in one of three ways."""

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        self.batches.append(list(queries))
        return [Answer(f"You ask: {query.input_text or 'nothing'}.") for query in queries]


class Chatty(Listener):
    """Listens, or not, and never says a thing twice in the same words."""

    def __init__(self, *, hears: bool) -> None:
        super().__init__(batch_matters=False)
        self.hears, self.said = hears, 0

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        return [Answer(self._say(query)) for query in queries]

    def _say(self, query: Query) -> str:
        self.said += 1
        heard = len(query.audio) if query.audio is not None and self.hears else 0
        level = int(1000 * abs(query.audio).mean()) if query.audio is not None and self.hears else 0
        about = " ".join(f"word{heard}-{level}-{number}" for number in range(12))
        return f"Well {self.said}, {about}."


def test_a_model_that_listens_raises_no_warning(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(batch_matters=False), tmp_path)
    found = audio_dependence(tmp_path)
    assert set(found) == AUDIO
    for modality in AUDIO:
        assert found[modality].warning is None
        likeness = found[modality].controls
        assert {control: likeness[control].n for control in Control} == dict.fromkeys(Control, 6)
        assert (likeness[Control.REPEAT].identical, likeness[Control.REPEAT].similarity) == (1, 1)
        assert all(likeness[control].identical == 0 for control in Control if control is not Control.REPEAT)


def test_a_model_that_does_not_listen_raises_one(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Deaf(), tmp_path)
    for found in audio_dependence(tmp_path).values():
        assert found.controls[Control.SWAPPED].identical == 1
        assert str(found.warning).startswith("100% of answers stay the same with silence")


@pytest.mark.parametrize("hears", [True, False])
def test_a_model_that_varies_its_words_is_told_by_likeness(corpus: Corpus, tmp_path: Path, hears: bool) -> None:
    ask(corpus, Chatty(hears=hears), tmp_path)
    for found in audio_dependence(tmp_path).values():
        assert found.controls[Control.REPEAT].identical == 0
        assert (found.warning is None) is hears


def test_what_is_heard_in_each_control(corpus: Corpus, tmp_path: Path) -> None:
    model = Listener(batch_size=100, batch_matters=False)
    ask(corpus, model, tmp_path, modalities=(Modality.AUDIO_TEXT,))
    real, repeat, silence, noise, swapped = model.batches
    clips = {query.audio.tobytes() for query in real if query.audio is not None}
    assert all(query.input_text == INSTRUCTION for batch in model.batches for query in batch)
    assert all(query.audio.tobytes() in clips for query in (*repeat, *swapped))
    assert all(not query.audio.any() for query in silence)
    assert all(query.audio.std() == pytest.approx(0.3 / 2**0.5, rel=0.1) for query in noise)
    assert [len(query.audio) for query in silence] == [len(query.audio) for query in noise]
    found = control_lines(tmp_path)
    ids = {line["id"] for line in found}
    texts = {which: {line["id"]: line["text"] for line in found if line["control"] == which} for which in Control}
    answered = {line["id"]: line["text"] for line in read_jsonl(tmp_path / "responses.jsonl")}
    assert all(texts[Control.REPEAT][id_] == answered[id_] for id_ in ids)
    donors = {text: id_ for id_, text in answered.items()}
    labels = {row["id"]: (row["prompt_id"], row["label"]) for row in corpus.rows(Modality.AUDIO_TEXT)}
    for id_, text in texts[Control.SWAPPED].items():
        assert labels[donors[text]][0] != labels[id_][0]
    assert sum(labels[donors[text]][1] != labels[id_][1] for id_, text in texts[Control.SWAPPED].items()) >= 4


def test_controls_may_come_later_and_grow_and_never_enter_the_responses(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path, controls=0)
    responses = (tmp_path / "responses.jsonl").read_bytes()
    assert audio_dependence(tmp_path) == {}
    ask(corpus, Listener(batch_matters=True), tmp_path, controls=2)
    assert "too few" in str(audio_dependence(tmp_path)[Modality.AUDIO_ONLY].warning)
    few = {line["id"] for line in control_lines(tmp_path)}
    again = Listener()
    ask(corpus, again, tmp_path, controls=2)
    assert not again.batches
    ask(corpus, Listener(), tmp_path, controls=6)
    assert few < {line["id"] for line in control_lines(tmp_path)}
    assert (tmp_path / "responses.jsonl").read_bytes() == responses
    assert read_json(tmp_path / "run.json")["controls"] == {"prompts": 6, "seed": 0}


def test_a_budget_stops_the_controls_and_they_go_on(corpus: Corpus, tmp_path: Path) -> None:
    settings = {"controls": 2, "limit": 1, "modalities": (Modality.AUDIO_ONLY,)}
    with chat_server(lambda _, n: completion(f"Answer {n}")) as served:
        options = {"base_url": served.url, "max_requests": 9, "batch_size": 16}
        with pytest.raises(IncompleteError, match="budget"):
            ask(corpus, make_model("openai:m", options), tmp_path, **settings)
        ask(corpus, make_model("openai:m", options), tmp_path, **settings)
    found = Counter((line["control"], line["id"], line["modality"]) for line in control_lines(tmp_path))
    assert len(served.bodies) == 6 + 8
    assert set(found.values()) == {1}


def test_controls_are_estimated_and_agreed_to(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evaluators.estimate.LARGE", 9)
    settings = RespondSettings(limit=1, modalities=(Modality.AUDIO_ONLY,))
    with chat_server(lambda _, n: completion(f"Answer {n}")) as served:
        options = {"base_url": served.url, "batch_size": 4}
        run_model(corpus, make_model("openai:m", options), tmp_path, settings)
        assert "openai:m: 6 requests" in capsys.readouterr().err
        with pytest.raises(UsageError, match=r"openai:m: 12 requests with .* minutes of audio.*--yes"):
            run_model(corpus, make_model("openai:m", options), tmp_path, replace(settings, controls=3))
        assert len(served.bodies) == 6
        run_model(corpus, make_model("openai:m", options), tmp_path, replace(settings, controls=2))
        assert "openai:m: 8 requests" in capsys.readouterr().err
        run_model(corpus, make_model("openai:m", options), tmp_path, replace(settings, controls=3))
        assert "openai:m: 4 requests" in capsys.readouterr().err
    assert len(served.bodies) == 6 + 12


def test_a_server_that_is_gone_ends_the_controls(corpus: Corpus, tmp_path: Path) -> None:
    with chat_server(lambda _, n: completion(f"Answer {n}") if n < 60 else Reply(b"<html>no more")) as served:
        options = {"base_url": served.url, "batch_size": 4}
        ask(corpus, make_model("openai:m", options), tmp_path, controls=0)
        with pytest.raises(ModelError, match=r"openai:m: 2\d errors in a row, the last: .*not a chat completion"):
            ask(corpus, make_model("openai:m", options), tmp_path, controls=8)
    assert 60 + 20 <= len(served.bodies) <= 60 + 24


def test_controls_without_an_answer_are_said_and_asked_again(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda _, n: fault(400, "a bad day") if 60 <= n < 64 else completion(f"Answer {n}")) as served:
        options = {"base_url": served.url, "batch_size": 4}
        ask(corpus, make_model("openai:m", options), tmp_path, controls=0)
        capsys.readouterr()
        note = "note: 4 of the controls got no answer; run the same command again to ask them again\n"
        for said in (note, ""):
            run_model(corpus, make_model("openai:m", options), tmp_path, RespondSettings(controls=8))
            assert (note in capsys.readouterr().err) == bool(said)


def test_controls_that_cannot_be_asked_are_not_missing(
    corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = RespondSettings(controls=1, modalities=(Modality.AUDIO_ONLY,))
    run_model(corpus, Listener(), tmp_path, settings)  # another prompt's clip is wanted for one, and there is none
    assert Counter(line["control"] for line in control_lines(tmp_path)) == {"repeat": 1, "silence": 1, "noise": 1}
    assert "got no answer" not in capsys.readouterr().err
    assert set(controls_due(RunFolder(tmp_path), 1, 0).values()) == {0}


def test_answers_from_a_file_or_to_text_have_no_controls(corpus: Corpus, tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text(
        "".join(f'{{"prompt": "{s.prompt}", "text": "yes"}}\n' for s in corpus.samples(Modality.TEXT_ONLY))
    )
    with pytest.raises(UsageError, match="--controls"):
        ask(corpus, make_model(f"scripted:{script}"), tmp_path / "scripted")
    with pytest.raises(UsageError, match="--controls"):
        ask(corpus, TextOnly(), tmp_path / "text", modalities=(Modality.TEXT_ONLY,))
    assert not (tmp_path / "text").exists()  # said before anything is asked
