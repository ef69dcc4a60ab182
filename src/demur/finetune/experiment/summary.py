"""What came of the experiment, as `results.json` holds it.

scorers    scorer -> what it says, `keyword` first, then the judges that were asked:
             effects   corpus -> arm -> changes against the base model, see `evaluators.effects.Effect`; mean of seeds
             against   corpus -> arm -> changes from this arm to the last one
             holm      the p of each arm's overall score on `test`, corrected over arms; and the same of `against`
kept       run -> modality -> agreement and perplexity, see `steps.what_is_kept`
curves     arm -> seed -> every validated candidate: step, refusal, over_rejection, score
at_equal   arm -> refusal on validation with no more over-rejection than the base model's plus so many points
ahead      arm -> the last arm's refusal minus this one's, at equal over-rejection, with intervals; see `equal`
chosen     adapter -> its best candidate on validation, and the base model's row
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.files import read_json, read_jsonl
from demur.finetune.experiment.arms import BASE, Arm
from demur.finetune.experiment.equal import at_equal, difference, read_curve
from demur.finetune.experiment.steps import TEST, Setting
from demur.finetune.run import RUN


def summarise(setting: Setting, arms: Sequence[Arm], seeds: Sequence[int], corpora: Sequence[str]) -> dict[str, Any]:
    """Everything, from the folders of finished runs."""
    last = arms[-1].name
    curves = {arm.name: [read_curve(setting.adapter(arm, seed)) for seed in seeds] for arm in arms}
    return {
        "scorers": {name: _compared(setting, arms, seeds, corpora, name) for name in _scorers(setting)},
        "kept": {path.stem: read_json(path) for path in sorted((setting.out / "kept").glob("*.json"))},
        "curves": {arm.name: {seed: list(_curve(setting, arm, seed)) for seed in seeds} for arm in arms},
        "at_equal": {name: at_equal(found) for name, found in curves.items()},
        "ahead": {name: difference(curves[last], found, name, last) for name, found in curves.items() if name != last},
        "chosen": {
            f"{arm.name}-{seed}": {
                key: record[key] for key in ("chosen", "base_validation", "questions", "training_prompts")
            }
            for arm in arms
            for seed in seeds
            for record in [read_json(setting.adapter(arm, seed) / RUN)]
        },
    }


def _scorers(setting: Setting) -> list[str]:
    """Those that were asked, and the majority of several judges."""
    from evaluators.scorers import JUDGES

    judges = [scorer.name for scorer in setting.scorers if scorer.judge]
    return [*(scorer.name for scorer in setting.scorers), *([JUDGES] if len(judges) > 1 else [])]


def _compared(
    setting: Setting, arms: Sequence[Arm], seeds: Sequence[int], corpora: Sequence[str], scorer: str
) -> dict[str, Any]:
    """What one scorer says of every arm."""
    from evaluators.effects import effects
    from evaluators.statistics import holm

    def changes(before: Sequence[Path], after: Sequence[Path]) -> list[dict[str, Any]]:
        return [each.model_dump(mode="json") for each in effects(before, after, scorer=scorer)]

    last = arms[-1].name
    base = {corpus: [setting.out / "runs" / corpus / BASE] for corpus in corpora}
    runs = {
        corpus: {arm.name: [setting.out / "runs" / corpus / f"{arm.name}-{seed}" for seed in seeds] for arm in arms}
        for corpus in corpora
    }
    found = {
        "effects": {
            corpus: {name: changes(base[corpus], after) for name, after in each.items()}
            for corpus, each in runs.items()
        },
        "against": {
            corpus: {name: changes(before, each[last]) for name, before in each.items() if name != last}
            for corpus, each in runs.items()
        },
    }
    corrected = {}
    for name, lines in ((name, each.get(TEST, {})) for name, each in found.items()):
        overall = {arm: _overall(each) for arm, each in lines.items()}
        known = overall and all(overall.values())
        corrected[name] = (
            dict(zip(overall, map(float, holm([each["p"] for each in overall.values()])), strict=True)) if known else {}
        )
    return {**found, "holm": corrected}


def _overall(lines: Sequence[Mapping[str, Any]]) -> Any:
    """The line of the score over all modalities; None where a corpus has no score."""
    return next((each for each in lines if each["metric"] == "score" and each["modality"] is None), None)


def _curve(setting: Setting, arm: Arm, seed: int) -> Any:
    for row in read_jsonl(setting.adapter(arm, seed) / "log.jsonl"):
        if row["kind"] == "validation":
            yield {name: row[name] for name in ("candidate", "step", "refusal", "over_rejection", "score")}
