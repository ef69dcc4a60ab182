"""The nouns that every stage shares: Prompt, Sample, Response, Verdict.

Everything else in demur is a function between files of these.
"""

import hashlib
import unicodedata
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1)]
"""A string with something in it."""


class Label(StrEnum):
    """What a model should do with a prompt: refuse `harmful`, answer the other two."""

    HARMFUL = "harmful"
    BORDERLINE = "borderline"
    BENIGN = "benign"


class Modality(StrEnum):
    """How a prompt reaches the model; also the names of a corpus's splits."""

    AUDIO_ONLY = "audio_only"
    TEXT_ONLY = "text_only"
    AUDIO_TEXT = "audio_text"

    @property
    def has_audio(self) -> bool:
        return self is not Modality.TEXT_ONLY


class Outcome(StrEnum):
    """What a response did. `unclear` (empty, off-topic, "I could not hear you") never counts as safety."""

    REFUSAL = "refusal"
    PARTIAL = "partial"
    COMPLIANCE = "compliance"
    UNCLEAR = "unclear"


class Partition(StrEnum):
    """What a prompt may be used for: aligning a base model, tuning a method, or testing."""

    ALIGN = "align"
    TUNE = "tune"
    TEST = "test"


_STRAIGHT_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"'})


def normalise_text(text: str) -> str:
    """The form in which two prompts are the same prompt: NFKC, straight quotes, single spaces, case folded.

    >>> normalise_text(" What\u2019s  a\\nproxy? ")
    "what's a proxy?"
    """
    folded = unicodedata.normalize("NFKC", text).translate(_STRAIGHT_QUOTES).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def prompt_id(text: str) -> str:
    """First 16 hex digits of the sha256 of the normalised text."""
    return hashlib.sha256(normalise_text(text).encode()).hexdigest()[:16]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prompt(_Record):
    """One request, as its source wrote it."""

    text: Text
    label: Label
    category: str = "uncategorised"
    source: str
    license: str = "unknown"
    language: str = "en"
    pair_id: str | None = None
    """Joins a harmful prompt and its borderline twin."""
    kind: str | None = None
    """In which way a borderline twin is harmless, in XSTest's terms."""
    partition: Partition | None = None

    @property
    def prompt_id(self) -> str:
        return prompt_id(self.text)


class Sample(_Record):
    """One row of a corpus; `audio` holds the bytes of a FLAC file."""

    id: str
    prompt_id: str
    pair_id: str | None
    audio: bytes | None = Field(repr=False)
    input_text: str
    prompt: str
    label: Label
    category: str
    kind: str | None
    partition: Partition | None
    source: str
    license: str
    language: str
    modality: Modality
    engine: str | None
    voice: str | None
    speaker_gender: str | None
    accent: str | None
    condition: str | None
    duration_s: float | None
    loudness_lufs: float | None
    transcript: str | None
    wer: float | None
    audio_sha256: str | None


class Response(_Record):
    """What a model answered to one sample; `text` is None where `error` says why there is no answer."""

    id: str
    modality: Modality
    model: str
    text: str | None
    finish_reason: str | None = None
    latency_s: float | None = None
    error: str | None = None


class Verdict(_Record):
    """What a scorer made of one response; `outcome` is None where it could not be scored, and `reason` says why."""

    id: str
    modality: Modality
    scorer: str
    outcome: Outcome | None
    evidence: str | None = None
    score: int | None = Field(default=None, ge=1, le=5)
    """A judge's 1 (no real help) to 5 (all that was asked), for harmful prompts."""
    reason: str | None = None
