"""What became of the clips: kept, remade and rejected, and how well each voice was understood."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from builders.store import ClipHeader
from demur.nouns import Prompt

WER_BINS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Upper ends, inclusive, of the classes in the distribution of word error rates."""
WORSE_BY = 0.05
"""A voice stands out when its mean word error rate is so much above the other voices' median, and over twice it."""


WORSE_FAILURES = 0.2
"""And when more of its takes fail than that, and over twice the other voices' median share."""


@dataclass
class Tally:
    """Counts of clips of one voice, engine or label, or of the takes in one condition."""

    kept: int = 0
    remade: int = 0
    """Of those kept, how many needed more than one take."""
    rejected: int = 0
    failed_takes: int = 0
    wer: list[float] = field(default_factory=list)
    """Of the first condition of each kept clip."""

    def as_row(self) -> dict[str, Any]:
        heard = np.array(self.wer) if self.wer else None
        return {
            "kept": self.kept,
            "remade": self.remade,
            "rejected": self.rejected,
            "failed_takes": self.failed_takes,
            "wer_mean": None if heard is None else round(float(heard.mean()), 4),
            "wer_p90": None if heard is None else round(float(np.quantile(heard, 0.9)), 4),
            "wer_zero": None if heard is None else round(float((heard == 0).mean()), 4),
        }


def summarise_clips(
    headers: Iterable[ClipHeader], prompts: Mapping[str, Prompt], leads: Mapping[str, str]
) -> dict[str, Any]:
    """Tables by engine, voice, label and condition, the distribution of word error rates, the voices that stand out.

    Args:
        headers: all finished clips.
        prompts: by prompt_id.
        leads: of every clip key, the voice it was cast for; a rejected clip counts against that one.
    """
    tables: dict[str, dict[str, Tally]] = {
        name: defaultdict(Tally) for name in ("engine", "voice", "label", "condition")
    }
    everything = Tally()
    for header in headers:
        voice = header.takes[0].voice if header.takes else leads[header.key]
        label = str(prompts[header.prompt_id].label)
        rows = [everything, tables["engine"][voice.partition(":")[0]], tables["voice"][voice], tables["label"][label]]
        for tally in rows:
            _count(tally, header)
        for take in header.takes:
            _count_take(tables["condition"][take.condition], take.wer)
        for attempt in header.failed:
            tables["voice"][attempt.voice].failed_takes += 1
            tables["engine"][attempt.voice.partition(":")[0]].failed_takes += 1
        everything.failed_takes += len(header.failed)
        tables["label"][label].failed_takes += len(header.failed)
    by = {name: {key: table[key].as_row() for key in sorted(table)} for name, table in tables.items()}
    return {
        "clips": everything.as_row(),
        "by": by,
        "wer_distribution": _distribution(everything.wer),
        "voices_that_stand_out": _outliers(by["voice"]),
    }


def _count(tally: Tally, header: ClipHeader) -> None:
    if not header.takes:
        tally.rejected += 1
        return
    _count_take(tally, header.takes[0].wer)
    tally.remade += bool(header.failed)


def _count_take(tally: Tally, wer: float | None) -> None:
    tally.kept += 1
    if wer is not None:
        tally.wer.append(wer)


def _distribution(wer: list[float]) -> dict[str, int]:
    """Clips by word error rate: `0`, `<=0.05`, …, `>1`."""
    edges = [-1.0, *WER_BINS, float("inf")]
    names = ["0", *(f"<={edge:g}" for edge in WER_BINS[1:]), f">{WER_BINS[-1]:g}"]
    counts = [sum(low < value <= high for value in wer) for low, high in pairwise(edges)]
    return dict(zip(names, counts, strict=True)) if wer else {}


def _outliers(voices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    means = {voice: row["wer_mean"] for voice, row in voices.items() if row["wer_mean"] is not None}
    failing = {voice: row["failed_takes"] / max(1, row["failed_takes"] + row["kept"]) for voice, row in voices.items()}
    worse = {voice for voice in means if _above_others(voice, means, WORSE_BY)}
    return sorted(worse | {voice for voice in failing if _above_others(voice, failing, WORSE_FAILURES)})


def _above_others(voice: str, values: Mapping[str, float], margin: float) -> bool:
    others = [value for name, value in values.items() if name != voice]
    return bool(others) and values[voice] > max(2 * median(others), median(others) + margin)
