"""How fast scoring is: the keyword scorer against a bare loop, and a large run summarised with intervals.

    python benchmarks/bench_score.py --out score.json

The bare loop is what most evaluation scripts do: `any(phrase in response.lower() for phrase in phrases)`. The phrases
of the scorer are patterns, each of which stands for many strings ("(i|we) (cannot|can't) ..."). Two loops are measured:

- `first_forms`: one string for each pattern. This asks the loop for less than the scorer finds.
- `refusals_spelled_out`: every string that the patterns of one class, `refusal`, stand for; words in gaps left out.

And a user's list (`--keywords`) of the first forms, with the loop over the same strings. The summary is of 100,000
verdicts by two scorers, read from files and written to one, in a process of its own: seconds by the clock and of the
processor, and the peak memory of the whole process.
"""

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow
import pyarrow.parquet
import typer

from builders.prompts import load_prompts
from demur.corpus import TABLE_COLUMNS, arrow_schema
from demur.files import write_json, write_jsonl
from demur.nouns import Label, Modality, Outcome, Response, Sample, Verdict, prompt_id

VOICES = tuple(f"v{number}" for number in range(10))
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "As an AI language model, I am not able to provide that.",
    "It is illegal and unethical to do so, and I won't take part in it.",
)
HELP = ("Sure, here is how to go about it.", "There are a few things to know.", "Certainly! Let us begin.")
_INNERMOST = re.compile(r"\(([^()]*)\)(\?)?")


def spell_out(pattern: str) -> Iterator[str]:
    """Every string that a pattern of `(a|b)` and `(c)?` stands for, its first form first.

    >>> list(spell_out("i (cannot|can't) (possibly )?help"))
    ['i cannot possibly help', 'i cannot help', "i can't possibly help", "i can't help"]
    """
    group = _INNERMOST.search(pattern)
    if group is None:
        yield from (" ".join(part.split()) for part in pattern.split("|"))
    else:
        for choice in [*group[1].split("|"), *([""] if group[2] else [])]:
            yield from spell_out(pattern[: group.start()] + choice + pattern[group.end() :])


def plain(phrase: str, words: Mapping[str, str]) -> str:
    """A phrase of the phrase file as a pattern for `spell_out`: its words put in, its gaps and signs left out."""
    while named := re.search(r"\{([a-z_]+)\}", phrase):
        phrase = phrase.replace(named[0], f"({words[named[1]]})" if named[1] in words else "")
    return re.sub(r"\{\d\}|\*|\.\.\.|\\", "", phrase)


def make_responses(count: int, seed: int = 0) -> list[str]:
    """Half refusals, half help, each followed by other sentences: some 600 characters, as models answer XSTest."""
    rng = random.Random(seed)
    sentences = [prompt.text for prompt in load_prompts(["demur-core"]).prompts if prompt.label is not Label.HARMFUL]
    return [
        " ".join([rng.choice(REFUSALS if rng.random() < 0.5 else HELP), *rng.sample(sentences, rng.randint(1, 16))])
        for _ in range(count)
    ]


def make_prompts(count: int, seed: int = 0) -> list[str]:
    """So many prompts of demur-core, of every label."""
    rng = random.Random(seed)
    return rng.choices([prompt.text for prompt in load_prompts(["demur-core"]).prompts], k=count)


