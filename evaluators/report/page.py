"""`index.html`: one page that needs nothing else, and runs nothing but its own script."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from demur.nouns import Label
from evaluators.report import charts, numbers
from evaluators.report.board import Board, Table
from evaluators.report.samples import Sample

FILTERS = (
    *("percent", "coverage", "tick", "span", "signed", "signed_span"),
    *("decimal", "decimal_span", "p_value", "words", "count"),
)
"""Of `numbers`, what templates use."""
CLEAR = 0.05
"""Below this p a change is called one."""


def render(
    board: Board, samples: Sequence[tuple[str, list[Sample]]], clips: Mapping[str, str] | None, *, hidden: bool = False
) -> str:
    """The page. `clips` gives the address of each clip by its hash, None where no corpus was given.

    `hidden` says that prompts of other sets were left out of the samples.
    """
    style, script = _source("page.css"), _source("page.js")
    told = [sample for _, found in samples for sample in found]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            board=board,
            tables=[_drawn(table, board) for table in board.tables],
            data=browser_data(board, samples, clips or {}),
            sampled=len(told),
            omitted=any(sample.omitted for sample in told),
            silent=sum(sample.clip is not None and sample.clip not in (clips or {}) for sample in told),
            audio=clips is not None,
            hidden=hidden,
            clear=CLEAR,
            size=charts.SIZE,
            policy=content_policy(style, script),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
        )
    )


def content_policy(style: str, script: str) -> str:
    """A policy under which only this style and this script apply, and nothing is fetched but the clips."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_sri(script)}'",
            f"style-src '{_sri(style)}'",
            "img-src data:",
            "media-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _sri(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _source(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in FILTERS:
        environment.filters[name] = getattr(numbers, name)
    return environment


def _drawn(table: Table, board: Board) -> dict[str, Any]:
    pairs = [(change.tuned, change.base) for change in board.changes]
    maps = {
        "harmful": charts.heat_map(table, "category", Label.HARMFUL),
        "borderline": charts.heat_map(table, "category", Label.BORDERLINE),
        "kinds": charts.heat_map(table, "kind", Label.BORDERLINE),
    }
    return {"table": table, "planes": charts.planes(table, pairs), "maps": maps}


def browser_data(board: Board, samples: Sequence[tuple[str, list[Sample]]], clips: Mapping[str, str]) -> dict[str, Any]:
    """What the sample browser shows; the template writes it so that no text in it can end the element it stands in."""
    return {
        "scorer": board.scorer,
        "models": list(dict.fromkeys(name for name, found in samples if found)),
        "clips": dict(clips),
        "samples": [
            {"model": name, "disputed": sample.disputed, **sample.model_dump(mode="json")}
            for name, sample in _side_by_side(samples)
        ],
    }


def _side_by_side(samples: Sequence[tuple[str, list[Sample]]]) -> list[tuple[str, Sample]]:
    """The answers of all models to a sample one after the other."""
    asked: dict[tuple[str, str], list[tuple[str, Sample]]] = {}
    for name, found in samples:
        for sample in found:
            asked.setdefault((sample.id, sample.modality), []).append((name, sample))
    return [each for answers in asked.values() for each in answers]
