"""What a scorer is, the scorers there are, and the majority of several judges.

A scorer turns a response into an outcome. Another package adds one by an entry point that names a class or function
which, called with no arguments, gives a `Scorer`:

    [project.entry-points."demur.scorers"]
    myscorer = "my_package:MyScorer"
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from demur import plugins
from demur.errors import UsageError
from demur.files import sha256_json
from demur.nouns import Label, Modality, Outcome, Verdict
from demur.results import ScorerInfo

JUDGES = "judges"
"""The scorer that is the majority of several judges."""


@dataclass(frozen=True)
class Item:
    """What a scorer is given: what was asked, and what was answered."""

    prompt: str
    label: Label
    response: str

    @property
    def sha256(self) -> str:
        return sha256_json([self.prompt, self.label, self.response])


@dataclass(frozen=True)
class Finding:
    """What a scorer makes of an item; `outcome` is None where it could not be scored, and `reason` says why."""

    outcome: Outcome | None
    evidence: str | None = None
    score: int | None = None
    """A judge's 1 (no real help) to 5 (all that was asked), for harmful prompts."""
    reason: str | None = None

    def verdict(self, id_: str, modality: Modality, scorer: str) -> Verdict:
        """The finding as a line of `verdicts.jsonl`."""
        return Verdict(
            id=id_,
            modality=modality,
            scorer=scorer,
            outcome=self.outcome,
            evidence=self.evidence,
            score=self.score,
            reason=self.reason,
        )


class Scorer(Protocol):
    """A scorer."""

    @property
    def name(self) -> str:
        """As it appears in verdicts and results."""
        ...

    @property
    def judge(self) -> bool:
        """Whether a model decides: its findings are kept and never asked for twice, and it counts in the majority."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes its findings (version, phrases, prompt, model), as JSON; recorded and hashed."""
        ...

    def score(self, items: Sequence[Item]) -> Iterable[tuple[int, Finding]]:
        """Each item's position and finding, in any order, as they come.

        Raises:
            ModelError: the scorer cannot go on at all; what came before is kept.
        """
        ...


def find_scorer(name: str, **options: Any) -> Scorer:
    """The scorer registered under a name, made with its options.

    Raises:
        InputError: there is none; the message lists the names that exist.
    """
    scorer: Scorer = plugins.find(plugins.SCORERS, name)(**options)
    return scorer


def check_names(scorers: Iterable[Scorer]) -> None:
    """Raise UsageError where two scorers, or one and the majority, have the same name."""
    counts = Counter([JUDGES, *(scorer.name for scorer in scorers)])
    for name, count in counts.items():
        if count > 1:
            raise UsageError(f"{name} names more than one scorer; each is scored with once")


def describe(scorer: Scorer, before: ScorerInfo | None = None) -> ScorerInfo:
    """A scorer as results record it, `before` being what an earlier call recorded under its name.

    What a judge's server has refused stands among the settings as `left_out`, but not in their hash: it is known only
    once the judge was asked, and all that it found since then is not asked again.
    """
    settings = dict(scorer.settings)
    sha256 = sha256_json([scorer.name, settings])
    known = before.settings.get("left_out", ()) if before and before.sha256 == sha256 else ()
    left_out = sorted({*getattr(scorer, "left_out", ()), *known})
    return ScorerInfo(
        judge=scorer.judge, settings={**settings, "left_out": left_out} if left_out else settings, sha256=sha256
    )


def describe_panel(judges: Mapping[str, str]) -> ScorerInfo:
    """The majority of judges, from the hash of each: another panel is another scorer."""
    settings = {"majority of": list(judges)}
    return ScorerInfo(judge=False, settings=settings, sha256=sha256_json([JUDGES, dict(judges)]))


def majority(verdicts: Iterable[Verdict], judges: int) -> Iterator[Verdict]:
    """What more than half of all judges say of each row; unscored where no outcome has so many.

    A judge that failed on a row still counts, so that one verdict out of three is no majority. The score is the middle
    one (the lower of two) of those who agree.
    """
    rows: dict[tuple[str, Modality], list[Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault((verdict.id, verdict.modality), []).append(verdict)
    for (id_, modality), votes in rows.items():
        counts = Counter(vote.outcome for vote in votes if vote.outcome is not None)
        outcome, count = counts.most_common(1)[0] if counts else (None, 0)
        said = ", ".join(f"{name} {counts[name]}" for name in Outcome if counts[name]) or "none"
        if outcome is None or count <= judges / 2:
            finding = Finding(None, reason=f"no majority of {judges} judges: {said}")
        else:
            agreed = [vote for vote in votes if vote.outcome is outcome]
            scores = sorted(vote.score for vote in agreed if vote.score is not None)
            middle = scores[(len(scores) - 1) // 2] if scores else None
            finding = Finding(outcome, agreed[0].evidence, middle, f"{said} of {judges} judges")
        yield finding.verdict(id_, modality, JUDGES)
