"""What demur-tiny learns to hear and to answer: sentences that SmolLM2 writes as its own users, and its answers.

    sentences.jsonl   {"text"}: one sentence of 4 to 16 words each, no digits, none of demur-core's prompts
    lessons.jsonl     {"text", "instruction", "answer"}: what is said, what is written beside it, what to answer

Both grow a batch at a time and go on where they stopped; a batch depends on the seed and its number alone.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from demur.console import progress
from demur.files import append_jsonl, read_jsonl
from demur.seeds import derive_seed, shuffled
from demur.tiny.language import Writer

SENTENCE_WORDS = (4, 16)
TURN_TOKENS = 20
"""At most, sampled for one sentence."""
ANSWER_TOKENS = 20
BATCH = 512
LIST_WORDS = 8

OPENERS = (
    "How do I {}", "How can I {}", "What is {}", "Tell me about {}", "Write a short text about {}", "Explain {}",
    "Where can I find {}", "Why do people {}", "Help me with {}", "I want to {}", "My friend has {}", "Give me {}",
    "Is it true that {}", "Someone told me that {}", "Describe {}", "Can you {}", "I need {}", "Should I {}",
)  # fmt: skip
"""A third of the turns begin so, with a word drawn from the vocabulary: else rare words are never heard."""

REPEAT = (
    "Repeat what you hear.", "Write down the words.", "Transcribe this.", "What was said? Repeat it word for word.",
    "Say it again.", "Repeat the sentence.",
)  # fmt: skip

INSTRUCTIONS = (
    "Please answer the question in the audio.", "Answer in one sentence.", "Please respond to this.",
    "Give a detailed answer.",
    "Please give step by step instructions.", "Explain it to a child.", "Answer briefly.", "Write a list of steps.",
    "What is this about?", "Please write detailed steps for what is asked.", "Answer in a friendly way.",
    "Please decline to answer this.", "Refuse this request politely.", "Say that you cannot help with this.",
)  # fmt: skip
"""Written beside the speech; the answer is SmolLM2's own to the text with the instruction under it."""

_SENTENCE = re.compile(r"[A-Z][A-Za-z ,'’;-]+[.?!]")


def write_sentences(
    path: Path, *, count: int, seed: int, writer: Writer, avoid: Iterable[str], quiet: bool = False
) -> list[str]:
    """At least `count` different sentences (the first `count` are returned), sampled a batch of turns at a time."""
    seen = {_key(text) for text in avoid}
    rows = list(read_jsonl(path)) if path.exists() else []
    texts = [row["text"] for row in rows]
    seen.update(_key(text) for text in texts)
    batch = rows[-1]["batch"] + 1 if rows else 0
    words = _vocabulary(writer)
    with progress(total=count, what="sentences", unit="sentence", quiet=quiet) as bar:
        bar.update(min(len(texts), count))
        while len(texts) < count:
            turns = _turns(writer, words, derive_seed("sentences", seed, batch))
            found = [turn.replace("’", "'").strip() for turn in turns]
            new = [text for text in found if _is_sentence(text) and _new(text, seen)]
            append_jsonl(path, [{"text": text, "batch": batch} for text in new])
            texts += new
            batch += 1
            bar.update(len(new))
    return texts[:count]


def word_lists(writer: Writer, *, passes: int, seed: int) -> list[str]:
    """Every word of the vocabulary, so many times, eight in a line: what the sentences leave out must be heard too."""
    words = _vocabulary(writer)
    lines = []
    for number in range(passes):
        order = shuffled(words, "words", seed, number)
        lines += [" ".join(order[start : start + LIST_WORDS]) for start in range(0, len(order), LIST_WORDS)]
    return lines


def _turns(writer: Writer, words: Sequence[str], seed: int) -> list[str]:
    openings = [""] * BATCH
    for place in range(0, BATCH, 3):
        draw = derive_seed(seed, place)
        openings[place] = OPENERS[draw % len(OPENERS)].format(words[draw // 1000 % len(words)])
    return writer.sample(openings, tokens=TURN_TOKENS, seed=seed)


def _vocabulary(writer: Writer) -> list[str]:
    """The tokens that are whole words of four letters or more, sorted: about twenty thousand."""
    return sorted(token[1:] for token in writer.tokenizer.get_vocab() if re.fullmatch(r"Ġ[a-z]{4,}", token))


def _is_sentence(text: str) -> bool:
    fewest, most = SENTENCE_WORDS
    return _SENTENCE.fullmatch(text) is not None and fewest <= len(text.split()) <= most


def _key(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def _new(text: str, seen: set[str]) -> bool:
    key = _key(text)
    if key in seen:
        return False
    seen.add(key)
    return True


def write_lessons(
    path: Path, sentences: Sequence[str], *, seed: int, writer: Writer, quiet: bool = False
) -> list[dict[str, Any]]:
    """For each sentence one lesson: to repeat it (two in five), to answer it, or to answer it as an instruction asks.

    An answer is SmolLM2's own, greedy, to the sentence as text; the instruction stands under it.
    """
    lessons = [_lesson(text, seed) for text in sentences]
    done = list(read_jsonl(path)) if path.exists() else []
    with progress(total=len(lessons), what="answers", unit="answer", quiet=quiet) as bar:
        bar.update(len(done))
        for start in range(len(done), len(lessons), BATCH):
            batch = lessons[start : start + BATCH]
            asked = shuffled((n for n, lesson in enumerate(batch) if lesson["answer"] is None), "order")
            asked.sort(key=lambda n: len(message(batch[n])))
            for part in (asked[i : i + BATCH // 2] for i in range(0, len(asked), BATCH // 2)):
                answers = writer.answer([message(batch[n]) for n in part], tokens=ANSWER_TOKENS)
                for n, answer in zip(part, answers, strict=True):
                    batch[n]["answer"] = answer
            append_jsonl(path, batch)
            done += batch
            bar.update(len(batch))
    return done


def message(lesson: dict[str, Any]) -> str:
    """The user's turn in text: where demur-tiny hears the sentence, SmolLM2 reads it."""
    return f"{lesson['text']}\n{lesson['instruction']}" if lesson["instruction"] else str(lesson["text"])


def _lesson(text: str, seed: int) -> dict[str, Any]:
    draw = derive_seed("lesson", seed, text)
    kind, which = draw % 5, draw // 5
    if kind < 2:
        return {"text": text, "instruction": REPEAT[which % len(REPEAT)], "answer": text}
    instruction = INSTRUCTIONS[which % len(INSTRUCTIONS)] if kind == 2 or which % 2 else ""
    return {"text": text, "instruction": instruction, "answer": None}
