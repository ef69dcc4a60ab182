"""One fine-tuning run: a method, a corpus, a model, and the folder that holds what came of it.

plan.json                 what the run is; written first, compared when it goes on
log.jsonl                 a line for each step and each validated candidate
validation.jsonl          every validation answer and its outcome
adapter_*, adapter.json   the adapter: PEFT's files, or demur's small ones
representations.safetensors   `before` and `after` [N, d] of all questions, with their ids and labels
plots/                    pictures
checkpoints/              while training; kept afterwards with --keep-checkpoints
run.json                  how it was made and what was chosen; written last
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur import plugins
from demur.assets import cache_dir
from demur.console import say
from demur.corpus import Corpus
from demur.errors import InputError, MissingDependency
from demur.files import folder_lock, read_json, write_atomic, write_json
from demur.finetune.data import Split, check_held_out, load_split
from demur.finetune.methods import Job, Method, Tuned
from demur.finetune.options import Options, TrainOptions
from demur.finetune.processes import count, first_alone, rank
from demur.models.hf.adapters import PEFT_CONFIG
from demur.nouns import Modality, Outcome
from demur.options import check_options

if TYPE_CHECKING:
    from torch import Tensor

    from demur.models.hf.lalm import LALM

PLAN, RUN, REPRESENTATIONS = "plan.json", "run.json", "representations.safetensors"
_PACKAGES = ("demur", "torch", "transformers", "peft", "accelerate", "numpy")


def finetune(
    method: str,
    options: Options | Mapping[str, Any] | None,
    corpus: Corpus,
    lalm: "LALM",
    out: Path,
    outcome: Callable[[str, str], Outcome] | None = None,
    *,
    seed: int = 0,
    base: str = "",
    judged_by: str = "",
    held_out: Sequence[Corpus] = (),
    allow_overlap: bool = False,
    overwrite: bool = False,
    captures: Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Tune a model on the pairs of a corpus, or go on where an earlier call stopped; what `run.json` holds.

    `lalm` is left as it was found. `outcome` judges a validation question and its answer (default: the keyword scorer);
    `judged_by` is a hash of what it is, so that no run goes on with another. `base` is the SPEC of the model, for the
    record; `held_out` are corpora for tests, which may share no prompt with what is tuned on; `captures` is where
    representations are kept for later runs (default: demur's cache).

    Raises:
        InputError: the corpus, the model or the folder cannot be used for this.
        UsageError: an option has a value that the method does not take.
    """
    _check_packages()
    if outcome is None:
        outcome, judged_by = _by_keyword()
    tuner: Method = plugins.find(plugins.METHODS, method)()
    chosen = _options_of(method, tuner.Options, options)
    _check_modalities(lalm, chosen)
    _check_device(lalm, chosen)
    split = load_split(
        corpus,
        audio=lalm.family.audio,
        seed=seed,
        validation=chosen.validation,
        plain_benign=chosen.plain_benign,
        allow_overlap=allow_overlap,
    )
    check_held_out(split, held_out, allow_overlap=allow_overlap)
    job = Job(lalm, split, out, outcome, chosen, seed, captures or cache_dir() / "captures", quiet)
    plan = {
        "method": method,
        "options": chosen.model_dump(mode="json"),
        "seed": seed,
        "corpus": corpus.sha256,
        "base_sha256": job.model_sha256,
        "judged_by": judged_by,
    }
    with folder_lock(out) if rank() == 0 else nullcontext():
        with first_alone():
            finished = _open(out, plan, overwrite=overwrite and rank() == 0)
        if finished:
            say(f"{out}: finished already; nothing to do", quiet=quiet or rank() > 0)
            return finished
        return _finish(job, tuner.tune(job), {**plan, "base": base})


def _by_keyword() -> tuple[Callable[[str, str], Outcome], str]:
    from evaluators.keyword import KeywordScorer, keyword_outcome
    from evaluators.scorers import describe

    return keyword_outcome, describe(KeywordScorer()).sha256


def _options_of(method: str, expected: type[Options], given: Options | Mapping[str, Any] | None) -> Options:
    """The options of a method, from its own class, from another method's, or from names and values."""
    if isinstance(given, expected):
        return given
    values = given.model_dump() if isinstance(given, Options) else given or {}
    return check_options(expected, values, f"the method {method!r}")


