"""A tiny text model, tiny audio models, and corpora of pairs to tune them on."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from demur.corpus import Corpus
from demur.models.hf.lalm import LALM, load_lalm
from demur.nouns import Outcome, Prompt
from tests.corpora import make_corpus, some_prompts
from tests.tiny_lalm import MAKERS, tone
from tests.tiny_lm import make_tiny_lm

pytest.importorskip("transformers")
pytest.importorskip("peft")


def spoken(prompt: Prompt, voice: str) -> object:
    """A tone long enough for every family."""
    return tone(100 + 7 * len(prompt.text), 0.3 + 0.01 * len(prompt.text))


def judged(_question: str, text: str) -> Outcome:
    """An outcome that depends on the text alone; random weights say nothing that a scorer could judge."""
    return Outcome.REFUSAL if sum(text.encode()) % 2 else Outcome.COMPLIANCE


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by `model_type`; `text` is a Llama."""

    @cache
    def make(model_type: str) -> Path:
        folder = tmp_path_factory.mktemp(model_type) / f"tiny-{model_type}"
        return make_tiny_lm(folder, context=512) if model_type == "text" else MAKERS[model_type](folder)

    return make


@pytest.fixture
def load(tiny_folder: Callable[[str], Path]) -> Callable[[str], LALM]:
    """A tiny model, freshly loaded."""
    return lambda model_type: load_lalm(tiny_folder(model_type), dtype="float32")


@pytest.fixture
def text_lalm(load: Callable[[str], LALM]) -> LALM:
    return load("text")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Six pairs and four plain benign prompts, spoken."""
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpora") / "tune", some_prompts(6, 4), speak=spoken))
