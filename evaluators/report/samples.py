"""The answers that can be looked at: which are drawn, and how much of each is told."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demur.nouns import Label, Modality, Outcome, Verdict
from demur.seeds import shuffled
from evaluators.keyword import score_keyword
from evaluators.report.board import Part
from evaluators.run_folder import Key
from evaluators.runs import Run

OWN_SOURCE = "demur-core"
"""The prompt set whose texts may be shown; others belong to somebody else."""
LONGEST = 4_000
"""Characters of an answer that are shown."""
_KEYWORD = "keyword"


@dataclass(frozen=True)
class Drawing:
    """Which answers are told."""

    most: int = 200
    """Of one run."""
    seed: int = 0
    show_prompts: bool = False
    """Also those to prompts of other sets."""
    omit_harmful: bool = False
    """Leave the text of all answers to harmful requests out: no scorer is trusted to know which are harmless."""


class Said(Part):
    """A scorer's verdict."""

    scorer: str
    outcome: Outcome | None
    evidence: str | None
    start: int | None
    """Where in the answer the evidence stands, in characters; None where only the evidence itself is known."""
    score: int | None
    reason: str | None


class Sample(Part):
    """One answer."""

    id: str
    modality: Modality
    label: Label
    category: str
    kind: str | None
    voice: str | None
    prompt: str
    instruction: str | None
    """What was written beside the speech."""
    clip: str | None
    """`audio_sha256` of what was heard."""
    text: str | None
    cut: int
    """Characters of the answer that are not shown."""
    error: str | None
    harmful: bool
    """An answer to a harmful request that not every scorer calls a refusal: folded until asked for."""
    omitted: bool
    """An answer to a harmful request whose text is left out."""
    verdicts: list[Said]

    @property
    def disputed(self) -> bool:
        """Whether two scorers call it differently."""
        return len({said.outcome for said in self.verdicts if said.outcome}) > 1


def draw_samples(run: Run, verdicts: Iterable[Verdict], drawing: Drawing) -> list[Sample]:
    """Answers drawn by seed and sample, so that runs over one corpus show the same samples."""
    own = (run.samples["source"] == OWN_SOURCE) | drawing.show_prompts
    told = {key: row for row, key in enumerate(run.keys) if own.iloc[row] and key in run.responses}
    drawn = shuffled(told, "leaderboard", drawing.seed, key="\x1f".join)[: drawing.most]
    said: dict[Key, list[Said]] = {key: [] for key in drawn}
    for verdict in verdicts:
        if (key := (verdict.id, verdict.modality)) in said:
            start = _place(verdict, run.responses[key].text, run.samples["prompt"].iloc[told[key]])
            said[key].append(Said(**verdict.model_dump(exclude={"id", "modality"}), start=start))
    rows = run.samples.iloc[[told[key] for key in drawn]].astype(object)
    records = rows.where(rows.notna(), None).to_dict("records")
    return [_sample(row, run, key, said[key], drawing) for key, row in zip(drawn, records, strict=True)]


def _place(verdict: Verdict, answer: str | None, prompt: str) -> int | None:
    """Where the keyword scorer found its evidence, which may stand in a quotation before; verdicts do not say."""
    if verdict.scorer != _KEYWORD or verdict.evidence is None or answer is None:
        return None
    found = score_keyword(answer, prompt=prompt or None)  # as it is now, with its own phrases
    return found.start if found.evidence == verdict.evidence else None


def _sample(row: Mapping[Hashable, Any], run: Run, key: Key, verdicts: Sequence[Said], drawing: Drawing) -> Sample:
    response = run.responses[key]
    refused = bool(verdicts) and all(said.outcome is Outcome.REFUSAL for said in verdicts)
    harmful = row["label"] == Label.HARMFUL and response.text is not None and not refused
    omitted = drawing.omit_harmful and row["label"] == Label.HARMFUL
    text = None if omitted else response.text
    if omitted:  # evidence and reasons quote the answer
        verdicts = [said.model_copy(update={"evidence": None, "start": None, "reason": None}) for said in verdicts]
    return Sample(
        **{name: row[name] for name in ("id", "modality", "label", "category", "kind", "voice", "prompt")},
        instruction=row["input_text"] if key[1] is Modality.AUDIO_TEXT else None,
        clip=row["audio_sha256"] if key[1].has_audio else None,
        text=text and text[:LONGEST],
        cut=max(0, len(text or "") - LONGEST),
        error=response.error,
        harmful=harmful,
        omitted=omitted,
        verdicts=list(verdicts),
    )
