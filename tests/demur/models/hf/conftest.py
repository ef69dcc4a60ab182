"""One tiny model of each family, loaded once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from demur.models.hf.lalm import LALM, load_lalm
from tests.tiny_lalm import MAKERS
from tests.tiny_lm import make_tiny_lm

pytest.importorskip("transformers")
Load = Callable[[str], LALM]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by `model_type`; `text` is a Llama."""

    @cache
    def make(model_type: str) -> Path:
        folder = tmp_path_factory.mktemp(model_type) / f"tiny-{model_type}"
        return make_tiny_lm(folder) if model_type == "text" else MAKERS[model_type](folder)

    return make


@pytest.fixture(scope="session")
def load(tiny_folder: Callable[[str], Path]) -> Load:
    """The same, loaded; tests leave it as it was."""
    return cache(lambda model_type: load_lalm(tiny_folder(model_type), dtype="float32"))