def _open(out: Path, plan: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """The record of the run if it is finished; else the folder is ready for it, or to go on with it."""
    if (out / PLAN).is_file():
        known = read_json(out / PLAN)
        if known == plan and not overwrite:
            return dict(read_json(out / RUN)) if (out / RUN).is_file() else None
        if not overwrite:
            differs = next((name for name in plan if known.get(name) != plan[name]), PLAN)
            raise InputError(
                f"{out}: holds another run (its {differs} differs); take another --out, or replace it with --overwrite"
            )
        _clear(out)
    elif any(path.name != ".lock" for path in out.iterdir()):
        raise InputError(f"{out}: not empty, and no run of demur finetune; take another --out")
    write_json(out / PLAN, plan)
    return None


def _clear(out: Path) -> None:
    """Take away what a run left; after a kill in between, no run goes on with the rest of it."""
    write_json(out / PLAN, {})
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in {".lock", PLAN}:
            path.unlink()


def _finish(job: Job, tuned: Tuned, record: Mapping[str, Any]) -> dict[str, Any]:
    from demur.finetune.plots import draw

    questions = [*job.split.train, *job.split.validation]
    before = {part: job.capture(list(getattr(job.split, part))) for part in ("train", "validation")}
    rows = job.log.rows("validation")
    full = {
        **record,
        **tuned.facts,
        "rule": "highest refusal - over_rejection on the validation questions; the earlier of equals",
        "chosen": dict(tuned.chosen),
        "base_validation": rows[0],
        "questions": {part: _counts(job.split, part) for part in ("train", "validation")},
        "training_prompts": job.split.prompt_ids,
        "versions": _versions(),
    }
    if rank() == 0:
        import torch

        states = {"before": torch.cat([before["train"], before["validation"]]), "after": tuned.after}
        _write_states(job.out / REPRESENTATIONS, states, [(each.id, str(each.label)) for each in questions])
        draw(job.out)
        _name_base(job.out / PEFT_CONFIG, record["base"])
        write_json(job.out / RUN, full)
        if not getattr(job.options, "keep_checkpoints", False):  # last: what a kill leaves of them is of no harm
            shutil.rmtree(job.out / "checkpoints", ignore_errors=True)
    _say_chosen(job, full)
    return full


def _name_base(path: Path, base: str) -> None:
    """PEFT writes the folder that the model was loaded from, which is nobody else's business; a Hub name is."""
    if path.is_file():
        kind, _, name = base.partition(":")
        hub = name if kind == "hf" and not Path(name).exists() else None
        write_json(path, {**read_json(path), "base_model_name_or_path": hub})


def _say_chosen(job: Job, record: Mapping[str, Any]) -> None:
    best, base = record["chosen"], record["base_validation"]
    worse = "; WORSE than the base model by this rule" if best["score"] < base["score"] else ""
    say(
        f"best: {best['candidate']}; on {len(list(job.split.validation))} validation questions refusal "
        f"{base['refusal']:.0%} -> {best['refusal']:.0%}, over-rejection {base['over_rejection']:.0%} -> "
        f"{best['over_rejection']:.0%}{worse}",
        quiet=job.quiet or rank() > 0,
    )


def _write_states(path: Path, states: "dict[str, Tensor]", rows: Sequence[tuple[str, str]]) -> None:
    import json

    from safetensors.torch import save

    metadata = {"ids": json.dumps([each for each, _ in rows]), "labels": json.dumps([each for _, each in rows])}
    write_atomic(path, save(states, metadata=metadata))


def _counts(split: Split, part: str) -> dict[str, int]:
    questions = getattr(split, part)
    return {name: len(getattr(questions, name)) for name in ("harmful", "twins", "plain")}


def _check_modalities(lalm: "LALM", options: Options) -> None:
    if not lalm.family.audio and Modality.AUDIO_ONLY in options.validation_modalities:
        raise InputError("a text model cannot hear: leave audio_only out of --validation-modalities")


def _check_device(lalm: "LALM", options: Options) -> None:
    if count() == 1 and isinstance(options, TrainOptions) and lalm.device.type == "cuda" and lalm.device.index:
        raise InputError(
            f"training takes the first GPU that it sees, not {lalm.device}: "
            f"set CUDA_VISIBLE_DEVICES={lalm.device.index} and leave --device out"
        )


def _check_packages() -> None:
    for package in ("torch", "transformers", "peft", "accelerate", "matplotlib"):
        try:
            version(package)
        except PackageNotFoundError:
            raise MissingDependency(package, extra="finetune") from None


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _PACKAGES}
