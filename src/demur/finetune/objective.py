"""What a method that trains is trained on: inputs, and a loss in parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from demur.finetune.data import Question
from demur.finetune.validate import ByLabel
from demur.models.hf.turns import Turn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """What a loss is taken of, on the model's device."""

    inputs: "dict[str, Tensor]"
    """What the model takes, and `labels` where the turns have answers."""
    extras: "dict[str, Tensor]"
    """What `Objective.extras` gave for its questions."""
    progress: float
    """From 0 to 1 in a run."""


class Objective(Protocol):
    """What a method trains on."""

    questions: Sequence[Question]
    top_layer: int | None = None
    """The highest layer of the decoder that the loss depends on; those above get no adapter. None: all do."""

    def turn(self, question: Question, epoch: int) -> Turn:
        """The training input of a question in an epoch."""
        ...

    def extras(self, questions: Sequence[Question]) -> "dict[str, Tensor]":
        """What the loss needs to know of the questions of a batch, on the CPU."""
        ...

    def loss(self, model: Any, batch: Batch) -> "dict[str, Tensor]":
        """The loss in parts, by name: scalars, whose sum is minimised."""
        ...

    def measure(self, states: ByLabel) -> dict[str, float]:  # noqa: ARG002
        """Figures of the method's own on the validation questions, for the log."""
        return {}
