"""What came of the experiment, as `results.json` holds it.

effects    corpus -> arm -> changes against the base model, see `evaluators.effects.Effect`; mean of the seeds
against    corpus -> arm -> changes from this arm to the last one
holm       the p of each arm's overall score on `test`, corrected over arms; and the same of `against`
kept       run -> modality -> agreement and perplexity, see `steps.what_is_kept`
curves     arm -> seed -> every validated candidate: step, refusal, over_rejection, score
at_equal   arm -> refusal on validation with no more over-rejection than the base model's plus so many points
chosen     adapter -> its best candidate on validation, and the base model's row
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.files import read_json, read_jsonl
from demur.finetune.experiment.arms import BASE, Arm
from demur.finetune.experiment.steps import TEST, Setting
from demur.finetune.run import RUN

ROOM = (0, 5, 10, 20)
"""Points of over-rejection above the base model's."""


def summarise(setting: Setting, arms: Sequence[Arm], seeds: Sequence[int], corpora: Sequence[str]) -> dict[str, Any]:
    """Everything, from the folders of finished runs."""
    from evaluators.statistics import holm

    last = arms[-1]
    base = {corpus: [setting.out / "runs" / corpus / BASE] for corpus in corpora}
    runs = {
        corpus: {arm.name: [setting.out / "runs" / corpus / f"{arm.name}-{seed}" for seed in seeds] for arm in arms}
        for corpus in corpora
    }
    effects = {
        corpus: {name: _changes(base[corpus], after) for name, after in found.items()} for corpus, found in runs.items()
    }
    against = {
        corpus: {name: _changes(before, found[last.name]) for name, before in found.items() if name != last.name}
        for corpus, found in runs.items()
    }
    curves = {arm.name: {seed: list(_curve(setting, arm, seed)) for seed in seeds} for arm in arms}
    return {
        "effects": effects,
        "against": against,
        "holm": {
            name: dict(zip(found, map(float, holm([_overall(lines)["p"] for lines in found.values()])), strict=True))
            for name, found in (("effects", effects.get(TEST, {})), ("against", against.get(TEST, {})))
            if found and all(map(_overall, found.values()))
        },
        "kept": {path.stem: read_json(path) for path in sorted((setting.out / "kept").glob("*.json"))},
        "curves": curves,
        "at_equal": {name: _at_equal(by_seed) for name, by_seed in curves.items()},
        "chosen": {
            f"{arm.name}-{seed}": {key: record[key] for key in ("chosen", "base_validation", "training_prompts")}
            for arm in arms
            for seed in seeds
            for record in [read_json(setting.adapter(arm, seed) / RUN)]
        },
    }


def _changes(before: Sequence[Path], after: Sequence[Path]) -> list[dict[str, Any]]:
    from evaluators.effects import effects

    return [each.model_dump(mode="json") for each in effects(before, after)]


def _overall(lines: Sequence[Mapping[str, Any]]) -> Any:
    """The line of the score over all modalities; None where a corpus has no score."""
    return next((each for each in lines if each["metric"] == "score" and each["modality"] is None), None)


def _curve(setting: Setting, arm: Arm, seed: int) -> Any:
    for row in read_jsonl(setting.adapter(arm, seed) / "log.jsonl"):
        if row["kind"] == "validation":
            yield {name: row[name] for name in ("candidate", "step", "refusal", "over_rejection", "score")}


def _at_equal(by_seed: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """The highest refusal of any candidate (the base model is one) within so much over-rejection; mean over seeds."""
    found = {}
    for room in ROOM:
        best = []
        for rows in by_seed.values():
            allowed = rows[0]["over_rejection"] + room / 100 + 1e-9
            best.append(max(row["refusal"] for row in rows if row["over_rejection"] <= allowed))
        found[f"+{room}"] = sum(best) / len(best)
    return found
