"""openai: voices of the OpenAI speech API (`audio.speech`), or of any server that speaks it (`base_url`).

The key comes from the environment variable OPENAI_API_KEY and from nowhere else; a server on this machine needs none.
Only what may pass (HTTP 429 and 5xx, timeouts, broken connections) is tried again, a bounded number of times, after
the wait that the server asks for.
"""

import io
import ipaddress
import os
import threading
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from builders.engines import Voice
from builders.engines.common import check_voice, checked, from_pcm16, names_in, require
from demur.audio import Samples, decode
from demur.errors import EngineError, EngineUnavailable, InputError, UsageError

if TYPE_CHECKING:
    import tenacity

HOST = "https://api.openai.com/v1"
PCM_RATE = 24_000
"""Hz; the API's `pcm` is mono 16-bit little-endian at this rate, without a header."""
LOUDEST_PCM = 0.4
"""Root mean square: speech stays below 0.3; an MP3's bytes as samples reach 0.58, a web page's 0.7."""
ATTEMPTS = 5
FIRST_WAIT_S = 1.0
"""Doubled after each failure, unless the server says how long to wait."""
LONGEST_WAIT_S = 60.0
"""A server that asks for more is not asked again."""
NO_KEY = "none"
"""What a server on this machine is sent where there is no key."""
_PROMPT_AT_FAULT = (400, 413, 422)
"""HTTP statuses that blame this request; the others concern the key, the model, the address or the server."""
_VOICES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse"


class OpenAI:
    """Voices over HTTP. They cannot be seeded, and what a model's name stands for may change: not reproducible."""

    name = "openai"
    reproducible = False
    PACKAGES = ("openai",)
    OPTIONS = ("model", "base_url", "voices", "response_format", "timeout")

    def __init__(
        self,
        model: str = "gpt-4o-mini-tts",
        base_url: str = "",
        voices: str = "",
        response_format: str = "wav",
        timeout: str = "60",
    ) -> None:
        if response_format not in ("wav", "pcm"):
            raise UsageError(f"openai.response_format: {response_format!r}; it is wav or pcm")
        self._timeout_s = _seconds(timeout)
        self._model = model
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or HOST
        self._names = names_in(voices) or _VOICES.split()
        self._format = response_format
        self._client: Any = None
        self._lock = threading.Lock()

    def voices(self) -> Sequence[Voice]:
        """The API's voices, or those that the option `voices` names; their gender and accent are not documented."""
        require("openai", "openai", "openai")
        ours = self._base_url.rstrip("/") == HOST
        license_name = "OpenAI terms of use" if ours else "unknown"
        return [Voice(self.name, name, "unknown", "unknown", "en", license_name) for name in self._names]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:  # noqa: ARG002
        """Speech at the rate of the server's file; 24 kHz for `pcm`."""
        check_voice(self.name, self._names, voice)
        data, media_type = self._request(text, voice)
        samples, rate = _read(data, self._format, media_type)
        return checked(self.name, samples), rate

    def _request(self, text: str, voice: str) -> tuple[bytes, str]:
        """The body and its media type; the errors that are left after the retries, as ours."""
        client = self._connect()
        import openai
        import tenacity

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_wait_s,
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            response = retrying(
                client.audio.speech.create, model=self._model, voice=voice, input=text, response_format=self._format
            )
        except openai.APIStatusError as error:
            message = self._without_key(f"openai: HTTP {error.status_code}: {_said(error)}")
            kind = EngineError if error.status_code in _PROMPT_AT_FAULT else EngineUnavailable
            raise kind(message) from None
        except openai.APIError as error:
            raise EngineUnavailable(self._without_key(f"openai: {self._base_url}: {error.message}")) from None
        return response.content, response.response.headers.get("content-type", "")

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                require("openai", "openai", "openai")
                require("tenacity", "tenacity", "openai")
                import openai

                self._client = openai.OpenAI(
                    api_key=_key(self._base_url), base_url=self._base_url, timeout=self._timeout_s, max_retries=0
                )
        return self._client

    def _without_key(self, message: str) -> str:
        key = self._client.api_key
        return message if key == NO_KEY else message.replace(key, "[key]")


def _seconds(option: str) -> float:
    try:
        seconds = float(option)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < inf:
        raise UsageError(f"openai.timeout: {option!r} is not a number of seconds")
    return seconds


def _key(base_url: str) -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if key:
        return key
    if _is_loopback(base_url):
        return NO_KEY
    raise EngineUnavailable("openai needs a key: set the environment variable OPENAI_API_KEY")


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _may_pass(error: BaseException) -> bool:
    import openai

    if isinstance(error, openai.APIStatusError):
        passing = error.status_code == 429 or error.status_code >= 500
        return passing and (_retry_after_s(error) or 0.0) <= LONGEST_WAIT_S
    return isinstance(error, openai.APIConnectionError)


def _wait_s(state: "tenacity.RetryCallState") -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = _retry_after_s(error)
    return min(FIRST_WAIT_S * 2 ** (state.attempt_number - 1), LONGEST_WAIT_S) if asked is None else asked


def _retry_after_s(error: Any) -> float | None:
    """Seconds in the header Retry-After (RFC 9110, 10.2.3); a date in it counts from now."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    response = getattr(error, "response", None)
    value = response.headers.get("retry-after", "") if response is not None else ""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _said(error: Any) -> str:
    """The server's own message, on one line and not too long."""
    body = error.body if isinstance(error.body, dict) else {}
    return " ".join(str(body.get("message") or error.message).split())[:300]


def _read(data: bytes, wanted: str, media_type: str) -> tuple[Samples, int]:
    """Samples and rate, once the bytes are what was asked for.

    Raises:
        EngineError: they are something else: an MP3, a web page.
    """
    import soundfile

    try:
        found = soundfile.info(io.BytesIO(data)).format
    except soundfile.LibsndfileError:
        found = "text" if data.lstrip()[:1] in (b"<", b"{") else "not known audio"
    if wanted == "pcm" and _is_pcm(data):
        return from_pcm16(data), PCM_RATE
    if wanted == "wav" and found in ("WAV", "WAVEX"):
        try:
            return decode(data)
        except InputError as error:
            raise EngineError(f"openai: damaged wav: {error}") from None
    raise EngineError(f"openai: wrong container: asked for {wanted}, got {found} ({media_type or 'no content type'})")


def _is_pcm(data: bytes) -> bool:
    """PCM has no header to look for; but text and compressed sound, read as samples, are louder than any speech."""
    level = float(np.sqrt(np.mean(np.square(from_pcm16(data))))) if len(data) > 1 else 0.0
    return len(data) % 2 == 0 and not data.startswith(b"RIFF") and level < LOUDEST_PCM
