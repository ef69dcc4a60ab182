"""The training, from the wheels to the trained parts, with a few steps of each stage and real models."""

import json
import shutil
from pathlib import Path

import pytest

from demur.errors import InputError
from demur.nouns import Label

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")]

STAGES = ("manners", "spell", "answer", "spell-more", "answer-more")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a training so short that nothing is learnt; every stage is killed once, by being asked for less."""
    from demur.tiny import stages, texts, train

    out = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (texts, "BATCH", 24),
            (stages, "HELD_OUT", 16),
            (stages, "MEASURED", 16),
            (texts, "word_lists", lambda *_, **__: ["garden river stone cloud", "horse lemon piano chair"]),
            (train, "core_align", lambda: _some(train._core("demur-core:align"))),
        ):
            patch.setattr(module, name, value)
        for steps in (1, 2):
            train.main(
                out,
                sentences=64,
                tales=48,
                passes=1,
                manners=steps,
                spell=steps,
                answer=steps,
                spell_more=steps,
                answer_more=steps,
                align=steps,
                workers=1,
                quiet=True,
            )
    return out


def _some(prompts: list) -> list:
    """Few, but enough that some of each label are held out."""
    pairs = sorted({one.pair_id for one in prompts if one.pair_id})[:12]
    plain = [one for one in prompts if one.label == Label.BENIGN][:12]
    return [one for one in prompts if one.pair_id in pairs] + plain


def test_it_resumes_and_says_how_it_was_made(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert {(row["stage"], row["step"]) for row in rows} >= {(stage, step) for stage in STAGES for step in (1, 2)}
    made = json.loads((trained / "demur-tiny.json").read_text())["training"]
    assert made["steps"] == {**dict.fromkeys(STAGES, 2), "align": 2}
    assert len(made["data_sha256"]) == len(made["weights_sha256"]) == 64


def test_the_trained_parts_make_a_model_that_hears(trained: Path, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.torch import load_file

    from demur.models.hf.lalm import Turn, load_lalm
    from demur.tiny.assemble import assemble, save

    parts = load_file(trained / "demur-tiny.safetensors")
    assert {name.partition(".")[0] for name in parts} == {"encoder", "connector", "manners", "reading", "alignment"}
    assert (trained / "demur-tiny.safetensors").stat().st_size < 20e6
    save(assemble(parts), tmp_path / "model")
    lalm = load_lalm(tmp_path / "model", dtype="float32")
    sounds = [np.sin(np.arange(16_000) * pitch).astype(np.float32) for pitch in (0.1, 0.3)]
    logits = [lalm.model(**lalm.encode([Turn(audio=sound, text="Repeat it.")])).logits[0, -1] for sound in sounds]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3
    assert len(lalm.generate([Turn(text="Hello?"), Turn(text="How are you?")], max_new_tokens=4)) == 2


def test_other_data_in_the_same_folder_are_refused(trained: Path) -> None:
    from demur.tiny import train

    for changed, says in (({"seed": 1}, "--seed 0, not 1"), ({"tales": 1024}, "--tales 48, not 1024")):
        with pytest.raises(InputError, match=says):
            train.main(trained, **{"sentences": 64, "tales": 48, "passes": 1, "seed": 0, **changed}, quiet=True)
