"""Models under test behind one small protocol: a batch of queries in, as many answers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from demur.audio import Samples
from demur.nouns import Modality


@dataclass(frozen=True)
class Query:
    """What a model is given, and nothing else: speech (mono float32 at `rate` Hz) or None, and a text or ""."""

    audio: Samples | None
    rate: int
    input_text: str


@dataclass(frozen=True)
class Answer:
    """What a model said; `text` is None where `error` says why it said nothing."""

    text: str | None
    finish_reason: str | None = None
    error: str | None = None


class Model(Protocol):
    """A model under test."""

    name: str
    """As it appears in responses and on the leaderboard."""
    modalities: frozenset[Modality]
    """Which it takes; others are refused before any work."""
    settings: Mapping[str, Any]
    """Everything that changes its answers (decoding, revision, prompts), as JSON; recorded, compared on resume."""

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer for each query, in order.

        Raises:
            ModelError: the model cannot go on at all. What concerns one query alone is an `Answer` with `error`.
        """
        ...
