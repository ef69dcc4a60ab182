"""`demur demo`: everything once, small, with the embedded voice and models; offline after the first run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from demur.corpus import Corpus

MODELS = ("cascade-tiny", "demur-tiny")
TUNED = "demur-tiny-safety-prompt"
TOKENS = 64
"""Of an answer."""
SNIPPET = """
import io
import soundfile
from datasets import Audio, load_dataset

corpus = load_dataset({folder!r})
row = corpus["audio_only"].cast_column("audio", Audio(decode=False))[0]
samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
print(row["label"], "|", row["prompt"], "|", samples.shape, "samples at", rate, "Hz")
"""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("demo"),
    limit: Annotated[int, typer.Option(min=2, help="Prompts of each label.")] = 8,
) -> None:
    """Everything once, small: build a corpus, ask two models, tune one, compare, make a leaderboard.

    Offline after the first run.
    """
    from evaluators.leaderboard import Audio, leaderboard

    corpus, runs = _build("demur-core:test", out / "corpus", limit), out / "runs"
    for name in MODELS:
        _ask(name, {}, corpus, runs / name)
    _ask("demur-tiny", {"adapter": _tune(out, corpus, limit)}, corpus, runs / TUNED)
    leaderboard([runs / name for name in (*MODELS, TUNED)], out / "leaderboard", audio=Audio([corpus.folder]))
    print(f"\nleaderboard: {out / 'leaderboard' / 'index.html'}")
    print(f"corpus: {corpus.folder}; try it in Python:\n{SNIPPET.format(folder=str(corpus.folder))}")


def _build(prompts: str, folder: Path, limit: int) -> Corpus:
    from builders.build import build
    from builders.plan import BuildSettings
    from builders.prompts import TableOptions
    from builders.tts_synth import default_workers, describe

    manifest = build([prompts], folder, BuildSettings(limit=limit), TableOptions(), workers=default_workers())
    print(describe(manifest, folder))
    return Corpus(folder)


def _ask(name: str, options: dict[str, Any], corpus: Corpus, run: Path) -> None:
    from demur.models import make_model
    from evaluators.run_model import RespondSettings, run_model
    from evaluators.score import table
    from evaluators.scorers import find_scorer
    from evaluators.scoring import score

    run_model(corpus, make_model(name, {"max_new_tokens": TOKENS, **options}), run, RespondSettings(controls=5))
    results = score(run, [find_scorer("keyword")])
    print(f"\n{run.name}\n{table(results)}")


def _tune(out: Path, test: Corpus, limit: int) -> Path:
    """The quickest tuning there is: the best of a few safety prompts, on a few validation questions."""
    from demur.finetune.run import finetune
    from demur.models import make_model

    model: Any = make_model("demur-tiny", {})
    finetune(
        "safety-prompt",
        {"validation": 0.5, "validation_tokens": 32},
        _build("demur-core:tune", out / "tune", limit),
        model.lalm,
        out / "adapter",
        base="demur-tiny",
        held_out=[test],
    )
    return out / "adapter"
