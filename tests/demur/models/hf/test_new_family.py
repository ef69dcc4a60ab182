"""Another package adds a family: one row and one line of registration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demur.models.hf.families import TEXT, find_family
from tests.packages import install
from tests.tiny_lalm import make_music_flamingo

pytest.importorskip("transformers")

ROW = """
from demur.models.hf.families import Family

FAMILY = Family(
    "Music Flamingo",
    "musicflamingo",
    "MusicFlamingoForConditionalGeneration",
    max_audio_s=lambda processor: processor.max_audio_len,
    mixed=False,
)
"""
USE = """
import sys

import numpy as np

from demur.models import Query, make_model

model = make_model(f"hf:{sys.argv[1]}", {"max_new_tokens": 8, "dtype": "float32"})
sounds = [np.sin(np.arange(16_000) * pitch).astype(np.float32) for pitch in (0.1, 0.6)]
answers = model.answer([Query(None, 0, "Hi?"), *(Query(sound, 16_000, "Hi?") for sound in sounds)])
assert [answer.error for answer in answers] == [None] * 3, answers
print(",".join(sorted(model.modalities)), len({answer.text for answer in answers}))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder that holds the installed package."""
    return install(tmp_path / "site", "fanfare", ROW, "[demur.families]\nmusicflamingo = fanfare:FAMILY\n")


def test_a_family_from_another_package(site: Path, tmp_path: Path) -> None:
    folder = make_music_flamingo(tmp_path / "model")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", USE, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "audio_only,audio_text,text_only 3"


def test_without_it_the_type_is_taken_for_a_text_model() -> None:
    assert find_family("musicflamingo") is TEXT
