"""What the page draws: planes of refusal against over-rejection, and heat maps. The template sets it out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, hypot

from demur.nouns import Label, Modality
from demur.results import Estimate
from evaluators.report.board import Entry, GroupRate, Table
from evaluators.report.numbers import percent, span, words

SIZE = 300
"""Side of a plane, in its own units."""
LEVELS = 20
"""Shades of a heat map."""
MOST_ARROWS = 6
"""More of them hide what they point at."""
_LABEL_ROOM = 15.0
_AROUND = [(0, -13), (12, -9), (-12, -9), (14, 4), (-14, 4), (0, 17), (12, 15), (-12, 15)]
_STEPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Point:
    """A model in a plane: its place, the ends of its intervals, and where its mark stands."""

    entry: Entry
    refusal: Estimate
    rejection: Estimate
    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float
    label_x: float
    label_y: float
    best: bool
    """No other model refuses at least as much of the harmful and as little of the harmless."""


@dataclass(frozen=True)
class Plane:
    """The models of a table in one modality."""

    modality: Modality
    reach: float
    """The over-rejection rate at the right edge."""
    points: list[Point]
    frontier: list[tuple[float, float]]
    """Its corners, from left to right."""
    arrows: list[tuple[Point, Point]]
    """From a base to what was made of it."""


def planes(table: Table, pairs: Sequence[tuple[str, str]]) -> list[Plane]:
    """A plane for each modality, all with the same axes; `pairs` are names of (fine-tuned, base)."""
    rates = {modality: _rates(table, modality) for modality in table.modalities}
    highest = max((rejection.high or 0 for each in rates.values() for _, _, rejection in each), default=0)
    reach = next(step for step in _STEPS if step >= min(highest, 1.0) - 1e-9)
    return [_plane(modality, found, reach, pairs) for modality, found in rates.items() if found]


Rates = list[tuple[Entry, Estimate, Estimate]]


def _rates(table: Table, modality: Modality) -> Rates:
    lines = [(entry, entry.headline(modality)) for entry in table.entries]
    both = [(entry, line.refusal_rate, line.over_rejection_rate.mean) for entry, line in lines if line]
    return [each for each in both if each[1].value is not None and each[2].value is not None]


def _plane(modality: Modality, rates: Rates, reach: float, pairs: Sequence[tuple[str, str]]) -> Plane:
    def across(rejection: float | None) -> float:
        return round(SIZE * (rejection or 0) / reach, 1)

    def down(refusal: float | None) -> float:
        return round(SIZE * (1 - (refusal or 0)), 1)

    best = frontier(rates)
    places = [(across(rejection.value), down(refusal.value)) for _, refusal, rejection in rates]
    labels = place_labels(places)
    points = [
        Point(
            entry=entry,
            refusal=refusal,
            rejection=rejection,
            x=x,
            y=y,
            left=across(rejection.low),
            right=across(rejection.high),
            top=down(refusal.high),
            bottom=down(refusal.low),
            label_x=label[0],
            label_y=label[1],
            best=entry in best,
        )
        for (entry, refusal, rejection), (x, y), label in zip(rates, places, labels, strict=True)
    ]
    by_name = {point.entry.model: point for point in points}
    arrows = [(by_name[base], by_name[tuned]) for tuned, base in pairs if tuned in by_name and base in by_name]
    if len(arrows) > MOST_ARROWS:
        arrows = []
    return Plane(modality, reach, points, _corners([point for point in points if point.best]), arrows)


def frontier(rates: Rates) -> list[Entry]:
    """The models that no other beats by refusing at least as much of the harmful and at most as much of the rest."""

    def beaten(refusal: float, rejection: float) -> bool:
        others = ((other.value or 0.0, too.value or 0.0) for _, other, too in rates)
        return any(a >= refusal and b <= rejection and (a, b) != (refusal, rejection) for a, b in others)

    return [entry for entry, own, rejection in rates if not beaten(own.value or 0.0, rejection.value or 0.0)]


def _corners(best: Sequence[Point]) -> list[tuple[float, float]]:
    """A step up at each model on the frontier, level between them."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted({(point.x, point.y) for point in best}):
        corners += [(x, corners[-1][1]), (x, y)] if corners else [(x, y)]
    return corners


def place_labels(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where to write each point's mark: the place around it that is farthest from what is there already."""
    taken = list(points)
    labels = []
    for x, y in points:
        places = [(x + right, y + lower) for right, lower in _AROUND]
        inside = [(a, b) for a, b in places if 6 <= a <= SIZE - 6 and 10 <= b <= SIZE - 2]
        others = [other for other in taken if other != (x, y)]

        def room(place: tuple[float, float], others: list[tuple[float, float]] = others) -> float:
            nearest = min((hypot(place[0] - a, place[1] - b) for a, b in others), default=_LABEL_ROOM)
            return min(nearest, _LABEL_ROOM)

        labels.append(max(inside or places, key=room))
        taken.append(labels[-1])
    return labels


@dataclass(frozen=True)
class HeatCell:
    """A rate of one model in one group: the mean over modalities, and what it is made of."""

    value: float | None
    level: int
    """Of `LEVELS` shades."""
    detail: str


@dataclass(frozen=True)
class HeatMap:
    """Refusal by group and model."""

    label: Label
    rows: list[tuple[str, list[HeatCell]]]
    prompts: int
    """Of the smallest group."""


def heat_map(table: Table, group_by: str, label: Label) -> HeatMap | None:
    """Refusal of prompts of a label in each group, averaged over modalities; None where there are no groups."""
    cells: dict[str, dict[str, list[GroupRate]]] = {}
    for entry in table.entries:
        for cell in entry.groups:
            if (cell.group_by, cell.label) == (group_by, label):
                cells.setdefault(cell.group, {}).setdefault(entry.model, []).append(cell)
    if not cells:
        return None
    rows = [
        (words(group), [_heat_cell(by_model.get(entry.model, [])) for entry in table.entries])
        for group, by_model in sorted(cells.items())
    ]
    sizes = [cell.prompts for by_model in cells.values() for found in by_model.values() for cell in found]
    return HeatMap(label, rows, min(sizes))


def _heat_cell(cells: Sequence[GroupRate]) -> HeatCell:
    values = [cell.refusal.value for cell in cells if cell.refusal.value is not None]
    value = sum(values) / len(values) if values else None
    detail = "; ".join(
        f"{words(cell.modality)} {percent(cell.refusal.value)} ({span(cell.refusal)}, {cell.prompts} prompts)"
        for cell in cells
    )
    return HeatCell(value, 0 if value is None else ceil(value * LEVELS), detail or "nothing asked")
