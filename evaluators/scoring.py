"""Scoring a run: each scorer's verdicts, what judges found before, and the summary of it all."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from demur.console import say
from demur.errors import InputError
from demur.files import folder_lock, write_json, write_jsonl
from demur.nouns import Verdict
from demur.results import RESULTS, Results, ScorerInfo, read_results
from evaluators.journal import find
from evaluators.rates import Draws
from evaluators.runs import Run, check_run, read_run, read_verdicts
from evaluators.scorers import JUDGES, Finding, Item, Scorer, describe, describe_panel, majority
from evaluators.summarise import responses_sha256, summarise

JOURNAL = ".judged.jsonl"
"""In a run: every finding of a judge, by its content, so that no judge is asked the same thing twice."""


def score(
    folder: Path, scorers: Sequence[Scorer], *, draws: Draws | None = None, overwrite: bool = False, quiet: bool = False
) -> Results:
    """Score the responses of a run and summarise them: `verdicts.jsonl` and `results.json`, each whole or not at all.

    What judges found before is not asked again where judge, prompt and response are the same. Scorers of an earlier
    call that are not among these stay, as long as the responses are the same; `overwrite` forgets them, but not what
    judges found: that may have been paid for.

    Raises:
        InputError: the folder holds no run, or a damaged one.
        ModelError: a judge cannot go on; what it found is kept, and the next call goes on from it.
    """
    check_run(folder)  # before the lock makes the folder
    with folder_lock(folder):
        run_ = read_run(folder)
        before = _results(run_)
        now = {scorer.name for scorer in scorers}
        verdicts, infos = ([], {}) if overwrite else _earlier(run_, before, now, quiet=quiet)
        for scorer in scorers:
            verdicts += _verdicts(run_, scorer, quiet=quiet)
            infos[scorer.name] = describe(scorer, before.scorers.get(scorer.name) if before else None)
        infos = dict(sorted(infos.items(), key=lambda item: (item[1].judge, item[0])))
        judges = [name for name, info in infos.items() if info.judge]
        if len(judges) > 1:
            verdicts += list(majority([verdict for verdict in verdicts if verdict.scorer in judges], len(judges)))
            infos[JUDGES] = describe_panel({name: infos[name].sha256 for name in judges})
        results = summarise(run_, verdicts, infos, draws=draws)
        (folder / RESULTS).unlink(missing_ok=True)  # it comes last: never old results beside new verdicts
        write_jsonl(folder / "verdicts.jsonl", (verdict.model_dump(mode="json") for verdict in verdicts))
        write_json(folder / RESULTS, results.model_dump(mode="json"))
        return results


def _results(run_: Run) -> Results | None:
    """What an earlier call made; None if nothing, or by another version."""
    try:
        return read_results(run_.folder)
    except InputError:
        return None


def _earlier(
    run_: Run, results: Results | None, now: set[str], *, quiet: bool
) -> tuple[list[Verdict], dict[str, ScorerInfo]]:
    """The verdicts of scorers that are not asked now, and what those scorers were."""
    try:
        verdicts = [each for each in read_verdicts(run_.folder) if each.scorer not in {*now, JUDGES}]
    except InputError:  # there is nothing to keep
        return [], {}
    if results is None or results.hashes.responses != responses_sha256(run_):
        for name in sorted({verdict.scorer for verdict in verdicts}):
            why = f"the responses have changed since {name} scored them"
            if results is None:
                why = f"{RESULTS} does not say how {name} scored the responses"
            say(f"{run_.folder}: {why}; score with it again", quiet=quiet)
        return [], {}
    infos = {name: info for name, info in results.scorers.items() if name not in {*now, JUDGES}}
    return [verdict for verdict in verdicts if verdict.scorer in infos], infos


def _verdicts(run_: Run, scorer: Scorer, *, quiet: bool) -> Iterator[Verdict]:
    """A scorer's verdict on each response, in the order of the samples; the same content is scored once."""
    columns = zip(run_.keys, run_.samples["prompt"], run_.samples["label"], strict=True)
    asked = [(key, prompt, label) for key, prompt, label in columns if key in run_.responses]
    items = {
        key: Item(prompt, label, text) for key, prompt, label in asked if (text := run_.responses[key].text) is not None
    }
    findings = find(run_.folder / JOURNAL, scorer, list(items.values()), quiet=quiet)
    for key, *_ in asked:
        if key in items:
            finding = findings.get(items[key], Finding(None, reason="the scorer said nothing"))
        else:
            finding = Finding(None, reason=f"no answer: {run_.responses[key].error or 'no text'}")
        yield finding.verdict(*key, scorer.name)
