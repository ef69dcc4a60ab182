"""`python -m demur.finetune.experiment`: every method on one model, from nothing to a report."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from demur.console import run, say
from demur.corpus import Corpus
from demur.errors import InputError, UsageError
from demur.files import folder_lock, read_json, to_json, write_atomic, write_json
from demur.finetune.data import check_held_out, load_split
from demur.finetune.experiment.arms import METHODS, Arm, parse_arms, parse_options
from demur.finetune.experiment.report import write_report
from demur.finetune.experiment.steps import TEST, TUNE, Setting, ask, loaded, tune
from demur.finetune.experiment.summary import summarise

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EXAMPLES = """
Examples:

    python -m demur.finetune.experiment --out experiment

    python -m demur.finetune.experiment --model hf:Qwen/Qwen2-Audio-7B-Instruct --dtype bfloat16 --also xstest --out experiment

    python -m demur.finetune.experiment --arm rrs --arm rrs:learning_rate=2e-4 --arm rrs:scale=2 --validate-only --out look
"""  # noqa: E501


@app.command("experiment", epilog=EXAMPLES)
def main(
    out: Annotated[Path, typer.Option(help="Folder of the experiment, to make or to go on with.")],
    model: Annotated[str, typer.Option(help="What is tuned: `demur-tiny`, or `hf:REPO_OR_PATH`.")] = "demur-tiny",
    arm: Annotated[
        list[str],
        typer.Option(help="A method, or METHOD:OPTION=VALUE,…; repeatable. The last is compared with each other one."),
    ] = list(METHODS),  # noqa: B006 -- typer shows and copies it
    shared: Annotated[
        str,
        typer.Option("--set", metavar="OPTION=VALUE,…", help="Options of every arm that takes them; an arm's own win."),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, from 0: each makes every arm anew.")] = 3,
    tune_on: Annotated[str, typer.Option(help="Prompts to tune on, with twins.")] = "demur-core:tune",
    test_on: Annotated[str, typer.Option(help="Prompts to test on.")] = "demur-core:test",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of each label to test on.")] = None,
    also: Annotated[
        list[str],
        typer.Option(help="Also test on these prompts: a name or a file, as `demur build` takes; repeatable."),
    ] = [],  # noqa: B006
    also_limit: Annotated[int, typer.Option(min=1, help="At most so many prompts of each label of those.")] = 100,
    tune_voice: Annotated[str, typer.Option(help="Voices that speak what is tuned on.")] = "hibari:*",
    test_voice: Annotated[
        str, typer.Option(help="Voices that speak the tests; demur-tiny never heard joe.")
    ] = "piper:joe",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer, at most.")] = 48,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Test questions that are answered together. Default: the model's.")
    ] = None,
    judge: Annotated[list[str], typer.Option(help="Also ask a judge, as `demur score` does; repeatable.")] = [],  # noqa: B006
    base_url: Annotated[str | None, typer.Option(help="Of the judge's OpenAI-compatible server.")] = None,
    device: Annotated[str | None, typer.Option(help="`cpu` or `cuda`; by default the GPU if there is one.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="`float32` or `bfloat16`. Default: as the weights are saved.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="The model may be downloaded from its hub.")] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Only tune, and show what validation says: for choosing options.")
    ] = False,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Test on prompts that were tuned on, all the same.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that speak.")] = 2,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
) -> None:
    """Speak the prompts, tune by every method and seed, test the model and each adapter, and report.

    Running the same command again goes on where it stopped. The report is written after each seed, from the seeds that
    are done. More arms, seeds and tests may be asked for later.
    """
    from evaluators.judge_flags import make_judges
    from evaluators.scorers import describe, find_scorer

    arms = parse_arms(arm, every := parse_options(shared, "--set"))
    judges = make_judges(judge, {"base_url": base_url}, quiet=quiet)
    given = (("device", device), ("dtype", dtype), ("batch_size", batch_size))
    loading = {name: value for name, value in given if value is not None}
    fetching = {"download": True} if download else {}
    keyword = find_scorer("keyword")
    setting = Setting(out, model, {**loading, **fetching}, max_new_tokens, [keyword, *judges], allow_overlap, quiet)
    settings = loaded(setting, None).settings  # a model that cannot be tuned is known before anything is spoken
    tests = {TEST: (test_on, limit)}
    for spec in also:
        if (name := _name(spec)) in {TUNE, *tests}:
            raise UsageError(f"--also {spec}: a corpus of the name {name!r} is there already; name the file otherwise")
        tests[name] = (str(Path(spec).resolve()) if Path(spec).is_file() else spec, also_limit)
    plan = {
        "model": model,
        "loading": loading,
        "options": every,
        "tune": tune_on,
        "tests": {name: list(each) for name, each in tests.items()},
        "voices": {TUNE: tune_voice, TEST: test_voice},
        "max_new_tokens": max_new_tokens,
        "settings": settings,
        "keyword": describe(keyword).sha256,
    }
    with folder_lock(out):
        _open(out, plan)
        corpora = out / "corpora"
        _build(corpora / TUNE, tune_on, tune_voice, None, workers=workers, quiet=quiet)
        for name, (spec, most) in {} if validate_only else tests.items():
            _build(corpora / name, spec, test_voice, most, workers=workers, quiet=quiet)
        _check(corpora, [] if validate_only else list(tests), allow_overlap=allow_overlap)
        if validate_only:
            _validate(setting, arms, range(seeds))
            return
        _compare(setting, arms, seeds, [corpora / name for name in tests], {**plan, "judges": judge})
    if not quiet:
        print(f"report: {out / 'report.md'}")


def _compare(setting: Setting, arms: Sequence[Arm], seeds: int, corpora: Sequence[Path], plan: dict[str, Any]) -> None:
    from evaluators.leaderboard import leaderboard

    command = shlex.join(["python", "-m", "demur.finetune.experiment", *sys.argv[1:]])
    ask(setting, None, corpora)
    for seed in range(seeds):
        for number, one in enumerate(arms, 1):
            say(f"seed {seed}, {one.name} ({number} of {len(arms)})", quiet=setting.quiet)
            ask(setting, tune(setting, one, seed, corpora), corpora)
        done = range(seed + 1)
        results = summarise(setting, arms, done, [corpus.name for corpus in corpora])
        write_atomic(setting.out / "results.json", to_json(results, indent=2) + "\n")
        write_report(setting.out, {**plan, "command": command}, results, done)
        runs = [path.parent for path in sorted((setting.out / "runs").glob("*/*/results.json"))]
        leaderboard(runs, setting.out / "leaderboard", title=f"The experiment: {setting.model}")


def _validate(setting: Setting, arms: Sequence[Arm], seeds: Sequence[int]) -> None:
    """Tune, and print a line for each adapter: nothing of a test set is seen."""
    from demur.finetune.run import RUN

    for one in arms:
        for seed in seeds:
            record = read_json(tune(setting, one, seed, ()) / RUN)
            base, best = record["base_validation"], record["chosen"]
            print(
                f"{one.name}-{seed}: {best['candidate']}; refusal {base['refusal']:.0%} -> {best['refusal']:.0%}, "
                f"over-rejection {base['over_rejection']:.0%} -> {best['over_rejection']:.0%}",
                flush=True,
            )


def _check(corpora: Path, tests: Sequence[str], *, allow_overlap: bool) -> None:
    """Find out now, and not after hours, that the corpora cannot be used together."""
    tuned = load_split(
        Corpus(corpora / TUNE), audio=False, seed=0, plain_benign=True, allow_overlap=allow_overlap
    )  # of any seed: with all plain benign prompts
    check_held_out(tuned, [Corpus(corpora / name) for name in tests], allow_overlap=allow_overlap)


def _name(spec: str) -> str:
    """What a folder of these prompts is called."""
    return Path(spec).stem.replace(":", "-")


def _open(out: Path, plan: dict[str, Any]) -> None:
    path = out / "plan.json"
    if path.is_file():
        known = read_json(path)
        tests = {**known["tests"], **plan["tests"]}  # those that were asked for before stay
        same = {**plan, "tests": {name: tests[name] for name in known["tests"]}}
        if known != same:
            differs = next((name for name in same if known.get(name) != same[name]), "plan.json")
            raise InputError(f"{out}: holds another experiment (its {differs} differs); take another --out")
        plan = {**plan, "tests": tests}
    elif any(each.name != ".lock" for each in out.iterdir()):
        raise InputError(f"{out}: not empty, and no experiment; take another --out")
    write_json(path, plan)


def _build(folder: Path, spec: str, voice: str, limit: int | None, *, workers: int, quiet: bool) -> None:
    from builders.build import build
    from builders.plan import BuildSettings
    from builders.prompts import TableOptions

    settings = BuildSettings(voices=(voice,), limit=limit)
    build([spec], folder, settings, TableOptions(), workers=workers, quiet=quiet)


if __name__ == "__main__":
    run(app)
