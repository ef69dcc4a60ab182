"""Asking an OpenAI-compatible chat server: bounded concurrency, retries for named transient errors, a budget."""

import asyncio
import os
import re
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from demur.console import say
from demur.errors import MissingDependency, ModelError, UsageError
from demur.models import NOT_ASKED, Answer

if TYPE_CHECKING:
    import openai
    import tenacity

OPENAI_URL = "https://api.openai.com/v1"
ATTEMPTS = 5
"""Requests for one query at most: with waits of 1, 2, 4 and 8 s they outlast a short fault, not an outage."""
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0
"""A server that asks for a longer pause (`Retry-After`) is not waited for; the query is an error for now."""
REFUSABLE = {
    "temperature": re.compile(r"Error code: 4(?:00|22)\b(?=.*\btemperature\b).*(?:support|deprecated)", re.DOTALL),
    "response_format": re.compile(r"Error code: 4(?:00|22)\b.*(?:response_format|json_schema)", re.DOTALL),
}
"""Fields of a request that some models refuse, and how their servers say so (a reasoning model has no temperature)."""
RENAMED = {
    "max_tokens": (
        "max_completion_tokens",
        re.compile(r"Error code: 4(?:00|22)\b(?=.*\bmax_tokens\b).*\bmax_completion_tokens\b", re.DOTALL),
    ),
}
"""Fields that some models know by another name, and how their servers say so: a proxy before OpenAI's newer models."""
_ERROR_LENGTH = 300


class BudgetSpent(Exception):
    """No request is left in the budget."""


