"""What `--adapter` takes in PEFT's form; demur's small ones are tested with the methods that make them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.corpus import Corpus
from demur.errors import DemurError, InputError
from demur.files import read_json, write_json
from demur.models import make_model
from demur.models.hf import anatomy
from demur.models.hf.hf import HFModel
from demur.models.hf.lalm import Turn, load_lalm
from demur.nouns import Modality
from evaluators.report.pairs import find_pairs
from evaluators.run_model import RespondSettings, run_model
from tests.corpora import make_corpus, some_prompts
from tests.tiny_lalm import tone

Folder = Callable[[str], Path]
WEIGHTS = "adapter_model.safetensors"
TURNS = [Turn(tone(300), "x"), Turn(tone(900), "y")]


def make_adapter(base: Path, folder: Path, names: tuple[str, ...] = ("q_proj", "down_proj")) -> Path:
    """A LoRA of weights large enough to tell."""
    from peft import LoraConfig, get_peft_model

    model = load_lalm(base, dtype="float32").model
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=anatomy.decoder_targets(model, names)))
    torch.manual_seed(0)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(tiny_folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_adapter(tiny_folder("qwen2_audio"), tmp_path_factory.mktemp("adapters") / "lora")
    write_json(folder / "run.json", {"training_prompts": [some_prompts(2, 1)[0].prompt_id]})
    return folder


@pytest.fixture
def copy(adapter: Path, tmp_path: Path) -> Path:
    for name in ("adapter_config.json", WEIGHTS, "run.json"):
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    return tmp_path


def make(base: Path, adapter: Path | None = None) -> HFModel:
    model = make_model(f"hf:{base}", {"dtype": "float32", "max_new_tokens": 4, "adapter": adapter})
    assert isinstance(model, HFModel)
    return model


def test_an_adapter_changes_the_text_decoder_alone(tiny_folder: Folder, adapter: Path) -> None:
    base, tuned = (load_lalm(tiny_folder("qwen2_audio"), dtype="float32", adapter=each) for each in (None, adapter))
    batch = base.encode(TURNS)
    heard = base.model.model.audio_tower(batch["input_features"]).last_hidden_state
    inner: Any = anatomy.base(tuned.model)
    torch.testing.assert_close(inner.model.audio_tower(batch["input_features"]).last_hidden_state, heard)
    before, after = (anatomy.last_states(each.model, batch) for each in (base, tuned))
    assert (before - after).abs().max() > 0.01
    assert base.generate(TURNS, max_new_tokens=8) != tuned.generate(TURNS, max_new_tokens=8)
    assert not any("merged" in name for name, _ in tuned.model.named_parameters())


def test_a_run_of_an_adapter_is_paired_with_its_base(tiny_folder: Folder, adapter: Path, tmp_path: Path) -> None:
    corpus = Corpus(make_corpus(tmp_path / "c", some_prompts(1, 1)))
    folder = tiny_folder("qwen2_audio")
    settings = RespondSettings(modalities=(Modality.TEXT_ONLY,), allow_overlap=True)
    runs = {tmp_path / "base": make(folder), tmp_path / "tuned": make(folder, adapter)}
    for out, model in runs.items():
        run_model(corpus, model, out, settings, quiet=True)
    infos = {out: read_json(out / "run.json") for out in runs}
    assert infos[tmp_path / "tuned"]["model"]["name"] == "hf:tiny-qwen2_audio+lora"
    assert find_pairs(infos, None).pairs == [(tmp_path / "tuned", tmp_path / "base")]
    infos[tmp_path / "base"]["model"]["settings"]["max_new_tokens"] = 99
    assert find_pairs(infos, None).pairs == []


def test_a_corpus_that_it_was_trained_on_is_refused(tiny_folder: Folder, adapter: Path, tmp_path: Path) -> None:
    corpus = Corpus(make_corpus(tmp_path / "c", some_prompts(2, 1)))
    with pytest.raises(InputError, match="trained on 1 of its prompts"):
        run_model(corpus, make(tiny_folder("qwen2_audio"), adapter), tmp_path / "run", RespondSettings(), quiet=True)


def test_another_adapter_is_another_model(tiny_folder: Folder, adapter: Path, copy: Path) -> None:
    weights = load_file(copy / WEIGHTS)
    save_file({name: value + 1 for name, value in weights.items()}, copy / WEIGHTS)
    base = tiny_folder("qwen2_audio")
    prints = {make(base, each).settings["adapter_fingerprint"] for each in (adapter, copy)}
    assert len(prints) == 2


def refused(base: Path, folder: Path) -> str:
    with pytest.raises(DemurError) as error:
        load_lalm(base, adapter=folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folders_that_hold_no_adapter(tiny_folder: Folder, copy: Path, tmp_path: Path) -> None:
    base = tiny_folder("qwen2_audio")
    (copy / "adapter_config.json").rename(copy / "elsewhere.json")
    assert "no adapter here" in refused(base, copy)
    with pytest.raises(InputError, match="no adapter here"):  # at once, not after a run has begun
        make(base, copy)
    (copy / "elsewhere.json").rename(copy / "adapter_config.json")
    torch.save(load_file(copy / WEIGHTS), copy / "adapter_model.bin")
    (copy / WEIGHTS).unlink()
    assert "pickled weights are not read" in refused(base, copy)


def test_an_adapter_of_another_model(tiny_folder: Folder, adapter: Path) -> None:
    assert "does not fit LlamaForCausalLM" in refused(tiny_folder("text"), adapter)


def test_an_adapter_of_an_older_layout_of_the_same_model(tiny_folder: Folder, adapter: Path, copy: Path) -> None:
    """transformers 4 had the decoder's parts elsewhere; PEFT knows."""
    new, old = "base_model.model.model.language_model.", "base_model.model.language_model.model."
    weights = {name.replace(new, old): value for name, value in load_file(copy / WEIGHTS).items()}
    assert any(name.startswith(old) for name in weights)
    save_file(weights, copy / WEIGHTS)
    base = tiny_folder("qwen2_audio")
    answers = [make(base, each).lalm.generate(TURNS, max_new_tokens=4) for each in (adapter, copy)]
    assert answers[0] == answers[1]


def test_an_adapter_that_is_not_whole(tiny_folder: Folder, copy: Path) -> None:
    base, weights = tiny_folder("qwen2_audio"), load_file(copy / WEIGHTS)
    first = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != first}, copy / WEIGHTS)
    assert f"do not match: {first}" in refused(base, copy)
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:99])
    assert "does not fit" in refused(base, copy)
    (copy / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": "two"}))
    assert "does not fit" in refused(base, copy)
    write_json(copy / "run.json", {"training_prompts": "all"})
    with pytest.raises(InputError, match="not a list of ids"):
        make(base, copy)
