"""Models and what was made of them: which run is the base of which, and what changed.

A run is of a fine-tuned model where its `run.json` has an `adapter` among the model's settings. Its base is the run of
the same table that has none and is otherwise set up alike, or whose model is named by the setting `base`.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from demur.errors import InputError
from demur.results import Comparison
from evaluators.compare import compare_runs
from evaluators.rates import Draws
from evaluators.report.board import Change

Infos = Mapping[Path, Mapping[str, Any]]
"""`run.json` of each run of a table."""


def find_pairs(infos: Infos, baseline: Path | None) -> list[tuple[Path, Path]]:
    """Each fine-tuned run of a table and its base; with a `baseline` of this table, every other run and that.

    Raises:
        InputError: the baseline has nothing to be compared with.
    """
    if baseline is not None and baseline in infos:
        if len(infos) == 1:
            raise InputError(f"{baseline}: --baseline, but no other run was asked the same")
        return [(folder, baseline) for folder in infos if folder != baseline]
    tuned = [folder for folder, info in infos.items() if _settings(info).get("adapter")]
    plain = [folder for folder in infos if folder not in tuned]
    pairs = []
    for folder in tuned:
        bases = [base for base in plain if _is_base(infos[base], infos[folder])]
        if len(bases) == 1:
            pairs.append((folder, bases[0]))
    return pairs


def _settings(info: Mapping[str, Any]) -> Mapping[str, Any]:
    model = info.get("model")
    settings = model.get("settings") if isinstance(model, dict) else None
    return settings if isinstance(settings, dict) else {}


def _is_base(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> bool:
    own = _settings(tuned)
    named = own.get("base")
    return base["model"].get("name") == named if named and "model" in base else _plain(base) == _plain(tuned)


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _settings(info).items() if not name.startswith("adapter")}


def changes(
    pairs: Sequence[tuple[Path, Path]],
    names: Mapping[Path, str],
    corpora: Mapping[Path, str],
    scorer: str,
    draws: Draws,
) -> list[Change]:
    """What changed in each pair, all of them corrected as one family; folders give way to the names shown."""
    found = compare_runs(pairs, scorer=scorer, draws=draws)
    by_pair = groupby(found, key=lambda line: (Path(line.a), Path(line.b)))
    return [
        Change(
            tuned=names[tuned],
            base=names[base],
            corpus=corpora[tuned],
            comparisons=[_renamed(line, names[tuned], names[base]) for line in lines],
        )
        for (tuned, base), lines in by_pair
    ]


def _renamed(line: Comparison, a: str, b: str) -> Comparison:
    return line.model_copy(update={"a": a, "b": b})
