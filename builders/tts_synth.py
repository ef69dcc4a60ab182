"""`demur build` and `python -m builders.tts_synth`: prompts to speech to corpus."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from builders.build import build
from builders.casting import parse_engine_options
from builders.clip import SoundSettings
from builders.conditions import parse_condition
from builders.engines import make_engine
from builders.plan import INSTRUCTION, BuildSettings
from builders.prompts import TableOptions
from demur import plugins
from demur.console import run, say
from demur.errors import EngineError, MissingDependency, UsageError
from demur.nouns import Label

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EXAMPLES = """
Examples:

    demur build --out corpus                                        # demur-core in the embedded voice

    demur build --prompts demur-core:test --voices 'espeak:en-gb*' --voices-per-prompt 2 --out corpus

    demur build --prompts xstest.csv --voices 'hibari:*' --voices 'piper:*' --condition telephone --out corpus

    demur build --prompts mine.csv --text-column question --label harmful --out corpus
"""


def default_workers() -> int:
    """One process a core that this process may use, eight at most."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)


@app.command("build", epilog=EXAMPLES)
def main(
    out: Annotated[Path | None, typer.Option(help="The corpus folder to make or to go on with.")] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            help="Prompts: `demur-core`, `demur-core:test`, a known set by name, a file (known formats are recognised "
            "by content; any text, CSV, TSV, JSON, JSONL or Parquet file works), or a Hugging Face dataset. "
            "Repeatable. Default: `demur-core`."
        ),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of a table that holds the prompt.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column that says harmful, borderline or benign.")] = None,
    label: Annotated[Label | None, typer.Option(help="Label of every prompt, where no column says it.")] = None,
    voices: Annotated[
        list[str] | None,
        typer.Option(help="Voices as ENGINE:PATTERN, for example `espeak:en-gb*`. Repeatable. Default: `hibari:*`."),
    ] = None,
    voices_per_prompt: Annotated[int, typer.Option(min=1, help="So many different voices speak each prompt.")] = 1,
    engine_option: Annotated[
        list[str] | None, typer.Option(help="Option of an engine as ENGINE.KEY=VALUE, e.g. `piper.model=my.onnx`.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            help="`clean`, `telephone`, `noise-white@SNR`, `noise-pink@SNR`, `noise-babble@SNR`, `reverb`, `speed@X`, "
            "joined by `+`. Repeatable: each makes a row of every clip. Default: `clean`."
        ),
    ] = None,
    instruction: Annotated[
        str, typer.Option(help="What `input_text` says beside the audio in the `audio_text` split.")
    ] = INSTRUCTION,
    max_wer: Annotated[
        float, typer.Option(min=0.0, help="Clips heard with a higher word error rate are remade.")
    ] = 0.3,
    asr: Annotated[
        str, typer.Option(help="Recogniser that checks the clips: `tiny.en`, or a faster-whisper model.")
    ] = "tiny.en",
    no_asr: Annotated[bool, typer.Option("--no-asr", help="Leave the transcription out.")] = False,
    sample_rate: Annotated[int, typer.Option(min=8_000, max=48_000, help="Of the audio, in Hz.")] = 16_000,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many prompts of each label, drawn by seed, twins together.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every draw; the same seed gives the same corpus.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that one clip may take.")] = 120.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a corpus that was built otherwise.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
    list_voices: Annotated[bool, typer.Option("--list-voices", help="Show the voices there are, and end.")] = False,
) -> None:
    """Build a spoken safety corpus that `datasets.load_dataset` loads.

    Each prompt is spoken, every clip is checked (silence, clipping, length, and by a speech recogniser that it says
    the prompt), and the result is written in three splits: `audio_only`, `text_only`, `audio_text`. Running the same
    command again goes on where it stopped, or does nothing if all is done.
    """
    options = parse_engine_options(engine_option or [])
    if list_voices:
        show_voices(options)
        return
    if out is None:
        raise UsageError("--out DIR is missing: the corpus folder to make")
    settings = BuildSettings(
        sound=SoundSettings(
            conditions=_unique([parse_condition(text).name for text in condition or ["clean"]]),
            sample_rate=sample_rate,
            max_wer=max_wer,
            asr=None if no_asr else asr,
        ),
        voices=_unique(voices or ["hibari:*"]),
        voices_per_prompt=voices_per_prompt,
        engine_options=options,
        instruction=instruction,
        limit=limit,
        seed=seed,
    )
    manifest = build(
        prompts or ["demur-core"],
        out,
        settings,
        TableOptions(text_column=text_column, label_column=label_column, label=label),
        workers=workers or default_workers(),
        timeout_s=timeout,
        overwrite=overwrite,
        quiet=quiet,
    )
    if not quiet:
        print(describe(manifest, out))


def _unique(items: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def describe(manifest: dict[str, Any], out: Path) -> str:
    """What was built, for the terminal: counts, word error rates by voice, and how to load it."""
    summary = manifest["summary"]
    clips = summary["clips"]
    kept = ", ".join(f"{count} {label}" for label, count in summary["prompts"]["kept"].items())
    lines = [
        f"corpus: {out}",
        f"prompts: {kept}",
        f"clips: {clips['kept']} kept ({clips['remade']} remade), {clips['rejected']} rejected (see rejected.jsonl)",
    ]
    for group in ("voice", "label"):
        for name, tally in summary["by"][group].items():
            line = f"  {group} {name}: {tally['kept']} kept, {tally['remade']} remade, {tally['rejected']} rejected"
            if tally["wer_mean"] is not None:
                line += f", mean WER {tally['wer_mean']:.3f}, {tally['wer_zero']:.0%} without error"
            lines.append(line + ("  <- stands out" if name in summary["voices_that_stand_out"] else ""))
    lines.append(f"load it: datasets.load_dataset({str(out)!r})")
    return "\n".join(lines)


def show_voices(options: dict[str, dict[str, str]]) -> None:
    """Print every voice of every engine that is installed, and how to install the others."""
    for name in plugins.names(plugins.ENGINES):
        try:
            for voice in make_engine(name, options.get(name, {})).voices():
                print(f"{voice.spec}\t{voice.gender}\t{voice.accent}\t{voice.license}")
        except (EngineError, MissingDependency) as error:
            say(f"{name}: {error}")


if __name__ == "__main__":
    run(app)
