"""`openai:MODEL`: a model behind any OpenAI-compatible server (OpenAI, vLLM); audio as `input_audio` parts."""

import base64
import io
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from demur.audio import Samples
from demur.chat import ChatClient
from demur.errors import UsageError
from demur.models import Answer, Model, ModelOptions, Query


class OpenAIOptions(ModelOptions):
    """Where the server is, and how hard it may be asked."""

    batch_size: int = Field(default=32, ge=1)
    """Answers that a kill can lose at most; requests at once are `concurrency`."""
    base_url: str | None = None
    concurrency: int = Field(default=8, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_requests: int | None = Field(default=None, ge=1)


class OpenAIModel(Model):
    """A model that is asked over HTTP, each query by itself."""

    Options = OpenAIOptions
    batch_matters = False
    metered = True

    def __init__(self, name: str, options: OpenAIOptions) -> None:
        if not name:
            raise UsageError("openai: name the model after the colon, for example openai:gpt-audio")
        self.name = f"openai:{name}"
        self.batch_size, self.max_new_tokens = options.batch_size, options.max_new_tokens
        self._client = ChatClient(
            name,
            base_url=options.base_url,
            concurrency=options.concurrency,
            timeout_s=options.timeout,
            max_requests=options.max_requests,
        )
        self._decoding = {self._client.length_field: options.max_new_tokens, "temperature": options.temperature}
        self.settings = {"base_url": self._client.base_url, "audio_format": "wav", **self._decoding}

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer for each query; see `ChatClient.ask` for what is an error and what ends the run."""
        answers = self._client.ask([{"messages": to_messages(query), **self._decoding} for query in queries])
        self.left_out, self.broken = frozenset(self._client.left_out), self._client.broken
        return answers


def to_messages(query: Query) -> list[dict[str, Any]]:
    """A query as one user message: plain text, or an audio part and then the text if there is one."""
    if query.audio is None:
        return [{"role": "user", "content": query.input_text}]
    data = base64.b64encode(_to_wav(query.audio, query.rate)).decode()
    parts: list[dict[str, Any]] = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
    if query.input_text:
        parts.append({"type": "text", "text": query.input_text})
    return [{"role": "user", "content": parts}]


def _to_wav(samples: Samples, rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
