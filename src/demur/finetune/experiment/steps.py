"""The steps of the experiment, each from folders to a folder; what is done already is left as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.audio import decode, resample
from demur.corpus import Corpus
from demur.errors import UsageError
from demur.files import read_jsonl, write_json
from demur.finetune.experiment.arms import BASE, Arm
from demur.models import make_model
from demur.models.hf.forced import likelihood
from demur.models.hf.turns import Turn
from demur.nouns import Label, Modality

if TYPE_CHECKING:
    from evaluators.scorers import Scorer

TUNE, TEST = "tune", "test"


@dataclass(frozen=True)
class Setting:
    """What all arms share."""

    out: Path
    model: str
    loading: Mapping[str, Any] = field(default_factory=dict)
    """Options of the model: `device`, `dtype`, …"""
    max_new_tokens: int = 48
    scorers: "Sequence[Scorer]" = ()
    allow_overlap: bool = False
    quiet: bool = False

    def adapter(self, arm: Arm, seed: int) -> Path:
        """The folder of what an arm made."""
        return self.out / "adapters" / f"{arm.name}-{seed}"

    def run(self, corpus: Path, name: str) -> Path:
        """The folder of a model's answers to a corpus."""
        return self.out / "runs" / corpus.name / name


def tune(setting: Setting, arm: Arm, seed: int, tests: Sequence[Path]) -> Path:
    """Make an adapter, or go on; its folder."""
    from demur.finetune.run import RUN, finetune

    folder = setting.adapter(arm, seed)
    if (folder / RUN).is_file():
        return folder
    finetune(
        arm.method,
        arm.options,
        Corpus(setting.out / "corpora" / TUNE),
        loaded(setting, None).lalm,
        folder,
        seed=seed,
        base=setting.model,
        held_out=[Corpus(path) for path in tests],
        allow_overlap=setting.allow_overlap,
        captures=setting.out / "captures",
        quiet=setting.quiet,
    )
    return folder


def ask(setting: Setting, adapter: Path | None, corpora: Sequence[Path]) -> None:
    """Let a model answer each corpus, score its answers, and see what it kept of the base model's."""
    from evaluators.run_model import RespondSettings, run_model
    from evaluators.scoring import score

    name = BASE if adapter is None else adapter.name
    model = loaded(setting, adapter)
    for corpus in corpora:
        run = setting.run(corpus, name)
        run_model(Corpus(corpus), model, run, RespondSettings(allow_overlap=setting.allow_overlap), quiet=setting.quiet)
        score(run, list(setting.scorers), quiet=setting.quiet)
    kept = setting.out / "kept" / f"{name}.json"
    if not kept.is_file():
        test = next(corpus for corpus in corpora if corpus.name == TEST)
        kept.parent.mkdir(exist_ok=True)
        write_json(kept, what_is_kept(model.lalm, Corpus(test), setting.run(test, BASE)))


def what_is_kept(lalm: Any, corpus: Corpus, base: Path) -> dict[str, Any]:
    """How a model stands to the base model's answers to plain benign prompts, by modality.

    `agreement` is the share of their tokens that it would have said too, `perplexity` that of the answers. Neither
    knows better from worse: the base model's own figures are the measure.
    """
    answers = {(row["id"], row["modality"]): row for row in read_jsonl(base / "responses.jsonl") if row["text"]}
    found: dict[str, Any] = {}
    for modality in Modality:
        turns, cut = [], []
        for row in corpus.rows(modality, ("id", "label", "input_text", "audio")):
            answer = answers.get((row["id"], modality))
            if row["label"] == Label.BENIGN and answer:
                clip = row["audio"] and resample(*decode(row["audio"]["bytes"]), lalm.sample_rate)
                turns.append(Turn(audio=clip, text=row["input_text"], answer=answer["text"]))
                cut.append(str(answer["finish_reason"]).startswith("length"))
        if turns:
            one = likelihood(lalm, turns, cut)
            found[modality] = {"agreement": one.agreement, "perplexity": one.perplexity, "tokens": one.tokens}
    return found


def loaded(setting: Setting, adapter: Path | None) -> Any:
    """The model, with an adapter or without; its weights are read when they are first needed.

    Raises:
        UsageError: it is not one that can be tuned.
    """
    options = {**setting.loading, "max_new_tokens": setting.max_new_tokens}
    model = make_model(setting.model, options if adapter is None else {**options, "adapter": adapter})
    if not hasattr(type(model), "lalm"):  # of the class: the object would load it
        raise UsageError(f"--model {setting.model}: only a model that runs here in transformers can be tuned")
    return model
