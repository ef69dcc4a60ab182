"""What a fine-tuning method is, and what it is given.

Another package adds one by an entry point that names a class:

    [project.entry-points."demur.methods"]
    mymethod = "my_package:MyMethod"

Its `Options` become the flags of `demur finetune mymethod`; its docstring is that command's help.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from demur.finetune.capture import capture, fingerprint
from demur.finetune.data import Question, Split
from demur.finetune.options import Options
from demur.finetune.runlog import RunLog
from demur.finetune.wordings import INSTRUCTION
from demur.nouns import Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from demur.models.hf.lalm import LALM


@dataclass(frozen=True)
class Job:
    """One run: a model, questions, a folder, and how answers are judged."""

    lalm: "LALM"
    split: Split
    out: Path
    outcome: Callable[[str, str], Outcome]
    """Of a question and the answer to it."""
    options: Any
    """The method's own `Options`."""
    seed: int
    captures: Path
    """Where representations are kept, for other runs too."""
    quiet: bool = False

    @cached_property
    def model_sha256(self) -> str:
        """Of the base model; asked for before anything is changed."""
        return fingerprint(self.lalm)

    @cached_property
    def log(self) -> RunLog:
        return RunLog(self.out / "log.jsonl")

    @cached_property
    def answers(self) -> RunLog:
        return RunLog(self.out / "validation.jsonl")

    def capture(
        self, questions: Sequence[Question], instruction: str = INSTRUCTION, *, layer: int | None = None
    ) -> "Tensor":
        """The base model's representations of some questions, fp32 [N, d]; only before anything is changed."""
        return capture(
            self.lalm,
            questions,
            instruction,
            self.captures,
            model_sha256=self.model_sha256,
            corpus_sha256=self.split.corpus_sha256,
            batch_size=self.options.batch_size,
            layer=layer,
            quiet=self.quiet,
        )


@dataclass(frozen=True)
class Tuned:
    """What a method made, beside the files that it wrote into the folder: PEFT's, or `adapter.json` and its own."""

    chosen: Mapping[str, Any]
    """The row of the best candidate in the log."""
    after: "Tensor"
    """Representations of all questions, training ones first, by the best candidate: fp32 [N, d]."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else `run.json` is to hold, as JSON."""


class Method(Protocol):
    """A fine-tuning method. Made without arguments; cheap to import."""

    Options: ClassVar[type[Options]]

    def tune(self, job: Job) -> Tuned:
        """Learn from `job.split.train`, choose on `job.split.validation`, write the adapter into `job.out`.

        The model is left as it was found. Called again after a kill, it goes on.

        Raises:
            InputError, ModelError: it cannot be done with this model and these questions.
        """
        ...
