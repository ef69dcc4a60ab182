"""The `demur` command: each of its commands is the face of one module."""

from pathlib import Path
from typing import Annotated

import typer

from demur.console import run

SNIPPET = """
import io
import soundfile
from datasets import Audio, load_dataset

corpus = load_dataset({folder!r})
row = corpus["audio_only"].cast_column("audio", Audio(decode=False))[0]
samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
print(row["label"], "|", row["prompt"], "|", samples.shape, "samples at", rate, "Hz")
"""


DEMO_MODELS = ("cascade-tiny", "demur-tiny")
"""Both ship with demur."""


def make_app() -> typer.Typer:
    """The whole command; the faces are imported here and not at the top, so that demur's core needs none of them."""
    from builders import tts_synth
    from demur.finetune import __main__ as finetune
    from evaluators import calibrate, leaderboard, respond, score

    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Does an audio language model refuse what it should, and only that?",
    )
    app.callback()(lambda: None)
    app.command("build", epilog=tts_synth.EXAMPLES)(tts_synth.main)
    app.command("respond", epilog=respond.EXAMPLES)(respond.main)
    app.command("score", epilog=score.EXAMPLES)(score.main)
    app.command("leaderboard", epilog=leaderboard.EXAMPLES)(leaderboard.main)
    app.command("calibrate", epilog=calibrate.EXAMPLES)(calibrate.main)
    app.add_typer(finetune.make_app(), name="finetune")
    app.command("demo")(demo)
    return app


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("demo"),
    limit: Annotated[int, typer.Option(min=1, help="Prompts of each label.")] = 8,
) -> None:
    """Everything once, small and offline: build a corpus, ask two models, score their answers, make a leaderboard."""
    from builders.build import build
    from builders.plan import BuildSettings
    from builders.prompts import TableOptions
    from builders.tts_synth import default_workers, describe
    from demur.corpus import Corpus
    from demur.models import make_model
    from evaluators.leaderboard import Audio, leaderboard
    from evaluators.run_model import RespondSettings, run_model
    from evaluators.score import table
    from evaluators.scorers import find_scorer
    from evaluators.scoring import score

    corpus, runs = out / "corpus", [out / "runs" / name for name in DEMO_MODELS]
    manifest = build(["demur-core:test"], corpus, BuildSettings(limit=limit), TableOptions(), workers=default_workers())
    print(describe(manifest, corpus))
    for folder in runs:
        model = make_model(folder.name, {"max_new_tokens": 64})
        run_model(Corpus(corpus), model, folder, RespondSettings(controls=5))
        results = score(folder, [find_scorer("keyword")])
        print(f"\n{results.model}\n{table(results)}")
    leaderboard(runs, out / "leaderboard", audio=Audio([corpus]))
    print(f"\nleaderboard: {out / 'leaderboard' / 'index.html'}")
    print(f"corpus: {corpus}; try it in Python:\n{SNIPPET.format(folder=str(corpus))}")


def main() -> None:
    """Entry point of the console script."""
    run(make_app())
