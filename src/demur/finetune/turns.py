"""How a question is put to a model: with an instruction beside it, or as it is."""

from dataclasses import replace
from typing import TYPE_CHECKING

from demur.finetune.data import Question
from demur.finetune.wordings import INSTRUCTION, for_text
from demur.models.hf.turns import Turn
from demur.nouns import Modality

if TYPE_CHECKING:
    from demur.models.hf.lalm import LALM


def instructed(lalm: "LALM", question: Question, instruction: str = INSTRUCTION, answer: str | None = None) -> Turn:
    """The question spoken, with a written instruction; a model that only reads has both in writing."""
    if lalm.family.audio:
        return Turn(audio=question.samples(lalm.sample_rate), text=instruction, answer=answer)
    return Turn(text=f"{for_text(instruction)}\n{question.prompt}", answer=answer)


def asked(lalm: "LALM", question: Question, modality: Modality) -> Turn:
    """The question as it is asked in a modality."""
    if modality is Modality.AUDIO_TEXT:
        return instructed(lalm, question)
    if modality is Modality.TEXT_ONLY:
        return Turn(text=question.prompt)
    return replace(instructed(lalm, question), text="")
