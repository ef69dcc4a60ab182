"""The flags of commands that ask judges, in one place."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from evaluators.scorers import Scorer

JudgeFormat = Annotated[
    str | None, typer.Option(help="What a judge is: `chat`, or one of the guards; without it, its name tells.")
]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", "--judge-base-url", help="Of a judge's OpenAI-compatible server.")
]
Concurrency = Annotated[int | None, typer.Option(help="Requests under way at once. Default: 8.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that one request may take. Default: 120.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Tokens of a judge's answer, at most. Default: 512.")]
MaxRequests = Annotated[
    int | None, typer.Option(help="Requests that each judge may make, retries included; then it stops.")
]
PricePerMillion = Annotated[
    tuple[float, float] | None,
    typer.Option(help="US dollars for a million tokens in and out: the cost is said.", metavar="IN OUT"),
]
Yes = Annotated[bool, typer.Option("--yes", help="Agree to more than 1,000 requests.")]
Download = Annotated[bool | None, typer.Option("--download", help="A local judge may be downloaded from its hub.")]

_OPTIONS = {
    "format": "judge_format",
    "base_url": "base_url",
    "concurrency": "concurrency",
    "timeout": "timeout",
    "max_new_tokens": "max_new_tokens",
    "max_requests": "max_requests",
    "prices": "price_per_million",
    "many_requests": "yes",
    "download": "download",
}


def judge_options(arguments: Mapping[str, object]) -> dict[str, object]:
    """What `make_judge` takes, from the arguments of a command that has all flags above: its `locals()`."""
    return {option: arguments[argument] for option, argument in _OPTIONS.items()}


def make_judges(specs: Iterable[str], options: Mapping[str, object], *, quiet: bool) -> list[Scorer]:
    """The judges that a command names."""
    from evaluators.estimate import Requests
    from evaluators.judge import make_judge  # its packages are wanted only where there is a judge

    requests = Requests()
    return [make_judge(spec, options, quiet=quiet, requests=requests) for spec in specs]
