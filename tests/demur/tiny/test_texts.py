from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from demur.files import read_jsonl
from demur.tiny import texts


class Parrot:
    """A writer that makes sentences up by number, and can be stopped."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.left = stop_after
        self.tokenizer = self

    def get_vocab(self) -> dict[str, int]:
        return {"Ġgarden": 0, "Ġriver": 1, "Ġof": 2, "house": 3}

    def sample(self, openings: Sequence[str], *, tokens: int, seed: int) -> list[str]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        words = ["apple", "bread", "stone", "cloud", "horse", "lemon", "piano", "chair", "ocean", "tiger"]

        def sentence(n: int) -> str:
            return "Where is " + " ".join(words[int(digit)] for digit in f"{(seed + n) % 10**6:06}") + "?"

        return [sentence(n) if n % 4 else "No." for n in range(len(openings))]

    def tell(self, scene: str, openings: Sequence[str], *, tokens: int, seed: int) -> list[str]:
        assert scene in texts.SCENES
        assert all(any(word in opening for word in ("garden", "river")) for opening in openings)
        return self.sample(openings, tokens=tokens, seed=seed)

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.get_vocab()[token]

    def answer(self, messages: Sequence[str], *, tokens: int) -> list[str]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return [f"Answer to {message}" for message in messages]


def write(path: Path, writer: Any, count: int = 1000) -> list[str]:
    return texts.write_sentences(path, count=count, seed=0, writer=writer, avoid=[], quiet=True)


def test_what_counts_as_a_sentence(tmp_path: Path) -> None:
    class Mixed(Parrot):
        def sample(self, openings: Sequence[str], *, tokens: int, seed: int) -> list[str]:
            said = ["How do I bake bread?", "how do I bake bread?", "I have 3 apples here.", "Too short.", "No end",
                    "How do I bake  bread?", "It’s my friend's house.", "A known prompt of the set."]  # fmt: skip
            return [*said, *super().sample(openings, tokens=tokens, seed=seed)]

    avoid = ["a known prompt, of the set!"]
    found = texts.write_sentences(tmp_path / "s", count=300, seed=0, writer=Mixed(), avoid=avoid, quiet=True)
    assert found[:2] == ["How do I bake bread?", "It's my friend's house."]
    assert len(found) == len(set(found)) == 300
    assert all(4 <= len(text.split()) <= 16 for text in found)


def test_sentences_go_on_where_they_stopped(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.jsonl", Parrot())
    with suppress(KeyboardInterrupt):
        write(tmp_path / "killed.jsonl", Parrot(stop_after=2))
    assert write(tmp_path / "killed.jsonl", Parrot()) == whole
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_tales_go_on_where_they_stopped(tmp_path: Path) -> None:
    def tell(name: str, writer: Any) -> list[str]:
        return texts.write_tales(tmp_path / name, count=1000, seed=0, writer=writer, avoid=[], quiet=True)

    whole = tell("whole.jsonl", Parrot())
    with suppress(KeyboardInterrupt):
        tell("killed.jsonl", Parrot(stop_after=2))
    assert tell("killed.jsonl", Parrot()) == whole
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert all(6 <= len(text.split()) <= 20 for text in whole)


def lessons_of(path: Path, sentences: Sequence[str], make: Any, writer: Any) -> list[dict[str, Any]]:
    return texts.write_lessons(path, sentences, make, seed=0, writer=writer, quiet=True)


def test_lessons(tmp_path: Path) -> None:
    sentences = write(tmp_path / "s.jsonl", Parrot(), 700)
    with suppress(KeyboardInterrupt):
        lessons_of(tmp_path / "l.jsonl", sentences, texts.turn_lesson, Parrot(stop_after=2))
    assert len(list(read_jsonl(tmp_path / "l.jsonl"))) == texts.BATCH
    lessons = lessons_of(tmp_path / "l.jsonl", sentences, texts.turn_lesson, Parrot())
    assert [lesson["text"] for lesson in lessons] == sentences
    repeats = [lesson for lesson in lessons if lesson["answer"] == lesson["text"]]
    assert 0.3 < len(repeats) / len(lessons) < 0.5
    assert all(lesson["instruction"] in texts.REPEAT for lesson in repeats)
    for lesson in lessons:
        if lesson not in repeats:
            assert lesson["answer"] == f"Answer to {texts.message(lesson)}"


def test_lessons_of_tales_are_answered_as_without_the_instruction(tmp_path: Path) -> None:
    sentences = write(tmp_path / "s.jsonl", Parrot(), 600)
    lessons = lessons_of(tmp_path / "l.jsonl", sentences, texts.tale_lesson, Parrot())
    answered = [lesson for lesson in lessons if lesson["answer"] != lesson["text"]]
    assert 0.4 < len(answered) / len(lessons) < 0.6
    assert all(lesson["answer"] == f"Answer to {lesson['text']}" for lesson in answered)
    instructed = [lesson for lesson in answered if lesson["instruction"]]
    assert 0.5 < len(instructed) / len(answered) < 0.7
    assert all(lesson["instruction"] in texts.ANSWER and not lesson["heeded"] for lesson in instructed)


def test_no_instruction_is_the_papers_or_a_tunings() -> None:
    from demur.finetune.wordings import POOL, REFUSING

    assert not {*texts.ANSWER, *texts.INSTRUCTIONS, *texts.REPEAT} & {*POOL, REFUSING}
