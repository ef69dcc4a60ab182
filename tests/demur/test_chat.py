import asyncio
import time
from email.utils import formatdate
from typing import Any

import pytest

from demur.chat import ATTEMPTS, ChatClient
from demur.errors import ModelError, UsageError
from demur.models import NOT_ASKED, Answer
from tests.chat_server import Reply, chat_server, completion, fault

KEY = "sk-test-do-not-tell-anyone"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def request(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0}


def client(url: str, **options: Any) -> ChatClient:
    return ChatClient("m", base_url=url, **{"first_wait_s": 0.01, "timeout_s": 5.0, **options})


def echo(body: dict[str, Any], _: int) -> Reply:
    return completion(f"You said: {body['messages'][0]['content']}")


def test_answers_come_in_order_with_model_and_key_sent() -> None:
    with chat_server(echo) as served:
        answers = client(served.url).ask([request(str(n)) for n in range(20)])
    assert [answer.text for answer in answers] == [f"You said: {n}" for n in range(20)]
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert all(answer.latency_s is not None and answer.latency_s > 0 for answer in answers)
    assert {body["model"] for body in served.bodies} == {"m"}
    assert {body["path"] for body in served.bodies} == {"/v1/chat/completions"}
    assert {headers["authorization"] for headers in served.headers} == {f"Bearer {KEY}"}


def test_no_more_requests_under_way_than_allowed() -> None:
    def slow(body: dict[str, Any], _: int) -> Reply:
        return Reply(completion("yes").body, wait_s=0.05)

    with chat_server(slow) as served:
        client(served.url, concurrency=3).ask([request("a")] * 12)
    assert served.most_under_way == 3


def test_retry_after_is_honoured() -> None:
    with chat_server(lambda _, n: fault(429, headers={"Retry-After": "0.4"}) if n == 0 else completion("ok")) as served:
        [answer] = client(served.url).ask([request("a")])
    assert answer.text == "ok"
    assert 0.4 <= served.times[1] - served.times[0] < 2


@pytest.mark.parametrize("status", [429, 503])
def test_all_requests_wait_where_a_server_asks_one_to(status: int) -> None:
    def reply(_: dict[str, Any], n: int) -> Reply:
        if n == 1:
            return fault(status, headers={"Retry-After": "1"})
        return Reply(completion("ok").body, wait_s=0.2)

    with chat_server(reply) as served:
        answers = client(served.url, concurrency=3).ask([request("a")] * 12)
    assert [answer.text for answer in answers] == ["ok"] * 12
    asked = served.times[1]
    assert sum(asked < at < asked + 0.9 for at in served.times) <= 2  # those that were under way already
    assert len(served.times) == 13
    assert max(answer.latency_s or 0 for answer in answers) < 0.9


def test_a_pause_of_nothing_is_no_pause() -> None:
    with chat_server(lambda _, n: fault(429, headers={"Retry-After": "0"}) if n < 2 else completion("ok")) as served:
        [answer] = client(served.url, first_wait_s=0.2).ask([request("a")])
    assert answer.text == "ok"
    assert served.times[2] - served.times[0] >= 0.2 + 0.4


@pytest.mark.parametrize("reply", [fault(402, "Insufficient Balance"), fault(401, "key revoked")], ids=["402", "401"])
def test_what_was_answered_before_an_account_is_closed_is_kept(reply: Reply) -> None:
    with chat_server(lambda body, n: echo(body, n) if n < 3 else reply) as served:
        some = client(served.url, concurrency=1)
        answers = some.ask([request(str(n)) for n in range(6)])
    assert [answer.text for answer in answers] == ["You said: 0", "You said: 1", "You said: 2", None, None, None]
    assert {answer.error for answer in answers[3:]} == {some.broken}
    assert f"Error code: {reply.status}" in some.broken
    assert len(served.bodies) == 4


def test_an_account_that_is_paid_again_is_asked_again() -> None:
    with chat_server(lambda body, n: fault(402, "no credit") if n == 1 else echo(body, n)) as served:
        some = client(served.url, concurrency=1)
        assert [answer.text for answer in some.ask([request("a")] * 3)] == ["You said: a", None, None]
        assert [answer.text for answer in some.ask([request("b")])] == ["You said: b"]
        assert some.broken == ""


