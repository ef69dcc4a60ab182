"""What demur-tiny's card is measured with, on tiny models and made-up states."""

import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from demur.audio import encode_flac
from demur.corpus import Corpus
from demur.errors import MissingDependency
from demur.finetune.data import Question
from demur.models import Answer
from demur.models.hf.lalm import LALM, Turn, load_lalm
from demur.nouns import Label
from demur.tiny import measure
from tests.corpora import make_corpus, some_prompts
from tests.tiny_lalm import RATE, make_audio_flamingo3, tone

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

REFUSAL = "I can't\thelp"
"""A refusal in which no letter comes twice."""


def question(number: int, label: Label, prompt: str, pair: str | None = None) -> Question:
    flac = encode_flac(tone(200 + 50 * number), RATE)
    return Question(f"q{number}", f"q{number}", pair, label, prompt, flac)


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    """Six harmful prompts, their twins and six benign ones."""
    pairs = [
        question(2 * n + place, label, f"How to break {what} {n}?", f"pair{n}")
        for n in range(6)
        for place, (label, what) in enumerate([(Label.HARMFUL, "locks"), (Label.BORDERLINE, "dance")])
    ]
    return [*pairs, *(question(12 + n, Label.BENIGN, f"What is {n} plus two?") for n in range(6))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audio_flamingo3(tmp_path_factory.mktemp("measure") / "tiny")


@pytest.fixture
def lalm(folder: Path) -> LALM:
    """Random weights, freshly loaded."""
    return load_lalm(folder, dtype="float32")


@pytest.fixture
def parrot(lalm: LALM) -> Callable[[str, str], LALM]:
    """A model that says one thing to everything: without attention, each token alone decides what follows it."""

    def make(says: str, end: str = "<|im_end|>") -> LALM:
        tokens = [lalm.tokenizer.convert_tokens_to_ids(end)]
        tokens[:0] = lalm.tokenizer(f"\n{says}", add_special_tokens=False)["input_ids"]
        assert len(set(tokens[:-1])) == len(tokens) - 1, "a letter that comes twice could not tell what follows"
        weights = dict(lalm.model.named_parameters())
        embeddings = lalm.model.get_input_embeddings().weight
        head = lalm.model.get_output_embeddings().weight
        with torch.no_grad():
            for name, weight in weights.items():
                if "language_model" in name and name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.zero_()
            embeddings.div_(embeddings.norm(dim=1, keepdim=True))
            head.zero_()
            for token, following in pairwise(tokens):
                head[following] += embeddings[token]
        return lalm

    return make


def answering(*answers: Answer) -> Callable[..., list[Answer]]:
    """Stands in for `generate`."""

    def generate(turns: Sequence[object], *, max_new_tokens: int) -> list[Answer]:
        assert len(turns) == len(answers)
        return list(answers)

    return generate


def test_a_parrot_parrots(parrot: Callable[..., LALM]) -> None:
    """What the tests below stand on."""
    lalm = parrot("dog")
    turns = [Turn(audio=tone(300)), Turn(audio=tone(500), text="Say cat."), Turn(text="Hello.")]
    assert [(one.text, one.finish_reason) for one in lalm.generate(turns, max_new_tokens=8)] == [("dog", "stop")] * 3


def test_repeated_counts_words(parrot: Callable[..., LALM]) -> None:
    """Nothing is wrong, then a word is missing, then a word is missing and another is wrong: three of five."""
    pytest.importorskip("jiwer")
    asked = [question(n, Label.BENIGN, text) for n, text in enumerate(["Dog.", "Red dog!", "cat house"])]
    assert measure.repeated(parrot("dog"), asked) == {"wer": 3 / 5, "clips": 3, "words": 5}


@pytest.mark.parametrize(("says", "rate"), [(REFUSAL, 1.0), ("Sure", 0.0)])
def test_only_harmful_clips_count_as_told_to_refuse(
    parrot: Callable[..., LALM], questions: list[Question], says: str, rate: float
) -> None:
    assert measure.told_to_refuse(parrot(says), questions) == {"rate": rate, "prompts": 6}


def test_shares_of_refusals(lalm: LALM, questions: list[Question], monkeypatch: pytest.MonkeyPatch) -> None:
    said = [REFUSAL, REFUSAL, "Sure, here is how.", None, "", REFUSAL]
    monkeypatch.setattr(lalm, "generate", answering(*map(Answer, said)))
    assert measure.told_to_refuse(lalm, questions) == {"rate": 0.5, "prompts": 6}


def test_agreement_of_a_parrot_is_whole(parrot: Callable[..., LALM], questions: list[Question]) -> None:
    """Three letters and the end of each answer count."""
    assert measure.agreement(parrot("dog"), questions) == {"share": 1, "tokens": 4 * 18, "prompts": 18}


def test_the_end_of_a_cut_answer_does_not_count(parrot: Callable[..., LALM], questions: list[Question]) -> None:
    assert measure.agreement(parrot("dog", "d"), questions[:2]) == {
        "share": 1,
        "tokens": 2 * measure.TOKENS,
        "prompts": 2,
    }


def test_agreement_counts_tokens(
    parrot: Callable[..., LALM], questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `do` the parrot would have gone on with `g`, and it does not know what follows `z`; nothing is nothing."""
    lalm = parrot("dog")
    answers = [Answer("dog", "stop"), Answer("doz", "length"), Answer("", "stop"), Answer(None, error="too long")]
    monkeypatch.setattr(lalm, "generate", answering(*answers))
    assert measure.agreement(lalm, questions[:4]) == {"share": 6 / 7, "tokens": 7, "prompts": 4}


def test_random_weights_agree_in_part(lalm: LALM, questions: list[Question]) -> None:
    found = measure.agreement(lalm, questions[-6:])
    assert 0 <= found["share"] < 1
    assert found["tokens"] > 0


def test_probes_of_a_deaf_model_know_nothing(parrot: Callable[..., LALM], questions: list[Question]) -> None:
    """Every state is the same, and each fold has as many harmful prompts as twins."""
    pytest.importorskip("sklearn")
    found = measure.probes(parrot("dog"), questions)
    assert {name: list(each) for name, each in found.items()} == {
        sense: ["harmful against borderline", "harmful against benign"] for sense in ("text", "speech")
    }
    assert found["text"]["harmful against borderline"] == found["speech"]["harmful against borderline"] == 0.5


def test_probes_are_areas(lalm: LALM, questions: list[Question]) -> None:
    pytest.importorskip("sklearn")
    assert all(0 <= auc <= 1 for each in measure.probes(lalm, questions).values() for auc in each.values())


def twins(pairs: int) -> tuple[list[bool], list[str]]:
    return [True, False] * pairs, [f"pair{n // 2}" for n in range(2 * pairs)]


def test_what_can_be_told_apart_has_an_area_of_one() -> None:
    pytest.importorskip("sklearn")
    harmful, groups = twins(40)
    states = np.random.default_rng(0).normal(size=(80, 16)).astype(np.float32)
    states[:, 3] += 6 * np.array(harmful)
    assert measure.probe_auc(states, harmful, groups) > 0.99


def test_noise_has_an_area_of_a_half() -> None:
    pytest.importorskip("sklearn")
    harmful, groups = twins(200)
    states = np.random.default_rng(1).normal(size=(400, 16)).astype(np.float32)
    assert measure.probe_auc(states, harmful, groups) == pytest.approx(0.5, abs=0.08)


def test_a_group_is_never_on_both_sides() -> None:
    """States that tell only the groups apart say nothing of a new group; alone, each would be known by the others."""
    pytest.importorskip("sklearn")
    draw = np.random.default_rng(2)
    centres, labels = draw.normal(size=(100, 64)), draw.permutation([True, False] * 50)
    states = np.repeat(centres, 4, axis=0).astype(np.float32)
    harmful = list(np.repeat(labels, 4))
    groups = [f"group{n // 4}" for n in range(400)]
    assert measure.probe_auc(states, harmful, groups) == pytest.approx(0.5, abs=0.12)
    assert measure.probe_auc(states, harmful, [str(n) for n in range(400)]) > 0.8


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingDependency, match="scikit-learn"):
        measure.probe_auc(np.zeros((10, 2), np.float32), [True, False] * 5, ["a"] * 10)


def test_every_prompt_is_read_with_its_clip(tmp_path: Path) -> None:
    corpus = Corpus(make_corpus(tmp_path / "test", some_prompts(2, 3)))
    read = measure.read_questions(corpus)
    assert sorted(one.prompt for one in read) == sorted(one.text for one in some_prompts(2, 3))
    assert {one.pair_id for one in read if one.label == Label.HARMFUL} == {"pair0", "pair1"}
    for one in read:
        samples = one.samples(RATE)
        assert samples is not None
        assert len(samples) == pytest.approx(0.005 * RATE * len(one.prompt), abs=2)
