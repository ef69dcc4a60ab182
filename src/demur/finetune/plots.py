"""Pictures of a finished run, from the files in its folder alone.

representations.png   all questions by the base model and by the tuned one, on the first two principal axes of the base;
                      those that were held out of training are filled
margin.png            how much likelier the refusal's first token is than the next best, by label, over candidates
path.png              refusal against over-rejection over candidates
loss.png              the parts of the loss over steps, where something was trained
"""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from demur.files import write_atomic
from demur.finetune.runlog import RunLog
from demur.nouns import Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.float32]
COLOURS = {Label.HARMFUL: "#b2182b", Label.BORDERLINE: "#2166ac", Label.BENIGN: "#4d9221"}
NAMES = {Label.HARMFUL: "harmful", Label.BORDERLINE: "benign twin", Label.BENIGN: "plain benign"}


def draw(folder: Path) -> list[Path]:
    """Draw all pictures of a run into `folder/plots`; the files."""
    log = RunLog(folder / "log.jsonl")
    validated, steps = log.rows("validation"), log.rows("step")
    figures = {"representations": _representations(folder), "path": _path(validated)}
    if any(name.startswith("margin_") for name in validated[0]):
        figures["margin"] = _margin(validated)
    if steps:
        figures["loss"] = _loss(steps)
    paths = []
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
        paths.append(folder / "plots" / f"{name}.png")
        write_atomic(paths[-1], buffer.getvalue())
    return paths


def principal_axes(states: Matrix, count: int = 2) -> tuple[Matrix, Matrix]:
    """Mean [d] and top principal axes [count, d] of states [N, d]; each axis points where its largest entry is > 0."""
    mean = states.mean(axis=0)
    _, _, axes = np.linalg.svd(states - mean, full_matrices=False)
    top = axes[:count]
    signs = np.sign(top[np.arange(len(top)), np.abs(top).argmax(axis=1)])
    return mean, top * signs[:, None]


def _representations(folder: Path) -> "Figure":
    from safetensors import safe_open

    with safe_open(folder / "representations.safetensors", framework="np") as file:
        before, after = file.get_tensor("before"), file.get_tensor("after")
        labels = np.array(json.loads(file.metadata()["labels"]))
        ids = json.loads(file.metadata()["ids"])
    held = np.isin(ids, [row["id"] for row in RunLog(folder / "validation.jsonl").rows()])
    mean, axes = principal_axes(before)
    figure, (left, right) = _figure(2, shared=True)
    for axis, states, title in ((left, before, "base model"), (right, after, "tuned model")):
        places = (states - mean) @ axes.T
        for label, colour in COLOURS.items():
            for kept, face in ((False, "none"), (True, colour)):
                mine = places[(labels == label) & (held == kept)]
                if len(mine):
                    name = f"{NAMES[label]}{', held out' if kept else ''}"
                    axis.scatter(mine[:, 0], mine[:, 1], s=14, alpha=0.7, edgecolor=colour, facecolor=face, label=name)
        axis.set(title=title, xlabel="first axis of the base")
    left.set_ylabel("second axis of the base")
    left.legend()
    return figure


def _margin(rows: list[dict[str, Any]]) -> "Figure":
    figure, (axis,) = _figure(1)
    for label, colour in COLOURS.items():
        name = f"margin_{label}"
        if name in rows[0]:
            axis.plot(
                [row["step"] for row in rows], [row[name] for row in rows], "o-", color=colour, label=NAMES[label]
            )
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set(xlabel="step", ylabel="logit of the refusal's first token above the next best")
    axis.legend()
    return figure


def _path(rows: list[dict[str, Any]]) -> "Figure":
    figure, (axis,) = _figure(1)
    across, up = ([100 * row[name] for row in rows] for name in ("over_rejection", "refusal"))
    axis.plot(across, up, "o-", color="#555555", markersize=4)
    for row, x, y in zip(rows, across, up, strict=True):
        axis.annotate(row["candidate"].removeprefix("epoch "), (x, y), xytext=(4, 4), textcoords="offset points")
    axis.set(xlabel="over-rejection, %", ylabel="refusal of harmful, %", xlim=(-3, 103), ylim=(-3, 103))
    return figure


def _loss(rows: list[dict[str, Any]]) -> "Figure":
    figure, (axis,) = _figure(1)
    known = {"kind", "step", "epoch", "loss", "learning_rate", "grad_norm"}
    for name in sorted(rows[0].keys() - known):
        axis.plot([row["step"] for row in rows], [row[name] for row in rows], label=name.replace("_", " "))
    axis.set(xlabel="step", ylabel="part of the loss")
    axis.legend()
    return figure


def _figure(count: int, *, shared: bool = False) -> "tuple[Figure, list[Axes]]":
    """A figure with axes side by side; made without pyplot, which keeps a global state and looks for a screen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * count, 4.2), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False, sharex=shared, sharey=shared)[0])