def test_requests_that_wait_are_not_sent_to_a_closed_account() -> None:
    def reply(body: dict[str, Any], n: int) -> Reply:
        return echo(body, n) if n == 0 else fault(429, headers={"Retry-After": "1"}) if n < 3 else fault(402)

    with chat_server(reply) as served:
        some = client(served.url, concurrency=3)
        start = time.monotonic()
        answers = some.ask([request("a")] * 9)
    assert len(served.bodies) <= 4
    assert sum(answer.text is not None for answer in answers) == 1
    assert time.monotonic() - start < 20


def test_retry_after_may_be_a_date() -> None:
    def reply(_: dict[str, Any], n: int) -> Reply:
        return (
            fault(429, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)})
            if n == 0
            else completion("ok")
        )

    with chat_server(reply) as served:
        [answer] = client(served.url).ask([request("a")])
    assert answer.text == "ok"
    assert served.times[1] - served.times[0] > 0.5


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_pause_that_is_too_long_is_not_waited_for(status: int) -> None:
    with chat_server(lambda *_: fault(status, "come back", headers={"Retry-After": "86400"})) as served:
        [answer] = client(served.url).ask([request("a")])
    assert answer.text is None
    assert "come back" in str(answer.error)
    assert len(served.bodies) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 529])
def test_a_fault_of_the_server_is_tried_again(status: int) -> None:
    with chat_server(lambda _, n: fault(status) if n < 2 else completion("ok")) as served:
        [answer] = client(served.url).ask([request("a")])
    assert answer.text == "ok"
    assert len(served.bodies) == 3