class ChatClient:
    """A chat model behind an OpenAI-compatible server. The key comes from the environment and is never shown.

    Args:
        base_url: the server; without it OPENAI_BASE_URL, else OpenAI's own.
        concurrency: requests under way at once, at most.
        timeout_s: for one request, from connecting to the last byte.
        max_requests: HTTP requests at most, retries included, in the life of this client.
        key_variables: where the key stands; the first of these variables that is set counts.

    Raises:
        UsageError: the base URL is not a plain http(s) address.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        max_requests: int | None = None,
        first_wait_s: float = FIRST_WAIT_S,
        key_variables: Sequence[str] = ("OPENAI_API_KEY",),
    ) -> None:
        self.model = model
        self.base_url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL)
        self._concurrency, self._timeout_s, self._first_wait_s = concurrency, timeout_s, first_wait_s
        self._requests_left, self._key_variables = max_requests, tuple(key_variables)
        self._settled = False
        self.left_out: set[str] = set()
        """The fields that the server has refused; requests go without them from then on."""
        self.renamed: dict[str, str] = {}
        """The fields for which the server has asked for another name."""
        self._paused_until = 0.0
        self.broken = ""
        """Why the last call was cut short: the server had worked, and then took the key, the model or the account no
        more; empty where it was not."""

    @property
    def length_field(self) -> str:
        """A request's field for the limit of new tokens: OpenAI's newer models know one name, other servers another."""
        return "max_completion_tokens" if self.base_url == OPENAI_URL else "max_tokens"

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """One answer for each request (the body of a chat completion without its `model`), in order.

        What the server says of one request alone (a 400, a filter, an answer that is none) is an `Answer` with
        `error`; so is what still fails after bounded retries. Once the budget is spent, the rest is `NOT_ASKED`.
        A field that the server refuses and that can be done without (`REFUSABLE`) is left out from then on.

        Raises:
            ModelError: no key, the key or the model is refused, or the account has no credit left. Where the server has
                answered before, nothing is raised and no answer lost: `broken` says why the requests left are errors.
        """
        self.broken = ""
        return _run(self._ask_all(requests))

    async def _ask_all(self, requests: Sequence[Mapping[str, Any]]) -> list[Answer]:
        try:
            import openai
            import tenacity  # noqa: F401
        except ImportError as error:
            raise MissingDependency(error.name or "openai", extra="openai") from None
        free = asyncio.Semaphore(self._concurrency)
        key = self._key()
        client = openai.AsyncOpenAI(api_key=key, base_url=self.base_url, max_retries=0, timeout=self._timeout_s)
        async with client:

            async def ask(request: Mapping[str, Any]) -> Answer:
                async with free:
                    try:
                        return await self._ask_one(client, request)
                    except ModelError as error:
                        if not self._settled:
                            raise
                        self.broken = str(error)
                        return Answer(None, error=self.broken)

            first = [] if self._settled else requests[:1]  # shows what the server takes; the others need not fail too
            answers = [await ask(request) for request in first]
            self._settled = True
            return answers + list(await asyncio.gather(*map(ask, requests[len(first) :])))

    def _key(self) -> str:
        keys = self._keys()
        if not keys and self.base_url == OPENAI_URL:
            name = self._key_variables[-1]
            raise ModelError(f"{name} is not set; set it, or name another server with --base-url")
        return keys[0] if keys else "none"  # a server of one's own often wants none, but the client insists

    def _keys(self) -> list[str]:
        return [key for name in self._key_variables if (key := os.environ.get(name))]

    async def _ask_one(self, client: "openai.AsyncOpenAI", request: Mapping[str, Any]) -> Answer:
        sent = {self.renamed.get(field, field): value for field, value in request.items() if field not in self.left_out}
        answer = await self._ask_as_is(client, sent)
        error = answer.error or ""
        refused = [field for field, said in REFUSABLE.items() if field in sent and said.match(error)]
        renamed = {field: name for field, (name, said) in RENAMED.items() if field in sent and said.match(error)}
        if not refused and not renamed:
            return answer
        for field in set(refused) - self.left_out:
            say(f"note: {self.model} refuses {field}; it is asked without")
        self.left_out.update(refused)
        self.renamed.update(renamed)
        return await self._ask_one(client, request)

    async def _ask_as_is(self, client: "openai.AsyncOpenAI", request: Mapping[str, Any]) -> Answer:
        import openai

        try:
            async for attempt in _retrying(self._first_wait_s):
                with attempt:
                    await self._pause()
                    if self.broken:
                        raise ModelError(self.broken)
                    start = time.monotonic()
                    body = await self._send(client, request)
            return _read_completion(body, time.monotonic() - start)
        except BudgetSpent:
            return Answer(None, error=NOT_ASKED)
        except (openai.AuthenticationError, openai.NotFoundError) as error:
            raise ModelError(f"{self.base_url}: {self._told(error)}") from None
        except openai.APIError as error:
            if _out_of_credit(error):
                raise ModelError(f"{self.base_url}: {self._told(error)}") from None
            return Answer(None, error=self._told(error))
        except TimeoutError:
            return Answer(None, error=f"no answer within {self._timeout_s:g} s")

    async def _pause(self) -> None:
        """Until the server wants to be asked again (`Retry-After` to any request), while there is any sense in it."""
        while self._requests_left != 0 and not self.broken and (left := self._paused_until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 1.0))

    async def _send(self, client: "openai.AsyncOpenAI", request: Mapping[str, Any]) -> bytes:
        import openai

        if self._requests_left is not None:
            if self._requests_left == 0:
                raise BudgetSpent
            self._requests_left -= 1
        try:
            async with asyncio.timeout(self._timeout_s):  # the client's own timeout starts anew with every byte
                raw = await client.chat.completions.with_raw_response.create(model=self.model, **request)
        except openai.APIStatusError as error:
            if _is_transient(error):
                self._paused_until = max(self._paused_until, time.monotonic() + (_retry_after_s(error) or 0))
            raise
        return bytes(raw.content)

    def _told(self, error: Exception) -> str:
        """The error in one line, without the key: some servers repeat it."""
        text = " ".join(str(error).split())
        for key in self._keys():
            text = text.replace(key, "***")
        return text[:_ERROR_LENGTH]


def _retrying(first_wait_s: float) -> "tenacity.AsyncRetrying":
    import tenacity

    backoff = tenacity.wait_exponential(multiplier=first_wait_s, max=LONGEST_WAIT_S)

    def wait(state: tenacity.RetryCallState) -> float:
        asked = _retry_after_s(state.outcome.exception() if state.outcome else None)
        return asked or backoff(state)

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_transient),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=wait,
        reraise=True,
    )


def _is_transient(error: BaseException) -> bool:
    """Too many requests, a fault of the server, a timeout, a lost connection; nothing else is tried again."""
    import openai

    if (_retry_after_s(error) or 0) > LONGEST_WAIT_S:
        return False
    if isinstance(error, openai.RateLimitError):
        return not _out_of_credit(error)
    if isinstance(error, openai.APIStatusError) and error.status_code == HTTPStatus.REQUEST_TIMEOUT:
        return True
    return isinstance(error, openai.APIConnectionError | openai.InternalServerError | TimeoutError)


def _out_of_credit(error: "openai.APIError") -> bool:
    status = getattr(error, "status_code", None)
    return error.code == "insufficient_quota" or status == HTTPStatus.PAYMENT_REQUIRED


def _retry_after_s(error: BaseException | None) -> float | None:
    """Seconds that the server asks to wait (RFC 9110: a number or a date), or None."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after") if response is not None else None
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


def _read_completion(body: bytes, latency_s: float) -> Answer:
    """The first choice's text as the server gave it; a `refusal` is a text too."""
    try:
        choice = _Completion.model_validate_json(body).choices[0]
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
        return Answer(None, error=f"the server's answer is not a chat completion ({what})", latency_s=latency_s)
    text = choice.message.content or choice.message.refusal or ""
    return Answer(text, finish_reason=choice.finish_reason, latency_s=latency_s)


def _checked_url(url: str) -> str:
    shown = url.rpartition("@")[2].partition("?")[0]  # what comes before or after may be a key
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets, a port that is no number
        usable = False
    if not usable:
        raise UsageError(f"--base-url {shown!r}: write it as http://HOST:PORT/v1")
    if "@" in url or parts.query:
        raise UsageError("--base-url must hold no user, password or query, for it is recorded; use OPENAI_API_KEY")
    return url.rstrip("/")


def _run(work: Coroutine[Any, Any, list[Answer]]) -> list[Answer]:
    """Run to the end, also where an event loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
