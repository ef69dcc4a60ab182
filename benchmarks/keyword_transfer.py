"""How the keyword scorer's phrases carry over from one model to another.

    python benchmarks/keyword_transfer.py --labels xstest_human_labels.csv --out transfer.json

For each model, its own labelled responses choose the phrases, by one rule, and every other model's responses are scored
with those alone. A phrase is kept if

- of the classes that decide for a refusal: it stands in the opening of at least one of the model's responses, and more
  of those that it stands in are refusals (full or partial, say people) than not;
- of the other classes: it stands in at least one of the model's responses, or prompts where it is about prompts.

What this measures is the phrases. The rules about where a refusal lives, what is quoted and what follows are the same
in both directions, and were written by someone who had read both models.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from demur.files import write_json
from demur.nouns import Outcome
from evaluators.calibration import POSITIVE, Calibration, calibrate
from evaluators.keyword import score_keyword
from evaluators.labels import Labelled, read_labels
from evaluators.patterns import any_of, to_pattern
from evaluators.phrases import BUILT_IN, ClassName, PhraseFile, PhraseList, compile_phrases, read_phrases
from evaluators.rates import Draws
from evaluators.reading import OPENING
from evaluators.text import fold, without_quotations

DECIDING: frozenset[ClassName] = frozenset(
    {"refusal", "apology", "no_access", "curt", "objection", "caution", "unlawful", "denial"}
)
"""Classes that can make a response a refusal by what stands in its opening."""
OF_PROMPTS: frozenset[ClassName] = frozenset(name for name in get_args(ClassName) if name.startswith("seeks_"))
MORE_OFTEN_THAN_NOT = 0.5


@dataclass(frozen=True)
class Seen:
    """A labelled response as phrases are looked for in it."""

    text: str
    prompt: str
    positive: bool


def see(row: Labelled) -> Seen:
    """A row, folded, with its quotations set aside."""
    folded = fold(without_quotations(row.response))
    return Seen(f" {folded}", f" {fold(row.prompt or '')}", row.label in POSITIVE)


def supported(class_: ClassName, phrase: str, words: Mapping[str, str], seen: Sequence[Seen]) -> bool:
    """Whether one model's labelled responses speak for a phrase: the rule above."""
    pattern = re.compile(f" (?:{any_of([to_pattern(phrase, words)])})(?!\\w)")
    if class_ in OF_PROMPTS:
        return any(pattern.search(each.prompt) for each in seen)
    end = OPENING if class_ in DECIDING else None
    found = [each.positive for each in seen if pattern.search(each.text[:end])]
    if class_ in DECIDING:
        return sum(found) > MORE_OFTEN_THAN_NOT * len(found)
    return bool(found)


def restricted(source: PhraseFile, rows: Sequence[Labelled]) -> PhraseFile:
    """The phrases that one model's labelled responses speak for."""
    seen = [see(row) for row in rows]
    groups = []
    for group in source.phrases:
        kept = [phrase for phrase in group.any if supported(group.class_, phrase, source.words, seen)]
        if kept:
            groups.append(group.model_copy(update={"any": kept}))
    return source.model_copy(update={"phrases": groups})


def outcomes(rows: Sequence[Labelled], phrases: PhraseList) -> list[Outcome]:
    """What the scorer says of each row by these phrases."""
    return [score_keyword(row.response, phrases, row.prompt).outcome for row in rows]


def transfers(rows: Sequence[Labelled], draws: Draws) -> Iterator[dict[str, Any]]:
    """For every two models: the second scored with the phrases that the first speaks for, beside all phrases."""
    source = read_phrases(BUILT_IN)
    whole = compile_phrases(source)
    models = {name: [row for row in rows if row.model == name] for name in sorted({row.model for row in rows})}
    for developed, own in models.items():
        kept = restricted(source, own)
        phrases = compile_phrases(kept)
        for validated, others in models.items():
            found, full = outcomes(others, phrases), outcomes(others, whole)
            yield {
                "developed_on": developed,
                "validated_on": validated,
                "phrases": count(kept),
                "of": count(source),
                "restricted": agreement(calibrate(others, found, draws, others={"full": full})),
                "full": agreement(calibrate(others, full, draws)),
            }


def count(file: PhraseFile) -> int:
    """How many phrases a file holds."""
    return sum(len(group.any) for group in file.phrases)


def agreement(found: Calibration) -> dict[str, Any]:
    """Kappa with its interval, precision and recall; and kappa over all phrases where that was compared."""
    kappa = {"value": found.kappa, **found.intervals["kappa"].model_dump(exclude={"method"})}
    over = {name: each.model_dump(exclude={"method"}) for name, each in found.kappa_over.items()}
    return {"kappa": kappa, "precision": found.precision, "recall": found.recall} | (
        {"kappa_over": over} if over else {}
    )


def line(transfer: dict[str, Any]) -> str:
    """A transfer for the terminal."""

    def shown(part: str) -> str:
        kappa = transfer[part]["kappa"]
        return f"{kappa['value']:.3f} [{kappa['low']:.3f}, {kappa['high']:.3f}]"

    route = f"{transfer['developed_on']} -> {transfer['validated_on']}"
    return f"{route:<36} {transfer['phrases']:>4} of {transfer['of']}  {shown('restricted')}  all: {shown('full')}"


def main(
    labels: Annotated[Path, typer.Option(help="Labelled responses of two or more models, in XSTest's columns.")],
    out: Annotated[Path | None, typer.Option(help="Write the numbers here too.")] = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for each interval.")] = 2000,
) -> None:
    """Score each model with the phrases that each model speaks for, and print Cohen's kappa."""
    found = list(transfers(read_labels(labels), Draws(seed, resamples)))
    for transfer in found:
        print(line(transfer))
    if out:
        write_json(out, found)


if __name__ == "__main__":
    typer.run(main)
