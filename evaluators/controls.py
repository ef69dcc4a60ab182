"""Did the audio arrive? A sample of prompts asked again with silence, noise and another prompt's clip.

A model that listens answers differently when it hears something else. How much is "differently" depends on how much its
answers vary by themselves, so each prompt is also asked once more as it was (`repeat`). Answers go to `controls.jsonl`,
never into rates.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from enum import StrEnum
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from demur.audio import decode, encode_flac
from demur.console import progress, say
from demur.corpus import Corpus
from demur.errors import InputError, UsageError
from demur.files import append_jsonl, read_jsonl
from demur.models import Model
from demur.nouns import Modality, Response
from demur.seeds import derive_seed, shuffled
from evaluators.asking import Patience, ask_batch, check_batch, rows_due
from evaluators.batches import ASKED_COLUMNS, Row, plan_batches, to_query
from evaluators.run_folder import Key, RunFolder, asked_rows, read_responses

MAX_IDENTICAL = 0.5
"""Share of identical answers from which on a model is taken not to listen. Answers to different questions are hardly
ever the same word for word, but for one fixed refusal; a model that gives it to half of everything does not listen."""
MAX_LIKENESS = 0.8
"""The same for models that seldom say a thing twice in the same words: how like the first answers the control's answers
are, as a share of how like them a mere repetition is. Different clips gave cascade-tiny 0.12 to 0.23."""
MIN_ANSWERS = 5
"""Fewer answers say nothing about a share of one half."""


class Control(StrEnum):
    """What is heard instead of the clip; in the order in which they are asked."""

    REPEAT = "repeat"
    SILENCE = "silence"
    NOISE = "noise"
    SWAPPED = "swapped"


class ControlResponse(Response):
    """A line of `controls.jsonl`."""

    control: Control


class Likeness(BaseModel):
    """How like the answers of one control are to those to the real audio."""

    n: int
    """Samples answered both times."""
    identical: float
    """Share of answers that are the same but for spaces and case."""
    similarity: float
    """Mean ratio of matching words (difflib), 0 to 1."""


class AudioDependence(BaseModel):
    """Whether a model's answers in one modality depend on the audio."""

    controls: dict[Control, Likeness]
    told: bool
    """Whether there were answers enough to tell."""
    warning: str | None
    """Why the answers seem not to depend on the audio, or cannot tell; None where they do depend on it."""


def ask_controls(
    corpus: Corpus, model: Model, folder: RunFolder, prompts: int, seed: int, patience: Patience, *, quiet: bool
) -> None:
    """Ask what is missing of the controls of so many prompts, in each audio modality of the run.

    Raises:
        IncompleteError: the model's budget is spent.
        ModelError: the model cannot go on.
    """
    modalities = _audio_modalities(folder)
    rows = [row for modality in modalities for row in _sample_rows(corpus, folder, modality, prompts, seed)]
    lines = _answered_controls(folder)
    due = set()
    say(f"controls: {len(rows)} clips, each asked in {len(Control)} ways", quiet=quiet)
    with progress(total=len(rows) * len(Control), what="controls", unit="answer", quiet=quiet) as bar:
        for control in Control:
            answered = {(line.id, line.modality) for line in lines if line.control is control}
            for modality in modalities:
                asked = [row for row in rows if row["modality"] == modality]
                for batch in plan_batches(_replace_audio(asked, control, seed), model.batch_size):
                    due |= {(row["id"], modality, control) for row in batch}
                    _ask(model, rows_due(batch, answered, whole=model.batch_matters), control, folder, patience)
                    bar.update(len(batch))
    folder.update(controls={"prompts": prompts, "seed": seed})
    if failed := due - {(line.id, line.modality, line.control) for line in _answered_controls(folder)}:
        again = "run the same command again to ask them again"
        say(f"note: {len(failed)} of the controls got no answer; {again}", quiet=quiet)


def check_controls(model: Model, modalities: Sequence[Modality]) -> None:
    """Say, before anything is asked, that there is nothing to control.

    Raises:
        UsageError: the model takes its answers from a file, or it is asked no audio.
    """
    if model.keyed or not any(modality.has_audio for modality in modalities):
        raise UsageError(
            "--controls needs a model that is given audio: answers from a file and text cannot be asked so"
        )


def controls_due(folder: RunFolder, prompts: int, seed: int) -> dict[Key, int]:
    """In how many ways each clip drawn for controls is still to be asked."""
    answered = {(line.id, line.modality, line.control) for line in _answered_controls(folder)}
    found: dict[Key, int] = {}
    for modality in _audio_modalities(folder):
        clips = list(_draw_clips(folder, modality, prompts, seed).values())
        ways = [control for control in Control if control is not Control.SWAPPED or len(clips) > 1]
        found |= {(id_, modality): sum((id_, modality, way) not in answered for way in ways) for id_ in clips}
    return found


def _ask(model: Model, batch: Sequence[Row], control: Control, folder: RunFolder, patience: Patience) -> None:
    if not batch:
        return
    responses, spent = ask_batch(model, batch)
    lines = (ControlResponse(**response.model_dump(), control=control) for response in responses)
    append_jsonl(folder.controls_file, (line.model_dump(mode="json") for line in lines))
    folder.note_memory(model.fits_memory)
    check_batch(model, responses, patience, spent=spent)


def _audio_modalities(folder: RunFolder) -> list[Modality]:
    return [Modality(name) for name in folder.info["settings"]["modalities"] if Modality(name).has_audio]


