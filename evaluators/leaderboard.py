"""`demur leaderboard` and `python -m evaluators.leaderboard`: scored runs side by side, as a page and as tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from demur.console import run, say
from demur.errors import InputError
from demur.files import read_json, to_json, write_atomic
from evaluators.calibration import Report
from evaluators.rates import Draws
from evaluators.report.board import Board
from evaluators.report.clips import FOLDER as CLIPS
from evaluators.report.clips import data_uri, find_clips, remove_others, write_clip
from evaluators.report.gather import Gathered, gather
from evaluators.report.page import render
from evaluators.report.samples import OWN_SOURCE, Drawing
from evaluators.report.tables import markdown, to_csv
from evaluators.statistics import RESAMPLES

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

PAGE, MARKDOWN, CSV, JSON = "index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.json"


@dataclass(frozen=True)
class Audio:
    """Where clips come from, and where they go: files beside the page, or into it."""

    corpora: Sequence[Path] = ()
    embed: bool = False


def leaderboard(
    runs: Sequence[Path],
    out: Path,
    *,
    title: str = "Leaderboard",
    scorer: str | None = None,
    baseline: Path | None = None,
    calibration: Path | None = None,
    audio: Audio | None = None,
    drawing: Drawing | None = None,
    draws: Draws | None = None,
) -> Board:
    """Write `index.html`, `leaderboard.md`, `.csv` and `.json` into a folder; the page last, each whole or not at all.

    Raises:
        InputError: a run is not scored, or does not go with the rest; or the folder holds something else.
        CorpusError: a corpus cannot be read.
    """
    _check_folder(out)
    drawing = drawing or Drawing()
    gathered = gather(
        runs,
        title=title,
        scorer=scorer,
        baseline=baseline,
        calibration=read_calibration(calibration) if calibration else None,
        drawing=drawing,
        draws=draws,
    )
    board = gathered.board
    try:
        texts = {
            JSON: to_json(board.model_dump(mode="json"), indent=2) + "\n",
            MARKDOWN: markdown(board),
            CSV: to_csv(board),
        }
    except ValueError as error:
        raise InputError(f"a results.json holds a number that is none ({error}); run: demur score RUN...") from None
    clips = _clips(gathered, out, audio or Audio())
    (out / PAGE).unlink(missing_ok=True)
    for name, text in texts.items():
        write_atomic(out / name, text)
    own = all(source == OWN_SOURCE for table in board.tables for source in table.sources)
    page = render(board, gathered.samples, clips, hidden=not own and not drawing.show_prompts)
    write_atomic(out / PAGE, page)
    remove_others(out, frozenset() if audio is None or audio.embed else frozenset(clips or ()))
    return board


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: --out is a file; name a folder")
    names = [path.name for path in out.iterdir()] if out.exists() else []
    others = [name for name in names if not name.startswith(".") and name != CLIPS]  # clips come before the tables
    if others and not (out / JSON).is_file():
        raise InputError(f"{out}: holds other files ({sorted(others)[0]}); name an empty or a new folder")


def read_calibration(path: Path) -> Report:
    """What `demur calibrate` wrote.

    Raises:
        InputError: it is something else.
    """
    try:
        return Report.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path}: not what `demur calibrate` writes ({where})") from None


def _clips(gathered: Gathered, out: Path, audio: Audio) -> dict[str, str] | None:
    """The address of each clip that the page plays; None where no corpus was given."""
    wanted = frozenset(sample.clip for _, samples in gathered.samples for sample in samples if sample.clip)
    asked = frozenset(table.corpus_sha256 for table in gathered.board.tables)
    addresses = {
        digest: data_uri(clip) if audio.embed else write_clip(out, digest, clip)
        for digest, clip in find_clips(audio.corpora, wanted, asked)
    }
    return addresses if audio.corpora else None


EXAMPLES = """
Examples:

    demur leaderboard runs/* --out leaderboard --corpus corpus

    demur leaderboard runs/base runs/tuned --baseline runs/base --calibration keyword.json --out leaderboard

    demur leaderboard runs/* --out public --omit-harmful-answers --max-samples 50
"""


@app.command("leaderboard", epilog=EXAMPLES)
def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `demur score` scored.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    corpus: Annotated[
        list[Path] | None, typer.Option(help="A corpus of these runs, for the clips to play; may be repeated.")
    ] = None,
    embed_audio: Annotated[
        bool, typer.Option("--embed-audio", help="Put the clips into the page and not beside it.")
    ] = False,
    max_samples: Annotated[int, typer.Option(min=0, help="Answers of each run to show, drawn by seed.")] = 200,
    omit_harmful_answers: Annotated[
        bool, typer.Option("--omit-harmful-answers", help="Leave all answers to harmful prompts out.")
    ] = False,
    show_prompts: Annotated[
        bool, typer.Option("--show-prompts", help="Show prompts and answers of other sets than demur-core, too.")
    ] = False,
    scorer: Annotated[str | None, typer.Option(help="Whose verdicts to rank by. Default: keyword.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="A run to compare all others with.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="What `demur calibrate` wrote of the scorer.")] = None,
    title: Annotated[str, typer.Option(help="Of the page.")] = "Leaderboard",
    seed: Annotated[int, typer.Option(help="Of the draw of answers and of the comparisons.")] = 0,
    resamples: Annotated[int, typer.Option(min=200, help="Bootstrap resamples of comparisons.")] = RESAMPLES,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Compare scored runs: a page that needs no network, and the same as Markdown, CSV and JSON.

    Runs over different corpora, prompts or modalities stand in separate tables and are never ranked together.
    """
    board = leaderboard(
        runs,
        out,
        title=title,
        scorer=scorer,
        baseline=baseline,
        calibration=calibration,
        audio=Audio(corpus or (), embed_audio),
        drawing=Drawing(max_samples, seed, show_prompts, omit_harmful_answers),
        draws=Draws(seed, resamples),
    )
    for notice in board.notices:
        if notice.grave:
            say(f"{', '.join(notice.models) or 'all models'}: {notice.text}", quiet=quiet)
    if not quiet:
        print(f"leaderboard: {out / PAGE}")


if __name__ == "__main__":
    run(app)
