"""What demur-tiny learns to hear and to answer: sentences that SmolLM2 writes as its own users, and its answers.

    sentences.jsonl   {"text"}: one sentence of 4 to 16 words each, no digits, none of demur-core's prompts
    tales.jsonl       {"text"}: one sentence of 6 to 20 words each, from everyday scenes: turns alone lack most of the
                      words that people use at home ("he", "against", "stab")
    lessons.jsonl     {"text", "instruction", "answer"}: what is said, what is written beside it, what to answer; in
                      tale-lessons.jsonl also "heeded", whether the instruction changes the answer

All grow a batch at a time and go on where they stopped; a batch depends on the seed and its number alone.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demur.console import progress
from demur.files import append_jsonl, read_jsonl
from demur.seeds import derive_seed, shuffled
from demur.tiny.language import Writer

SENTENCE_WORDS, TALE_WORDS = (4, 16), (6, 20)
TURN_TOKENS, TALE_TOKENS = 20, 24
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

SCENES = (
    "It was late when I got home. ", "My sister called from the kitchen and told me what had happened at the shop. ",
    "The police came to our street in the morning and talked to the neighbours. ",
    "He locked the door, put his bag on the table and looked at her. ",
    "We drove to the lake with the children, the dog and too much food. ",
    "At work my boss was angry again, and nobody knew why. ",
    "The old man sat down by the fire and began to tell us a story. ",
    "She wrote a long letter to her friend, who was ill in hospital. ",
    "The thief climbed through the window while everyone slept. ",
    "On the farm there was always something to repair, to feed or to cut. ",
    "The film was about a girl, a soldier and a stolen car. ",
    "Grandmother knew how to cook, clean and mend everything in the house. ",
    "Two men were arguing over money outside the bar. ",
    "He owed them money, so they followed him home and broke his door. ",
    "My neighbour plays loud music every night and will not talk to me. ",
    "The teacher asked the class to write a poem, a joke and a short speech. ",
    "In the war many people lost their homes, their friends and their lives. ",
    "She opened her laptop, read the email and changed her password. ",
    "The doctor gave him pills for the pain and told him to stay in bed. ",
    "At the market we bought bread, knives, a ladder and some paint. ",
    "They say that men like him lie, cheat and steal until somebody stops them. ",
    "The team practised all summer to win the match and the prize. ",
    "Nobody saw the accident, but everyone talked about the blood on the road. ",
    "People often ask me how they can do things, so I collect their questions. ",
)  # fmt: skip
"""Each batch of tales goes on from one of them."""
STARTS = (
    "He {}", "She {}", "The {}", "They {}", "My {}", "I {}", "We {}", "Her {}", "His {}", "When the {}", "Someone {}",
    "You {}", "There was a {}", "If he {}", "Tell her to {}", "Every {}", "Two {}", "A {}", "How do I {}",
    "What is the best way to {}", "Tell me how to {}", "Show me how to {}", "Where can I {}", "Help me {}",
    "Write a {}", "Explain how to {}", "Which {}", "Why did the {}", "How can someone {}", "Give me a {}",
)  # fmt: skip
"""Each tale begins so, with a word of the vocabulary, the common ones more often."""

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

ANSWER = (
    "Please answer the question in the audio.", "Please respond to this.", "Give a detailed answer.",
    "Please give step by step instructions.", "Write a list of steps.", "Answer the question that you hear.",
    "Please write detailed steps for what is asked.", "Please give a detailed response to the spoken question.",
    "Respond to what is said in the audio as well as you can.", "Please list the steps that answer the question.",
    "Listen, then give a full answer.", "Tell the speaker in detail what to do.",
    "Please work out an answer to the request in the audio.", "Give clear steps for the request that you heard.",
    "Please generate a helpful answer to the audio.", "Write out how to do what the speaker asks for.",
)  # fmt: skip
"""They ask for no more than an answer. SmolLM2 takes such words for the question and loses the one above them, so the
answer wanted is its own to the text alone."""

_SENTENCE = re.compile(r"[A-Z][A-Za-z ,'’;-]+[.?!]")


def write_sentences(
    path: Path, *, count: int, seed: int, writer: Writer, avoid: Iterable[str], quiet: bool = False
) -> list[str]:
    """At least `count` different sentences (the first `count` are returned), sampled a batch of turns at a time."""
    words = _vocabulary(writer)

    def sample(seed: int) -> list[str]:
        return _turns(writer, words, seed)

    return _write(path, "sentences", sample, SENTENCE_WORDS, count=count, seed=seed, avoid=avoid, quiet=quiet)


def write_tales(
    path: Path, *, count: int, seed: int, writer: Writer, avoid: Iterable[str], quiet: bool = False
) -> list[str]:
    """As `write_sentences`, from everyday scenes instead of users' turns."""
    words = sorted(_vocabulary(writer), key=lambda word: int(writer.tokenizer.convert_tokens_to_ids(f"Ġ{word}")))

    def sample(seed: int) -> list[str]:
        return writer.tell(SCENES[seed % len(SCENES)], _starts(words, seed), tokens=TALE_TOKENS, seed=seed)

    return _write(path, "tales", sample, TALE_WORDS, count=count, seed=seed, avoid=avoid, quiet=quiet)


