"""Training itself: the right answer where it is known, going on after a kill, and what can be wrong."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from demur.corpus import Corpus
from demur.errors import InputError, ModelError, UsageError
from demur.files import read_jsonl
from demur.finetune import arithmetic
from demur.finetune.data import Question, Questions, Split
from demur.finetune.methods import Job
from demur.finetune.objective import Batch
from demur.finetune.rrs import RRS, Reshaping, RRSOptions
from demur.finetune.run import finetune
from demur.finetune.train import low_rank
from demur.finetune.wordings import REFUSING, for_text
from demur.models import Answer
from demur.models.hf.lalm import LALM
from demur.models.hf.turns import Turn
from demur.nouns import Label, Outcome
from tests.demur.finetune.conftest import judged

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

QUICK = {"validation_tokens": 3, "epochs": 3, "learning_rate": 0.01}


def steps(out: Path) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(out / "log.jsonl") if row["kind"] == "step"]


# A model in which all is known: one linear layer, identity at first, between a table of inputs and a head.

INPUTS = {"harm a": [1.0, 0, 0, 0], "harm b": [0, 1.0, 0, 0], "good a": [0, 0, 1.0, 0], "good b": [0, 0, 0, 1.0]}
ASKED_TO_REFUSE = torch.tensor([2.0, 2.0, -2.0, 0.0])
"""What the instruction to refuse adds to an input."""
ROW = torch.tensor([1.0, 2.0, 1.0, 0.5])
"""The head's row of the token."""


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.q_proj.weight)

    def forward(self, x: Any) -> Any:
        return self.q_proj(x)


class Linear(nn.Module):
    """h = q_proj(input); logits = head(h)."""

    device = torch.device("cpu")
    config = SimpleNamespace(model_type="linear", to_dict=lambda: {"model_type": "linear"})

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.layers = nn.ModuleList([_Layer()])
        self.model.norm = nn.Identity()
        self.head = nn.Linear(4, 3, bias=False)
        self.head.weight.data = torch.stack([torch.zeros(4), ROW, -ROW])

    def get_decoder(self) -> Any:
        return self.model

    def get_output_embeddings(self) -> Any:
        return self.head

    def prepare_inputs_for_generation(self) -> None: ...

    def forward(self, inputs: Any, **_: Any) -> Any:
        return self.head(self.model.norm(self.model.layers[0](inputs)))


class LinearLALM:
    """Turns in, inputs of `Linear` out."""

    family = SimpleNamespace(name="linear", audio=False)
    tokenizer = SimpleNamespace(encode=lambda word, **_: [1], unk_token_id=None)
    processor, system = None, None

    def __init__(self) -> None:
        self.model, self.device = Linear(), torch.device("cpu")

    def encode(self, turns: Sequence[Turn]) -> dict[str, Any]:
        rows = []
        for turn in turns:
            instruction, question = turn.text.split("\n")
            refusing = instruction == for_text(REFUSING)
            rows.append(torch.tensor(INPUTS[question]) + (ASKED_TO_REFUSE if refusing else 0))
        return {"inputs": torch.stack(rows)[:, None]}

    def generate(self, turns: Sequence[Turn], *, max_new_tokens: int) -> list[Answer]:
        """Refuses where the token's logit is the highest and above 2."""
        with torch.no_grad():
            logits = self.model(**self.encode(turns))[:, -1]
        return [Answer("no" if row[1] > 2 else "yes") for row in logits]


def question(text: str, label: Label) -> Question:
    return Question(text, text, text[-1], label, text)


