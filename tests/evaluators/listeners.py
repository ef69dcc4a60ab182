"""Models for tests that answer from what they are given, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from demur.models import Answer, Model, Query
from demur.nouns import Modality


def describe(query: Query) -> str:
    """A text that tells what was heard and read, and nothing more."""
    heard = "nothing"
    if query.audio is not None:
        spectrum = np.abs(np.fft.rfft(query.audio))
        loud = int(spectrum.argmax() * query.rate / len(query.audio)) if spectrum.max() > 1e-3 else 0
        heard = f"{len(query.audio) / query.rate:.3f} s at {loud} Hz"
    return f"I heard {heard} and read {query.input_text!r}."


class Listener(Model):
    """Answers with what it heard and read, and how many others were asked with it."""

    def __init__(self, batch_size: int = 3, *, batch_matters: bool = True, **settings: Any) -> None:
        self.name = "listener"
        self.settings = settings
        self.batch_size = batch_size
        self.batch_matters = batch_matters
        self.batches: list[list[Query]] = []
        self.before: Callable[[Sequence[Query]], None] = lambda _: None
        self.faulty: Callable[[Query], bool] = lambda _: False

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        self.before(queries)
        self.batches.append(list(queries))
        company = (
            f" With {len(queries)}: {sum(len(query.input_text) for query in queries)}." if self.batch_matters else ""
        )
        return [
            Answer(None, error="broken") if self.faulty(query) else Answer(describe(query) + company, "stop")
            for query in queries
        ]


class TextOnly(Listener):
    """Takes text alone."""

    modalities = frozenset({Modality.TEXT_ONLY})
