"""Each method on tiny models: what it leaves behind, and that the adapter does what the run says."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from demur.corpus import Corpus
from demur.errors import InputError
from demur.files import read_json, read_jsonl
from demur.finetune.capture import fingerprint, represent
from demur.finetune.data import load_split
from demur.finetune.run import finetune
from demur.finetune.turns import instructed
from demur.models import make_model
from demur.models.hf import anatomy
from demur.models.hf.lalm import LALM, load_lalm
from tests.demur.finetune.conftest import judged
from tests.tiny_lalm import MAKERS

torch = pytest.importorskip("torch")

TRAINED = {"rrs", "sft", "circuit-breaker"}
QUICK = {"validation_tokens": 3, "learning_rate": 0.01, "epochs": 1}
SLOW = {"qwen2_5_omni", "qwen3_omni_moe", "voxtral"}
MODELS = ["text", *(pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else []) for each in MAKERS)]


def options(method: str) -> dict[str, object]:
    chosen = dict(QUICK) if method in TRAINED else {"validation_tokens": 3}
    return chosen | ({"answer_tokens": 4} if method in {"sft", "circuit-breaker"} else {})


def saved_states(out: Path) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    from safetensors import safe_open

    with safe_open(out / "representations.safetensors", framework="np") as file:
        facts = {name: json.loads(value) for name, value in file.metadata().items()}
        return {name: file.get_tensor(name) for name in ("before", "after")}, facts


@pytest.mark.parametrize("method", ["rrs", "sft", "circuit-breaker", "steer", "safety-prompt"])
def test_what_a_run_leaves_behind_is_what_its_adapter_does(
    method: str, tiny_folder: Callable[[str], Path], corpus: Corpus, tmp_path: Path
) -> None:
    folder = tiny_folder("text")
    lalm, out = load_lalm(folder, dtype="float32"), tmp_path / "out"
    before = fingerprint(lalm)
    record = finetune(method, options(method), corpus, lalm, out, judged, captures=tmp_path / "c", base="x", quiet=True)
    assert fingerprint(lalm) == before, "the model is left as it was found"
    assert record == read_json(out / "run.json")
    assert record["base"] == "x"
    assert record["training_prompts"] == load_split(corpus, audio=False, seed=0).prompt_ids
    assert not (out / "checkpoints").exists()
    names = {path.name for path in (out / "plots").iterdir()}
    assert names >= {"representations.png", "path.png", "margin.png"} | ({"loss.png"} if method in TRAINED else set())

    validated = [row for row in read_jsonl(out / "log.jsonl") if row["kind"] == "validation"]
    assert record["base_validation"] == validated[0]
    assert record["chosen"]["score"] == max(row["score"] for row in validated[1:])
    assert all(row["score"] == pytest.approx(row["refusal"] - row["over_rejection"]) for row in validated)

    states, facts = saved_states(out)
    split = load_split(corpus, audio=False, seed=0)
    questions = [*split.train, *split.validation]
    assert facts["ids"] == [each.id for each in questions]
    tuned = load_lalm(folder, dtype="float32", adapter=out)
    now = represent(tuned, questions, lambda each: instructed(tuned, each), batch_size=16)
    np.testing.assert_allclose(now, states["after"], atol=1e-5)
    assert np.abs(states["after"] - states["before"]).max() > 1e-4


@pytest.mark.parametrize("model_type", MODELS)
def test_rrs_on_every_family_trains_the_text_decoder_alone(
    model_type: str, load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path
) -> None:
    lalm, out = load(model_type), tmp_path / "out"
    before = {name: value.clone() for name, value in lalm.model.state_dict().items()}
    finetune("rrs", {**QUICK, "penalty": 0.0}, corpus, lalm, out, judged, captures=tmp_path / "c", quiet=True)
    after = lalm.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    config = read_json(out / "adapter_config.json")
    layers = [name for name, _ in lalm.model.named_modules() if name.endswith("layers.0.self_attn.q_proj")]
    of_decoder = set(anatomy.decoder_targets(lalm.model, ["q_proj"]))
    assert set(config["target_modules"]) >= of_decoder
    assert not set(config["target_modules"]) & (set(layers) - of_decoder), "an audio tower's layers are left alone"
    steps = [row["mse"] for row in read_jsonl(out / "log.jsonl") if row["kind"] == "step"]
    assert np.isfinite(steps).all()
    from safetensors.torch import load_file

    learnt = {name: value for name, value in load_file(out / "adapter_model.safetensors").items() if "lora_B" in name}
    assert learnt
    assert all(value.abs().max() > 0 for value in learnt.values()), "every adapted layer has learnt something"


def test_other_choices_of_rrs_give_another_shift(load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path) -> None:
    shifts = {}
    for name, chosen in (
        ("published", {}),
        ("harmful", {"centroid": "harmful"}),
        ("strongest", {"mask": "top-m", "fraction": 0.25}),
    ):
        told = {**QUICK, **chosen}
        record = finetune("rrs", told, corpus, load("text"), tmp_path / name, judged, captures=tmp_path, quiet=True)
        shifts[name] = record["shift"]
    assert shifts["strongest"]["features_kept"] == pytest.approx(0.25, abs=0.02)
    assert shifts["strongest"]["whole_gain"] == shifts["published"]["whole_gain"], "the same before the mask"
    assert shifts["harmful"]["whole_gain"] != shifts["published"]["whole_gain"]


def test_training_in_bfloat16(tiny_folder: Callable[[str], Path], corpus: Corpus, tmp_path: Path) -> None:
    lalm, out = load_lalm(tiny_folder("audioflamingo3"), dtype="bfloat16"), tmp_path / "out"
    finetune("rrs", {**QUICK, "penalty": 0.0}, corpus, lalm, out, judged, captures=tmp_path / "c", quiet=True)
    losses = [row["mse"] for row in read_jsonl(out / "log.jsonl") if row["kind"] == "step"]
    assert np.isfinite(losses).all()
    from safetensors.torch import load_file

    learnt = load_file(out / "adapter_model.safetensors")
    assert any(value.abs().max() > 0 for name, value in learnt.items() if "lora_B" in name)


@pytest.mark.parametrize("model_type", MODELS[1:])
@pytest.mark.parametrize("method", ["sft", "circuit-breaker", "steer", "safety-prompt"])
def test_other_methods_hear_too(
    method: str, model_type: str, load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path
) -> None:
    lalm = load(model_type)
    record = finetune(
        method, options(method), corpus, lalm, tmp_path / "o", judged, captures=tmp_path / "c", quiet=True
    )
    assert record["questions"]["validation"] == {"harmful": 1, "twins": 1, "plain": 1}


def test_plain_peft_loads_the_adapter(tiny_folder: Callable[[str], Path], corpus: Corpus, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder, out = tiny_folder("text"), tmp_path / "out"
    lalm = load_lalm(folder, dtype="float32")
    finetune("rrs", {**QUICK, "penalty": 0.0}, corpus, lalm, out, judged, captures=tmp_path / "c", quiet=True)
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] is None, "no local folder"
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), out).eval()
    batch = lalm.encode([instructed(lalm, next(iter(load_split(corpus, audio=False, seed=0).validation)))])
    with torch.no_grad():
        ours = load_lalm(folder, dtype="float32", adapter=out).model(**batch).logits
        assert torch.allclose(plain(**batch).logits, ours, atol=1e-6)
        assert not torch.allclose(ours, lalm.model(**batch).logits, atol=1e-3)


def test_a_tuned_model_names_its_training_prompts(
    tiny_folder: Callable[[str], Path], corpus: Corpus, tmp_path: Path
) -> None:
    folder, out = tiny_folder("text"), tmp_path / "out"
    lalm = load_lalm(folder, dtype="float32")
    record = finetune(
        "safety-prompt", options("safety-prompt"), corpus, lalm, out, judged, captures=tmp_path, quiet=True
    )
    model = make_model(f"hf:{folder}", {"adapter": out, "dtype": "float32"})
    assert model.training_prompts == frozenset(record["training_prompts"])
    assert model.lalm.system == record["prompt"]  # type: ignore[attr-defined]


def test_a_steering_adapter_of_another_model_is_refused(
    tiny_folder: Callable[[str], Path], corpus: Corpus, tmp_path: Path
) -> None:
    folder, out = tiny_folder("text"), tmp_path / "out"
    finetune(
        "steer",
        options("steer"),
        corpus,
        load_lalm(folder, dtype="float32"),
        out,
        judged,
        captures=tmp_path,
        quiet=True,
    )
    described = read_json(out / "adapter.json")
    (out / "adapter.json").write_text(json.dumps({**described, "layer": 9}))
    with pytest.raises(InputError, match="layer 9, where the model has 32 features and 2 layers"):
        load_lalm(folder, adapter=out)
    (out / "steer.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="not a whole steering adapter"):
        load_lalm(folder, adapter=out)
    (out / "adapter.json").write_text('{"kind": "safety-prompt", "system": ""}')
    with pytest.raises(InputError, match="no system prompt"):
        load_lalm(folder, adapter=out)


def test_steering_takes_out_what_lies_among_benign_states() -> None:
    from demur.finetune.steer import take_out

    states, vector = torch.randn(30, 8), torch.randn(8)
    left = take_out(vector, states, 3)
    _, _, axes = torch.linalg.svd(states - states.mean(0))
    assert torch.allclose(axes[:3] @ left, torch.zeros(3), atol=1e-5)
    assert torch.allclose(axes[3:] @ left, axes[3:] @ vector, atol=1e-5)
    assert torch.equal(take_out(vector, states, 0), vector)


def test_steering_adds_the_vector_to_one_layers_output(text_lalm: LALM) -> None:
    from demur.models.hf import layers
    from demur.models.hf.turns import Turn

    batch = text_lalm.encode([Turn(text="How do I break it?")])
    with torch.no_grad(), layers.outputs(text_lalm.model, [0]) as plain:
        text_lalm.model(**batch)
    before, vector = plain[0], torch.randn(32)
    hook = layers.steer(text_lalm.model, 0, vector)
    with torch.no_grad(), layers.outputs(text_lalm.model, [0]) as steered:
        text_lalm.model(**batch)
    hook.remove()
    assert torch.allclose(steered[0], before + vector, atol=1e-6)


def test_circuit_breakers_push_and_hold(text_lalm: LALM, corpus: Corpus, tmp_path: Path) -> None:
    from demur.finetune.circuit_breaker import Breaking, CircuitBreakerOptions
    from demur.finetune.methods import Job

    split = load_split(corpus, audio=False, seed=0)
    job = Job(text_lalm, split, tmp_path, judged, CircuitBreakerOptions(alpha=10.0), 0, tmp_path)
    harmful = torch.tensor([True, True, False])
    before = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]]])
    after = torch.tensor([[[1.0, 1.0], [0.0, -1.0], [0.0, 0.0]]])
    parts = Breaking(job, {}).parts(before, after, harmful, progress=0.5)
    assert float(parts["push"]) == pytest.approx(10 * 0.75 * (2**-0.5 + 0) / 2)
    assert float(parts["hold"]) == pytest.approx(10 * 0.25 * 5)