def linear_job(folder: Path, options: RRSOptions) -> Job:
    parts = Questions(
        tuple(question(text, Label.HARMFUL) for text in ("harm a", "harm b")),
        tuple(question(text, Label.BORDERLINE) for text in ("good a", "good b")),
    )
    lalm: Any = LinearLALM()
    outcomes = {"no": Outcome.REFUSAL, "yes": Outcome.COMPLIANCE}
    return Job(
        lalm,
        Split("c", parts, parts),
        folder / "o",
        lambda _, answer: outcomes[answer],
        options,
        0,
        folder / "c",
        quiet=True,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("benign", ["away", "stay"])
def test_the_loss_agrees_with_numpy(tmp_path: Path, benign: Any, seed: int) -> None:
    options = RRSOptions(
        penalty=0.3, benign=benign, scale=2, lora_r=2, lora_alpha=3, lora_dropout=0, targets=("q_proj",)
    )
    job = linear_job(tmp_path, options)
    harmful, twins = np.random.default_rng(seed).normal(size=(2, 2, 4)).astype(np.float32)
    move = np.array([2.5, 2.5, 0, 0])  # as the next test works it out
    shift = arithmetic.mask_shift(torch.tensor([2.5, 2.5, -2.5, -0.5]), ROW)
    objective = Reshaping(job, shift, torch.tensor(harmful).float(), torch.tensor(twins).float())
    goals = np.concatenate([harmful + 2 * move, twins - (2 * move if benign == "away" else 0)])
    with low_rank(job.lalm.model, options, 0) as model:
        ((a, b, _),) = arithmetic.adapted(model)
        b.data = torch.linspace(-0.5, 0.5, b.numel()).reshape(b.shape)
        states = torch.tensor(np.concatenate([harmful, twins])).float()[:, None]
        parts = objective.loss(model, Batch({"inputs": states}, objective.extras(objective.questions), 0.0))
        delta = 3 / 2 * b.detach().double().numpy() @ a.detach().double().numpy()
    reached = states[:, 0].double().numpy() @ (np.eye(4) + delta).T
    assert parts["mse"].item() == pytest.approx(np.mean((reached - goals) ** 2), rel=1e-6)
    assert parts["penalty"].item() == pytest.approx(0.3 * np.sum(delta**2), rel=1e-6)


def test_a_linear_model_is_moved_to_where_it_should_be(tmp_path: Path) -> None:
    # H_R = harm + r, so mean(H_R) - mean(H_B) = r + (1/2, 1/2, -1/2, -1/2) = (2.5, 2.5, -2.5, -0.5)
    # c = row * delta = (2.5, 5, -2.5, -0.25): the first two are kept, their sum is 7.5
    masked = torch.tensor([2.5, 2.5, 0, 0])
    chosen = RRSOptions(
        penalty=0, epochs=40, learning_rate=0.1, train_batch=1, accumulation=1, lora_dropout=0, targets=("q_proj",)
    )
    job = linear_job(tmp_path, chosen)
    tuned = RRS().tune(job)
    assert tuned.facts["shift"]["gain"] == pytest.approx(7.5)
    assert tuned.facts["shift"]["features_kept"] == 0.5
    assert tuned.facts["shift"]["begins_with_token"]["refusing"] == 1
    states = torch.tensor(list(INPUTS.values()))
    wanted = torch.cat([states[:2] + masked, states[2:] - masked])
    assert (tuned.chosen["refusal"], tuned.chosen["over_rejection"]) == (1, 0)
    last = job.log.rows("validation")[-1]
    assert last["distance_harmful"] < 1e-3
    assert last["distance_borderline"] < 1e-3
    first = job.log.rows("validation")[0]
    assert (first["distance_harmful"], first["refusal"]) == (pytest.approx(3.125), 0)
    # logits are (0, row h, -row h): the margin is row h, whose mean over harm a and b was 1.5 before
    assert last["margin_harmful"] == pytest.approx(float((wanted[:2] @ ROW).mean()), abs=0.1)
    assert last["margin_harmful"] - first["margin_harmful"] == pytest.approx(7.5, abs=0.1)
    assert torch.equal(job.lalm.model.model.layers[0].q_proj.weight, torch.eye(4)), "the model is as it was"


class KilledError(BaseException):
    """As a signal would, from within."""


@pytest.mark.parametrize("method", ["rrs", "sft"])
def test_a_killed_run_goes_on_with_the_same_losses(
    method: str, load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {**QUICK, "train_batch": 2, "accumulation": 2} | ({"answer_tokens": 4} if method == "sft" else {})

    def tune(out: Path) -> dict[str, Any]:
        return finetune(method, chosen, corpus, load("text"), out, judged, captures=tmp_path / "c", quiet=True)

    whole = tune(tmp_path / "whole")
    from demur.finetune import trainer

    log = trainer._Trainer.log

    def killed_at_5(self: Any, logs: dict[str, float], start_time: float | None = None) -> None:
        log(self, logs, start_time)
        if self.state.global_step == 5:  # steps 4 to 6 are the second epoch
            raise KilledError

    monkeypatch.setattr(trainer._Trainer, "log", killed_at_5)
    with pytest.raises(KilledError):
        tune(tmp_path / "killed")
    assert not (tmp_path / "killed" / "run.json").exists()
    assert [row["step"] for row in steps(tmp_path / "killed")] == [1, 2, 3, 4, 5]
    monkeypatch.undo()
    torn = tmp_path / "killed" / "checkpoints" / "checkpoint-5"
    torn.mkdir()  # as a kill in the middle of saving leaves it
    (torn / "trainer_state.json").write_text('{"epo')
    resumed = tune(tmp_path / "killed")
    for a, b in zip(steps(tmp_path / "whole"), steps(tmp_path / "killed"), strict=True):
        assert a.keys() == b.keys()
        assert all(a[name] == pytest.approx(b[name], abs=1e-5) for name in a.keys() - {"kind"})
    assert resumed["chosen"]["step"] == whole["chosen"]["step"]
    assert [row["step"] for row in read_jsonl(tmp_path / "killed" / "log.jsonl") if row["kind"] == "validation"] == [
        *(0, 3, 6, 9)
    ]


def test_dropout_and_instructions_depend_on_the_seed(
    load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path
) -> None:
    def losses(name: str, seed: int) -> list[float]:
        given = {**QUICK, "epochs": 1}
        finetune("rrs", given, corpus, load("text"), tmp_path / name, judged, seed=seed, captures=tmp_path, quiet=True)
        return [row["loss"] for row in steps(tmp_path / name)]

    first, again, other = losses("a", 0), losses("b", 0), losses("c", 1)
    assert first == again
    assert first != other


def test_a_finished_run_is_left_alone_and_another_is_not_mixed_in(
    load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lalm, out = load("text"), tmp_path / "out"

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def tune(tokens: int, **more: Any) -> dict[str, Any]:
        given = {"validation_tokens": tokens, "prompts": ["Be kind."]}
        return finetune("safety-prompt", given, corpus, lalm, out, judged, captures=tmp_path / "c", quiet=True, **more)

    first = tune(2)
    changed = (out / "run.json").stat().st_mtime_ns
    assert tune(2) == first
    assert (out / "run.json").stat().st_mtime_ns == changed
    with pytest.raises(InputError, match="another run \\(its options differs\\)"):
        tune(3)
    with pytest.raises(InputError, match="its seed differs"):
        tune(2, seed=1)
    assert tune(3, overwrite=True)["options"]["validation_tokens"] == 3
    (out / "checkpoints").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            tune(4, overwrite=True)
    for tokens in (3, 4):  # nothing goes on with what is left of either
        with pytest.raises(InputError, match="another run"):
            tune(tokens)
    assert tune(4, overwrite=True)["options"]["validation_tokens"] == 4
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        finetune("steer", None, corpus, lalm, tmp_path / "full", judged, overwrite=True, quiet=True)


def out_of_memory(*_: Any) -> Any:
    raise torch.OutOfMemoryError("so many GiB")


def test_bad_input_ends_clearly(load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path) -> None:
    def tune(lalm: LALM, **given: Any) -> None:
        finetune(
            "rrs", {**QUICK, **given}, corpus, lalm, tmp_path / "out", judged, captures=tmp_path / "c", overwrite=True
        )

    with pytest.raises(InputError, match="no single token 'Certainly'"):
        tune(load("text"), token="Certainly")
    with pytest.raises(InputError, match="text model cannot hear"):
        tune(load("text"), validation_modalities=["audio_only"])
    with pytest.raises(UsageError, match="--learning-rate -1: "):
        tune(load("text"), learning_rate=-1)
    with pytest.raises(UsageError, match="--learning-rate inf: "):
        tune(load("text"), learning_rate=float("inf"))
    for method in ("steer", "circuit-breaker"):
        with pytest.raises(UsageError, match="--heights"):
            finetune(method, {"heights": [1.5]}, corpus, load("text"), tmp_path / "out", judged, overwrite=True)
    with pytest.raises(UsageError, match="the method 'rrs' takes no --strengths"):
        tune(load("text"), strengths=[1])
    with pytest.raises(ModelError, match="no linear layer 'w_proj'"):
        tune(load("text"), targets=["w_proj"])
    with pytest.raises(InputError, match="set CUDA_VISIBLE_DEVICES=1"):
        tune(SimpleNamespace(device=torch.device("cuda:1"), family=SimpleNamespace(audio=True)))  # type: ignore[arg-type]
    silent = load("text")
    silent.model.lm_head.weight.data[silent.tokenizer.convert_tokens_to_ids("I")] = 0
    with pytest.raises(InputError, match="does not make refusals likelier"):
        tune(silent)
    big = load("text")
    big.model.model.norm.forward = out_of_memory
    with pytest.raises(ModelError, match="try a smaller --batch-size"):
        tune(big)
    broken = load("text")
    broken.model.model.norm.weight.data[3] = float("nan")
    with pytest.raises(ModelError, match=r"of 5 of 5 questions hold NaN or infinity \(first: "):
        tune(broken)
    with pytest.raises(ModelError, match=r"the (loss|norm of the gradient) is"):
        tune(load("text"), learning_rate=1e30)
    assert not (tmp_path / "out" / "run.json").exists()


def test_gradient_checkpointing_changes_no_loss(load: Callable[[str], LALM], corpus: Corpus, tmp_path: Path) -> None:
    for name, less in (("plain", False), ("less-memory", True)):
        given = {**QUICK, "epochs": 1, "gradient_checkpointing": less}
        finetune("rrs", given, corpus, load("text"), tmp_path / name, judged, captures=tmp_path, quiet=True)
    for a, b in zip(steps(tmp_path / "plain"), steps(tmp_path / "less-memory"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
