"""The schema of `results.json`, in this one place.

`evaluators.summarise` writes through these classes; the leaderboard and `demur.results_frame` read through them. A run
holds one model's answers, so that a file of results is one model's. What the numbers mean:

- A rate's denominator is the rows that were scored, `unclear` among them; what could not be scored is coverage.
- Every rate is of rows; intervals are 95% and take the prompt, not the row, as what was drawn.
- Where modalities are compared (the modality gap, `comparisons`), rates are means over prompts of the share of a
  prompt's rows: a prompt is written once and spoken in several clips, and weighs the same on both sides.
- `refusal_rate` and `over_rejection_rate` count `refusal` alone: a partial refusal still gives something, and a partial
  answer to a harmless request is some help. Each has its `_with_partial` beside it, which counts both.
- Borderline and benign weigh the same in an over-rejection mean, whatever their numbers of rows; a label that the
  corpus does not have is left out of the mean.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from demur.errors import InputError
from demur.files import read_json
from demur.nouns import Label, Modality, Outcome

RESULTS = "results.json"
BOTH = "refusal+partial"
RATES: tuple[str, ...] = (*Outcome, BOTH)
"""The rates of a cell, by name."""
GROUPS: tuple[str, ...] = ("category", "kind", "engine", "voice", "speaker_gender", "accent", "condition")
"""What rates are broken down by; a row that has none (text has no voice) is in no group of it."""

Method = Literal["wilson", "bootstrap", "wilson-prompts", "mover"]
"""How an interval was made.

`wilson`: Wilson's score interval, where every prompt has one row. `bootstrap`: BCa, clustered by prompt, kept within
what it would be if all rows of a prompt were alike. `wilson-prompts`: Wilson's at the number of prompts, where the
bootstrap says nothing: fewer than five prompts, or none that differs from another. `mover`: from the intervals of the
rates that a sum is made of (prompts of other labels are independent).
"""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Part):
    """A number and its 95% interval; None throughout where nothing was scored."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: Method | None = None


class Cell(_Part):
    """The rates of one scorer, modality and label: of all rows, or of one group of a breakdown."""

    scorer: str
    modality: Modality
    label: Label
    group_by: str | None = None
    """One of `GROUPS`, or None for all rows."""
    group: str | None = None
    """A voice is written as `--voices` names it: `engine:voice`."""
    n: int
    """Rows asked."""
    scored: int
    """Rows with an outcome: the denominator of the rates."""
    prompts: int
    """Prompts with a scored row: the clusters."""
    rates: dict[str, Estimate]
    """By name, see `RATES`."""
    mean_score: Estimate | None = None
    """Of a judge's 1 (no real help) to 5; None where the scorer gives none."""


class OverRejection(_Part):
    """How often harmless prompts were refused."""

    borderline: Estimate = Estimate()
    benign: Estimate = Estimate()
    mean: Estimate = Estimate()


class Headline(_Part):
    """What one scorer found in one modality."""

    scorer: str
    modality: Modality
    n: int
    """Rows asked."""
    missing: int
    """Of those, rows that have no response yet."""
    errors: int
    """Of those, rows where the model gave an error and no answer."""
    scored: int
    coverage: float
    """scored / n"""
    reasons: dict[str, int] = Field(default_factory=dict)
    """The most frequent reasons for which rows are unscored, with their counts."""
    refusal_rate: Estimate
    """Of harmful prompts: higher is safer."""
    refusal_rate_with_partial: Estimate
    over_rejection_rate: OverRejection
    """Of harmless prompts: lower is better."""
    over_rejection_rate_with_partial: OverRejection


class Overall(_Part):
    """What one scorer found over all modalities."""

    scorer: str
    score: Estimate
    """What models are ranked by: refusal rate minus mean over-rejection rate, averaged over the run's modalities."""
    modality_gap: Estimate
    """Refusal rate in `text_only` minus in `audio_only`, means over the harmful prompts scored in both."""
    modality_gap_with_partial: Estimate
    modality_gap_prompts: int
    """Prompts that the gap is measured on."""


class Comparison(_Part):
    """Two modalities of a run, or two runs, on the same prompts."""

    a: str
    b: str
    scorer: str
    modality: Modality | None
    """None where modalities are compared, or all are taken together."""
    label: Label | None
    """None where all labels are taken together."""
    metric: Literal["refusal", "score"]
    prompts: int
    n: int
    """Rows on each side that were compared: of `a` and of `b`, summed."""
    value_a: float
    """Of modalities, a mean over prompts; of runs, which were asked the same rows, of those."""
    value_b: float
    difference: Estimate
    """`value_a - value_b`; the interval is a paired bootstrap over prompts."""
    test: Literal["mcnemar", "sign-flip"]
    """Exact McNemar at one row a prompt on each side, else a sign-flip test over prompts."""
    p: float
    p_holm: float
    """Corrected by Holm over all comparisons of the run and scorer, or of the call."""


class Agreement(_Part):
    """How far scorers agree on the rows that all of them scored; refusal or partial against the rest."""

    scorers: list[str]
    measure: Literal["cohen", "fleiss"]
    """Which kappa: Cohen's of two scorers, or Fleiss' of all judges."""
    n: int
    """Rows that all of them scored."""
    raw: Estimate
    """Share of those rows on which all agree."""
    kappa: Estimate
    """None where all gave one and the same; without an interval where there is none to be had."""


class ScorerInfo(_Part):
    """What a scorer was."""

    judge: bool
    settings: dict[str, Any]
    """Everything that changes its verdicts."""
    sha256: str = Field(min_length=1)
    """Of name and settings; of the majority of judges: of each one's hash."""


class Hashes(_Part):
    """What the results were made from."""

    corpus: str | None
    """`content_sha256` of the corpus, as the run recorded it."""
    prompts: str
    """Of the prompts asked, with their labels."""
    settings: str | None
    """Of the model and the settings of the run, as it recorded them."""
    responses: str
    """Of every response that counts."""


class Facts(_Part):
    """What was asked."""

    modalities: list[Modality]
    prompts: dict[Label, int]
    """Number of prompts of each label."""
    clips: int
    voices: int
    wer: float | None
    """Mean word error rate of the clips, where the corpus was checked by a recogniser."""


class Results(_Part):
    """A whole `results.json`."""

    version: Literal[1] = 1
    model: str
    hashes: Hashes
    seed: int
    confidence: float
    resamples: int
    versions: dict[str, str]
    """Of what scored and summarised; what answered is in `run`."""
    run: dict[str, Any]
    """`run.json` as it stands."""
    corpus: Facts
    scorers: dict[str, ScorerInfo]
    overall: list[Overall]
    headlines: list[Headline]
    rates: list[Cell]
    """One for each scorer, modality and label."""
    breakdowns: list[Cell]
    comparisons: list[Comparison]
    """Each pair of modalities, for each scorer and label."""
    agreement: list[Agreement]
    """Each pair of scorers; all judges together where there are several."""


def read_results(run: Path) -> Results:
    """The results of a run.

    Raises:
        InputError: there are none, or of another version of demur.
    """
    path = run / RESULTS
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with: demur score {run}")
    try:
        return Results.model_validate(read_json(path))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path}: not results as this version writes them ({where}); run: demur score {run}") from None
