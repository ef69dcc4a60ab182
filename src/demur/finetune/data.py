"""What is learnt from: harmful questions and their benign twins, in pairs, and a part of them kept for validation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demur.audio import Samples, decode, resample
from demur.corpus import Corpus
from demur.errors import InputError
from demur.nouns import Label, Modality, Partition
from demur.seeds import shuffled

_COLUMNS = ("id", "prompt_id", "pair_id", "label", "prompt", "partition")


@dataclass(frozen=True)
class Question:
    """One question of a corpus; `flac` holds the bytes of its recording, or None for a model that reads."""

    id: str
    prompt_id: str
    pair_id: str | None
    label: Label
    prompt: str
    flac: bytes | None = field(default=None, repr=False)

    def samples(self, rate: int) -> Samples | None:
        """The recording as mono float32 at a sample rate, [n]."""
        return None if self.flac is None else resample(*decode(self.flac), rate)


@dataclass(frozen=True)
class Questions:
    """Harmful questions, benign twins of these, and plain benign ones."""

    harmful: tuple[Question, ...]
    twins: tuple[Question, ...]
    plain: tuple[Question, ...] = ()

    def __iter__(self) -> Iterator[Question]:
        yield from (*self.harmful, *self.twins, *self.plain)

    @property
    def benign(self) -> tuple[Question, ...]:
        return *self.twins, *self.plain


@dataclass(frozen=True)
class Split:
    """What a method learns from and what it is judged by, both of one corpus; no pair is in both."""

    corpus_sha256: str
    train: Questions
    validation: Questions

    @property
    def prompt_ids(self) -> list[str]:
        """Every prompt that has a part in the result, validation included: none of them may be tested on."""
        return sorted({question.prompt_id for part in (self.train, self.validation) for question in part})


def load_split(
    corpus: Corpus,
    *,
    audio: bool,
    seed: int,
    validation: float = 0.2,
    plain_benign: bool = False,
    allow_overlap: bool = False,
) -> Split:
    """The pairs of a corpus, drawn apart by seed. Prompts without a twin are left out, but for plain benign ones.

    The plain benign prompts of the validation part are always there, those of the training part with `plain_benign`.

    Raises:
        InputError: there are no harmful prompts, no twins of them, or too few pairs; or the prompts are for tests.
    """
    rows = list(_questions(corpus, audio=audio, allow_overlap=allow_overlap))
    of = {label: [row for row in rows if row.label is label] for label in Label}
    _check_classes(corpus.folder, of[Label.HARMFUL], of[Label.BORDERLINE])
    pairs = {row.pair_id for row in of[Label.HARMFUL]} & {row.pair_id for row in of[Label.BORDERLINE]} - {None}
    if len(pairs) < 2:
        raise InputError(
            f"{corpus.folder}: {len(pairs)} pairs of a harmful prompt and its benign twin (borderline, same pair_id); "
            "one must be trained on and one validated with: take a corpus with twins, such as demur-core:tune"
        )
    held = _held_out([str(pair) for pair in pairs], validation, seed)
    held_plain = _held_out([row.prompt_id for row in of[Label.BENIGN]], validation, seed)

    def part(*, validating: bool) -> Questions:
        harmful, twins = (
            tuple(row for row in of[label] if row.pair_id in pairs and (row.pair_id in held) is validating)
            for label in (Label.HARMFUL, Label.BORDERLINE)
        )
        plain = tuple(row for row in of[Label.BENIGN] if (row.prompt_id in held_plain) is validating)
        return Questions(harmful, twins, plain if validating or plain_benign else ())

    return Split(corpus.sha256, part(validating=False), part(validating=True))


def check_held_out(split: Split, corpora: Sequence[Corpus], *, allow_overlap: bool = False) -> None:
    """Make sure that corpora for tests share no prompt with what is tuned on.

    Raises:
        InputError: one does.
    """
    tuned = set(split.prompt_ids)
    for corpus in corpora:
        shared = tuned & {row["prompt_id"] for row in corpus.rows(Modality.TEXT_ONLY, ("prompt_id",))}
        if shared and not allow_overlap:
            raise InputError(
                f"{corpus.folder}: {len(shared)} of its prompts would be tuned on; test on another partition, "
                "or insist with --allow-overlap"
            )


def _questions(corpus: Corpus, *, audio: bool, allow_overlap: bool) -> Iterator[Question]:
    split, columns = (Modality.AUDIO_TEXT, (*_COLUMNS, "audio")) if audio else (Modality.TEXT_ONLY, _COLUMNS)
    for row in corpus.rows(split, columns):
        if row["partition"] == Partition.TEST and not allow_overlap:
            raise InputError(
                f"{corpus.folder}: holds prompts of the partition 'test', which are kept for tests; tune on "
                "demur-core:tune, or insist with --allow-overlap"
            )
        clip = row["audio"]["bytes"] if audio else None
        yield Question(row["id"], row["prompt_id"], row["pair_id"], Label(row["label"]), row["prompt"], clip)


def _check_classes(folder: Path, harmful: Sequence[Question], twins: Sequence[Question]) -> None:
    if not harmful:
        raise InputError(f"{folder}: no harmful prompts to learn from; take a corpus such as demur-core:tune")
    if not twins:
        raise InputError(
            f"{folder}: no benign twins (borderline prompts), so nothing tells what not to refuse; take a corpus with "
            "twins, such as demur-core:tune"
        )


def _held_out(keys: Sequence[str], part: float, seed: int) -> set[str]:
    """So large a part of the keys, drawn by seed; at least one, and never all."""
    unique = sorted(set(keys))
    count = min(max(round(part * len(unique)), 1), len(unique) - 1)
    return set(shuffled(unique, "validation", seed)[: max(count, 0)])
