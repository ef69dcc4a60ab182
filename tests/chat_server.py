"""A chat server on loopback that answers, or misbehaves, as a test says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server sends: a JSON value or raw bytes."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0


def completion(text: str | None, finish_reason: str = "stop", **message: Any) -> Reply:
    """A chat completion with one choice."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text, **message}}
    return Reply({"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


def fault(status: int, message: str = "no", headers: dict[str, str] | None = None, code: str | None = None) -> Reply:
    """An error in OpenAI's form."""
    return Reply({"error": {"message": message, "type": "error", "code": code}}, status, headers or {})


@dataclass
class Served:
    """What the server saw."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0


@contextmanager
def chat_server(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[Served]:
    """Serve on loopback; `reply` gets a request's body and how many came before it."""
    served, lock = Served(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # headers and body in one packet: two would wait 40 ms for each other

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(served.bodies)
                served.bodies.append({"path": self.path, **body})
                served.headers.append({name.lower(): value for name, value in self.headers.items()})
                served.times.append(time.monotonic())
                served.under_way += 1
                served.most_under_way = max(served.most_under_way, served.under_way)
            answer = reply(body, number)
            time.sleep(answer.wait_s)
            with lock:
                served.under_way -= 1
            self._send(answer)

        def _send(self, answer: Reply) -> None:
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up waiting

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
