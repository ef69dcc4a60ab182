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


def test_lessons(tmp_path: Path) -> None:
    sentences = write(tmp_path / "s.jsonl", Parrot(), 700)
    with suppress(KeyboardInterrupt):
        texts.write_lessons(tmp_path / "l.jsonl", sentences, seed=0, writer=Parrot(stop_after=2), quiet=True)
    assert len(list(read_jsonl(tmp_path / "l.jsonl"))) == texts.BATCH
    lessons = texts.write_lessons(tmp_path / "l.jsonl", sentences, seed=0, writer=Parrot(), quiet=True)
    assert [lesson["text"] for lesson in lessons] == sentences
    repeats = [lesson for lesson in lessons if lesson["answer"] == lesson["text"]]
    assert 0.3 < len(repeats) / len(lessons) < 0.5
    assert all(lesson["instruction"] in texts.REPEAT for lesson in repeats)
    for lesson in lessons:
        if lesson not in repeats:
            assert lesson["answer"] == f"Answer to {texts.message(lesson)}"
