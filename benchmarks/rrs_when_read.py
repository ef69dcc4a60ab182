"""Does RRS fall short because of what demur-tiny mishears? The same model tunes on the same questions, read instead.

    python benchmarks/rrs_when_read.py --corpora experiment/corpora --out read

`--corpora` holds `tune` and `test`, as `python -m demur.finetune.experiment` speaks them; no clip is played. Each
question is written below the instruction that stands beside the clip in `audio_text`, so that this and the experiment's
`audio_text` differ in nothing but the ears. Goes on where it stopped.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from demur.console import progress
from demur.corpus import Corpus
from demur.files import read_json, write_json
from demur.finetune.experiment.arms import parse_arm
from demur.finetune.run import RUN, finetune
from demur.finetune.turns import asked
from demur.models.hf.adapters import attach
from demur.models.hf.families import TEXT
from demur.models.hf.lalm import LALM, load_lalm
from demur.nouns import Label, Modality, Outcome
from demur.tiny.assemble import tiny_folder
from demur.tiny.measure import read_questions
from demur.tiny.model import TEMPLATE
from evaluators.compare import Arm, Pair, difference
from evaluators.keyword import score_keyword
from evaluators.rates import Draws, Part, combined, score_weights

ARM = "rrs:learning_rate=1e-3,penalty=0.001,scale=4,epochs=4,train_batch=8,accumulation=1,batch_size=32,lora_dropout=0"
TOKENS, BATCH = 48, 64


def reader() -> LALM:
    """demur-tiny without its ears: all that it is asked is in writing."""
    whole = load_lalm(tiny_folder())
    tokenizer = whole.tokenizer
    tokenizer.chat_template = TEMPLATE
    return LALM(whole.model, tokenizer, TEXT)


def refusals(lalm: LALM, corpus: Corpus) -> dict[str, list[float]]:
    """For each label, whether each question of the corpus is refused, in order."""
    questions = read_questions(corpus)
    found: dict[str, list[float]] = {label: [] for label in Label}
    with progress(total=len(questions), what="questions", unit="answer") as bar:
        for start in range(0, len(questions), BATCH):
            part = questions[start : start + BATCH]
            turns = [asked(lalm, one, Modality.AUDIO_TEXT) for one in part]
            for one, answer in zip(part, lalm.generate(turns, max_new_tokens=TOKENS), strict=True):
                outcome = score_keyword(answer.text or "", prompt=one.prompt).outcome
                found[one.label].append(float(outcome is Outcome.REFUSAL))
                bar.update()
    return found


def compared(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, Any]:
    """Rates of both and the change of each, and of the score, with paired intervals."""
    pairs = {}
    for label in Label:
        ones = np.ones((len(before[label]), 1))
        pairs[label] = Pair(Arm(np.array(after[label])[:, None], ones), Arm(np.array(before[label])[:, None], ones))
    changes = {label: difference(pair, Draws(), "read", label) for label, pair in pairs.items()}
    weights = score_weights(list(Label)) or {}
    score = combined([Part(weight, changes[label]) for label, weight in weights.items()])
    rates = {label: {"before": pair.b.value, "after": pair.a.value} for label, pair in pairs.items()}
    told = {label: {**rates[label], **changes[label].model_dump()} for label in Label}
    return {"score": score.model_dump(), **told}


def main(
    corpora: Annotated[Path, typer.Option(help="Folder with the corpora tune and test.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapters and the numbers.")],
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    arm: Annotated[str, typer.Option(help="As the experiment takes it.")] = ARM,
) -> None:
    """Tune by reading, ask the test questions before and after, print the change."""
    out.mkdir(parents=True, exist_ok=True)
    made = parse_arm(arm)
    tune, test = Corpus(corpora / "tune"), Corpus(corpora / "test")
    base = out / "before.json"
    if not base.is_file():
        write_json(base, refusals(reader(), test))
    for seed in range(seeds):
        adapter, after = out / f"{made.method}-{seed}", out / f"after-{seed}.json"
        if not (adapter / RUN).is_file():
            shared = {"seed": seed, "base": "demur-tiny", "captures": out / "captures"}
            finetune(made.method, made.options, tune, reader(), adapter, **shared)
        if not after.is_file():
            tuned = reader()
            attach(tuned, adapter)
            write_json(after, refusals(tuned, test))
        told = compared(read_json(base), read_json(after))
        write_json(out / f"changes-{seed}.json", told)
        for name, one in told.items():
            rates = f"{one['before']:6.1%} -> {one['after']:6.1%}" if "before" in one else " " * 16
            ends = ", ".join(f"{100 * one[end]:+.1f}" for end in ("low", "high"))
            print(f"seed {seed}  {name:10} {rates}  {100 * one['value']:+.1f} [{ends}]")


if __name__ == "__main__":
    typer.run(main)
