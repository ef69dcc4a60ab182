"""The dataset card: Hub metadata, how it was made, what was kept, and what it may be used for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from builders.assemble import Rows, configs
from demur.nouns import Label

SIZE_CLASSES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(manifest: Mapping[str, Any], rows: Rows, rejected: Sequence[Mapping[str, Any]]) -> str:
    """README.md of a corpus: YAML metadata that the Hub and `datasets` read, then the card for people."""
    source = (files("data_cards") / "corpus_card.md.j2").read_text(encoding="utf-8")
    markdown = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - not HTML
    markdown.filters["cell"] = _cell
    template = markdown.from_string(source)
    prompts = list(rows.prompts.values())
    body = template.render(
        manifest=manifest,
        recipe=manifest["recipe"],
        summary=manifest["summary"],
        settings=manifest["recipe"]["settings"],
        voices=manifest["voices"],
        labels=[(label, sum(prompt.label is label for prompt in prompts)) for label in rows.labels()],
        sources=sorted(Counter((prompt.source, prompt.license) for prompt in prompts).items()),
        categories=_categories(rows),
        rejected=Counter(str(row["reason"]) for row in rejected),
        has_harmful=Label.HARMFUL in rows.labels(),
    )
    metadata = yaml.safe_dump(_metadata(manifest, rows), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{metadata}---\n\n{body.strip()}\n"


def _cell(value: object) -> str:
    """A text that stays inside its cell of a Markdown table, and stays text."""
    return " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _categories(rows: Rows) -> list[tuple[str, dict[str, int]]]:
    """Prompts by category and label."""
    counts: dict[str, Counter[str]] = {}
    for prompt in rows.prompts.values():
        counts.setdefault(prompt.category, Counter())[str(prompt.label)] += 1
    return [(category, dict(counts[category])) for category in sorted(counts)]


def _metadata(manifest: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    total = sum(entry["rows"] for entry in manifest["files"].values())
    gate = {
        "extra_gated_prompt": "This corpus holds harmful requests. It exists to measure and improve the safety of "
        "models. By asking for access you agree to use it for that alone.",
        "extra_gated_fields": {
            "Name": "text",
            "Affiliation": "text",
            "Intended use": "text",
            "I will use this corpus only to measure or improve the safety of models": "checkbox",
        },
    }
    return {
        "pretty_name": "Spoken safety corpus (demur)",
        "license": "other",
        "license_name": "see-the-card",
        "language": sorted({prompt.language for prompt in rows.prompts.values()}),
        "task_categories": ["audio-text-to-text", "text-generation"],
        "tags": ["audio", "safety", "over-refusal", "synthetic-speech", "not-for-all-audiences", "demur"],
        "size_categories": [next((name for limit, name in SIZE_CLASSES if total < limit), "n>1M")],
        **(gate if Label.HARMFUL in rows.labels() else {}),
        "configs": configs(manifest["files"], manifest["content_sha256"]),
    }
