"""`demur score` and `python -m evaluators.score`: what the answers of runs were, and what follows from that."""

from pathlib import Path
from typing import Annotated

import typer

from demur.console import run
from demur.errors import UsageError
from demur.results import Estimate, Results
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
from evaluators.keyword_flags import Exact, Opening
from evaluators.rates import Draws
from evaluators.scorers import Scorer, check_names, find_scorer
from evaluators.scoring import score
from evaluators.statistics import RESAMPLES

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EXAMPLES = """
Examples:

    demur score runs/cascade-tiny

    demur score runs/* --judge openai:gpt-4.1-mini --max-requests 2000

    demur score runs/mine --judge openai:a --judge openai:b --judge openai:c --base-url http://localhost:8000/v1
"""


@app.command("score", epilog=EXAMPLES)
def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `demur respond` made.")],
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="Also ask a model: `openai:MODEL`, `hf:REPO_OR_PATH`, `scripted:FILE`. Repeated: a majority decides."
        ),
    ] = None,
    scorer: Annotated[
        list[str] | None, typer.Option(help="Registered scorers to use in place of `keyword`; may be repeated.")
    ] = None,
    keywords: Annotated[
        Path | None,
        typer.Option(help="Refusal phrases to add to the built-in ones (TOML), or a published list to use as it is."),
    ] = None,
    opening: Opening = None,
    exact: Exact = False,
    judge_format: JudgeFormat = None,
    base_url: BaseUrl = None,
    concurrency: Concurrency = None,
    timeout: Timeout = None,
    max_new_tokens: MaxNewTokens = None,
    max_requests: MaxRequests = None,
    price_per_million: PricePerMillion = None,
    yes: Yes = False,
    download: Download = None,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    resamples: Annotated[int, typer.Option(min=200, help="Bootstrap resamples for each interval.")] = RESAMPLES,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Forget the scorers of earlier calls, but not what judges found.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
) -> None:
    """Score the responses of runs: RUN/verdicts.jsonl, and RUN/results.json with intervals.

    What a judge found is kept in RUN/.judged.jsonl: running the same command again asks it only what it has not judged.
    Scorers of earlier calls stay in the results as long as the responses are the same and there is no --overwrite. The
    key of a judge's server comes from JUDGE_API_KEY or OPENAI_API_KEY.
    """
    options = judge_options(locals())
    scorers = [
        *_registered(scorer or ["keyword"], keywords, opening, exact=exact),
        *make_judges(judge or [], options, quiet=quiet),
    ]
    check_names(scorers)
    for folder in runs:
        results = score(folder, scorers, draws=Draws(seed, resamples), overwrite=overwrite, quiet=quiet)
        if not quiet:
            print(f"{folder}: {results.model}\n{table(results)}")


def _registered(names: list[str], keywords: Path | None, opening: int | None, *, exact: bool) -> list[Scorer]:
    if keywords and "keyword" not in names:
        raise UsageError("--keywords is for the keyword scorer; add: --scorer keyword")
    if keywords is None and (opening is not None or exact):
        raise UsageError("--opening and --exact say how a published list is used: name it with --keywords")
    options = {"keywords": keywords, "opening": opening, "exact": exact}
    return [find_scorer(name, **(options if name == "keyword" else {})) for name in names]


def table(results: Results) -> str:
    """The headlines of a run, for the terminal."""
    lines = [f"{'scorer':<20} {'modality':<11} {'refusal (harmful)':<20} {'over-rejection':<20} coverage"]
    lines += [
        f"{line.scorer:<20} {line.modality:<11} {_shown(line.refusal_rate):<20} "
        f"{_shown(line.over_rejection_rate.mean):<20} {line.coverage:.1%}"
        for line in results.headlines
    ]
    lines += [f"{each.scorer:<20} {'score':<11} {_shown(each.score)}" for each in results.overall]
    return "\n".join(lines)


def _shown(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


if __name__ == "__main__":
    run(app)
