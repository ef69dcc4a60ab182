"""A model answers every sample of a corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demur.console import progress, say
from demur.corpus import Corpus
from demur.draw import draw
from demur.errors import IncompleteError, InputError, UsageError
from demur.files import folder_lock
from demur.models import Model
from demur.nouns import Modality
from evaluators.asking import Patience, ask_batch, check_batch, rows_due
from evaluators.batches import ASKED_COLUMNS, WINDOW, Row, plan_batches
from evaluators.controls import ask_controls, check_controls, controls_due
from evaluators.estimate import Prices, check_estimate
from evaluators.run_folder import (
    Key,
    RunFolder,
    asked_rows,
    describe_corpus,
    describe_model,
    key_of,
    open_run,
    versions,
)


@dataclass(frozen=True)
class RespondSettings:
    """What is asked, and how often it may be insisted."""

    modalities: tuple[Modality, ...] = tuple(Modality)
    limit: int | None = None
    seed: int = 0
    controls: int = 0
    """Prompts that are also asked with silence, noise and other audio."""
    allow_overlap: bool = False
    overwrite: bool = False
    many_requests: bool = False
    """Whether a large run of a metered model may start."""
    prices: Prices | None = None


def run_model(corpus: Corpus, model: Model, out: Path, settings: RespondSettings, *, quiet: bool = False) -> None:
    """Ask a model every sample of a corpus, or go on where an earlier call stopped; see `run_folder` for the files.

    A batch is recorded as a whole. Where the batch matters to a model (padding), a batch with a sample that is missing
    or had an error is asked and recorded again as a whole: the answers that count are those of an undisturbed run.

    Raises:
        UsageError: the model does not take a modality, is to be controlled without audio, or a large metered run was
            not agreed to.
        ModelError: the model cannot go on.
        InputError: the folder holds another run, or the corpus shares prompts with the model's training.
        IncompleteError: some samples have no answer yet.
    """
    _check_modalities(model, settings.modalities)
    if settings.controls:
        check_controls(model, settings.modalities)
    chosen = _choose_prompts(corpus, settings)
    identity = {
        "model": describe_model(model),
        "corpus": describe_corpus(corpus),
        "settings": {
            "modalities": list(settings.modalities),
            "limit": settings.limit,
            "seed": settings.seed,
            "batches": {"size": model.batch_size, "window": WINDOW} if model.batch_matters else None,
            "training_overlap": _training_overlap(corpus, model, allow=settings.allow_overlap),
        },
    }
    with folder_lock(out):
        folder = open_run(out, identity, overwrite=settings.overwrite)
        try:
            _ask_all(corpus, model, folder, settings, chosen, quiet=quiet)
        finally:
            folder.settle()


def _ask_all(
    corpus: Corpus,
    model: Model,
    folder: RunFolder,
    settings: RespondSettings,
    chosen: frozenset[str] | None,
    *,
    quiet: bool,
) -> None:
    """All that is still to be asked in a run that is open."""
    if not folder.samples_file.is_file():
        folder.write_samples(corpus, settings.modalities, chosen)
    if not folder.count_samples():
        raise InputError(f"{corpus.folder}: the corpus has no samples in {', '.join(settings.modalities)}")
    if model.metered:
        due = controls_due(folder, settings.controls, settings.seed) if settings.controls else {}
        check_estimate(folder, due, model, settings.prices, agreed=settings.many_requests, quiet=quiet)
    patience = Patience(model.name, metered=model.metered, answered=any(folder.answered().values()))
    if folder.info.get("finished") and sum(folder.answered().values()) == folder.count_samples():
        say(f"{folder.folder}: finished already; nothing to do", quiet=quiet)
    else:
        _say_other_versions(folder, quiet=quiet)
        _answer_all(corpus, model, folder, settings, chosen, patience, quiet=quiet)
    if settings.controls:
        ask_controls(corpus, model, folder, settings.controls, settings.seed, patience, quiet=quiet)
    _check_errors(folder, model)


def _check_modalities(model: Model, wanted: Sequence[Modality]) -> None:
    lacking = [modality for modality in wanted if modality not in model.modalities]
    if lacking:
        takes = ",".join(modality for modality in Modality if modality in model.modalities)
        raise UsageError(f"{model.name} does not take {lacking[0]}; ask for what it takes: --modalities {takes}")


def _choose_prompts(corpus: Corpus, settings: RespondSettings) -> frozenset[str] | None:
    """The `prompt_id`s that `limit` leaves, or None for all; every split holds the same prompts."""
    if settings.limit is None:
        return None
    rows = corpus.rows(settings.modalities[0], ("prompt_id", "label", "pair_id"))
    prompts = list({row["prompt_id"]: row for row in rows}.values())
    kept = draw(
        prompts,
        settings.limit,
        settings.seed,
        key=lambda row: row["prompt_id"],
        label=lambda row: row["label"],
        pair=lambda row: row["pair_id"],
    )
    return frozenset(row["prompt_id"] for row in kept)


def _training_overlap(corpus: Corpus, model: Model, *, allow: bool) -> int:
    """How many prompts of the corpus the model was tuned on."""
    if not model.training_prompts:
        return 0
    shared = {row["prompt_id"] for row in corpus.rows(Modality.TEXT_ONLY, ("prompt_id",))} & model.training_prompts
    if shared and not allow:
        raise InputError(
            f"{corpus.folder}: {model.name} was trained on {len(shared)} of its prompts; take another partition, "
            "or insist with --allow-overlap"
        )
    return len(shared)


def _say_other_versions(folder: RunFolder, *, quiet: bool) -> None:
    then, now = folder.info.get("versions", {}), versions()
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    changed = [f"{name} {then.get(name)} to {now.get(name)}" for name in names]
    if changed:
        say(f"note: versions changed since this run began ({', '.join(changed)}); answers may differ", quiet=quiet)


def _answer_all(
    corpus: Corpus,
    model: Model,
    folder: RunFolder,
    settings: RespondSettings,
    chosen: frozenset[str] | None,
    patience: Patience,
    *,
    quiet: bool,
) -> None:
    known = folder.answered()
    answered = {key for key, ok in known.items() if ok}
    asked = folder.count_samples()
    with progress(total=asked - len(answered), what=model.name, unit="answer", quiet=quiet) as bar:
        for batch in _batches_to_ask(corpus, model, settings, chosen, known):
            responses, spent = ask_batch(model, batch)
            folder.append(responses)
            bar.update(len(rows_due(batch, answered, whole=False)))
            folder.note_memory(model.fits_memory)
            check_batch(model, responses, patience, spent=spent)
    errors = sum(not ok for ok in folder.answered().values())
    counts = {"asked": asked, "answered": asked - errors, "errors": errors}
    left_out = sorted({*model.left_out, *folder.info.get("left_out", ())})
    folder.update(responses=counts, left_out=left_out, finished=errors == 0)


def _batches_to_ask(
    corpus: Corpus,
    model: Model,
    settings: RespondSettings,
    chosen: frozenset[str] | None,
    known: Mapping[Key, bool],
) -> Iterator[list[Row]]:
    """What has no answer yet; what had an error comes last, unless a batch is asked as a whole."""
    answered = {key for key, ok in known.items() if ok}
    failed = known.keys() - answered
    columns = [column for column in ASKED_COLUMNS if column != "audio" or not model.keyed]
    for last in (False, True) if failed and not model.batch_matters else (None,):
        for modality in settings.modalities:
            rows = asked_rows(corpus, (modality,), columns, chosen)
            for batch in plan_batches(rows, model.batch_size):
                due = rows_due(batch, answered, whole=model.batch_matters)
                if chosen_now := [row for row in due if last is None or (key_of(row) in failed) is last]:
                    yield chosen_now


def _check_errors(folder: RunFolder, model: Model) -> None:
    """Raise if samples are left without an answer."""
    counts = folder.info["responses"]
    if counts["errors"]:
        again = "run the same command again to ask them again"
        if model.keyed:  # the answers come from a file, and another file is another run
            again = "add them to the file and run this with --overwrite, or score the others as they are"
        raise IncompleteError(
            f"{folder.folder}: {counts['errors']} of {counts['asked']} samples have no answer "
            f"(first: {folder.first_error()}); {again}"
        )
