import base64
import io
from typing import Any

import numpy as np
import pytest
import soundfile

from demur.errors import UsageError
from demur.models import Query, make_model
from tests.chat_server import chat_server, completion

RATE = 16_000
SPEECH = (0.1 * np.sin(np.arange(RATE) / 20)).astype(np.float32)


def test_the_three_modalities_as_messages() -> None:
    queries = [
        Query(SPEECH, RATE, ""),
        Query(None, 0, "How do I whittle?"),
        Query(SPEECH, RATE, "Answer the question."),
    ]
    with chat_server(lambda body, _: completion(str(len(body["messages"][0]["content"])))) as served:
        model = make_model("openai:gpt-audio", {"base_url": served.url, "max_new_tokens": 7, "concurrency": 1})
        answers = model.answer(queries)
    assert [answer.text for answer in answers] == ["1", "17", "2"]
    audio_only, text_only, audio_text = (body["messages"][0]["content"] for body in served.bodies)
    assert text_only == "How do I whittle?"
    assert audio_text[1] == {"type": "text", "text": "Answer the question."}
    assert audio_only[0] == audio_text[0]
    assert audio_only[0]["input_audio"]["format"] == "wav"
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(audio_only[0]["input_audio"]["data"])), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(heard, SPEECH, atol=1e-4)
    assert {(body["model"], body["max_tokens"], body["temperature"]) for body in served.bodies} == {
        ("gpt-audio", 7, 0.0)
    }


def test_settings_hold_what_changes_answers_and_no_more() -> None:
    model = make_model(
        "openai:m", {"base_url": "http://localhost:1/v1/", "concurrency": 3, "max_requests": 5, "timeout": None}
    )
    assert model.settings == {
        "base_url": "http://localhost:1/v1",
        "audio_format": "wav",
        "max_tokens": 128,
        "temperature": 0,
    }
    assert model.name == "openai:m"


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("openai", {}, "after the colon"),
        ("openai:m", {"concurrency": 0}, "--concurrency 0"),
        ("openai:m", {"temperature": -1}, "--temperature -1"),
        ("openai:m", {"max_requests": 0}, "--max-requests 0"),
        ("openai:m", {"download": True}, "takes no --download; it takes: .*--base-url"),
    ],
)
def test_wrong_use(spec: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_model(spec, options)
