"""Representations: taken in batches, kept, and used again."""

from pathlib import Path

import pytest

from demur.corpus import Corpus
from demur.finetune import capture as module
from demur.finetune.capture import capture, fingerprint, represent
from demur.finetune.data import load_split
from demur.finetune.turns import instructed
from demur.finetune.validate import choose, logit_margin
from demur.finetune.wordings import INSTRUCTION, REFUSING
from demur.models.hf.anatomy import head
from demur.models.hf.lalm import LALM

torch = pytest.importorskip("torch")


def test_a_batch_gives_what_each_question_gives_alone(text_lalm: LALM, corpus: Corpus) -> None:
    questions = list(load_split(corpus, audio=False, seed=0).train)
    together, alone = (
        represent(text_lalm, questions, lambda each: instructed(text_lalm, each), batch_size=size) for size in (8, 1)
    )
    assert torch.allclose(together, alone, atol=1e-4)
    with torch.no_grad():
        logits = text_lalm.model(**text_lalm.encode([instructed(text_lalm, questions[3])])).logits[0, -1]
        assert torch.allclose(head(text_lalm.model)(together[3]), logits, atol=1e-4)


def test_states_are_kept_and_used_again(
    text_lalm: LALM, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = load_split(corpus, audio=False, seed=0).train.harmful
    model = fingerprint(text_lalm)

    def take(instruction: str = INSTRUCTION, model_sha256: str = model) -> torch.Tensor:
        return capture(
            text_lalm, questions, instruction, tmp_path, model_sha256=model_sha256, corpus_sha256="c", batch_size=4
        )

    first = take()
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(module, "represent", lambda *_, **__: pytest.fail("asked the model again"))
        assert torch.equal(take(), first)
    assert not torch.allclose(take(REFUSING), first)
    take(model_sha256="another")
    assert len(list(tmp_path.iterdir())) == 3
    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(take(), first), "a damaged file is made again"


def test_a_fingerprint_tells_weights_and_prompts_apart(text_lalm: LALM) -> None:
    first = fingerprint(text_lalm)
    assert fingerprint(text_lalm) == first
    text_lalm.system = "Be careful."
    prompted = fingerprint(text_lalm)
    text_lalm.system = None
    text_lalm.model.lm_head.weight.data[0, 0] += 1e-3
    reweighted = fingerprint(text_lalm)
    text_lalm.model.config.rms_norm_eps *= 10
    assert len({first, prompted, reweighted, fingerprint(text_lalm)}) == 4


def test_the_margin_is_over_the_best_other_token() -> None:
    weight = torch.tensor([[1.0, 0], [0, 1.0], [2.0, 0]])
    states = torch.tensor([[1.0, 5.0], [3.0, 1.0]])  # logits (1, 5, 2) and (3, 1, 6)
    assert logit_margin(states, weight, 1) == pytest.approx(((5 - 2) + (1 - 6)) / 2)


def test_of_equals_the_earlier_candidate_is_chosen() -> None:
    rows = [{"score": 0.2, "step": 4}, {"score": 0.5, "step": 8}, {"score": 0.5, "step": 12}]
    assert choose(rows)["step"] == 8