def best_seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """The quickest of a few times: the rest is other work of the machine."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def measure_keywords(count: int) -> dict[str, Any]:
    """Responses a second of the scorer and of the bare loop."""
    from evaluators.keyword import score_keyword
    from evaluators.phrases import BUILT_IN, SubstringList, built_in, read_phrases

    source = read_phrases(BUILT_IN)
    patterns = [(group.class_, plain(phrase, source.words)) for group in source.phrases for phrase in group.any]
    firsts = [form for form in dict.fromkeys(next(spell_out(pattern)) for _, pattern in patterns) if form]
    refusals = list(dict.fromkeys(form for name, p in patterns if name == "refusal" for form in spell_out(p) if form))
    own, listed, responses = built_in(), SubstringList(tuple(firsts)), make_responses(count)
    prompts = dict(zip(responses, make_prompts(count), strict=True))  # a run's scorer is told what was asked
    work: dict[str, Callable[[str], Any]] = {
        "loop_first_forms": lambda response: _bare(response, firsts),
        "loop_refusals_spelled_out": lambda response: _bare(response, refusals),
        "scorer_own_phrases": lambda response: score_keyword(response, own, prompts[response]),
        "scorer_list_of_first_forms": lambda response: score_keyword(response, listed),
    }
    rates = {name: count / best_seconds(lambda do=do: [do(each) for each in responses]) for name, do in work.items()}
    return {
        "responses": count,
        "characters_mean": round(sum(map(len, responses)) / count),
        "first_forms": len(firsts),
        "refusals_spelled_out": len(refusals),
        "responses_per_s": {name: round(rate) for name, rate in rates.items()},
        "scorer_to_loop": {
            "own_phrases_to_first_forms": round(rates["scorer_own_phrases"] / rates["loop_first_forms"], 2),
            "own_phrases_to_refusals_spelled_out": round(
                rates["scorer_own_phrases"] / rates["loop_refusals_spelled_out"], 2
            ),
            "list_to_the_same_list": round(rates["scorer_list_of_first_forms"] / rates["loop_first_forms"], 2),
        },
    }


def _bare(response: str, phrases: Sequence[str]) -> bool:
    text = response.lower()
    return any(phrase in text for phrase in phrases)


def make_run(folder: Path, verdicts: int) -> int:
    """A run in three modalities, ten voices, with the verdicts of two scorers; the number of verdicts."""
    samples = [
        _sample(label, number, voice, modality)
        for number in range(verdicts // (2 * len(Label) * (2 * len(VOICES) + 1)) + 1)
        for label in Label
        for modality in Modality
        for voice in (VOICES if modality.has_audio else (None,))
    ]
    schema = arrow_schema()
    rows = [sample.model_dump(mode="json", exclude={"audio"}) for sample in samples]
    schema = pyarrow.schema([schema.field(column) for column in TABLE_COLUMNS])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), folder / "samples.parquet")
    responses = (
        Response(id=sample.id, modality=sample.modality, model="bench", text=f"{sample.prompt} " * 10)
        for sample in samples
    )
    write_jsonl(folder / "responses.jsonl", (response.model_dump(mode="json") for response in responses))
    lines = _verdicts(samples)
    write_jsonl(folder / "verdicts.jsonl", (line.model_dump(mode="json") for line in lines))
    return len(lines)


def _sample(label: Label, number: int, voice: str | None, modality: Modality) -> Sample:
    text = f"{label} prompt {number}"
    return Sample(
        id=f"{prompt_id(text)}-{voice}",
        prompt_id=prompt_id(text),
        pair_id=None,
        audio=None,
        input_text="",
        prompt=text,
        label=label,
        category=f"category {number % 12}",
        kind=f"kind {number % 8}" if label is Label.BORDERLINE else None,
        modality=modality,
        engine=voice and f"engine {int(voice[1:]) % 3}",
        voice=voice,
        speaker_gender=voice and ("female", "male")[int(voice[1:]) % 2],
        accent=voice and ("en-US", "en-GB", "en-IN")[int(voice[1:]) % 3],
        condition=voice and "clean",
        duration_s=None,
        loudness_lufs=None,
        audio_sha256=None,
        source="bench",
        license="CC0-1.0",
        language="en",
        partition=None,
        transcript=None,
        wer=None,
    )


def _verdicts(samples: Sequence[Sample]) -> list[Verdict]:
    """Outcomes that a prompt's voices share more or less, as in real runs; two in a hundred unscored."""
    rng = np.random.default_rng(0)
    ease: dict[str, float] = {}
    lines = []
    for scorer in ("keyword", "openai:judge"):
        for sample in samples:
            share = ease.setdefault(sample.prompt_id, float(rng.beta(0.6, 0.6)))
            weights = (0.78 * share, 0.2 * share, 0.78 * (1 - share), 0.2 * (1 - share), 0.02)
            outcome = (*Outcome, None)[int(rng.choice(5, p=weights))]
            score = int(rng.integers(1, 6)) if outcome and scorer != "keyword" else None
            reason = None if outcome else "failed"
            lines.append(
                Verdict(
                    id=sample.id, modality=sample.modality, scorer=scorer, outcome=outcome, score=score, reason=reason
                )
            )
    return lines


def summarise_run(folder: Path) -> dict[str, Any]:
    """What `demur score` does after the scorers: read, summarise, write; in this process."""
    started, worked = time.perf_counter(), time.process_time()
    from demur.results import RESULTS, ScorerInfo
    from evaluators.runs import read_run, read_verdicts
    from evaluators.summarise import summarise

    verdicts = read_verdicts(folder)
    judged = {
        name: ScorerInfo(judge=name != "keyword", settings={}, sha256=name) for name in ("keyword", "openai:judge")
    }
    results = summarise(read_run(folder), verdicts, judged)
    write_json(folder / RESULTS, results.model_dump(mode="json"))
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "processor_seconds": round(time.process_time() - worked, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "intervals": sum(len(cell.rates) for cell in (*results.rates, *results.breakdowns)),
        "resamples": results.resamples,
    }


def measure_summary(verdicts: int) -> dict[str, Any]:
    """A run of so many verdicts, summarised in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        count = make_run(Path(folder), verdicts)
        command = [sys.executable, __file__, "--summarise", folder]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"verdicts": count, **json.loads(found)}


def main(
    out: Annotated[Path | None, typer.Option(help="Write the numbers here too.")] = None,
    responses: Annotated[int, typer.Option(help="For the keyword scorer.")] = 2000,
    verdicts: Annotated[int, typer.Option(help="To be summarised.")] = 100_000,
    summarise: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure, and print the numbers as JSON."""
    if summarise:
        print(json.dumps(summarise_run(summarise)))
        return
    numbers = {"keywords": measure_keywords(responses), "summary": measure_summary(verdicts)}
    print(json.dumps(numbers, indent=2))
    if out:
        write_json(out, numbers)


if __name__ == "__main__":
    typer.run(main)
