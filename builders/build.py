"""Prompts to corpus: plan the clips, make those that are missing, put the corpus together, publish it."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.assemble import Rows, write_shards
from builders.card import render_card
from builders.plan import BuildPlan, BuildSettings, make_plan, rejection
from builders.prompts import TableOptions
from builders.speech import make_clips
from builders.store import ClipHeader, ClipStore
from builders.summary import summarise_clips
from demur.console import say
from demur.corpus import Corpus
from demur.errors import InputError
from demur.files import folder_lock, read_json, write_atomic, write_json, write_jsonl

WORK = ".work"
"""Work in progress, inside the corpus folder; gone when the corpus is finished."""
BEGUN = "begun.json"
"""What the work in progress is a function of; clips without it belong to nothing."""


def build(
    specs: Sequence[str],
    out: Path,
    settings: BuildSettings,
    table: TableOptions,
    *,
    workers: int = 1,
    timeout_s: float = 120.0,
    overwrite: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Build a corpus, or go on with one; a finished one is left as it is.

    Returns:
        The manifest.

    Raises:
        BusyError: another build works in `out`.
        CorpusError: `out` holds a damaged corpus.
        InputError: `out` holds a corpus of other inputs or settings, or the prompts cannot be read.
        EngineError: a voice cannot speak at all.
        IncompleteError: some clips hung or an engine was out of reach; the next run tries them again.
    """
    plan = make_plan(specs, settings, table)
    with folder_lock(out):
        begun = {"recipe": plan.recipe, "environment": plan.environment}
        if _is_built(out, begun, overwrite=overwrite):
            say(f"{out}: already built", quiet=quiet)
            _remove_work(out)
            return Corpus(out).manifest
        _say_notes(plan, quiet=quiet)
        _begin(out, begun)
        store = ClipStore(out / WORK / "clips")
        headers = make_clips(plan, store, workers=workers, timeout_s=timeout_s, quiet=quiet)
        return _publish(plan, headers, store, out)


