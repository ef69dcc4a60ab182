"""From run folders to a board: who may be ranked with whom, and in which order."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from string import ascii_lowercase

from demur import __version__
from demur.errors import InputError
from demur.files import sha256_json
from demur.nouns import Modality, Outcome
from demur.results import Results, read_results
from evaluators.calibration import Report
from evaluators.rates import Draws
from evaluators.report.board import Board, Entry, GroupRate, Notice, ScorerLine, Table
from evaluators.report.notices import decoding_notices, merged, run_notices, sameness, table_notices
from evaluators.report.pairs import changes, find_pairs, pair_notices
from evaluators.report.samples import Drawing, Sample, draw_samples
from evaluators.runs import Run, read_run, read_verdicts
from evaluators.summarise import responses_sha256

DEFAULT_SCORER = "keyword"


@dataclass(frozen=True)
class Candidate:
    """A run that was scored."""

    folder: Path
    results: Results
    corpus_sha256: str
    """As the run recorded it, else of the rows that were asked."""
    sources: list[str]
    samples: list[Sample]
    same: dict[Modality, float]
    """The share of answers that are one text, where that may be told."""


@dataclass(frozen=True)
class Gathered:
    """A board, and the answers drawn of each model by the name that it shows."""

    board: Board
    samples: list[tuple[str, list[Sample]]]


def gather(
    folders: Sequence[Path],
    *,
    title: str,
    scorer: str | None = None,
    baseline: Path | None = None,
    calibration: Report | None = None,
    drawing: Drawing | None = None,
    draws: Draws | None = None,
) -> Gathered:
    """All that a leaderboard says of some runs.

    Raises:
        InputError: a run is not scored, not by the scorer, or has other responses than those that were scored.
    """
    distinct = list({folder.resolve(): folder for folder in (*folders, *([baseline] if baseline else []))}.values())
    candidates = [read_candidate(folder, drawing or Drawing()) for folder in distinct]
    scorer = choose_scorer(candidates, scorer)
    groups = _groups(candidates, scorer)
    names = _names(candidates)
    tables = [_table(group, names, scorer) for group in groups]
    pairings = [find_pairs(_infos(group), _same_folder(group, baseline)) for group in groups]
    pairs = [pair for pairing in pairings for pair in pairing.pairs]
    corpora = {each.folder: table.name for group, table in zip(groups, tables, strict=True) for each in group}
    compared = changes(pairs, names, corpora, scorer, draws or Draws()) if pairs else []
    others: list[tuple[str | None, Notice]] = [*pair_notices(pairings, names, compared)]
    for group, table in zip(groups, tables, strict=True):
        runs = {names[each.folder]: each.results for each in group}
        others += [(None, notice) for notice in decoding_notices(table, runs)]
    board = Board(
        title=title,
        scorer=scorer,
        notices=_notices(candidates, names, tables, scorer, calibration, others),
        tables=tables,
        changes=compared,
        calibration=calibration,
        versions={"demur": __version__},
    )
    return Gathered(board, [(names[each.folder], each.samples) for each in candidates])


def read_candidate(folder: Path, drawing: Drawing) -> Candidate:
    """A run with its results and the answers drawn from it; the rest of it is not kept in memory.

    Raises:
        InputError: it is not scored, or was answered anew since.
    """
    results = read_results(folder)
    run = read_run(folder)
    if responses_sha256(run) != results.hashes.responses:
        raise InputError(f"{folder}: the responses have changed since they were scored; run: demur score {folder}")
    _check_complete(folder, results)
    sources = sorted(str(source) for source in run.samples["source"].unique())
    corpus = results.hashes.corpus or _asked_sha256(run)
    samples = draw_samples(run, read_verdicts(folder), drawing)
    return Candidate(folder, results, corpus, sources, samples, sameness(run))


def _asked_sha256(run: Run) -> str:
    rows = run.samples[["id", "modality", "audio_sha256", "input_text"]].fillna("")
    return sha256_json(sorted(rows.itertuples(index=False, name=None)))


def _check_complete(folder: Path, results: Results) -> None:
    for scorer in results.scorers:
        modalities = {line.modality for line in results.headlines if line.scorer == scorer}
        if modalities != set(results.corpus.modalities) or scorer not in {line.scorer for line in results.overall}:
            raise InputError(f"{folder}/results.json: lacks rates of {scorer!r}; run: demur score {folder}")


def choose_scorer(candidates: Sequence[Candidate], wanted: str | None) -> str:
    """The scorer wanted, else `keyword`, else the first that every run has.

    Raises:
        InputError: a run has no verdicts of it, or the runs have no scorer in common.
    """
    for each in candidates:
        if wanted is not None and wanted not in each.results.scorers:
            known = ", ".join(each.results.scorers)
            raise InputError(f"{each.folder}: not scored by {wanted!r}; scorers there: {known}")
    if wanted is not None:
        return wanted
    shared = [
        name for name in candidates[0].results.scorers if all(name in each.results.scorers for each in candidates)
    ]
    if not shared:
        raise InputError("the runs have no scorer in common; score all of them alike with: demur score RUN...")
    return DEFAULT_SCORER if DEFAULT_SCORER in shared else shared[0]


def _groups(candidates: Sequence[Candidate], scorer: str) -> list[list[Candidate]]:
    """Runs that may be ranked together, in the order in which they came."""
    groups: dict[tuple[object, ...], list[Candidate]] = {}
    for each in candidates:
        hashes, facts = each.results.hashes, each.results.corpus
        key = (each.corpus_sha256, hashes.prompts, *facts.modalities, each.results.scorers[scorer].sha256)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _names(candidates: Sequence[Candidate]) -> dict[Path, str]:
    """What each run is called: its model, and as much of its folder as tells runs of one model apart."""
    by_model: dict[str, list[Path]] = defaultdict(list)
    for each in candidates:
        by_model[each.results.model].append(each.folder)
    names: dict[Path, str] = {}
    for model, folders in by_model.items():
        parts = {folder: folder.resolve().parts for folder in folders}
        depth = next(depth for depth in count(1) if len({own[-depth:] for own in parts.values()}) == len(folders))
        names |= {
            folder: model if len(folders) == 1 else f"{model} ({'/'.join(own[-depth:])})"
            for folder, own in parts.items()
        }
    return names


def _table(group: Sequence[Candidate], names: Mapping[Path, str], scorer: str) -> Table:
    first = group[0].results
    corpus = first.run.get("corpus")
    name = corpus.get("name") if isinstance(corpus, dict) else None
    entries = sorted(
        (_entry(each, names[each.folder], scorer) for each in group),
        key=lambda entry: (entry.score.value is None, -round(entry.score.value or 0, 9), entry.model),
    )
    return Table(
        corpus=name if isinstance(name, str) and name else "corpus",
        sources=group[0].sources,
        corpus_sha256=group[0].corpus_sha256,
        prompts_sha256=first.hashes.prompts,
        scorer_sha256=first.scorers[scorer].sha256,
        facts=first.corpus,
        entries=_ranked(entries),
    )


def _entry(each: Candidate, name: str, scorer: str) -> Entry:
    results = each.results
    overall = next(line for line in results.overall if line.scorer == scorer)
    versions = results.run.get("versions")
    return Entry(
        mark="",
        rank=None,
        model=name,
        run=each.folder.resolve().name,
        score=overall.score,
        modality_gap=overall.modality_gap,
        modality_gap_prompts=overall.modality_gap_prompts,
        # a reason may quote an answer or a prompt that is not to be told
        headlines=[line.model_copy(update={"reasons": {}}) for line in results.headlines if line.scorer == scorer],
        groups=list(_group_rates(results, scorer)),
        scorers=list(_scorer_lines(results)),
        agreement=results.agreement,
        hashes=results.hashes,
        versions={str(key): str(value) for key, value in versions.items()} if isinstance(versions, dict) else {},
    )


def _group_rates(results: Results, scorer: str) -> Iterator[GroupRate]:
    for cell in results.breakdowns:
        if cell.scorer == scorer and cell.group is not None and cell.group_by in {"category", "kind"}:
            where = cell.model_dump(include={"group_by", "group", "modality", "label", "prompts"})
            yield GroupRate(**where, refusal=cell.rates[Outcome.REFUSAL])


def _scorer_lines(results: Results) -> Iterator[ScorerLine]:
    for overall in results.overall:
        lines = [line for line in results.headlines if line.scorer == overall.scorer]
        asked, scored = sum(line.n for line in lines), sum(line.scored for line in lines)
        yield ScorerLine(scorer=overall.scorer, score=overall.score, coverage=scored / asked if asked else 0.0)


def _ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Entries in order, with ranks (equal scores share one) and marks."""
    scores = [entry.score.value if entry.score.value is None else round(entry.score.value, 9) for entry in entries]
    ranks = [None if score is None else 1 + scores.index(score) for score in scores]
    shared, seen = Counter(ranks), Counter[int | None]()
    ranked = []
    for entry, rank in zip(entries, ranks, strict=True):
        letter = ascii_lowercase[seen[rank] % 26] if rank is None or shared[rank] > 1 else ""
        seen[rank] += 1
        ranked.append(entry.model_copy(update={"rank": rank, "mark": f"{rank or ''}{letter}"}))
    return ranked


