"""Rows of a corpus in, responses of a model out: what the run and its controls share."""

import re
import time
from collections.abc import Container, Iterable, Sequence

from demur.errors import IncompleteError, ModelError
from demur.models import NOT_ASKED, Answer, Model
from demur.nouns import Response
from evaluators.batches import Row, to_queries
from evaluators.run_folder import Key, key_of

BUDGET_SPENT = "{}: the budget of requests is spent; run the same command again to go on"
GIVE_UP_AFTER = 20
"""Errors in a row after which a metered model is left alone: so many are a wrong setting, not bad luck."""
_REFUSED = re.compile(r"Error code: 4(?!08|29)\d\d\b")
"""What a server says of one request alone: some reject every harmful prompt so."""


class Patience:
    """Tells a metered model that does not work from one that refuses some requests.

    `answered` says whether it has answered before, in an earlier call: then what it refuses it has refused by choice.
    """

    def __init__(self, name: str, *, metered: bool, answered: bool = False) -> None:
        self._name, self._metered = name, metered
        self._in_a_row, self.answered = 0, answered

    def count(self, errors: Iterable[str | None]) -> None:
        """Take note of a batch; None stands for an answer.

        Raises:
            ModelError: so many errors in a row. Requests refused by a server that answers others count for none.
        """
        for error in errors:
            self.answered = self.answered or error is None
            works = error is None or (self.answered and _REFUSED.match(error))
            self._in_a_row = 0 if works else self._in_a_row + 1
            last = error
        if self._metered and self._in_a_row >= GIVE_UP_AFTER:
            raise ModelError(f"{self._name}: {self._in_a_row} errors in a row, the last: {last}")


def rows_due(batch: Sequence[Row], answered: Container[Key], *, whole: bool) -> list[Row]:
    """The rows of a batch that have no answer yet; with `whole` all of them if any has none."""
    due = [row for row in batch if key_of(row) not in answered]
    return list(batch) if due and whole else due


def ask_batch(model: Model, rows: Sequence[Row]) -> tuple[list[Response], bool]:
    """The responses to some rows, and whether the model's budget is spent: then some rows have none."""
    queries, faults = to_queries(rows, keyed=model.keyed)
    start = time.perf_counter()
    answers = model.answer(list(queries.values())) if queries else []
    share_s = (time.perf_counter() - start) / max(1, len(queries))
    if len(answers) != len(queries):
        raise ModelError(f"{model.name} gave {len(answers)} answers to {len(queries)} queries")
    found = dict(zip(queries, answers, strict=True)) | {
        position: Answer(None, error=fault, latency_s=0.0) for position, fault in faults.items()
    }
    asked = {position: answer for position, answer in found.items() if answer.error != NOT_ASKED}
    responses = [_to_response(model.name, rows[position], asked[position], share_s) for position in sorted(asked)]
    return responses, len(asked) < len(found)


def check_batch(model: Model, responses: Sequence[Response], patience: Patience, *, spent: bool) -> None:
    """Whether there is any sense in the next batch, once this one is recorded.

    Raises:
        IncompleteError: the model's budget is spent.
        ModelError: its server answers no more, or there were too many errors in a row.
    """
    if spent:
        raise IncompleteError(BUDGET_SPENT.format(model.name))
    if model.broken:
        raise ModelError(f"{model.name}: {model.broken}")
    patience.count(response.error for response in responses)


def _to_response(model: str, row: Row, answer: Answer, share_s: float) -> Response:
    latency_s = share_s if answer.latency_s is None else answer.latency_s
    text, error = (None if part is None else _storable(part) for part in (answer.text, answer.error))
    if text is None and error is None:
        error = "the model gave neither text nor error"
    return Response(
        id=row["id"],
        modality=row["modality"],
        model=model,
        text=None if error is not None else text,
        finish_reason=answer.finish_reason,
        latency_s=round(latency_s, 4),
        error=error,
    )


def _storable(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 file can hold."""
    return text.encode("utf-8", "replace").decode()
