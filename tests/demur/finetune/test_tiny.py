"""RRS on demur-tiny itself, by ear: real weights, real speech, a few steps."""

from pathlib import Path
from typing import Any

import pytest

from builders.build import build
from builders.clip import SoundSettings
from builders.plan import BuildSettings
from builders.prompts import TableOptions
from demur.audio import decode, resample
from demur.corpus import Corpus
from demur.files import read_jsonl
from demur.finetune.run import finetune
from demur.models import make_model
from demur.models.hf.turns import Turn
from demur.nouns import Modality

pytestmark = pytest.mark.slow
pytest.importorskip("torch")


def test_rrs_moves_demur_tiny_towards_its_targets(tmp_path: Path) -> None:
    build(
        ["demur-core:tune"],
        tmp_path / "tune",
        BuildSettings(limit=5, sound=SoundSettings(asr=None)),
        TableOptions(),
        quiet=True,
    )
    corpus = Corpus(tmp_path / "tune")
    model: Any = make_model("demur-tiny", {})
    options = {
        **{"learning_rate": 3e-3, "penalty": 0.001, "scale": 4, "lora_dropout": 0},
        **{"epochs": 5, "train_batch": 4, "accumulation": 1, "validation_tokens": 8},
    }
    out = tmp_path / "rrs"
    told: dict[str, Any] = {"base": "demur-tiny", "captures": tmp_path / "captures", "quiet": True}
    record = finetune("rrs", options, corpus, model.lalm, out, **told)
    assert record["base"] == "demur-tiny"
    steps = [row for row in read_jsonl(out / "log.jsonl") if row["kind"] == "step"]
    first, last = (sum(row["mse"] for row in part) for part in (steps[:2], steps[-2:]))  # an epoch each
    assert len(steps) == 10
    assert last < 0.95 * first
    tuned: Any = make_model("demur-tiny", {"adapter": out})
    row = next(corpus.rows(Modality.AUDIO_ONLY, ("audio",)))
    clip = resample(*decode(row["audio"]["bytes"]), model.lalm.sample_rate)
    logits = [
        each.lalm.model(**each.lalm.encode([Turn(audio=clip)])).logits[0, -1].detach().float()
        for each in (model, tuned)
    ]
    assert float((logits[0] - logits[1]).abs().max()) > 0.1
