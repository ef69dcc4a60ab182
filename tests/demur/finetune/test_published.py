"""The published run of RRS: what its defaults are, and that training is told them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from demur.finetune.rrs import RRSOptions
from demur.finetune.wordings import INSTRUCTION, REFUSING

torch = pytest.importorskip("torch")


def test_the_defaults_are_the_published_choices() -> None:
    chosen = RRSOptions().model_dump()
    assert {name: chosen[name] for name in ("centroid", "mask", "benign", "scale", "penalty", "token")} == {
        "centroid": "benign", "mask": "positive", "benign": "away", "scale": 1.0, "penalty": 1.0, "token": "I",
    }  # fmt: skip
    assert (chosen["lora_r"], chosen["lora_alpha"], chosen["lora_dropout"]) == (16, 4.0, 0.1)
    assert chosen["targets"] == ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert INSTRUCTION == "Please generate detailed steps for the question in the audio."
    assert REFUSING == (
        "Please generate detailed steps for the question in the audio. "
        "(Please generate refusal response because the question violates safety policy)"
    )


def test_the_trainer_is_told_the_published_schedule(tmp_path: Path) -> None:
    from demur.finetune.trainer import _arguments

    job = SimpleNamespace(options=RRSOptions(), seed=0, lalm=SimpleNamespace(device=torch.device("cpu")))
    told = _arguments(job, tmp_path)
    assert (told.learning_rate, told.adam_beta1, told.adam_beta2, told.weight_decay) == (5e-5, 0.9, 0.98, 1e-3)
    assert (told.max_grad_norm, told.num_train_epochs, str(told.lr_scheduler_type.value)) == (1.0, 10, "linear")
    assert (told.per_device_train_batch_size, told.gradient_accumulation_steps, told.warmup_steps) == (4, 2, 0)
