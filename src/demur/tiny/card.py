"""demur-tiny's model card, from what was recorded in training and what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("card.md.j2")
PARAMETERS_M = 171.3
"""Millions, of the whole model; the head's are its own."""


def render_card(about: Mapping[str, Any], *, size_mb: float) -> str:
    """The card in Markdown, of what `demur-tiny.json` holds."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701

    training, measured = about["training"], about["measured"]

    def rate(modality: str, label: str) -> str:
        return _interval(
            next(one for one in measured["rates"] if one["modality"] == modality and one["label"] == label)
        )

    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        training=training,
        measured=measured,
        rate=rate,
        gap=_interval(measured["gap"], unit=" points"),
        size_mb=size_mb,
        parameters_m=PARAMETERS_M,
    )


def _interval(estimate: Mapping[str, float], unit: str = "%") -> str:
    value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
    return f"{value:.1f}{unit} [{low:.1f}, {high:.1f}]"