def _infos(group: Sequence[Candidate]) -> dict[Path, dict[str, object]]:
    return {each.folder: each.results.run for each in group}


def _same_folder(group: Sequence[Candidate], baseline: Path | None) -> Path | None:
    """The baseline as this group calls it."""
    if baseline is None:
        return None
    return next((each.folder for each in group if each.folder.resolve() == baseline.resolve()), None)


def _notices(
    candidates: Sequence[Candidate],
    names: Mapping[Path, str],
    tables: Sequence[Table],
    scorer: str,
    calibration: Report | None,
    others: Iterable[tuple[str | None, Notice]],
) -> list[Notice]:
    found: list[tuple[str | None, Notice]] = [*((None, notice) for notice in table_notices(tables)), *others]
    for each in candidates:
        told = run_notices(each.folder, each.results, scorer, each.same)
        found += [(names[each.folder], notice) for notice in told]
    if calibration is None:
        text = "How far the scorer agrees with people is not shown (demur calibrate, then --calibration)."
        found.append((None, Notice(text=text, grave=False)))
    elif uncalibrated := [table.name for table in tables if table.scorer_sha256 != calibration.settings.sha256]:
        which = f" than {', '.join(uncalibrated)}" if len(uncalibrated) < len(tables) else ""
        text = f"The calibration is of another scorer, or of other settings of it{which}: {calibration.scorer}."
        found.append((None, Notice(text=text)))
    return merged(found, len(candidates))
