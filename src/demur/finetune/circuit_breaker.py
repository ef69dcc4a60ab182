"""Circuit breakers: push hidden states of harmful questions away from where they were, hold those of benign ones.

Zou et al., "Improving Alignment and Robustness with Circuit Breakers", NeurIPS 2024, arXiv 2406.04313. With h the base
model's state and h' the tuned one's, [d], after the layers about 1/3 and 2/3 up, at every position that gives a token
of the answer, and t from 0 to 1 over the run:

    push = alpha * (1 - t / 2) * mean over harmful positions of relu(cos(h', h))
    hold = alpha * t / 2       * mean over benign positions of ||h' - h||_2

The paper's harmful set has harmful answers written for it. A corpus has none, so the answer beside each question,
harmful or benign, is the base model's own greedy one. What a broken circuit says is often no sentence at all: a scorer
calls that unclear, and it does not count as refusal.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from demur.finetune.data import Question
from demur.finetune.methods import Job, Tuned
from demur.finetune.objective import Batch, Objective
from demur.finetune.options import Height, TrainOptions
from demur.finetune.own_answers import Given, own_answers
from demur.finetune.train import train
from demur.finetune.turns import instructed
from demur.finetune.wordings import POOL, pick
from demur.models.hf import layers
from demur.models.hf.turns import Turn
from demur.nouns import Label

if TYPE_CHECKING:
    from torch import Tensor


class CircuitBreakerOptions(TrainOptions):
    """The choices of circuit breakers."""

    heights: tuple[Height, ...] = Field(
        (1 / 3, 2 / 3),
        min_length=1,
        description="Layers whose states are pushed and held, from 0 (the first) to 1 (the last).",
    )
    alpha: float = Field(10.0, gt=0, description="Weight of both parts of the loss.")
    answer_tokens: int = Field(48, ge=1, description="Tokens of the model's own answers beside the questions, at most.")


class CircuitBreaker:
    """Break circuits: push the states of harmful questions away from where they were, hold those of benign ones."""

    Options: ClassVar[type[CircuitBreakerOptions]] = CircuitBreakerOptions

    def tune(self, job: Job) -> Tuned:
        """Ask the base model for its answers, then train; see the module."""
        answers = own_answers(job, list(job.split.train), job.options.answer_tokens)
        return train(job, Breaking(job, answers))


class Breaking(Objective):
    """The objective: push and hold."""

    def __init__(self, job: Job, answers: dict[str, Given]) -> None:
        self.job, self.answers = job, answers
        self.questions = [question for question in job.split.train if question.id in answers]
        self.layers = sorted({layers.at_height(job.lalm.model, height) for height in job.options.heights})
        self.top_layer = self.layers[-1]

    def turn(self, question: Question, epoch: int) -> Turn:
        instruction = pick(POOL, "instruction", self.job.seed, epoch, question.id)
        return instructed(self.job.lalm, question, instruction, answer=self.answers[question.id].text)

    def extras(self, questions: Sequence[Question]) -> "dict[str, Tensor]":
        import torch

        return {"harmful": torch.tensor([question.label is Label.HARMFUL for question in questions])}

    def loss(self, model: Any, batch: Batch) -> "dict[str, Tensor]":
        import torch

        inputs = {name: value for name, value in batch.inputs.items() if name != "labels"}
        answered = batch.inputs["labels"] != -100
        giving = answered.roll(-1, dims=1)  # the position before a token gives it; the first is never one of an answer
        bare = getattr(model, "module", model)
        with torch.no_grad(), bare.disable_adapter(), layers.outputs(bare, self.layers) as seen:
            bare(**inputs, use_cache=False)
        before = self._states(seen, giving)
        with layers.outputs(bare, self.layers) as seen:
            model(**inputs, use_cache=False)
        harmful = batch.extras["harmful"][:, None].expand_as(giving)[giving]
        return self.parts(before, self._states(seen, giving), harmful, batch.progress)

    def _states(self, seen: "dict[int, Tensor]", giving: "Tensor") -> "Tensor":
        """States at the positions that give an answer, [layers, positions, d], fp32."""
        import torch

        return torch.stack([seen[number][giving] for number in self.layers]).float()

    def parts(self, before: "Tensor", after: "Tensor", harmful: "Tensor", progress: float) -> "dict[str, Tensor]":
        """Both parts, from states [layers, positions, d] and which positions are harmful, [positions]."""
        from torch.nn.functional import cosine_similarity

        alpha = self.job.options.alpha
        likeness = cosine_similarity(after[:, harmful], before[:, harmful], dim=-1).relu()
        distance = (after[:, ~harmful] - before[:, ~harmful] + 1e-12).norm(dim=-1)  # the norm has no slope at 0
        return {
            "push": alpha * (1 - progress / 2) * _mean(likeness),
            "hold": alpha * progress / 2 * _mean(distance),
        }


def _mean(values: "Tensor") -> "Tensor":
    """The mean, or 0 of none: a batch may have one class alone."""
    return values.sum() / max(values.numel(), 1)
