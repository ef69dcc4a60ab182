import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from demur.tiny.loop import Stage, fit


def train(folder: Path, steps: int, *, stop_at: int | None = None) -> tuple[torch.Tensor, list[float]]:
    """Fit a line, with a kill before the step `stop_at`; the weight and the losses of this call."""
    weight = torch.zeros(3, requires_grad=True)
    losses: list[float] = []

    def loss_at(step: int) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        draw = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, generator=draw)
        loss = (x @ weight - x @ torch.tensor([1.0, -2.0, 3.0])).square().mean()
        losses.append(float(loss.detach()))
        return loss

    with suppress(KeyboardInterrupt):
        fit(Stage("line", steps, warmup=5), folder, [({"weight": weight}, 0.1)], loss_at, quiet=True)
    return weight.detach(), losses


def test_it_learns_and_logs(tmp_path: Path) -> None:
    _, losses = train(tmp_path, 200)
    assert losses[-1] < losses[0] / 20
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(20, 201, 20))
    assert rows[-1]["loss"] == pytest.approx(sum(losses[-20:]) / 20)


def test_a_kill_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demur.tiny.loop.CHECKPOINT_S", 0.0)
    whole, losses = train(tmp_path / "whole", 40)
    _, before = train(tmp_path / "killed", 40, stop_at=17)
    resumed, after = train(tmp_path / "killed", 40)
    assert before == losses[:17]
    assert after == pytest.approx(losses[17:], abs=1e-6)
    torch.testing.assert_close(resumed, whole)


def test_a_finished_stage_is_not_trained_again(tmp_path: Path) -> None:
    weight, _ = train(tmp_path, 10)
    again, losses = train(tmp_path, 10)
    assert losses == []
    torch.testing.assert_close(again, weight)