def test_tries_are_bounded_and_the_error_is_kept() -> None:
    with chat_server(lambda *_: fault(500, "it broke")) as served:
        [answer] = client(served.url).ask([request("a")])
    assert answer.text is None
    assert "it broke" in str(answer.error)
    assert len(served.bodies) == ATTEMPTS


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_refused_request_is_an_error_at_once_never_an_answer(status: int) -> None:
    with chat_server(lambda body, _: fault(status, "bad audio") if "1" in str(body) else echo(body, 0)) as served:
        answers = client(served.url).ask([request("0"), request("1"), request("2")])
    assert [answer.text for answer in answers] == ["You said: 0", None, "You said: 2"]
    assert "bad audio" in str(answers[1].error)
    assert len(served.bodies) == 3


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (fault(401, "Incorrect API key"), "Incorrect API key"),
        (fault(404, "The model `m` does not exist"), "does not exist"),
        (fault(429, "You exceeded your current quota", code="insufficient_quota"), "quota"),
    ],
)
def test_what_no_retry_can_mend_ends_the_run(reply: Reply, said: str) -> None:
    with chat_server(lambda *_: reply) as served, pytest.raises(ModelError, match=said):
        client(served.url, concurrency=1).ask([request("a")] * 5)
    assert len(served.bodies) <= 2


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported.",
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "`temperature` is deprecated for this model.",
    ],
)
def test_a_temperature_that_a_model_refuses_is_left_out_once_for_all(
    said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(lambda body, n: fault(400, said) if "temperature" in body else echo(body, n)) as served:
        some = client(served.url)
        answers = [*some.ask([request(str(n)) for n in range(8)]), *some.ask([request("8")])]
    assert [answer.text for answer in answers] == [f"You said: {n}" for n in range(9)]
    assert ["temperature" in body for body in served.bodies] == [True] + [False] * 9
    assert some.left_out == {"temperature"}
    assert capsys.readouterr().err == "note: m refuses temperature; it is asked without\n"


def test_a_limit_that_has_another_name_behind_a_proxy_is_sent_by_it() -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with chat_server(lambda body, n: fault(400, said) if "max_tokens" in body else echo(body, n)) as served:
        some = client(served.url)
        assert some.length_field == "max_tokens"
        answers = some.ask([{**request(str(n)), some.length_field: 7} for n in range(4)])
    assert [answer.text for answer in answers] == [f"You said: {n}" for n in range(4)]
    assert [body.get("max_completion_tokens") for body in served.bodies] == [None, 7, 7, 7, 7]


def test_a_wrong_temperature_is_an_error() -> None:
    with chat_server(lambda *_: fault(400, "temperature must be at most 1")) as served:
        [answer] = client(served.url).ask([request("a")])
    assert "at most 1" in str(answer.error)
    assert len(served.bodies) == 1


def test_the_key_is_cut_out_of_what_a_server_says() -> None:
    with chat_server(lambda *_: fault(400, f"bad request with key {KEY}")) as served:
        [answer] = client(served.url).ask([request("a")])
    assert KEY not in str(answer.error)
    assert "***" in str(answer.error)


def test_a_server_that_hangs_is_left_after_the_timeout() -> None:
    with chat_server(lambda *_: Reply(b"{}", wait_s=0.5)) as served:
        start = time.monotonic()
        [answer] = client(served.url, timeout_s=0.1).ask([request("a")])
    assert answer.text is None
    assert answer.error
    assert len(served.bodies) == ATTEMPTS
    assert time.monotonic() - start < 5


def test_a_server_that_is_not_there() -> None:
    [answer] = client("http://127.0.0.1:9/v1").ask([request("a")])
    assert answer.text is None
    assert "onnection" in str(answer.error)


def test_a_refusal_field_is_the_text_and_a_filtered_answer_stays_as_it_came() -> None:
    replies = [
        completion(None, refusal="I can't help."),
        completion("", "content_filter"),
        completion("Half", "length"),
    ]
    with chat_server(lambda _, n: replies[n]) as served:
        answers = client(served.url, concurrency=1).ask([request("a")] * 3)
    assert [(answer.text, answer.finish_reason) for answer in answers] == [
        ("I can't help.", "stop"),
        ("", "content_filter"),
        ("Half", "length"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b'{"choices": [', {}, {"choices": []}, {"choices": [{}]}, [], "ok", None),
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": {"content": "\ud800"}}]},
    ],
)
def test_what_is_no_completion_is_an_error(body: Any) -> None:
    with chat_server(lambda *_: Reply(body)) as served:
        [answer] = client(served.url).ask([request("a")])
    assert answer.text is None
    assert "not a chat completion" in str(answer.error)


def test_the_budget_counts_every_request_and_the_rest_is_not_asked() -> None:
    with chat_server(lambda _, n: fault(500) if n == 0 else completion("ok")) as served:
        some = client(served.url, max_requests=4, concurrency=1)
        answers = some.ask([request("a")] * 6)
        more = some.ask([request("a")])
    assert [answer.text for answer in answers] == ["ok", "ok", "ok", None, None, None]
    assert [answers[-1], *more] == [Answer(None, error=NOT_ASKED)] * 2
    assert len(served.bodies) == 4


def test_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="OPENAI_API_KEY"):
        ChatClient("m").ask([request("a")])
    with chat_server(echo) as served:
        assert client(served.url).ask([request("a")])[0].text == "You said: a"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x/v1", "http://me:secret@host/v1", "http://host/v1?key=secret"]
)
def test_an_address_that_cannot_be_used_or_recorded(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        ChatClient("m", base_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "me:secret@host:8000/v1",
        "ftp://me:secret@host/v1",
        "http://me:secret@",
        "http://me:sec/ret@[host",
        "host/v1?key=secret",
    ],
)
def test_no_key_in_a_malformed_address_is_shown(url: str) -> None:
    with pytest.raises(UsageError, match="write it as http://HOST:PORT/v1") as told:
        ChatClient("m", base_url=url)
    assert "sec" not in str(told.value)


def test_works_inside_a_running_event_loop() -> None:
    async def notebook(url: str) -> list[Answer]:
        return client(url).ask([request("a")])

    with chat_server(echo) as served:
        [answer] = asyncio.run(notebook(served.url))
    assert answer.text == "You said: a"
