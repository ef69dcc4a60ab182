"""What a build is a function of is written down before any of it is made."""

from pathlib import Path

import pytest

from builders.clip import SoundSettings
from builders.plan import BuildSettings, make_plan
from builders.prompts import TableOptions
from demur.errors import ModelError


def test_a_recogniser_of_the_hub_is_told_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--nobody--ears" / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (tmp_path / "models--nobody--ears" / "refs").mkdir()
    (tmp_path / "models--nobody--ears" / "refs" / "main").write_text("a" * 40)

    def commit(asr: str | None) -> object:
        settings = BuildSettings(sound=SoundSettings(asr=asr), limit=1)
        return make_plan(["demur-core"], settings, TableOptions()).recipe.get("recogniser_commit")

    assert commit("nobody/ears") == "a" * 40
    assert commit("tiny.en") is commit(None) is None
    with pytest.raises(ModelError, match="nothing is downloaded unasked"):
        commit("nobody/others")
