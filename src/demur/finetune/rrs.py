"""RRS: move harmful questions to where refusals lie, and benign ones away from there.

Yang, Qu, Shareghi, Haffari, "Reshaping Representation Space to Balance the Safety and Over-rejection in Large Audio
Language Models", EMNLP 2025, arXiv 2505.19670. No answers are taught.

h(x, p) is the input of the output head at the last prompt token, [d]: the last layer's state after the final norm.
With the base model, fp32:

    H_B = h(benign, p0), H_H = h(harmful, p0), H_R = h(harmful, p_r)     [N, d] each
    delta = mean(H_R) - mean(H_B);  c = w_I * delta;  delta_hat = mask(c) * delta
    t_H = H_H + scale * delta_hat;  t_B = H_B - scale * delta_hat (`away`) or H_B (`stay`)

and with the model f in training, on inputs whose instruction is drawn from a pool of paraphrases:

    loss = mean over batch and features of (h_f - t)^2  +  penalty * sum over adapted modules of ||s B A||_F^2

`arithmetic` has all of it but the pass through the model.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from demur.console import say
from demur.finetune import arithmetic
from demur.finetune.data import Question
from demur.finetune.methods import Job, Tuned
from demur.finetune.objective import Batch, Objective
from demur.finetune.options import TrainOptions
from demur.finetune.train import train
from demur.finetune.turns import instructed
from demur.finetune.validate import ByLabel
from demur.finetune.wordings import POOL, REFUSING, pick
from demur.models.hf.anatomy import head_weight, last_states
from demur.models.hf.turns import Turn
from demur.nouns import Label

if TYPE_CHECKING:
    from torch import Tensor


FOLLOWS = 0.5
"""A model that refuses fewer than these when it is told to gives the shift another meaning."""


class RRSOptions(TrainOptions):
    """The choices of RRS; the defaults are the published run's."""

    centroid: Literal["benign", "harmful"] = Field(
        "benign",
        description="What the refusal shift starts from: the mean of the benign questions (published), or of the "
        "harmful ones under the plain instruction, which keeps the topic out of it.",
    )
    mask: Literal["positive", "top-m"] = Field(
        "positive",
        description="Which features move: all that raise the refusal's first token (published), or the strongest ones.",
    )
    fraction: float = Field(0.25, gt=0, le=1, description="With --mask top-m: the part of the features that moves.")
    benign: Literal["away", "stay"] = Field(
        "away", description="Benign questions move away from refusals (published), or are held where they are."
    )
    scale: float = Field(1.0, gt=0, description="How far along the shift; 1 is the published way.")
    penalty: float = Field(
        1.0,
        ge=0,
        description="Weight of the adapters' squared size in the loss; in a small model it may outweigh the rest.",
    )


class RRS:
    """Reshape the representation space: harmful questions go to where refusals lie, benign ones away from there."""

    Options: ClassVar[type[RRSOptions]] = RRSOptions

    def tune(self, job: Job) -> Tuned:
        """Capture, shift, train; see the module."""
        options: RRSOptions = job.options
        token = arithmetic.first_token(job.lalm.tokenizer, options.token)
        harmful, benign = job.capture(job.split.train.harmful), job.capture(job.split.train.benign)
        refusing = job.capture(job.split.train.harmful, REFUSING)
        delta = arithmetic.refusal_shift(refusing, benign if options.centroid == "benign" else harmful)
        weight = head_weight(job.lalm.model).detach()
        shift = arithmetic.mask_shift(delta, weight[token].float().cpu(), options.mask, options.fraction)
        begins = {
            name: arithmetic.begins_with(states, weight, token)
            for name, states in (("refusing", refusing), ("harmful", harmful), ("benign", benign))
        }
        if begins["refusing"] < FOLLOWS:
            say(
                f"note: told to refuse, this model begins only {begins['refusing']:.0%} of its answers with "
                f"{options.token!r}; what it is moved towards is then not all refusal (`shift` in run.json)",
                quiet=job.quiet,
            )
        tuned = train(job, Reshaping(job, shift, harmful, benign))
        facts = {
            "gain": shift.gain,
            "whole_gain": shift.whole_gain,
            "features_kept": float(shift.kept.float().mean()),
            "shift_norm": float(shift.masked.norm()),
            "begins_with_token": begins,
        }
        return Tuned(tuned.chosen, tuned.after, {"shift": facts})


class Reshaping(Objective):
    """The objective: mean squared distance to the targets, and the penalty."""

    def __init__(self, job: Job, shift: arithmetic.Shift, harmful: "Tensor", benign: "Tensor") -> None:
        self.job, self.shift, self.options = job, shift, job.options
        self.questions = [*job.split.train.harmful, *job.split.train.benign]
        goals = [*self._goals(Label.HARMFUL, harmful), *self._goals(Label.BENIGN, benign)]
        self.goals = {question.id: goal for question, goal in zip(self.questions, goals, strict=True)}
        held = job.split.validation
        self.validation = {
            label: self._goals(label, job.capture([each for each in held if each.label is label]))
            for label in {each.label for each in held}
        }
        self._adapters: list[Any] | None = None

    def _goals(self, label: Label, states: "Tensor") -> "Tensor":
        if label is Label.HARMFUL:
            return arithmetic.targets(states, self.shift, self.options.scale)
        return arithmetic.targets(states, self.shift, -self.options.scale if self.options.benign == "away" else 0.0)

    def turn(self, question: Question, epoch: int) -> Turn:
        instruction = pick(POOL, "instruction", self.job.seed, epoch, question.id)
        return instructed(self.job.lalm, question, instruction)

    def extras(self, questions: Sequence[Question]) -> "dict[str, Tensor]":
        import torch

        return {"goals": torch.stack([self.goals[question.id] for question in questions])}

    def loss(self, model: Any, batch: Batch) -> "dict[str, Tensor]":
        states = last_states(model, batch.inputs)
        parts = {"mse": (states.float() - batch.extras["goals"]).square().mean()}
        if self.options.penalty:
            self._adapters = self._adapters or list(arithmetic.adapted(model))
            parts["penalty"] = self.options.penalty * arithmetic.low_rank_penalty(self._adapters)
        return parts

    def measure(self, states: ByLabel) -> dict[str, float]:
        """Mean squared distance to the targets that the validation questions would have, by label."""
        return {
            f"distance_{label}": float((each - self.validation[label]).square().mean())
            for label, each in states.items()
        }
