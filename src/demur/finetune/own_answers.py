"""What the base model answers to questions, greedily: kept in the folder of the run, and asked for once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demur.console import progress
from demur.errors import ModelError
from demur.files import read_jsonl, write_jsonl
from demur.finetune.data import Question
from demur.finetune.methods import Job
from demur.finetune.processes import first_alone
from demur.finetune.turns import instructed


@dataclass(frozen=True)
class Given:
    """An answer, and whether it was cut before its end."""

    text: str
    cut: bool = False


def own_answers(job: Job, questions: Sequence[Question], max_new_tokens: int) -> dict[str, Given]:
    """The base model's answer to each question by its id; questions that it cannot answer are left out.

    Raises:
        ModelError: there is no answer at all.
    """
    path = job.out / "own_answers.jsonl"
    with first_alone():
        if not path.is_file():
            write_jsonl(path, _ask(job, questions, max_new_tokens))
        kept = {str(row["id"]): Given(row["text"], row["cut"]) for row in read_jsonl(path)}
    if not kept:
        raise ModelError("the base model gave no answer to any question, so there is none to learn from or to hold")
    return kept


def _ask(job: Job, questions: Sequence[Question], max_new_tokens: int) -> list[dict[str, Any]]:
    rows = []
    order = sorted(questions, key=lambda each: (len(each.flac or b""), len(each.prompt), each.id))
    size = job.options.batch_size
    starts = range(0, len(order), size)
    for start in progress(starts, what="the model's own answers", unit="batch", quiet=job.quiet):
        batch = order[start : start + size]
        turns = [instructed(job.lalm, question) for question in batch]
        answers = job.lalm.generate(turns, max_new_tokens=max_new_tokens)
        rows += [
            {"id": question.id, "text": answer.text, "cut": str(answer.finish_reason).startswith("length")}
            for question, answer in zip(batch, answers, strict=True)
            if answer.text
        ]
    return rows