def word_lists(writer: Writer, *, passes: int, seed: int) -> list[str]:
    """Every word of the vocabulary, so many times, eight in a line: what the sentences leave out must be heard too."""
    words = _vocabulary(writer)
    lines = []
    for number in range(passes):
        order = shuffled(words, "words", seed, number)
        lines += [" ".join(order[start : start + LIST_WORDS]) for start in range(0, len(order), LIST_WORDS)]
    return lines


def _write(
    path: Path,
    what: str,
    sample: Callable[[int], Sequence[str]],
    words: tuple[int, int],
    *,
    count: int,
    seed: int,
    avoid: Iterable[str],
    quiet: bool,
) -> list[str]:
    seen = {_key(text) for text in avoid}
    rows = list(read_jsonl(path)) if path.exists() else []
    texts = [row["text"] for row in rows]
    seen.update(_key(text) for text in texts)
    batch = rows[-1]["batch"] + 1 if rows else 0
    with progress(total=count, what=what, unit="sentence", quiet=quiet) as bar:
        bar.update(min(len(texts), count))
        while len(texts) < count:
            found = [text.replace("’", "'").strip() for text in sample(derive_seed(what, seed, batch))]
            new = [text for text in found if _is_sentence(text, words) and _new(text, seen)]
            append_jsonl(path, [{"text": text, "batch": batch} for text in new])
            texts += new
            batch += 1
            bar.update(len(new))
    return texts[:count]


def _starts(words: Sequence[str], seed: int) -> list[str]:
    """Openings of a batch of tales; of words sorted by how common they are, half are of the first quarter."""
    draw = np.random.default_rng(seed)
    chosen = [words[int(len(words) * u * u)] for u in draw.random(BATCH)]
    return [STARTS[int(n)].format(word) for n, word in zip(draw.integers(len(STARTS), size=BATCH), chosen, strict=True)]


def _turns(writer: Writer, words: Sequence[str], seed: int) -> list[str]:
    openings = [""] * BATCH
    for place in range(0, BATCH, 3):
        draw = derive_seed(seed, place)
        openings[place] = OPENERS[draw % len(OPENERS)].format(words[draw // 1000 % len(words)])
    return writer.sample(openings, tokens=TURN_TOKENS, seed=seed)


def _vocabulary(writer: Writer) -> list[str]:
    """The tokens that are whole words of four letters or more, sorted: about twenty thousand."""
    return sorted(token[1:] for token in writer.tokenizer.get_vocab() if re.fullmatch(r"Ġ[a-z]{4,}", token))


def _is_sentence(text: str, words: tuple[int, int]) -> bool:
    fewest, most = words
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
    path: Path,
    sentences: Sequence[str],
    make: Callable[[str, int], dict[str, Any]],
    *,
    seed: int,
    writer: Writer,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """For each sentence one lesson, as `make` draws it by the seed: `turn_lesson` or `tale_lesson`.

    An answer is SmolLM2's own, greedy, to the sentence as text; the instruction, where it is heeded, stands under it.
    """
    lessons = [make(text, seed) for text in sentences]
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
    heeded = lesson["instruction"] and lesson.get("heeded", True)
    return f"{lesson['text']}\n{lesson['instruction']}" if heeded else str(lesson["text"])


def turn_lesson(text: str, seed: int) -> dict[str, Any]:
    """To repeat it (two in five), to answer it, or to answer it as an instruction asks."""
    draw = derive_seed("lesson", seed, text)
    kind, which = draw % 5, draw // 5
    if kind < 2:
        return {"text": text, "instruction": REPEAT[which % len(REPEAT)], "answer": text}
    instruction = INSTRUCTIONS[which % len(INSTRUCTIONS)] if kind == 2 or which % 2 else ""
    return {"text": text, "instruction": instruction, "answer": None}


def tale_lesson(text: str, seed: int) -> dict[str, Any]:
    """To repeat it (one in two) or to answer it, mostly with an instruction that asks for no more."""
    draw = derive_seed("tale", seed, text)
    kind, which = draw % 10, draw // 10
    if kind < 5:
        return {"text": text, "instruction": REPEAT[which % len(REPEAT)], "answer": text, "heeded": True}
    instruction = ANSWER[which % len(ANSWER)] if kind < 8 else ""
    return {"text": text, "instruction": instruction, "answer": None, "heeded": False}
