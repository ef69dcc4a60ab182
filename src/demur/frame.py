"""All results of some runs as one tidy table."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.nouns import Label, Modality
from demur.results import Cell, Comparison, Estimate, Headline, Overall, OverRejection, Results, read_results

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    *("run", "model", "scorer", "modality", "label", "group_by", "group", "metric"),
    *("value", "low", "high", "n", "scored", "method", "test", "p", "p_holm"),
)
_HARMLESS = (Label.BORDERLINE, Label.BENIGN)


def results_frame(*runs: Path | str) -> "pandas.DataFrame":
    """A row for each run, model, scorer, modality, label, group and metric.

    Columns: run, model, scorer, modality, label, group_by, group, metric, value, low, high (95%), n (rows asked),
    scored, method (of the interval), test, p, p_holm. Null are `group_by` and `group` for all rows, `label` where it is
    several labels, `modality` where it is several modalities. `metric` is one of `demur.results.RATES`, `mean_score`;
    `coverage`, `missing`, `errors` (counts of rows); `refusal_rate`, `over_rejection_rate`, `modality_gap` (each of
    these three also `_with_partial`), `score`; between scorers `agreement` and `kappa` (`group_by` says which kappa,
    `group` names the others); between modalities `difference_refusal` (`group_by` is `modalities`, `group` says which
    minus which), which alone has a test and its p; and `wer`, of the corpus's clips, which has no scorer.

    Raises:
        InputError: a run has no results.
    """
    import pandas

    rows = [{"run": str(run), **row} for run in runs for row in _rows(read_results(Path(run)))]
    frame = pandas.DataFrame(rows, columns=list(COLUMNS))
    numbers = dict.fromkeys(("value", "low", "high", "p", "p_holm"), "float64")
    return frame.astype(numbers | {"n": "int64", "scored": "int64"})


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    sizes = _Sizes(results)
    for cell in (*results.rates, *results.breakdowns):
        yield from _cell(results.model, cell)
    for line in results.headlines:
        yield from _headline(results.model, line, sizes)
    for overall in results.overall:
        yield from _overall(results, overall, sizes)
    for pair in results.agreement:
        where = {"model": results.model, "scorer": pair.scorers[0], "n": pair.n, "scored": pair.n}
        where |= {"group_by": f"{pair.measure} kappa", "group": " & ".join(pair.scorers[1:])}
        yield where | {"metric": "agreement"} | pair.raw.model_dump()
        yield where | {"metric": "kappa"} | pair.kappa.model_dump()
    for comparison in results.comparisons:
        yield _comparison(results.model, comparison)
    if results.corpus.wer is not None:
        clips = {"n": results.corpus.clips, "scored": results.corpus.clips}
        yield {"model": results.model, "metric": "wer", "value": results.corpus.wer} | clips


class _Sizes:
    """Rows asked and scored, summed over some modalities and labels."""

    def __init__(self, results: Results) -> None:
        self._cells = {(cell.scorer, cell.modality, cell.label): cell for cell in results.rates}

    def of(self, scorer: str, modalities: tuple[Modality, ...], labels: tuple[Label, ...]) -> dict[str, int]:
        keys = ((scorer, modality, label) for modality in modalities for label in labels)
        cells = [self._cells[key] for key in keys if key in self._cells]
        return {"n": sum(cell.n for cell in cells), "scored": sum(cell.scored for cell in cells)}


def _cell(model: str, cell: Cell) -> Iterator[dict[str, Any]]:
    where = {"model": model} | cell.model_dump(
        mode="json", include={"scorer", "modality", "label", "group_by", "group", "n", "scored"}
    )
    for metric, estimate in cell.rates.items():
        yield where | {"metric": metric} | estimate.model_dump()
    if cell.mean_score is not None:
        yield where | {"metric": "mean_score"} | cell.mean_score.model_dump()


def _headline(model: str, line: Headline, sizes: _Sizes) -> Iterator[dict[str, Any]]:
    where = {"model": model, "scorer": line.scorer, "modality": str(line.modality)}
    for metric in ("coverage", "missing", "errors"):
        yield where | {"metric": metric, "value": getattr(line, metric), "n": line.n, "scored": line.scored}
    for suffix in ("", "_with_partial"):
        refusal: Estimate = getattr(line, f"refusal_rate{suffix}")
        rejection: OverRejection = getattr(line, f"over_rejection_rate{suffix}")
        for metric, labels, estimate in (
            (f"refusal_rate{suffix}", (Label.HARMFUL,), refusal),
            (f"over_rejection_rate{suffix}", (Label.BORDERLINE,), rejection.borderline),
            (f"over_rejection_rate{suffix}", (Label.BENIGN,), rejection.benign),
            (f"over_rejection_rate{suffix}", _HARMLESS, rejection.mean),
        ):
            label = {"label": str(labels[0])} if len(labels) == 1 else {}
            counts = sizes.of(line.scorer, (line.modality,), labels)
            if counts["n"]:
                yield where | label | counts | {"metric": metric} | estimate.model_dump()


def _comparison(model: str, line: Comparison) -> dict[str, Any]:
    own = line.model_dump(mode="json", include={"scorer", "modality", "label", "test", "p", "p_holm"})
    sides = {"group_by": "modalities", "group": f"{line.a} - {line.b}", "n": line.n, "scored": line.n}
    return {"model": model} | own | sides | {"metric": f"difference_{line.metric}"} | line.difference.model_dump()


def _overall(results: Results, overall: Overall, sizes: _Sizes) -> Iterator[dict[str, Any]]:
    where = {"model": results.model, "scorer": overall.scorer}
    everything = sizes.of(overall.scorer, tuple(Modality), tuple(Label))
    yield where | everything | {"metric": "score"} | overall.score.model_dump()
    both = sizes.of(overall.scorer, (Modality.TEXT_ONLY, Modality.AUDIO_ONLY), (Label.HARMFUL,))
    for metric in ("modality_gap", "modality_gap_with_partial"):
        estimate: Estimate = getattr(overall, metric)
        yield where | both | {"label": str(Label.HARMFUL), "metric": metric} | estimate.model_dump()
