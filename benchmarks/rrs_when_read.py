"""Does RRS fall short because of what demur-tiny mishears? The same model tunes on the same questions, read instead.

    python benchmarks/rrs_when_read.py --corpora experiment/corpora --out read

`--corpora` holds `tune` and `test`, as `python -m demur.finetune.experiment` speaks them; no clip is played. Each
question is written below the instruction that stands beside the clip in `audio_text`, which then says "the question
below" for "the question in the audio": all else is as in the experiment's `audio_text`. With
`--as-heard` the words are those that the model repeats of the clips before it is aligned: what it misheard, or guessed,
is then wrong in writing. Goes on where it stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from demur.asr import word_errors
from demur.console import progress
from demur.corpus import COLUMNS, Corpus
from demur.files import read_json, read_jsonl, sha256_json, write_json, write_jsonl
from demur.finetune.capture import represent
from demur.finetune.experiment.arms import Arm, parse_arms, parse_options
from demur.finetune.run import RUN, finetune
from demur.finetune.turns import asked
from demur.models.hf.adapters import attach
from demur.models.hf.families import TEXT
from demur.models.hf.lalm import LALM, load_lalm
from demur.nouns import Label, Modality, Outcome
from demur.tiny.assemble import WEIGHTS, assemble, save, tiny_folder, weights_sha256
from demur.tiny.measure import REPEAT, answers_beside, probe_labels, read_questions
from demur.tiny.model import TEMPLATE
from evaluators import compare
from evaluators.compare import Pair, difference
from evaluators.keyword import keyword_outcome
from evaluators.rates import Draws, Part, combined, score_weights

ARM = "rrs:learning_rate=1e-3,penalty=0.001,scale=4"
SHARED = "epochs=4,train_batch=8,accumulation=1,batch_size=32,lora_dropout=0"
TOKENS, BATCH = 48, 64


class Heard(Corpus):
    """A corpus of one clip a prompt, in which each prompt reads as its clip was heard."""

    def __init__(self, folder: Path, heard: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._heard = heard
        self.sha256 = sha256_json([self.sha256, dict(heard)])

    def rows(self, split: Modality, columns: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any]]:
        """The rows of a split, with other words for `prompt`."""
        for row in super().rows(split, tuple({*columns, "prompt_id"})):
            yield {**row, "prompt": self._heard[row["prompt_id"]]} if "prompt" in columns else row


def heard(corpus: Corpus, path: Path) -> Heard:
    """The corpus as demur-tiny hears it. Before its alignment it repeats every clip; after it, it refuses some."""
    if not path.is_file():
        from safetensors.torch import load_file

        parts = {name: value for name, value in load_file(WEIGHTS).items() if not name.startswith("alignment.")}
        with TemporaryDirectory() as scratch:
            save(assemble(parts), Path(scratch) / "model")
            unaligned = load_lalm(Path(scratch) / "model")
            questions = read_questions(corpus)
            said = answers_beside(unaligned, questions, REPEAT, what="repeating", quiet=False)
        write_jsonl(
            path,
            [
                {"prompt_id": q.prompt_id, "prompt": q.prompt, "text": text}
                for q, text in zip(questions, said, strict=True)
            ],
        )
    rows = list(read_jsonl(path))
    counts = [word_errors(row["prompt"], row["text"]) for row in rows]
    wer = sum(one.errors for one in counts) / sum(one.words for one in counts)
    print(f"{corpus.folder.name}: {len(rows)} clips repeated with {wer:.1%} of the words wrong")
    return Heard(corpus.folder, {row["prompt_id"]: row["text"] for row in rows})


def tell_apart(said: Corpus, misread: Corpus) -> None:
    """Print how well a probe tells harmful questions in the states that RRS moves: read, misread, and heard."""
    reading, hearing = reader(), load_lalm(tiny_folder())
    for what, lalm, corpus in (("as said", reading, said), ("as heard", reading, misread), ("by ear", hearing, said)):
        questions = read_questions(corpus)
        asks = partial(asked, lalm, modality=Modality.AUDIO_TEXT)
        states = represent(lalm, questions, asks, batch_size=BATCH, what=f"probe, {what}").numpy()
        told = (f"{name} {auc:.3f}" for name, auc in probe_labels(states, questions).items())
        print(f"probe, {what}: harmful against {', '.join(told)}")


def check_plan(path: Path, corpora: Path, *, shared: str, as_heard: bool) -> None:
    """End where a folder was begun with other weights, questions, words or `--set`: its files do not say so."""
    shas = {name: Corpus(corpora / name).sha256 for name in ("tune", "test")}
    plan = {"weights": weights_sha256(), "set": shared, "as_heard": as_heard, **shas}
    if path.is_file() and (other := [name for name, value in read_json(path).items() if plan.get(name) != value]):
        raise SystemExit(f"{path.parent}: was begun with another {other[0]}; take another --out")
    write_json(path, plan)


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
    as_heard: Annotated[
        bool, typer.Option("--as-heard", help="Write what the model heard, not what was said.")
    ] = False,
) -> None:
    """Tune by reading, ask the test questions before and after, print the changes."""
    out.mkdir(parents=True, exist_ok=True)
    check_plan(out / "plan.json", corpora, shared=shared, as_heard=as_heard)
    tune, test = Corpus(corpora / "tune"), Corpus(corpora / "test")
    if as_heard:
        said = test
        tune, test = heard(tune, out / "tune.jsonl"), heard(test, out / "test.jsonl")
        tell_apart(said, test)
    base = refusals(answers(reader(), test, out / "before.jsonl"))
    for made in parse_arms(arm, parse_options(shared, "--set")):
        afters = [_tuned(made, seed, tune, test, out) for seed in range(seeds)]
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
