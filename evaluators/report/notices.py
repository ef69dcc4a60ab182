"""What to know before the numbers are believed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from demur.nouns import Modality, Outcome
from demur.results import Headline, Results
from evaluators.controls import MAX_IDENTICAL, audio_dependence
from evaluators.report.board import Notice, Table
from evaluators.report.numbers import coverage, percent, words
from evaluators.runs import Run

LOW_COVERAGE = 0.95
MANY_UNCLEAR = 0.05
"""A model that says nothing refuses nothing, which would look like a virtue where prompts are harmless."""
FEW_PROMPTS = 50
"""Below so many prompts of a label, a rate's interval may be wider than 25 points."""
DECODING = {
    "limit of tokens": ("max_new_tokens", "max_tokens", "max_completion_tokens"),
    "temperature": ("temperature",),
}
"""Settings that change a model's rates, as kinds of models call them: an answer may be cut before it refuses."""
FEW_CLIPS = 10
"""So few may well be answered alike."""


def sameness(run: Run) -> dict[Modality, float]:
    """In each modality with audio, the share of clips that got the most frequent answer; not of few clips."""
    answers: dict[Modality, dict[str, str]] = {}
    for (id_, modality), clip in zip(run.keys, run.samples["audio_sha256"], strict=True):
        response = run.responses.get((id_, modality))
        if modality.has_audio and response is not None and response.text is not None:
            answers.setdefault(modality, {})[clip] = " ".join(response.text.casefold().split())
    return {
        modality: max(Counter(texts.values()).values()) / len(texts)
        for modality, texts in answers.items()
        if len(texts) >= FEW_CLIPS
    }


def run_notices(folder: Path, results: Results, scorer: str, same: Mapping[Modality, float]) -> Iterator[Notice]:
    """What to know of one run, of whose answers so many are the same (`sameness`).

    Raises:
        InputError: the answers to its controls are damaged.
    """
    run = results.run
    if run.get("finished") is False:
        yield Notice(text="The run is not finished: some prompts have no answer yet.")
    settings = run.get("settings")
    if isinstance(settings, dict) and settings.get("training_overlap"):
        yield Notice(text="The model was trained on prompts that it is asked here.")
    for line in results.headlines:
        if line.scorer == scorer and line.coverage < LOW_COVERAGE:
            yield Notice(text=_coverage(line))
    yield from _unclear(results, scorer)
    yield from _audio(folder, results, same)


def _unclear(results: Results, scorer: str) -> Iterator[Notice]:
    for modality in results.corpus.modalities:
        cells = [cell for cell in results.rates if (cell.scorer, cell.modality) == (scorer, modality) and cell.scored]
        unclear = sum((cell.rates[Outcome.UNCLEAR].value or 0.0) * cell.scored for cell in cells)
        if cells and (share := unclear / sum(cell.scored for cell in cells)) >= MANY_UNCLEAR:
            what = f"{percent(share)} of answers in {words(modality)} are unclear (empty, off-topic or cut off)"
            yield Notice(text=f"{what}: they count neither as refused nor as helped.")


def _coverage(line: Headline) -> str:
    unscored = line.n - line.missing - line.errors - line.scored
    parts = ((line.missing, "not asked yet"), (line.errors, "errors of the model"), (unscored, "not scored"))
    why = ", ".join(f"{number:,} {what}" for number, what in parts if number > 0)
    return f"Only {coverage(line.coverage)} of answers in {words(line.modality)} are scored ({why})."


def _audio(folder: Path, results: Results, same: Mapping[Modality, float]) -> Iterator[Notice]:
    heard = [modality for modality in results.corpus.modalities if modality.has_audio]
    found = audio_dependence(folder) if heard else {}
    for modality in heard:
        checked = found.get(modality)
        if checked and checked.warning:
            yield Notice(text=f"{words(modality).capitalize()}: {checked.warning}.", grave=checked.told)
        if not (checked and checked.told) and (share := same.get(modality, 0.0)) >= MAX_IDENTICAL:
            what = f"{percent(share)} of answers are the same text whatever is heard"
            means = "the audio may not reach the model, or it says one thing, such as a refusal, to most prompts"
            yield Notice(text=f"{words(modality).capitalize()}: {what}: {means}.")
    if heard and not found:
        text = "Whether answers depend on the audio was not checked (demur respond --controls 20)."
        yield Notice(text=text, grave=False)


def table_notices(tables: Sequence[Table]) -> Iterator[Notice]:
    """What to know of the tables."""
    if len(tables) > 1:
        differ: dict[str, set[object]] = {
            "corpora": {table.corpus_sha256 for table in tables},
            "prompts": {table.prompts_sha256 for table in tables},
            "modalities": {tuple(table.facts.modalities) for table in tables},
            "settings of the scorer": {table.scorer_sha256 for table in tables},
        }
        different = " and ".join(name for name, values in differ.items() if len(values) > 1)
        yield Notice(text=f"Runs over different {different} stand in separate tables and are not ranked together.")
    for table in tables:
        few = [f"{number} {label}" for label, number in table.prompts if number < FEW_PROMPTS]
        if few:
            yield Notice(
                text=f"{table.name}: only {', '.join(few)} prompts; intervals are wide, and ranks may be chance."
            )
        if table.facts.wer is None and any(modality.has_audio for modality in table.facts.modalities):
            text = f"{table.name}: the speech was not checked by a recogniser, so its word error rate is unknown."
            yield Notice(text=text, grave=False)


def decoding_notices(table: Table, runs: Mapping[str, Results]) -> Iterator[Notice]:
    """Where models of one table, by name, were asked with different settings of decoding."""
    for what, keys in DECODING.items():
        models: dict[str, list[str]] = {}
        for name, results in runs.items():
            model = results.run.get("model")
            settings = model.get("settings") if isinstance(model, dict) else None
            for key in keys:
                if isinstance(settings, dict) and key in settings:
                    refused = key in (results.run.get("left_out") or ())
                    models.setdefault("the server's own" if refused else str(settings[key]), []).append(name)
        if len(models) > 1:
            told = "; ".join(f"{value}: {', '.join(names)}" for value, names in models.items())
            yield Notice(text=f"{table.name}: the models were not asked with the same {what} ({told}).")


def merged(notices: Iterable[tuple[str | None, Notice]], models: int) -> list[Notice]:
    """Notices of the same text as one that lists its models; grave ones first. A run's notice comes with its name."""
    found: dict[tuple[str, bool], list[str]] = {}
    for model, notice in notices:
        names = found.setdefault((notice.text, notice.grave), [])
        if model is not None and model not in names:
            names.append(model)
    lines = [
        Notice(text=text, grave=grave, models=[] if len(names) == models > 1 else names)
        for (text, grave), names in found.items()
    ]
    return sorted(lines, key=lambda notice: not notice.grave)
