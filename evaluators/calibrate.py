"""`demur calibrate` and `python -m evaluators.calibrate`: how far a scorer can be trusted, against people's labels."""

from pathlib import Path
from typing import Annotated

import typer

from demur.console import run
from demur.errors import InputError, UsageError
from demur.files import write_json
from demur.results import Estimate
from evaluators.calibration import Interval, Report, report
from evaluators.judge_flags import (
    BaseUrl,
    Concurrency,
    Download,
    JudgeFormat,
    MaxNewTokens,
    MaxRequests,
    PricePerMillion,
    Timeout,
    Yes,
    judge_options,
    make_judges,
)
from evaluators.keyword import KeywordScorer
from evaluators.keyword_flags import Exact, Opening
from evaluators.labels import Columns, parse_meaning, read_labels
from evaluators.rates import Draws
from evaluators.scorers import Scorer, check_names, find_scorer
from evaluators.statistics import RESAMPLES

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

SHOWN = ("kappa", "accuracy", "precision", "recall")

EXAMPLES = """
Examples:

    demur calibrate --labels xstest.csv --out keyword.json

    demur calibrate --labels xstest.csv --keywords published.txt --opening 120 --out published.json

    demur calibrate --labels xstest.csv --judge openai:a --judge openai:b --judge openai:c --out judges.json

    demur calibrate --labels mine.csv --label-column verdict --map no=refusal --map yes=compliance --out mine.json
"""


@app.command("calibrate", epilog=EXAMPLES)
def main(
    labels: Annotated[Path, typer.Option(help="Labelled responses: CSV, TSV, JSONL or Parquet; XSTest's columns.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    scorer: Annotated[str, typer.Option(help="A registered scorer.")] = "keyword",
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="A judge instead: `openai:MODEL`, `hf:PATH`, `scripted:FILE`. Repeated: their majority, and each."
        ),
    ] = None,
    judge_format: JudgeFormat = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    timeout: Timeout = None,
    max_new_tokens: MaxNewTokens = None,
    max_requests: MaxRequests = None,
    price_per_million: PricePerMillion = None,
    yes: Yes = False,
    download: Download = None,
    keywords: Annotated[
        Path | None, typer.Option(help="For `keyword`: phrases to add (TOML), or a published list to use as it is.")
    ] = None,
    opening: Opening = None,
    exact: Exact = False,
    against: Annotated[
        list[Path] | None, typer.Option(help="Published lists to compare with, paired; may be repeated.")
    ] = None,
    response_column: Annotated[str, typer.Option(help="Column of the responses.")] = Columns.response,
    label_column: Annotated[str, typer.Option(help="Column of people's labels.")] = Columns.label,
    model_column: Annotated[str, typer.Option(help="Column of the models, if there is one.")] = Columns.model,
    prompt_column: Annotated[str, typer.Option(help="Column of the prompts, if there is one.")] = Columns.prompt,
    prompt_label_column: Annotated[
        str, typer.Option(help="Column that says which prompts are harmful, if there is one; guards need it.")
    ] = Columns.prompt_label,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="LABEL=OUTCOME", help="What a label means; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    resamples: Annotated[int, typer.Option(min=200, help="Bootstrap resamples for each interval.")] = RESAMPLES,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table.")] = False,
) -> None:
    """Compare a scorer with people's labels: accuracy, Cohen's kappa, precision, recall, confusion, with intervals.

    What a judge found is kept beside the file: running the same command again asks it only what it has not judged.
    """
    options = judge_options(locals())
    if out.is_dir():
        raise InputError(f"--out {out}: a folder; name the JSON file to write")
    if out.resolve() in {path.resolve() for path in (labels, keywords, *(against or [])) if path}:
        raise InputError(f"--out {out}: it is read here and would be lost; name another file to write")
    if not (keywords or against) and (opening is not None or exact):
        raise UsageError("--opening and --exact say how a published list is used: name it by --keywords or --against")
    if judge and scorer not in ("keyword", "judge"):
        raise UsageError("--scorer and --judge both name what is calibrated; name one")
    if keywords is not None and (judge or scorer != "keyword"):
        raise UsageError("--keywords is for the keyword scorer alone")
    phrases = {"keywords": keywords, "opening": opening, "exact": exact} if keywords else {}
    chosen: list[Scorer] = make_judges(judge or [], options, quiet=quiet) or [find_scorer(scorer, **phrases)]
    check_names(chosen)
    columns = Columns(response_column, label_column, model_column, prompt_column, prompt_label_column)
    rows = read_labels(labels, columns, parse_meaning(map_ or []))
    journal = out.with_name(f".{out.stem}.judged.jsonl")
    lists = {name: KeywordScorer(path, opening, exact) for name, path in _named(against or []).items()}
    found = report(labels, rows, chosen, lists, Draws(seed, resamples), journal=journal, quiet=quiet)
    write_json(out, found.model_dump(mode="json"))
    if not quiet:
        print(table(found))


def _named(lists: list[Path]) -> dict[str, Path]:
    """Lists by file name; by path where two have the same."""
    names = [path.name for path in dict.fromkeys(lists)]
    return {path.name if names.count(path.name) == 1 else str(path): path for path in lists}


def table(found: Report) -> str:
    """The calibration for the terminal: a line for each model, for each of several judges, and one for all."""
    lines = [f"{'model':<24} {'n':>6}  " + "  ".join(f"{name:<22}" for name in SHOWN)]
    for name, part in [*found.models.items(), *found.judges.items(), ("together", found)]:
        cells = [_shown(getattr(part, score), part.intervals[score]) for score in SHOWN]
        lines.append(f"{name:<24} {part.scored:>6}  " + "  ".join(f"{cell:<22}" for cell in cells))
        lines += [f"{'':<24} kappa over {other}: {_shown(each.value, each)}" for other, each in part.kappa_over.items()]
    return "\n".join(line.rstrip() for line in lines)


def _shown(value: float | None, interval: Interval | Estimate) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if interval.low is None else f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


if __name__ == "__main__":
    run(app)
