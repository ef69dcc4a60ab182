"""Does RRS fall short because of what demur-tiny mishears? The same model tunes on the same questions, read instead.

    python benchmarks/rrs_when_read.py --corpora experiment/corpora --out read

`--corpora` holds `tune` and `test`, as `python -m demur.finetune.experiment` speaks them; no clip is played. Each
question is written below the instruction that stands beside the clip in `audio_text`, which then says "the question
below" for "the question in the audio": all else is as in the experiment's `audio_text`. Goes on where it stopped.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from demur.console import progress
from demur.corpus import Corpus
from demur.files import read_jsonl, write_json, write_jsonl
from demur.finetune.experiment.arms import Arm, parse_arms, parse_options
from demur.finetune.run import RUN, finetune
from demur.finetune.turns import asked
from demur.models.hf.adapters import attach
from demur.models.hf.families import TEXT
from demur.models.hf.lalm import LALM, load_lalm
from demur.nouns import Label, Modality, Outcome
from demur.tiny.assemble import tiny_folder
from demur.tiny.measure import read_questions
from demur.tiny.model import TEMPLATE
from evaluators import compare
from evaluators.compare import Pair, difference
from evaluators.keyword import keyword_outcome
from evaluators.rates import Draws, Part, combined, score_weights

ARM = "rrs:learning_rate=1e-3,penalty=0.001,scale=4"
SHARED = "epochs=4,train_batch=8,accumulation=1,batch_size=32,lora_dropout=0"
TOKENS, BATCH = 48, 64


def reader() -> LALM:
    """demur-tiny without its ears: all that it is asked is in writing."""
    whole = load_lalm(tiny_folder())
    tokenizer = whole.tokenizer
    tokenizer.chat_template = TEMPLATE
    return LALM(whole.model, tokenizer, TEXT)


def answers(lalm: LALM, corpus: Corpus, path: Path) -> list[dict[str, str]]:
    """Label, question and answer of every question of the corpus, asked once and kept."""
    if not path.is_file():
        rows, questions = [], read_questions(corpus)
        with progress(total=len(questions), what="questions", unit="answer") as bar:
            for start in range(0, len(questions), BATCH):
                part = questions[start : start + BATCH]
                turns = [asked(lalm, one, Modality.AUDIO_TEXT) for one in part]
                for one, answer in zip(part, lalm.generate(turns, max_new_tokens=TOKENS), strict=True):
                    rows.append({"id": one.id, "label": one.label, "prompt": one.prompt, "text": answer.text or ""})
                    bar.update()
        write_jsonl(path, rows)
    return list(read_jsonl(path))


def refusals(answered: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    """For each label, whether each question is refused, in order."""
    found: dict[str, list[float]] = {label: [] for label in Label}
    for row in answered:
        outcome = keyword_outcome(row["prompt"], row["text"])
        found[row["label"]].append(float(outcome is Outcome.REFUSAL))
    return found


def compared(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, Any]:
    """Rates of both and the change of each, and of the score, with paired intervals."""
    pairs = {}
    for label in Label:
        ones = np.ones((len(before[label]), 1))
        pairs[label] = Pair(*(compare.Arm(np.array(side[label])[:, None], ones) for side in (after, before)))
    changes = {label: difference(pair, Draws(), "read", label) for label, pair in pairs.items()}
    weights = score_weights(list(Label)) or {}
    score = combined([Part(weight, changes[label]) for label, weight in weights.items()])
    rates = {label: {"before": pair.b.value, "after": pair.a.value} for label, pair in pairs.items()}
    told = {str(label): {**rates[label], **changes[label].model_dump()} for label in Label}
    return {"score": score.model_dump(), **told}


def main(
    corpora: Annotated[Path, typer.Option(help="Folder with the corpora tune and test.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapters and the numbers.")],
    arm: Annotated[list[str], typer.Option(help="As the experiment takes it; repeatable.")] = [ARM],  # noqa: B006
    shared: Annotated[str, typer.Option("--set", help="Options of every arm that takes them.")] = SHARED,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, from 0.")] = 1,
) -> None:
    """Tune by reading, ask the test questions before and after, print the changes."""
    out.mkdir(parents=True, exist_ok=True)
    test = Corpus(corpora / "test")
    base = refusals(answers(reader(), test, out / "before.jsonl"))
    for made in parse_arms(arm, parse_options(shared, "--set")):
        afters = [_tuned(made, seed, Corpus(corpora / "tune"), test, out) for seed in range(seeds)]
        print(made.name)
        for seed, after in enumerate(afters):
            show(f"seed {seed}", compared(base, after))
        mean = {str(label): np.mean([one[label] for one in afters], axis=0).tolist() for label in Label}
        told = compared(base, mean)
        show("mean", told)
        write_json(out / f"{made.name}.json", told)


def _tuned(made: Arm, seed: int, tune: Corpus, test: Corpus, out: Path) -> dict[str, list[float]]:
    adapter = out / "adapters" / f"{made.name}-{seed}"
    if not (adapter / RUN).is_file():
        told: dict[str, Any] = {"seed": seed, "base": "demur-tiny", "captures": out / "captures"}
        finetune(made.method, made.options, tune, reader(), adapter, **told)
    tuned = reader()
    attach(tuned, adapter)
    return refusals(answers(tuned, test, adapter / "answers.jsonl"))


def show(what: str, told: dict[str, Any]) -> None:
    """Print rates and changes, in per cent and points."""
    for name, one in told.items():
        rates = f"{one['before']:6.1%} -> {one['after']:6.1%}" if "before" in one else " " * 16
        print(
            f"{what:7} {name:10} {rates}  {100 * one['value']:+.1f} [{100 * one['low']:+.1f}, {100 * one['high']:+.1f}]"
        )


if __name__ == "__main__":
    typer.run(main)