def _sample_rows(corpus: Corpus, folder: RunFolder, modality: Modality, prompts: int, seed: int) -> list[Row]:
    """One row, audio included, of each of so many of the run's prompts, drawn by seed."""
    drawn = _draw_clips(folder, modality, prompts, seed)
    rows = asked_rows(corpus, (modality,), (*ASKED_COLUMNS, "label"), frozenset(drawn))
    return [row for row in rows if row["id"] in drawn.values() and _is_audio(row)]


def _draw_clips(folder: RunFolder, modality: Modality, prompts: int, seed: int) -> dict[str, str]:
    """So many of the run's prompts, each with the id of one of its clips."""
    clips: dict[str, list[str]] = {}
    for row in folder.samples(("id", "prompt_id", "modality")):
        if row["modality"] == modality:
            clips.setdefault(row["prompt_id"], []).append(row["id"])
    drawn = shuffled(clips, "controls", seed)[:prompts]
    return {prompt: shuffled(clips[prompt], "controls", seed)[0] for prompt in drawn}


def _is_audio(row: Row) -> bool:
    try:
        to_query(row, keyed=False)
    except InputError:
        return False
    return True


def _replace_audio(rows: Sequence[Row], control: Control, seed: int) -> Iterator[Row]:
    """The rows with what a control lets be heard; swapped rows whose prompt is the only one are left out."""
    order = sorted(rows, key=lambda row: (row["label"], derive_seed("swap", seed, row["id"])))
    for place, row in enumerate(order):
        # Half a turn in the order of labels: where no label has more than half of the rows, the donor has another one.
        donor = order[(place + max(1, len(order) // 2)) % len(order)]
        if control is Control.REPEAT:
            yield row
        elif control is not Control.SWAPPED:
            yield {
                **row,
                "audio": {"bytes": _disguise(row["audio"]["bytes"], control, derive_seed("noise", seed, row["id"]))},
            }
        elif donor is not row:
            yield {**row, "audio": donor["audio"]}


def _disguise(clip: bytes, control: Control, seed: int) -> bytes:
    """The clip's length of silence, or of white noise with its mean power."""
    samples, rate = decode(clip)
    heard = np.zeros_like(samples)
    if control is Control.NOISE:
        level = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
        noise = np.random.default_rng(seed).standard_normal(len(samples)) * level
        heard = np.clip(noise, -1, 1).astype(np.float32)
    return encode_flac(heard, rate)


def audio_dependence(run: Path) -> dict[Modality, AudioDependence]:
    """For each audio modality with controls: how like the answers are when something else is heard; empty without any.

    Raises:
        InputError: a file of the run is damaged.
    """
    folder = RunFolder(run)
    controls = {(line.control, line.id, line.modality): line for line in _read_controls(folder.controls_file)}
    if not controls:
        return {}
    wanted = {(id_, modality) for _, id_, modality in controls}
    lines = read_responses(folder.responses_file)
    real = {(line.id, line.modality): line.text for line in lines if (line.id, line.modality) in wanted}
    found: dict[Modality, AudioDependence] = {}
    for modality in sorted({modality for _, _, modality in controls}):
        pairs: dict[Control, list[tuple[str, str]]] = {control: [] for control in Control}
        for line in controls.values():
            text = real.get((line.id, line.modality))
            if line.modality is modality and line.text is not None and text is not None:
                pairs[line.control].append((text, line.text))
        likeness = {control: _likeness(texts) for control, texts in pairs.items() if texts}
        found[modality] = AudioDependence(controls=likeness, told=_tells(likeness), warning=_warn(likeness))
    return found


def _likeness(pairs: Sequence[tuple[str, str]]) -> Likeness:
    words = [(first.casefold().split(), second.casefold().split()) for first, second in pairs]
    ratios = [SequenceMatcher(None, first, second, autojunk=False).ratio() for first, second in words]
    return Likeness(
        n=len(pairs),
        identical=sum(first == second for first, second in words) / len(words),
        similarity=sum(ratios) / len(ratios),
    )


def _tells(likeness: Mapping[Control, Likeness]) -> bool:
    others = [found.n for control, found in likeness.items() if control is not Control.REPEAT]
    return min(others, default=0) >= MIN_ANSWERS


def _warn(likeness: Mapping[Control, Likeness]) -> str | None:
    repeat = likeness.get(Control.REPEAT)
    others = {control: found for control, found in likeness.items() if control is not Control.REPEAT}
    if not _tells(likeness):
        return f"too few answers to the controls to tell whether the audio is used (at least {MIN_ANSWERS} are needed)"
    for control, found in others.items():
        if found.identical >= MAX_IDENTICAL:
            return (
                f"{found.identical:.0%} of answers stay the same with {_NAMES[control]}: the audio seems not to be used"
            )
        varies = repeat is not None and repeat.identical < MAX_IDENTICAL
        if repeat and varies and found.similarity >= MAX_LIKENESS * repeat.similarity:
            return (
                f"answers with {_NAMES[control]} are as like the first ones as those to the same clip asked twice "
                f"({found.similarity:.2f}, {repeat.similarity:.2f}): the audio seems not to be used"
            )
    return None


_NAMES = {Control.SILENCE: "silence", Control.NOISE: "noise", Control.SWAPPED: "another prompt's clip"}


def _answered_controls(folder: RunFolder) -> list[ControlResponse]:
    return [line for line in _read_controls(folder.controls_file) if line.error is None]


def _read_controls(path: Path) -> list[ControlResponse]:
    if not path.is_file():
        return []
    try:
        return [ControlResponse.model_validate(row) for row in read_jsonl(path)]
    except ValueError as error:
        raise InputError(f"{path}: not the answers to controls ({error})") from None
