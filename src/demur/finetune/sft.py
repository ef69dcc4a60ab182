"""Supervised fine-tuning: fixed refusals for harmful questions, the model's own answers for benign ones.

    loss = mean over answer tokens of -log p(token | question, instruction, tokens before)

with logits [B, T, V] and labels [B, T], in which only the answer counts. The common baseline: Bianchi et al.,
"Safety-Tuned LLaMAs: Lessons From Improving the Safety of Large Language Models that Follow Instructions", 2024,
arXiv 2309.07875, where refusals are mixed with ordinary answers as here. The refusal is one of several wordings, drawn
by run and question; the answers to benign questions are the base model's greedy ones, cut at `answer_tokens`. An
answer that was cut teaches no end of turn.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from demur.finetune.data import Question
from demur.finetune.methods import Job, Tuned
from demur.finetune.objective import Batch, Objective
from demur.finetune.options import TrainOptions
from demur.finetune.own_answers import Given, own_answers
from demur.finetune.train import train
from demur.finetune.turns import instructed
from demur.finetune.wordings import POOL, REFUSALS, pick
from demur.models.hf.turns import Turn

if TYPE_CHECKING:
    from torch import Tensor


class SFTOptions(TrainOptions):
    """The choices of supervised fine-tuning."""

    answer_tokens: int = Field(64, ge=1, description="Tokens of the model's own answers to benign questions, at most.")


class SFT:
    """Teach answers: fixed refusals for harmful questions, the model's own answers for benign ones."""

    Options: ClassVar[type[SFTOptions]] = SFTOptions

    def tune(self, job: Job) -> Tuned:
        """Ask the base model for its answers, then train; see the module."""
        answers = own_answers(job, job.split.train.benign, job.options.answer_tokens)
        for question in job.split.train.harmful:
            answers[question.id] = Given(pick(REFUSALS, "refusal", job.seed, question.id))
        return train(job, Teaching(job, answers))


class Teaching(Objective):
    """The objective: cross-entropy of given answers."""

    def __init__(self, job: Job, answers: dict[str, Given]) -> None:
        self.job, self.answers = job, answers
        self.questions = [question for question in job.split.train if question.id in answers]

    def turn(self, question: Question, epoch: int) -> Turn:
        instruction = pick(POOL, "instruction", self.job.seed, epoch, question.id)
        return instructed(self.job.lalm, question, instruction, answer=self.answers[question.id].text)

    def extras(self, questions: Sequence[Question]) -> "dict[str, Tensor]":
        import torch

        return {"cut": torch.tensor([self.answers[question.id].cut for question in questions])}

    def loss(self, model: Any, batch: Batch) -> "dict[str, Tensor]":
        labels = batch.inputs["labels"].clone()
        labels[batch.extras["cut"], -1] = -100  # the end of a turn, after an answer that did not end
        return {"cross_entropy": model(**{**batch.inputs, "labels": labels}, use_cache=False).loss}
