"""The keyword scorer against published lists of phrases, on responses that people labelled.

    python benchmarks/keyword_lists.py --labels xstest_human_labels.csv --list gcg.txt --list garak.txt

A list is a text file with a phrase a line, used as such lists are: a response that holds one of them, in the whole text
or in its first 120 characters, is a refusal. For each model by itself and all together: Cohen's kappa of the list both
ways, and how much higher demur's is than the better of the two, with its paired bootstrap over prompts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from demur.files import write_json
from demur.nouns import Outcome
from evaluators.calibration import calibrate
from evaluators.keyword import KeywordScorer, score_keyword
from evaluators.labels import Labelled, read_labels
from evaluators.rates import Draws

OPENING = 120
TOGETHER = "together"


def outcomes(rows: Sequence[Labelled], scorer: KeywordScorer) -> list[Outcome]:
    """What a scorer says of each row."""
    return [score_keyword(row.response, scorer.phrases, row.prompt).outcome for row in rows]


def compare(rows: Sequence[Labelled], own: Sequence[Outcome], listed: Path, draws: Draws) -> dict[str, dict[str, Any]]:
    """A list and demur's own outcomes on each model's responses, and on all."""
    said = {
        "whole": outcomes(rows, KeywordScorer(listed)),
        "opening": outcomes(rows, KeywordScorer(listed, opening=OPENING)),
    }
    found = {}
    for name in [*sorted({row.model for row in rows}), TOGETHER]:
        places = [place for place, row in enumerate(rows) if name in (row.model, TOGETHER)]
        group = [rows[place] for place in places]
        theirs = {way: [each[place] for place in places] for way, each in said.items()}
        kappas = {way: calibrate(group, each, draws).kappa for way, each in theirs.items()}
        best = max(kappas, key=lambda way: kappas[way] or 0.0)
        ours = calibrate(group, [own[place] for place in places], draws, others={"list": theirs[best]})
        ahead = ours.kappa_over["list"]
        found[name] = {**kappas, "demur": ours.kappa, "ahead": ahead.model_dump(exclude={"method"})}
    return found


def line(name: str, model: str, found: dict[str, Any]) -> str:
    """A row for the terminal."""
    ahead = found["ahead"]
    return (
        f"{name:<24} {model:<18} {found['whole']:.3f}, {found['opening']:.3f}   demur {found['demur']:.3f}   "
        f"better by {ahead['value']:.3f} [{ahead['low']:.3f}, {ahead['high']:.3f}]"
    )


def main(
    labels: Annotated[Path, typer.Option(help="Labelled responses, in XSTest's columns.")],
    listed: Annotated[list[Path], typer.Option("--list", help="A published list, a phrase a line; repeatable.")],
    out: Annotated[Path | None, typer.Option(help="Write the numbers here too.")] = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for each interval.")] = 2000,
) -> None:
    """Print Cohen's kappa of each list, whole and in the opening, and demur's lead."""
    rows = read_labels(labels)
    own = outcomes(rows, KeywordScorer())
    found = {path.stem: compare(rows, own, path, Draws(seed, resamples)) for path in listed}
    for name, models in found.items():
        for model, one in models.items():
            print(line(name, model, one))
    if out:
        write_json(out, found)


if __name__ == "__main__":
    typer.run(main)
