"""Models and what was made of them: which run is the base of which, and what changed.

A run is of a fine-tuned model where its `run.json` has an `adapter` among the model's settings. Its base is the run of
the same table that has none and is otherwise set up alike; where the setting `base` names its model, that one, unless
settings that both have differ.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from demur.errors import InputError
from demur.results import Comparison
from evaluators.compare import compare_runs
from evaluators.rates import Draws
from evaluators.report.board import Change, Notice

Infos = Mapping[Path, Mapping[str, Any]]
"""`run.json` of each run of a table."""


class Pairing(NamedTuple):
    """Which runs of a table are compared."""

    pairs: list[tuple[Path, Path]]
    """Each run and its base."""
    alone: dict[Path, str]
    """Fine-tuned runs that are compared with none, and why."""


def find_pairs(infos: Infos, baseline: Path | None) -> Pairing:
    """Each fine-tuned run of a table and its base; with a `baseline` of this table, every other run and that.

    Raises:
        InputError: the baseline has nothing to be compared with.
    """
    if baseline is not None and baseline in infos:
        if len(infos) == 1:
            raise InputError(f"{baseline}: --baseline, but no other run was asked the same")
        return Pairing([(folder, baseline) for folder in infos if folder != baseline], {})
    tuned = [folder for folder, info in infos.items() if _settings(info).get("adapter")]
    plain = [folder for folder in infos if folder not in tuned]
    pairs, alone = [], {}
    for folder in tuned:
        bases = [base for base in plain if _is_base(infos[base], infos[folder])]
        if len(bases) == 1:
            pairs.append((folder, bases[0]))
        elif bases:
            alone[folder] = f"{len(bases)} runs could be the base of this fine-tuned model: say which with --baseline."
        else:
            alone[folder] = "No run in its table is of this fine-tuned model's base, so it is not compared with it."
    return Pairing(pairs, alone)


def pair_notices(
    pairings: Iterable[Pairing], names: Mapping[Path, str], compared: Sequence[Change]
) -> Iterator[tuple[str, Notice]]:
    """What could not be compared, by the name of the run."""
    done = {(change.tuned, change.base) for change in compared}
    for pairing in pairings:
        for folder, why in pairing.alone.items():
            yield names[folder], Notice(text=why, grave=False)
        for tuned, base in ((names[a], names[b]) for a, b in pairing.pairs):
            if (tuned, base) not in done:
                yield tuned, Notice(text=f"Not compared with {base}: no row that both have answered and scored.")


def _model(info: Mapping[str, Any]) -> Mapping[str, Any]:
    model = info.get("model")
    return model if isinstance(model, dict) else {}


def _settings(info: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = _model(info).get("settings")
    return settings if isinstance(settings, dict) else {}


def _is_base(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> bool:
    own, theirs = _plain(tuned), _plain(base)
    named = own.pop("base", None)
    if not named:
        return own == theirs
    return _model(base).get("name") == named and all(theirs[key] == own[key] for key in own.keys() & theirs.keys())


def _plain(info: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _settings(info).items() if not name.startswith("adapter")}


def changes(
    pairs: Sequence[tuple[Path, Path]],
    names: Mapping[Path, str],
    corpora: Mapping[Path, str],
    scorer: str,
    draws: Draws,
) -> list[Change]:
    """What changed in each pair that has rows in common, all of them corrected as one family; by the names shown."""
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
