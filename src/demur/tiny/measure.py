"""The numbers on demur-tiny's card: python -m demur.tiny.measure --out DIR

They are measured on `demur-core:test`, of whose prompts none was trained on, in joe's voice, which was not either.
DIR holds the corpus, the run, `demur-tiny.json` (with the numbers) and `MODEL_CARD.md`; the same command goes on where
it stopped.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from demur import console
from demur.console import progress, say
from demur.corpus import Corpus
from demur.errors import MissingDependency
from demur.files import read_json, write_atomic, write_json
from demur.finetune.data import Question
from demur.finetune.wordings import REFUSING
from demur.models import make_model
from demur.models.hf.forced import likelihood
from demur.models.hf.turns import Turn
from demur.nouns import Label, Modality, Outcome
from demur.tiny import assemble
from demur.tiny.card import render_card

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from demur.models.hf.lalm import LALM

VOICE = "piper:joe"
TOKENS = 32
ANSWER_TOKENS = 48
"""Of the answers whose refusals are counted: enough to tell one."""
BATCH = 16
REPEAT = "Repeat the sentence."
FOLDS = 5

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder for the corpus, the run and the numbers.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes that speak.")] = 2,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of each label.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Build the test corpus, ask demur-tiny, and write what was measured."""
    corpus = _build(out / "test", workers=workers, limit=limit, quiet=quiet)
    model: Any = make_model("demur-tiny", {"max_new_tokens": ANSWER_TOKENS})
    results = _respond(corpus, model, out / "run", quiet=quiet)
    lalm, questions = model.lalm, read_questions(corpus)
    measured = {
        "corpus_sha256": corpus.sha256,
        "voice": VOICE,
        "limit": limit,
        "max_new_tokens": ANSWER_TOKENS,
        "repeated": repeated(lalm, questions, quiet=quiet),
        "agreement": agreement(lalm, [one for one in questions if one.label == Label.BENIGN]),
        "refused_when_told": told_to_refuse(lalm, questions, quiet=quiet),
        "probe_auc": probes(lalm, questions, quiet=quiet),
        "rates": [
            {"modality": one["modality"], "label": one["label"], **one["rates"]["refusal"]} for one in results["rates"]
        ],
        "gap": results["overall"][0]["modality_gap"],
    }
    about = {**read_json(assemble.ABOUT), "measured": measured}
    write_json(out / assemble.ABOUT.name, about)
    write_atomic(out / "MODEL_CARD.md", render_card(about, size_mb=assemble.WEIGHTS.stat().st_size / 1e6))
    say(f"{out / 'MODEL_CARD.md'}", quiet=quiet)


def read_questions(corpus: Corpus) -> list[Question]:
    """Every prompt with its clip."""
    columns = ("id", "prompt_id", "pair_id", "label", "prompt", "audio")
    return [
        Question(row["id"], row["prompt_id"], row["pair_id"], Label(row["label"]), row["prompt"], row["audio"]["bytes"])
        for row in corpus.rows(Modality.AUDIO_TEXT, columns)
    ]


def repeated(lalm: "LALM", questions: Sequence[Question], *, quiet: bool = True) -> dict[str, float]:
    """Word error rate of what is said when the model is told to repeat a clip."""
    from demur.asr import word_errors

    said = answers_beside(lalm, questions, REPEAT, what="repeating", quiet=quiet)
    counts = [word_errors(one.prompt, text) for one, text in zip(questions, said, strict=True)]
    words = sum(count.words for count in counts)
    return {"wer": sum(count.errors for count in counts) / words, "clips": len(counts), "words": words}


def agreement(lalm: "LALM", questions: Sequence[Question]) -> dict[str, float]:
    """Share of tokens that are the likeliest after the clip, given the greedy answer to the text up to there."""
    answers = lalm.generate([Turn(text=one.prompt) for one in questions], max_new_tokens=TOKENS)
    given = [(one, answer) for one, answer in zip(questions, answers, strict=True) if answer.text]
    turns = [Turn(audio=one.samples(lalm.sample_rate), answer=answer.text) for one, answer in given]
    found = likelihood(lalm, turns, [answer.finish_reason == "length" for _, answer in given], batch_size=BATCH)
    return {"share": found.agreement, "tokens": found.tokens, "prompts": len(questions)}


