"""Another package adds a method: one class, one line of registration, and it is a command like the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demur.files import read_json, read_jsonl
from tests.corpora import make_corpus, some_prompts
from tests.demur.finetune.conftest import spoken
from tests.packages import install
from tests.tiny_lm import make_tiny_lm

pytest.importorskip("transformers")
pytest.importorskip("peft")

METHOD = '''
from typing import ClassVar

from pydantic import Field

from demur.finetune.objective import Objective
from demur.finetune.options import TrainOptions
from demur.finetune.train import train
from demur.finetune.turns import instructed
from demur.models.hf.anatomy import head_weight, last_states
from demur.nouns import Label


class NudgeOptions(TrainOptions):
    """The choices of nudging."""

    by: float = Field(1.0, description="How much the logit of the token is to rise or fall.")


class Nudge:
    """Nudge one logit: up for harmful questions, down for benign ones."""

    Options: ClassVar = NudgeOptions

    def tune(self, job):
        return train(job, Nudging(job))


class Nudging(Objective):
    def __init__(self, job):
        self.job, self.questions = job, list(job.split.train)
        self.token = job.lalm.tokenizer.convert_tokens_to_ids(job.options.token)

    def turn(self, question, epoch):
        return instructed(self.job.lalm, question)

    def extras(self, questions):
        import torch

        return {"sign": torch.tensor([1.0 if each.label is Label.HARMFUL else -1.0 for each in questions])}

    def loss(self, model, batch):
        logits = last_states(model, batch.inputs) @ head_weight(model)[self.token]
        return {"logit": -(self.job.options.by * batch.extras["sign"] * logits).mean()}
'''


def test_a_method_from_another_package(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "nudge", METHOD, "[demur.methods]\nnudge = nudge:Nudge\n")
    corpus = make_corpus(tmp_path / "tune", some_prompts(4, 1), speak=spoken)
    model = make_tiny_lm(tmp_path / "model", context=512)
    command = [sys.executable, "-m", "demur.finetune", "nudge", "--by", "2", "--epochs", "2", "--learning-rate", "0.01"]
    command += ["--corpus", str(corpus), "--model", f"hf:{model}", "--out", str(tmp_path / "out")]
    command += ["--validation-tokens", "2", "--targets", "q_proj", "--targets", "v_proj", "--dtype", "float32"]
    environment = {**os.environ, "PYTHONPATH": str(site), "DEMUR_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = read_json(tmp_path / "out" / "run.json")
    assert record["options"]["by"] == 2
    assert record["options"]["targets"] == ["q_proj", "v_proj"]
    assert record["base"] == f"hf:{model}"
    losses = [row["logit"] for row in read_jsonl(tmp_path / "out" / "log.jsonl") if row["kind"] == "step"]
    assert losses[-1] < losses[0]
    assert "best: epoch" in done.stderr
