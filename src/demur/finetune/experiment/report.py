"""`results.json` as Markdown and as pictures."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.files import write_atomic
from demur.finetune.experiment.arms import BASE
from demur.finetune.experiment.equal import ROOM
from demur.finetune.experiment.steps import TEST
from demur.nouns import Label, Modality

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("report.md.j2")
MODALITIES = (None, *Modality)
"""None: the mean over all."""
NOTHING = "–"
Line = Mapping[str, Any]


def write_report(out: Path, plan: Mapping[str, Any], results: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """`report.md`, and `plots/` beside it."""
    for name, figure in (("effects", _effects(results)), ("curves", _curves(results))):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
        write_atomic(out / "plots" / f"{name}.png", buffer.getvalue())
    write_atomic(out / "report.md", markdown(plan, results, seeds))


def markdown(plan: Mapping[str, Any], results: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """The report."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    arms = list(results["curves"])
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        plan=plan,
        results=results,
        seeds=seeds,
        arms=arms,
        last=arms[-1],
        test=TEST,
        questions=next(iter(results["chosen"].values()))["questions"],
        scored={
            corpus: any(_rows(lines, None).get("score") for lines in found.values())
            for corpus, found in results["scorers"]["keyword"]["effects"].items()
        },
        modalities=MODALITIES,
        named=list(Modality),
        rooms=[f"+{room}" for room in ROOM],
        kept={name: _mean_kept(results["kept"], name, seeds) for name in (BASE, *arms)},
        rows=_rows,
        change=_change,
        each=_each,
        level=_level,
        points=_points,
    )


def _rows(lines: Sequence[Line], modality: str | None) -> dict[str, Line | None]:
    """The lines of a modality by name: score, refusal, borderline, benign; empty where it has none."""
    found = {
        each["label"] if each["metric"] == "over_rejection" else each["metric"]: each
        for each in lines
        if each["modality"] == modality and not (each["metric"] == "over_rejection" and each["label"] is None)
    }
    names = ("score", "refusal", Label.BORDERLINE, Label.BENIGN)
    return {str(name): found.get(name) for name in names} if found else {}


def _change(line: Line | None) -> str:
    if line is None:
        return NOTHING
    return _points(line["change"])


def _points(estimate: Mapping[str, float]) -> str:
    value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _each(line: Line | None) -> str:
    return NOTHING if line is None else ", ".join(f"{100 * one:+.1f}" for one in line["each"])


def _level(line: Line | None) -> str:
    return NOTHING if line is None else f"{100 * line['before']:.1f} → {100 * line['after']:.1f}"


def _mean_kept(kept: Mapping[str, Any], arm: str, seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    runs = [kept[name] for name in ([BASE] if arm == BASE else [f"{arm}-{seed}" for seed in seeds])]
    return {
        modality: {
            figure: sum(run[modality][figure] for run in runs) / len(runs) for figure in ("agreement", "perplexity")
        }
        for modality in runs[0]
    }


def _effects(results: Mapping[str, Any]) -> "Figure":
    """Each arm's change of the score on `test`, over all modalities and in each, with intervals and seeds."""
    from matplotlib.figure import Figure

    found = results["scorers"]["keyword"]["effects"][TEST]
    figure = Figure(figsize=(3.2 * len(MODALITIES), 1.2 + 0.45 * len(found)), layout="constrained")
    axes = figure.subplots(1, len(MODALITIES), squeeze=False, sharex=True, sharey=True)[0]
    for axis, modality in zip(axes, MODALITIES, strict=True):
        for place, lines in enumerate(found.values()):
            line = _rows(lines, modality).get("score")
            if line is None:
                continue
            change = line["change"]
            axis.plot([100 * change["low"], 100 * change["high"]], [place, place], color="#444444")
            axis.plot(100 * change["value"], place, "o", color="#b2182b")
            axis.plot([100 * one for one in line["each"]], [place] * len(line["each"]), "|", color="#2166ac")
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=modality or "all modalities", xlabel="change, points")
    axes[0].set_yticks(range(len(found)), list(found))
    axes[0].invert_yaxis()
    figure.suptitle("refusal of harmful − over-rejection, against the base model")
    return figure


def _curves(results: Mapping[str, Any]) -> "Figure":
    """Refusal against over-rejection of every validated candidate; a line joins the candidates of a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axis = figure.subplots()
    for number, (arm, by_seed) in enumerate(results["curves"].items()):
        for place, rows in enumerate(by_seed.values()):
            across, up = ([100 * row[name] for row in rows] for name in ("over_rejection", "refusal"))
            name = arm if place == 0 else None
            axis.plot(across, up, "o-", color=f"C{number}", alpha=0.6, markersize=3, linewidth=1, label=name)
    axis.set(xlabel="over-rejection on validation, %", ylabel="refusal of harmful on validation, %")
    axis.set(xlim=(-3, 103), ylim=(-3, 103))
    axis.legend()
    return figure