def told_to_refuse(lalm: "LALM", questions: Sequence[Question], *, quiet: bool = True) -> dict[str, float]:
    """Share of harmful clips that are refused with the paper's refusal prompt beside them."""
    from evaluators.keyword import keyword_outcome

    harmful = [one for one in questions if one.label == Label.HARMFUL]
    said = answers_beside(lalm, harmful, REFUSING, what="refusal prompt", quiet=quiet)
    outcomes = [keyword_outcome(one.prompt, text) for one, text in zip(harmful, said, strict=True)]
    return {"rate": outcomes.count(Outcome.REFUSAL) / len(outcomes), "prompts": len(outcomes)}


def probes(lalm: "LALM", questions: Sequence[Question], *, quiet: bool = True) -> dict[str, dict[str, float]]:
    """Area under the curve of a linear probe on the head's input: harmful against twins, and against plain benign."""
    from demur.finetune.capture import represent

    asks: dict[str, Callable[[Question], Turn]] = {
        "text": lambda one: Turn(text=one.prompt),
        "speech": lambda one: Turn(audio=one.samples(lalm.sample_rate)),
    }
    found: dict[str, dict[str, float]] = {}
    for name, ask in asks.items():
        states = represent(lalm, questions, ask, batch_size=BATCH, what=f"probe, {name}", quiet=quiet).numpy()
        found[name] = {f"harmful against {other}": auc for other, auc in probe_labels(states, questions).items()}
    return found


def probe_labels(states: "npt.NDArray[np.float32]", questions: Sequence[Question]) -> dict[Label, float]:
    """`probe_auc` of harmful questions against their twins and against plain benign ones; a state for each question."""
    return {
        other: probe_auc(*_of(states, questions, (Label.HARMFUL, other))) for other in (Label.BORDERLINE, Label.BENIGN)
    }


def probe_auc(states: "npt.NDArray[np.float32]", harmful: Sequence[bool], groups: Sequence[str]) -> float:
    """Cross-validated: five folds, twins together; logistic regression on standardised features, C = 0.01."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score
        from sklearn.model_selection import GroupKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise MissingDependency("scikit-learn", extra="finetune") from None

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    scores = cross_val_predict(probe, states, harmful, groups=groups, cv=GroupKFold(FOLDS), method="decision_function")
    return float(roc_auc_score(harmful, scores))


def _of(states: Any, questions: Sequence[Question], labels: Sequence[Label]) -> tuple[Any, list[bool], list[str]]:
    places = [n for n, one in enumerate(questions) if one.label in labels]
    chosen = [questions[n] for n in places]
    return states[places], [one.label == Label.HARMFUL for one in chosen], [one.pair_id or one.id for one in chosen]


def answers_beside(
    lalm: "LALM", questions: Sequence[Question], instruction: str, *, what: str, quiet: bool
) -> list[str]:
    """What the model says to each clip with an instruction beside it."""
    said: list[str] = []
    with progress(total=len(questions), what=what, unit="clip", quiet=quiet) as bar:
        for start in range(0, len(questions), BATCH):
            part = questions[start : start + BATCH]
            turns = [Turn(audio=one.samples(lalm.sample_rate), text=instruction) for one in part]
            said += [answer.text or "" for answer in lalm.generate(turns, max_new_tokens=TOKENS)]
            bar.update(len(part))
    return said


def _build(folder: Path, *, workers: int, limit: int | None, quiet: bool) -> Corpus:
    from builders.build import build
    from builders.plan import BuildSettings
    from builders.prompts import TableOptions

    settings = BuildSettings(voices=(VOICE,), limit=limit)
    build(["demur-core:test"], folder, settings, TableOptions(), workers=workers, quiet=quiet)
    return Corpus(folder)


def _respond(corpus: Corpus, model: Any, folder: Path, *, quiet: bool) -> dict[str, Any]:
    from evaluators.keyword import KeywordScorer
    from evaluators.run_model import RespondSettings, run_model
    from evaluators.scoring import score

    run_model(corpus, model, folder, RespondSettings(), quiet=quiet)
    score(folder, [KeywordScorer()], quiet=quiet)
    results: dict[str, Any] = read_json(folder / "results.json")
    return results


if __name__ == "__main__":
    console.run(app)
