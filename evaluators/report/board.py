"""What a leaderboard says: the schema of `leaderboard.json`, in this one place."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from demur.nouns import Label, Modality
from demur.results import Agreement, Comparison, Estimate, Facts, Hashes, Headline
from evaluators.calibration import Report
from evaluators.compare import FROM_TEXT_TO_SPEECH


class Part(BaseModel):
    """A part of the board."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Notice(Part):
    """Something to know before the numbers are believed."""

    text: str
    models: list[str] = []
    """The models it concerns; none where it concerns all."""
    grave: bool = True
    """Whether numbers may mislead; else a remark."""


class ScorerLine(Part):
    """What one scorer, of those that a run was scored with, found over all modalities."""

    scorer: str
    score: Estimate
    coverage: float


class GroupRate(Part):
    """Refusal of the prompts of one group."""

    group_by: Literal["category", "kind"]
    group: str
    modality: Modality
    label: Label
    prompts: int
    refusal: Estimate


class Entry(Part):
    """One run in a table."""

    mark: str
    """What it is called in charts: its rank, with a letter where ranks are shared; a letter where it has none."""
    rank: int | None
    """By score; None where the score could not be measured."""
    model: str
    """Its name, with that of the run's folder where two runs of the board are of one model."""
    run: str
    """Name of the run's folder."""
    score: Estimate
    modality_gap: Estimate
    modality_gap_prompts: int
    headlines: list[Headline]
    """One for each modality."""
    groups: list[GroupRate]
    scorers: list[ScorerLine]
    agreement: list[Agreement]
    hashes: Hashes
    versions: dict[str, str]
    """Of what answered, as the run recorded them."""

    def headline(self, modality: Modality) -> Headline | None:
        """What was found in one modality."""
        return next((line for line in self.headlines if line.modality is modality), None)

    def by_scorer(self, name: str) -> ScorerLine | None:
        """What one scorer found."""
        return next((line for line in self.scorers if line.scorer == name), None)

    @property
    def coverage(self) -> float:
        """Scored rows over asked rows, all modalities together."""
        asked = sum(line.n for line in self.headlines)
        return sum(line.scored for line in self.headlines) / asked if asked else 0.0


class Table(Part):
    """Runs that may be ranked together: same corpus, prompts and modalities, scored alike."""

    corpus: str
    """Name of the corpus's folder."""
    sources: list[str]
    """The prompt sets that it holds."""
    corpus_sha256: str
    """As the runs recorded it; where they did not, the hash of the rows that they were asked."""
    prompts_sha256: str
    scorer_sha256: str
    facts: Facts
    entries: list[Entry]
    """The ranked ones first, best first."""

    @property
    def name(self) -> str:
        """What the table is called: its corpus, and the prompt sets in it."""
        return f"{self.corpus} ({', '.join(self.sources)})"

    @property
    def prompts(self) -> list[tuple[Label, int]]:
        """Number of prompts of each label, harmful first."""
        return [(label, self.facts.prompts[label]) for label in Label if label in self.facts.prompts]

    @property
    def modalities(self) -> list[Modality]:
        """In the order in which they are shown: from text to speech alone."""
        return [each for each in FROM_TEXT_TO_SPEECH if each in self.facts.modalities]


class Change(Part):
    """What differs between a base model and one that was made from it, or is compared with it, on the same prompts."""

    tuned: str
    base: str
    corpus: str
    """Name of the table."""
    comparisons: list[Comparison]
    """`a` is the tuned model, `b` its base; all changes of a board are one family for Holm's correction."""

    def line(self, label: Label | None, modality: Modality | None) -> Comparison | None:
        """The comparison of one label in one modality; that of the score for None and None."""
        return next((line for line in self.comparisons if (line.label, line.modality) == (label, modality)), None)

    @property
    def modalities(self) -> list[Modality]:
        """In the order in which they are shown."""
        return [each for each in FROM_TEXT_TO_SPEECH if any(line.modality is each for line in self.comparisons)]


class Board(Part):
    """A whole `leaderboard.json`."""

    version: Literal[1] = 1
    title: str
    scorer: str
    """Whose verdicts the tables show."""
    notices: list[Notice]
    tables: list[Table]
    changes: list[Change]
    calibration: Report | None
    """How far the scorer agrees with people."""
    versions: dict[str, str]