def _is_built(out: Path, begun: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether a whole corpus of this very recipe is there.

    A finished corpus may come from other versions of packages, but work that was begun with others is not gone on with.

    Raises:
        InputError: a corpus of another recipe is there, finished or begun, and may not be replaced; or files that are
            no corpus.
        CorpusError: the corpus that is there is damaged.
    """
    work, manifest = out / WORK / BEGUN, out / "manifest.json"
    if not manifest.exists() and not work.exists():
        strangers = [name for name in ("data", "README.md", "rejected.jsonl") if (out / name).exists()]
        if strangers:
            raise InputError(f"{out} holds {strangers[0]!r} and is no corpus; choose another --out")
    if overwrite:
        return False
    if manifest.exists():
        finished = Corpus(out).manifest.get("recipe")
        if finished != begun["recipe"]:
            raise InputError(_built_otherwise(out, finished, begun["recipe"]))
        return True
    if work.exists() and read_json(work) != begun:
        raise InputError(_built_otherwise(out, read_json(work), begun))
    return False


def _begin(out: Path, begun: dict[str, Any]) -> None:
    """Clear away what is no work of this very recipe, versions included, and say that work has begun."""
    work = out / WORK
    if not (work / BEGUN).exists() or read_json(work / BEGUN) != begun:
        _remove_work(out)
    write_json(work / BEGUN, begun)


def _remove_work(out: Path) -> None:
    """Remove the work in progress; renamed first, so that a kill half-way leaves nothing that looks like work."""
    trash = out / f"{WORK}.trash"
    shutil.rmtree(trash, ignore_errors=True)
    if (out / WORK).exists():
        (out / WORK).rename(trash)
        shutil.rmtree(trash)


def _built_otherwise(out: Path, there: Any, now: Any) -> str:
    return (
        f"{out} holds a corpus built otherwise ({_difference(there, now)}); "
        "choose another --out, or --overwrite to replace it"
    )


def _difference(old: Any, new: Any, name: str = "") -> str:
    """The first difference between two recipes, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                return _difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return f"{name}: {str(old)[:80]} there, {str(new)[:80]} now"


def _say_notes(plan: BuildPlan, *, quiet: bool) -> None:
    """Say, even when quiet, which voices may not be used commercially; and what became of the prompts."""
    bound = [voice for voice in plan.voices.values() if not voice.commercial_use]
    for licence in sorted({voice.license for voice in bound}):
        names = ", ".join(voice.spec for voice in bound if voice.license == licence)
        say(f"note: {licence} forbids commercial use of speech made with {names}")
    merged = sum(plan.prompt_set.merged.values())
    for what, count in plan.prompt_set.left_out.items():
        say(f"prompts: {count} left out ({what})", quiet=quiet)
    if merged or plan.prompt_set.rejected:
        say(f"prompts: {merged} duplicates merged, {len(plan.prompt_set.rejected)} rejected", quiet=quiet)


def _publish(plan: BuildPlan, headers: Mapping[str, ClipHeader], store: ClipStore, out: Path) -> dict[str, Any]:
    """Write the corpus beside the work, then move it into place; the manifest comes last and says that all is there."""
    settings = plan.settings
    rows = Rows(
        plan.prompts,
        headers.values(),
        store,
        plan.voices,
        instruction=settings.instruction,
        seed=settings.seed,
    )
    if not rows.prompts:
        raise InputError(f"no prompt is left to build from: {_why_none(plan, headers.values())}")
    ready = out / WORK / "corpus"
    shutil.rmtree(ready, ignore_errors=True)
    files, content_sha256 = write_shards(rows, ready, settings.sound.sample_rate)
    summary = _summarise(plan, headers, rows)
    manifest = {
        "content_sha256": content_sha256,
        "recipe": plan.recipe,
        "environment": plan.environment,
        "reproducible": all(engine.reproducible for engine in plan.engines.values()),
        "files": files,
        "summary": summary,
        "voices": [vars(voice) for voice in plan.voices.values()],
    }
    rejected = _rejected(plan, headers.values(), rows)
    (out / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(out / "data", ignore_errors=True)
    (ready / "data").rename(out / "data")
    write_jsonl(out / "rejected.jsonl", rejected)
    write_atomic(out / "README.md", render_card(manifest, rows, rejected))
    write_json(out / "manifest.json", manifest)
    _remove_work(out)
    return manifest


def _summarise(plan: BuildPlan, headers: Mapping[str, ClipHeader], rows: Rows) -> dict[str, Any]:
    leads = {clip.key: clip.voices[0] for clip in plan.clips}
    prompts = {prompt.prompt_id: prompt for prompt in plan.prompts}
    kept = {str(label): sum(prompt.label is label for prompt in rows.prompts.values()) for label in rows.labels()}
    return {
        "prompts": {"read": len(plan.prompts), "kept": kept, "merged": plan.prompt_set.merged},
        "left_out": plan.prompt_set.left_out,
        "lost_their_twin": plan.prompt_set.unpaired,
        **summarise_clips(headers.values(), prompts, leads),
    }


def _rejected(plan: BuildPlan, headers: Iterable[ClipHeader], rows: Rows) -> list[dict[str, Any]]:
    """Every prompt and clip that is not in the corpus, with reason and numbers."""
    prompts = {prompt.prompt_id: prompt for prompt in plan.prompts}
    lost = [
        rejection(
            prompts[header.prompt_id],
            header.failed[-1].reason,
            prompt_kept=header.prompt_id in rows.prompts,
            attempts=[attempt.model_dump() for attempt in header.failed],
        )
        for header in headers
        if not header.takes
    ]
    lost.sort(key=lambda row: str(row["prompt_id"]))
    return [row.as_dict() for row in plan.prompt_set.rejected] + plan.unspoken + lost


def _why_none(plan: BuildPlan, headers: Iterable[ClipHeader]) -> str:
    reasons = [header.failed[-1].reason for header in headers if header.failed]
    reasons += [row["reason"] for row in plan.unspoken] + [row.reason for row in plan.prompt_set.rejected]
    return f"all were rejected ({', '.join(sorted(set(reasons)))})" if reasons else "there were none"
