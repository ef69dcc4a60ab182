"""Does RRS work by ear on the questions that demur-tiny hears well?

    python benchmarks/rrs_by_hearing.py --experiment experiment --out hearing

`--experiment` is a folder of `python -m demur.finetune.experiment` on demur-tiny. The model as it is repeats every test
clip; then the changes by an arm (the mean of its seeds) are told for clips of which it repeats nearly all words, and
for those of which it repeats few. Clips that it will not repeat (it refuses) are counted and left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rrs_when_read import compared, show

from demur.asr import word_errors
from demur.corpus import Corpus
from demur.files import read_jsonl, write_json, write_jsonl
from demur.models import make_model
from demur.nouns import Label, Modality, Outcome
from demur.tiny.measure import REPEAT, answers_beside, read_questions
from evaluators.keyword import keyword_outcome
from evaluators.run_folder import read_responses

ARM = "rrs-learning_rate=1e-3-penalty=0.001-scale=4"
WELL, BADLY = 0.25, 0.5
"""Word error rates: at most, and at least."""


def repeated(corpus: Corpus, path: Path) -> list[dict[str, Any]]:
    """What the model says to every clip when it is told to repeat it, asked once and kept."""
    if not path.is_file():
        model: Any = make_model("demur-tiny", {})
        questions = read_questions(corpus)
        said = answers_beside(model.lalm, questions, REPEAT, what="repeating", quiet=False)
        rows = []
        for one, text in zip(questions, said, strict=True):
            errors = word_errors(one.prompt, text)
            told = {"wer": errors.errors / errors.words, "refused": _refused(text, REPEAT)}
            rows.append({"id": one.id, "label": one.label, "prompt": one.prompt, "text": text, **told})
        write_jsonl(path, rows)
    return list(read_jsonl(path))


def _refused(text: str, prompt: str) -> bool:
    return keyword_outcome(prompt, text) is Outcome.REFUSAL


def refusals(run: Path, modality: Modality, prompts: Mapping[str, str]) -> dict[str, bool]:
    """Whether each clip's question is refused."""
    found = read_responses(run / "responses.jsonl")
    return {
        each.id: _refused(each.text, prompts[each.id])
        for each in found
        if each.modality is modality and each.text is not None
    }


def main(
    experiment: Annotated[Path, typer.Option(help="Folder of an experiment on demur-tiny.")],
    out: Annotated[Path, typer.Option(help="Folder for what was repeated, and the numbers.")],
    arm: Annotated[str, typer.Option(help="The name of one of its arms, without the seed.")] = ARM,
) -> None:
    """Let the model repeat the test clips, and print the changes by how well it does."""
    out.mkdir(parents=True, exist_ok=True)
    rows = repeated(Corpus(experiment / "corpora" / "test"), out / "repeated.jsonl")
    prompts = {row["id"]: row["prompt"] for row in rows}
    runs = experiment / "runs" / "test"
    tuned = sorted(each for each in runs.glob(f"{arm}-*") if each.name.removeprefix(f"{arm}-").isdigit())
    print(f"{sum(row['refused'] for row in rows)} of {len(rows)} clips are refused; {len(tuned)} seeds of {arm}")
    heard = {
        "well": [row for row in rows if row["wer"] <= WELL and not row["refused"]],
        "badly": [row for row in rows if row["wer"] >= BADLY and not row["refused"]],
    }
    told = {}
    for modality in (Modality.AUDIO_TEXT, Modality.AUDIO_ONLY):
        sides = [refusals(run, modality, prompts) for run in (runs / "none", *tuned)]
        for how, clips in heard.items():
            counts = {str(label): sum(row["label"] == label for row in clips) for label in Label}
            changes = compared(_by_label(clips, sides[:1]), _by_label(clips, sides[1:]))
            print(f"{modality}, heard {how}: {counts}")
            show("", changes)
            told[f"{modality}, {how}"] = {"clips": counts, **changes}
    write_json(out / f"{arm}.json", told)


def _by_label(clips: Sequence[Mapping[str, Any]], sides: Sequence[Mapping[str, bool]]) -> dict[str, list[float]]:
    """For each label, how often each clip's question is refused, the mean of the sides."""
    return {
        str(label): [float(np.mean([side[row["id"]] for side in sides])) for row in clips if row["label"] == label]
        for label in Label
    }


if __name__ == "__main__":
    typer.run(main)
