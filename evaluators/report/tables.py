"""The leaderboard as Markdown and as CSV."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from demur.results import Comparison, Estimate
from evaluators.calibration import Interval
from evaluators.report.board import Board, Change, Entry, Notice, Table
from evaluators.report.numbers import (
    NOTHING,
    count,
    coverage,
    decimal,
    decimal_span,
    p_value,
    percent,
    signed,
    signed_span,
    span,
    words,
)

_MARKUP = re.compile(r"([\\`*_\[\]|~#!<>&])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(board: Board) -> str:
    """`leaderboard.md`: notices, a ranked table for each corpus, changes by fine-tuning, the scorer's calibration."""
    parts = [f"# {plain(board.title)}", _legend(board)]
    if board.notices:
        parts.append("\n".join(map(_notice, board.notices)))
    parts += [part for table in board.tables for part in (f"## {plain(table.name)}", _facts(table), _ranking(table))]
    if board.changes:
        parts += ["## Against the base model", _changes(board.changes)]
    if board.calibration:
        parts += ["## How far this scorer can be trusted", _calibration(board)]
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    """Any text as one line of Markdown that says just that.

    >>> plain("a|b <i>*c*")
    'a\\\\|b \\\\<i\\\\>\\\\*c\\\\*'
    """
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _legend(board: Board) -> str:
    return (
        f"Scored by {plain(board.scorer)}; brackets are 95% intervals. **Score**: refusal of harmful prompts minus "
        "over-rejection of harmless ones, averaged over modalities (-1 to 1, higher is better). **Refusal**: higher is "
        "safer. **Over-rejection**: lower is better. **Gap**: refusal in text minus in speech alone, in points (0 is "
        "best). **Coverage**: answers that could be scored."
    )


def _notice(notice: Notice) -> str:
    models = f" ({', '.join(map(plain, notice.models))})" if notice.models else ""
    return f"- {'**Warning**' if notice.grave else 'Note'}: {plain(notice.text)}{models}"


def _facts(table: Table) -> str:
    prompts = ", ".join(f"{number} {label}" for label, number in table.prompts)
    parts = [f"{prompts} prompts", count(table.facts.clips, "clip"), count(table.facts.voices, "voice")]
    if table.facts.wer is not None:
        parts.append(f"word error rate of the speech {table.facts.wer:.1%}")
    return f"{'; '.join(parts)}. Prompts from {plain(', '.join(table.sources))}."


def _ranking(table: Table) -> str:
    refusal = [f"Refusal, {words(modality)}" for modality in table.modalities]
    rejection = [f"Over-rejection, {words(modality)}" for modality in table.modalities]
    header = ["#", "Model", "Score", *refusal, *rejection, "Gap", "Coverage"]
    return _grid(header, (_row(entry, table) for entry in table.entries))


def _row(entry: Entry, table: Table) -> list[str]:
    lines = [entry.headline(modality) for modality in table.modalities]
    return [
        entry.mark,
        plain(entry.model),
        _with(decimal(entry.score.value), decimal_span(entry.score)),
        *(_rate(line.refusal_rate) if line else NOTHING for line in lines),
        *(_rate(line.over_rejection_rate.mean) if line else NOTHING for line in lines),
        _with(signed(entry.modality_gap.value), signed_span(entry.modality_gap)),
        coverage(entry.coverage),
    ]


def _with(value: str, interval: str) -> str:
    return f"{value} [{interval}]" if interval else value


def _rate(estimate: Estimate) -> str:
    return _with(percent(estimate.value), span(estimate))


def _grid(header: list[str], rows: Iterator[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _changes(changes: list[Change]) -> str:
    header = ["Model", "Base", "Corpus", "Measure", "Prompts", "Base is", "Model is", "Change [95%]", "p (Holm)"]
    return _grid(
        header,
        (
            [plain(change.tuned), plain(change.base), plain(change.corpus), *_compared(line)]
            for change in changes
            for line in change.comparisons
        ),
    )


def measure(line: Comparison) -> str:
    """What a comparison measures, in words."""
    if line.metric == "score":
        return "score"
    return f"refusal of {line.label} prompts, {words(line.modality or 'all modalities')}"


def _compared(line: Comparison) -> list[str]:
    if line.metric == "score":
        values = [decimal(line.value_b), decimal(line.value_a), decimal(line.difference.value)]
        interval = decimal_span(line.difference)
    else:
        values = [percent(line.value_b), percent(line.value_a), signed(line.difference.value)]
        interval = signed_span(line.difference)
    return [measure(line), str(line.prompts), *values[:2], _with(values[2], interval), p_value(line.p_holm)]


def _calibration(board: Board) -> str:
    report = board.calibration
    if report is None:
        return ""
    header = ["Answers of", "n", "kappa", "accuracy", "precision", "recall"]
    rows = (
        [plain(name), str(each.scored), *(_score(getattr(each, score), each.intervals[score]) for score in header[2:])]
        for name, each in {"all": report, **report.models}.items()
    )
    return _grid(header, rows)


def _score(value: float | None, ends: Interval) -> str:
    return _with(decimal(value), decimal_span(Estimate(value=value, low=ends.low, high=ends.high)))


def to_csv(board: Board) -> str:
    """`leaderboard.csv`: a row for each model of each table, every rate with its interval."""
    rows = [_csv_row(entry, table, board.scorer) for table in board.tables for entry in table.entries]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _csv_row(entry: Entry, table: Table, scorer: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "corpus": _cell(table.corpus),
        "corpus_sha256": _cell(table.corpus_sha256),
        "rank": entry.rank,
        "model": _cell(entry.model),
        "run": _cell(entry.run),
        "scorer": _cell(scorer),
        **_numbers("score", entry.score),
        **_numbers("modality_gap", entry.modality_gap),
        "coverage": entry.coverage,
        "wer": table.facts.wer,
    }
    for line in entry.headlines:
        row |= _numbers(f"refusal_rate_{line.modality}", line.refusal_rate)
        for label in ("mean", "borderline", "benign"):
            name = f"over_rejection_rate{'' if label == 'mean' else f'_{label}'}_{line.modality}"
            row |= _numbers(name, getattr(line.over_rejection_rate, label))
        row |= {f"n_{line.modality}": line.n, f"scored_{line.modality}": line.scored}
    return row


def _numbers(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _cell(text: str) -> str:
    """A text that a spreadsheet takes for a formula, marked as text."""
    return f"'{text}" if text.startswith(_FORMULA) else text
