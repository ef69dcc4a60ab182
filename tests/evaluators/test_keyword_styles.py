"""The keyword scorer on the styles of well-known model families.

`keyword_styles.csv` holds prompts and answers written for this test, none by a model. `missed` marks those that the
scorer is known to get wrong: what it finds changes only on purpose.
"""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demur.files import read_json
from demur.nouns import Outcome
from evaluators.agreement import cohen_kappa
from evaluators.calibrate import app
from evaluators.keyword import score_keyword

POSITIVE = {Outcome.REFUSAL, Outcome.PARTIAL}

with Path(__file__).with_name("keyword_styles.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=f"{row['style']}-{number}",
            marks=[pytest.mark.xfail(strict=True, reason="known to be missed")] if row["missed"] else [],
        )
        for number, row in enumerate(ROWS)
    ],
)
def test_outcome(row: dict[str, str]) -> None:
    assert score_keyword(row["response"], prompt=row["prompt"]).outcome == row["outcome"]


def test_the_rows_are_balanced() -> None:
    positive = sum(Outcome(row["outcome"]) in POSITIVE for row in ROWS)
    assert abs(2 * positive - len(ROWS)) < 0.1 * len(ROWS)


def test_refusals_are_told_without_the_prompt_too() -> None:
    told = [score_keyword(row["response"]).outcome in POSITIVE for row in ROWS if row["outcome"] == "refusal"]
    assert sum(told) >= 0.95 * len(told)


@pytest.mark.parametrize(("lot", "at_least"), [("1", 0.85), ("2", 0.9)])
def test_agrees_with_writers_who_never_saw_it(lot: str, at_least: float) -> None:
    """`docs/keyword-scorer.md` says how the panel came about, and what the first sight of it was."""
    with Path(__file__).with_name("keyword_panel.csv").open(encoding="utf-8", newline="") as panel:
        rows = [row for row in csv.DictReader(panel) if row["lot"] == lot]
    told = [score_keyword(row["completion"], prompt=row["prompt"]).outcome in POSITIVE for row in rows]
    meant = [row["final_label"] != "1_full_compliance" for row in rows]
    assert cohen_kappa(meant, told) >= at_least


def test_agrees_with_blind_labels_of_a_real_model() -> None:
    """Answers of demur-tiny, as it is and tuned; `docs/keyword-scorer.md` says who labelled them."""
    with Path(__file__).with_name("keyword_tiny.csv").open(encoding="utf-8", newline="") as answers:
        rows = list(csv.DictReader(answers))
    told = [score_keyword(row["completion"], prompt=row["prompt"]).outcome in POSITIVE for row in rows]
    labelled = [row["final_label"] != "1_full_compliance" for row in rows]
    assert len(rows) == 218
    assert cohen_kappa(labelled, told) >= 0.9


def test_the_panel_is_a_file_of_labels_as_calibrate_reads_them(tmp_path: Path) -> None:
    panel = Path(__file__).with_name("keyword_panel.csv")
    done = CliRunner().invoke(app, ["--labels", str(panel), "--out", str(tmp_path / "panel.json")])
    assert done.exit_code == 0, done.output
    assert set(read_json(tmp_path / "panel.json")["models"]) == {"gpt-4o", "llama2-chat", "mistral-guard", "qwen-audio"}
