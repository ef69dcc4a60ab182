"""What judges found before: kept by content, so that no judge is asked the same thing twice."""

from collections.abc import Sequence
from pathlib import Path

from demur.console import progress
from demur.errors import InputError
from demur.files import append_jsonl, read_jsonl
from demur.nouns import Outcome
from evaluators.scorers import Finding, Item, Scorer, describe


def find(journal: Path | None, scorer: Scorer, items: Sequence[Item], *, quiet: bool) -> dict[Item, Finding]:
    """A scorer's finding on each item; a judge is asked only for those that the journal does not have.

    What a judge finds is written at once, under the hash of the judge (name, model settings, prompt) and of the item
    (request, label, response). What it could not score is not kept, so that it is asked again the next time.
    """
    fingerprint = describe(scorer).sha256
    kept = journal if scorer.judge else None
    known = _read(kept, fingerprint) if kept else {}
    found = {item: known[item.sha256] for item in items if item.sha256 in known} if known else {}
    open_ = [item for item in dict.fromkeys(items) if item not in found]
    if known and (expect := getattr(scorer, "expect_refusals", None)):
        expect()
    findings = scorer.score(open_)
    for position, finding in progress(findings, total=len(open_), what=scorer.name, unit="answer", quiet=quiet):
        found[open_[position]] = finding
        if kept and finding.outcome is not None:
            append_jsonl(kept, [{"scorer": fingerprint, "item": open_[position].sha256, **vars(finding)}])
    return found


def _read(journal: Path, fingerprint: str) -> dict[str, Finding]:
    if not journal.is_file():
        return {}
    try:
        return {
            row["item"]: Finding(Outcome(row["outcome"]), row["evidence"], row["score"], row["reason"])
            for row in read_jsonl(journal)
            if row["scorer"] == fingerprint
        }
    except (KeyError, ValueError) as error:
        raise InputError(f"{journal}: damaged ({error}); delete it, and the judges are asked again") from None
