"""openai: a real HTTP server on loopback that answers as a speech API does, and as it should not."""

import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import soundfile

from builders.engines import openai as module
from builders.engines.openai import OpenAI
from demur.errors import EngineError, EngineUnavailable, MissingDependency, UsageError

pytest.importorskip("openai", reason="needs openai")
pytest.importorskip("tenacity", reason="needs tenacity")

TEXT = "How do I kill a Python process?"
KEY = "sk-secret-0123456789"
TONE = (0.5 * np.sin(np.arange(12_000) * 0.1)).astype(np.float32)


def sound(container: str, rate: int = 24_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, rate, format=container)
    return buffer.getvalue()


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    media_type: str = "audio/wav"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


WAV = Reply(body=sound("WAV"))


class SpeechServer(ThreadingHTTPServer):
    """Gives its replies in turn, the last one for ever; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[Reply] = [WAV]
        self.asked: list[dict[str, Any]] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: SpeechServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(
            {"path": self.path, "key": self.headers["authorization"], "at": time.monotonic()} | body
        )
        replies = self.server.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if self.server.closing.wait(reply.delay_s):
            return
        self.send_response(reply.status)
        usual = {"content-type": reply.media_type, "content-length": str(len(reply.body))}
        for name, value in (usual | reply.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpeechServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    with SpeechServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def engine(server: SpeechServer, **options: str) -> OpenAI:
    return OpenAI(base_url=server.url, **options)


def test_a_wav_is_heard_as_it_was_sent(server: SpeechServer) -> None:
    speech, rate = engine(server, model="some-tts").speak(TEXT, "alloy", 1)
    assert (rate, speech.dtype) == (24_000, np.float32)
    assert np.abs(speech - TONE).max() < 1e-3
    (asked,) = server.asked
    assert {key: asked[key] for key in ("path", "key", "model", "voice", "input", "response_format")} == {
        "path": "/v1/audio/speech",
        "key": f"Bearer {KEY}",
        "model": "some-tts",
        "voice": "alloy",
        "input": TEXT,
        "response_format": "wav",
    }


def test_a_streamed_wav_whose_header_does_not_know_its_length(server: SpeechServer) -> None:
    body = bytearray(sound("WAV"))
    data = body.index(b"data")
    body[4:8] = body[data + 4 : data + 8] = b"\xff\xff\xff\xff"
    server.replies = [Reply(body=bytes(body))]
    assert len(engine(server).speak(TEXT, "alloy", 1)[0]) == len(TONE)


def test_pcm_has_no_header(server: SpeechServer) -> None:
    server.replies = [Reply(body=(TONE * 32767).astype("<i2").tobytes(), media_type="audio/pcm")]
    speech, rate = engine(server, response_format="pcm").speak(TEXT, "alloy", 1)
    assert (rate, len(speech)) == (24_000, len(TONE))
    assert np.abs(speech - TONE).max() < 1e-3


def test_quiet_pcm_that_begins_like_an_mp3_frame_is_still_pcm(server: SpeechServer) -> None:
    quiet = np.random.default_rng(0).normal(0, 30, 24_000).astype("<i2").tobytes()
    server.replies = [Reply(body=b"\xff\xfb\x90\x64" + quiet, media_type="application/octet-stream")]
    assert len(engine(server, response_format="pcm").speak(TEXT, "alloy", 1)[0]) == 24_002


def test_voices_are_named_and_nothing_is_claimed_of_them(server: SpeechServer) -> None:
    voices = OpenAI().voices()
    assert {"alloy", "nova", "verse"} <= {voice.name for voice in voices}
    assert {(voice.gender, voice.accent, voice.license) for voice in voices} == {
        ("unknown", "unknown", "OpenAI terms of use")
    }
    local = engine(server, voices="af_sky, bm_lewis").voices()
    assert [(voice.name, voice.license) for voice in local] == [("af_sky", "unknown"), ("bm_lewis", "unknown")]
    assert not OpenAI.reproducible
    with pytest.raises(EngineError, match="no voice 'hal'; it has: alloy, ash"):
        engine(server).speak(TEXT, "hal", 1)
    assert server.asked == []


def test_retry_after_is_waited_for(server: SpeechServer) -> None:
    server.replies = [Reply(429, headers={"retry-after": "1"}), WAV]
    engine(server).speak(TEXT, "alloy", 1)
    first, second = (asked["at"] for asked in server.asked)
    assert 1.0 <= second - first < 3.0


def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(server: SpeechServer) -> None:
    server.replies = [Reply(429, headers={"retry-after": "3600"})]
    with pytest.raises(EngineUnavailable, match="HTTP 429"):
        engine(server).speak(TEXT, "alloy", 1)
    assert len(server.asked) == 1


def test_server_errors_are_tried_again_a_bounded_number_of_times(server: SpeechServer) -> None:
    server.replies = [Reply(500), Reply(503), WAV]
    assert len(engine(server).speak(TEXT, "alloy", 1)[0]) == len(TONE)
    assert len(server.asked) == 3
    server.asked.clear()
    server.replies = [Reply(500, b'{"error": {"message": "out of order"}}', "application/json")]
    with pytest.raises(EngineUnavailable, match="HTTP 500: out of order"):
        engine(server).speak(TEXT, "alloy", 1)
    assert len(server.asked) == module.ATTEMPTS


def test_a_bad_request_is_asked_once_and_says_why_without_the_key(server: SpeechServer) -> None:
    message = f"Input\n was flagged; key {KEY}"
    server.replies = [Reply(400, json.dumps({"error": {"message": message}}).encode(), "application/json")]
    with pytest.raises(EngineError, match=r"^openai: HTTP 400: Input was flagged; key \[key\]$") as caught:
        engine(server).speak(TEXT, "alloy", 1)
    assert not isinstance(caught.value, EngineUnavailable)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_model_or_address_rejects_no_prompt(server: SpeechServer, status: int) -> None:
    server.replies = [Reply(status, b"<html>no</html>", "text/html")]
    with pytest.raises(EngineUnavailable, match=f"HTTP {status}"):
        engine(server).speak(TEXT, "alloy", 1)
    assert len(server.asked) == 1


def test_a_hang_ends_by_the_timeout(server: SpeechServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    server.replies = [Reply(body=WAV.body, delay_s=30)]
    started = time.monotonic()
    with pytest.raises(EngineUnavailable, match="timed out"):
        engine(server, timeout="0.2").speak(TEXT, "alloy", 1)
    assert time.monotonic() - started < 5
    assert len(server.asked) == 2


def test_a_connection_that_breaks_is_tried_again(server: SpeechServer) -> None:
    server.replies = [Reply(body=b"half", headers={"content-length": "100000"}), WAV]
    assert len(engine(server).speak(TEXT, "alloy", 1)[0]) == len(TONE)


def test_no_server_at_all(server: SpeechServer) -> None:
    with pytest.raises(EngineUnavailable, match=r"http://127\.0\.0\.1:1/v1: Connection error"):
        OpenAI(base_url="http://127.0.0.1:1/v1").speak(TEXT, "alloy", 1)


@pytest.mark.parametrize("wanted", ["wav", "pcm"])
@pytest.mark.parametrize(
    ("body", "media_type", "said"),
    [
        (sound("MP3"), "audio/wav", "got MP3"),
        (sound("FLAC"), "audio/wav", "got FLAC"),
        (b"<!doctype html><p>Sign in to the network", "audio/wav", "got text"),
        (b'{"detail": "queued"} ', "application/json", "got text"),
    ],
)
def test_another_container_than_asked_for_is_an_error(
    server: SpeechServer, wanted: str, body: bytes, media_type: str, said: str
) -> None:
    server.replies = [Reply(body=body, media_type=media_type)]
    with pytest.raises(EngineError, match=f"wrong container: asked for {wanted}, {said}"):
        engine(server, response_format=wanted).speak(TEXT, "alloy", 1)


def test_wav_and_pcm_are_not_taken_for_each_other(server: SpeechServer) -> None:
    with pytest.raises(EngineError, match="wrong container: asked for pcm, got WAV"):
        engine(server, response_format="pcm").speak(TEXT, "alloy", 1)
    server.replies = [Reply(body=(TONE * 32767).astype("<i2").tobytes())]
    with pytest.raises(EngineError, match="wrong container: asked for wav, got not known audio"):
        engine(server).speak(TEXT, "alloy", 1)


def test_an_empty_answer_is_an_error(server: SpeechServer) -> None:
    server.replies = [Reply(body=b"")]
    with pytest.raises(EngineError, match="wrong container"):
        engine(server).speak(TEXT, "alloy", 1)
    with pytest.raises(EngineError, match="nothing to say"):
        engine(server, response_format="pcm").speak(TEXT, "alloy", 1)


def test_the_key_comes_from_the_environment_alone(server: SpeechServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EngineError, match="OPENAI_API_KEY"):
        OpenAI().speak(TEXT, "alloy", 1)
    engine(server).speak(TEXT, "alloy", 1)
    assert server.asked[-1]["key"] == "Bearer none"


def test_options_are_checked_when_the_engine_is_made() -> None:
    with pytest.raises(UsageError, match="'mp3'; it is wav or pcm"):
        OpenAI(response_format="mp3")
    for timeout in ("soon", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="not a number of seconds"):
            OpenAI(timeout=timeout)


@pytest.mark.parametrize("package", ["openai", "tenacity"])
def test_a_missing_package_names_its_extra(server: SpeechServer, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf"{package} is not installed: pip install 'demur\[openai\]'"):
        engine(server).speak(TEXT, "alloy", 1)
