"""A safety prompt: words in the system's place that ask for refusal of harmful requests alone. Nothing is trained.

The simplest defence there is: Xie et al., "Defending ChatGPT against jailbreak attack via self-reminders", Nature
Machine Intelligence 5, 2023. Several wordings are candidates; the best on the validation questions is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import ClassVar

from pydantic import Field

from demur.files import write_json
from demur.finetune.candidates import best_of
from demur.finetune.methods import Job, Tuned
from demur.finetune.options import Options
from demur.finetune.processes import rank
from demur.finetune.wordings import SAFETY_PROMPTS
from demur.models.hf.adapters import SAFETY_PROMPT, SMALL


class SafetyPromptOptions(Options):
    """The choices of a safety prompt."""

    prompts: tuple[str, ...] = Field(
        SAFETY_PROMPTS, min_length=1, description="Wordings to try; name it several times for several."
    )


class SafetyPrompt:
    """Ask for refusals: a system prompt, the best of several wordings."""

    Options: ClassVar[type[SafetyPromptOptions]] = SafetyPromptOptions

    def tune(self, job: Job) -> Tuned:
        """Try each wording, keep the best; see the module."""
        prompts: tuple[str, ...] = job.options.prompts
        wordings = {f"wording {number}": prompt for number, prompt in enumerate(prompts, 1)}
        best, tuned = best_of(job, {name: partial(_prompted, job, prompt) for name, prompt in wordings.items()})
        if rank() == 0:
            write_json(job.out / SMALL, {"kind": SAFETY_PROMPT, "system": wordings[best]})
        return replace(tuned, facts={"prompt": wordings[best]})


@contextmanager
def _prompted(job: Job, prompt: str) -> Iterator[None]:
    """The model with a system prompt, inside the block."""
    before, job.lalm.system = job.lalm.system, prompt
    try:
        yield
    finally:
        job.lalm.system = before
