"""Folders that are no whole model: each ends in one line that says what is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from demur.errors import DemurError, ModelError
from demur.models.hf.lalm import LALM, Turn, load_lalm

Folder = Callable[[str], Path]
WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(tiny_folder: Folder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder("qwen2_audio"), tmp_path / "model"))


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(DemurError) as error:
        load_lalm(folder, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def change_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_no_such_model(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nothing")


def test_a_folder_without_a_config(copy: Path) -> None:
    (copy / "config.json").unlink()
    assert "half downloaded" in refused(copy)


def test_a_config_that_names_no_type(copy: Path) -> None:
    (copy / "config.json").write_text("[]")
    assert "names no model_type" in refused(copy)


def test_a_type_that_transformers_does_not_know(copy: Path) -> None:
    change_json(copy / "config.json", lambda config: config.update(model_type="never_heard_of"))
    assert "never_heard_of" in refused(copy)


def test_weights_that_are_not_there(copy: Path) -> None:
    (copy / WEIGHTS).unlink()
    assert "no weights in safetensors" in refused(copy)


def test_a_shard_that_is_not_there(copy: Path) -> None:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (copy / WEIGHTS).rename(copy / shards["a"])
    (copy / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    assert "1 of 2 files of weights are missing (first: model-00002-of-00002.safetensors)" in refused(copy)


def test_weights_that_are_cut_off(copy: Path) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    assert "damaged weights" in refused(copy)


def test_a_weight_that_is_missing(copy: Path) -> None:
    change_weights(
        copy, lambda weights: weights.pop("lm_head.weight", None) or weights.pop("language_model.lm_head.weight")
    )
    assert "do not match: it lacks lm_head.weight" in refused(copy)


def test_a_weight_that_no_config_knows(copy: Path) -> None:
    change_weights(copy, lambda weights: weights.update({"extra.weight": next(iter(weights.values())).clone()}))
    assert "which its config does not know, extra.weight" in refused(copy)


def test_a_weight_of_another_shape(copy: Path) -> None:
    change_json(copy / "config.json", lambda config: config["text_config"].update(intermediate_size=48))
    assert "has in another shape model.language_model.layers.0.mlp" in refused(copy)


def test_a_tied_head_may_be_left_out(tiny_folder: Folder, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    folder = Path(shutil.copytree(tiny_folder("text"), tmp_path / "tied"))
    model: Any = LlamaForCausalLM.from_pretrained(folder)
    model.config.tie_word_embeddings = True
    LlamaForCausalLM(model.config).save_pretrained(folder)
    assert "lm_head.weight" not in load_file(folder / WEIGHTS)
    assert load_lalm(folder).encode([Turn(text="Hi?")])["input_ids"].shape[0] == 1


def test_a_text_model_without_a_chat_template(copy: Path, tiny_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder("text"), tmp_path / "bare"))
    (folder / "chat_template.jinja").unlink()
    assert "no chat template" in refused(folder)


def test_the_parts_that_speak_are_left_aside(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder("qwen2_5_omni"), tmp_path / "omni"))
    spare = {"talker.x.weight": 1, "token2wav.y.weight": 1}
    change_weights(
        folder, lambda weights: weights.update({name: next(iter(weights.values())).clone() for name in spare})
    )
    assert isinstance(load_lalm(folder), LALM)
    change_weights(folder, lambda weights: weights.update({"thinker.z.weight": next(iter(weights.values())).clone()}))
    assert "does not know" in refused(folder)


def test_code_that_comes_with_a_model_runs_only_if_allowed(tiny_folder: Folder, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder("text"), tmp_path / "remote"))
    code = "from transformers import LlamaConfig\nclass Own(LlamaConfig):\n    model_type = 'own_words'\n"
    (folder / "own.py").write_text(code + f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    change_json(
        folder / "config.json", lambda config: config.update(model_type="own_words", auto_map={"AutoConfig": "own.Own"})
    )
    assert "--trust-remote-code" in refused(folder)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ModelError):  # the config's class is ours, the model's is nobody's
        load_lalm(folder, trust_remote_code=True)
    assert (tmp_path / "ran").exists()


def test_a_revision_of_a_hub_repository_is_the_one_that_is_loaded(
    tiny_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--speaks"
    for revision, commit, kind in (("main", "a" * 40, "qwen2_audio"), ("v2", "b" * 40, "audioflamingo3")):
        shutil.copytree(tiny_folder(kind), repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
    assert load_lalm("somebody/speaks").family.model_type == "qwen2_audio"
    for revision in ("v2", "b" * 40):
        assert load_lalm("somebody/speaks", revision=revision).family.model_type == "audioflamingo3"
    with pytest.raises(ModelError, match="not in the Hub's cache"):
        load_lalm("somebody/speaks", revision="v3")
