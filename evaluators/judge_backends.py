"""Who a judge is: a model behind an OpenAI-compatible server, a local one, or a file of what a judge would say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from demur.chat import ChatClient
from demur.errors import InputError
from demur.files import read_jsonl, sha256_file
from demur.models import Answer
from demur.models.hf.lalm import LALM, load_lalm
from demur.models.hf.turns import Turn
from demur.models.local import find_folder, fingerprint
from demur.nouns import normalise_text
from evaluators.scorers import Item

KEY_VARIABLES = ("JUDGE_API_KEY", "OPENAI_API_KEY")
"""Where the key of a judge's server stands; the first that is set counts."""
DTYPE = "bfloat16"
"""Of a local judge."""


@dataclass(frozen=True)
class Question:
    """One response put to a judge."""

    item: Item
    messages: list[dict[str, str]]
    schema: dict[str, Any] | None
    """`response_format`, for servers that can be held to it."""


class Backend(Protocol):
    """What answers a judge's questions."""

    settings: Mapping[str, Any]
    """Everything about it that changes its answers."""
    metered: bool
    """Whether each request may cost money."""
    batch_size: int

    @property
    def left_out(self) -> frozenset[str]:
        """The fields of a request that were refused so far, so that questions go without them."""
        ...

    @property
    def broken(self) -> str:
        """Why the last call was cut short, see `ChatClient.broken`."""
        ...

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in order.

        Raises:
            ModelError: it cannot go on at all.
        """
        ...


class ServedJudge:
    """A judge behind an OpenAI-compatible server.

    The server is asked for JSON of the verdict's schema. One that refuses the field is asked without it from then on;
    one that ignores it answers freely, so that its answer is parsed like any other.
    """

    metered = True

    def __init__(self, client: ChatClient, *, max_new_tokens: int, temperature: float, batch_size: int) -> None:
        self._client, self.batch_size = client, batch_size
        self._decoding = {client.length_field: max_new_tokens, "temperature": temperature}
        self.settings: Mapping[str, Any] = {"base_url": client.base_url, **self._decoding}

    @property
    def left_out(self) -> frozenset[str]:
        return frozenset(self._client.left_out)

    @property
    def broken(self) -> str:
        return self._client.broken

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """See `ChatClient.ask` for what is an error and what ends the run."""
        return self._client.ask([self._request(question) for question in questions])

    def _request(self, question: Question) -> dict[str, Any]:
        schema = {"response_format": question.schema} if question.schema else {}
        return {"messages": question.messages, **self._decoding, **schema}


class LocalJudge:
    """A chat or guard model that transformers runs here.

    Raises:
        ModelError: it is not on this machine, and downloading was not allowed.
    """

    metered = False
    left_out: frozenset[str] = frozenset()
    broken = ""

    def __init__(
        self, name: str, *, max_new_tokens: int, temperature: float, batch_size: int, download: bool = False
    ) -> None:
        self._folder, self.batch_size = find_folder(name, download=download), batch_size
        self._decoding: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        about = {"fingerprint": fingerprint(self._folder), "dtype": DTYPE}
        self.settings: Mapping[str, Any] = {**about, **self._decoding}

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Generate all answers as one batch."""
        turns = [Turn(messages=tuple(question.messages)) for question in questions]
        return self._model.generate(turns, **self._decoding)

    @cached_property
    def _model(self) -> LALM:
        return load_lalm(self._folder, dtype=DTYPE)


class ScriptedJudge:
    """What a judge would say, from a JSONL file with the columns `prompt`, `text` and, where it matters, `response`.

    A row with a response answers for that response alone, one without for all responses to its prompt. Prompts are
    compared in their normalised form, responses as they stand.

    Raises:
        InputError: the file is missing or has other columns.
    """

    metered = False
    left_out: frozenset[str] = frozenset()
    broken = ""

    def __init__(self, path: Path, *, batch_size: int = 32) -> None:
        self.batch_size = batch_size
        self._texts: dict[tuple[str, str | None], str] = {}
        for number, row in enumerate(read_jsonl(path), 1):
            prompt, response, text = row.get("prompt"), row.get("response"), row.get("text")
            if not isinstance(prompt, str) or not isinstance(text, str) or not isinstance(response, str | None):
                raise InputError(
                    f"{path}: row {number}: needs strings in `prompt` and `text`, and may have a `response`"
                )
            self._texts[normalise_text(prompt), response] = text
        self.settings: Mapping[str, Any] = {"file_sha256": sha256_file(path)}

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The texts as they stand in the file; an error on what it does not answer."""
        return [self._look_up(question.item) for question in questions]

    def _look_up(self, item: Item) -> Answer:
        prompt = normalise_text(item.prompt)
        text = self._texts.get((prompt, item.response), self._texts.get((prompt, None)))
        return Answer(None, error="the file has no answer for this") if text is None else Answer(text, "stop")
