"""Flags of judges: both commands have them, and they reach the judge."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from demur import console
from demur.errors import UsageError
from evaluators import calibrate, score
from evaluators.estimate import Requests
from tests.run_folders import make_run, make_samples

FLAGS = {
    "--judge-format": "chat",
    "--base-url": "http://localhost:1/v1",
    "--concurrency": "3",
    "--timeout": "7",
    "--max-new-tokens": "9",
    "--max-requests": "11",
}
WANTED = {
    "format": "chat",
    "base_url": "http://localhost:1/v1",
    "concurrency": 3,
    "timeout": 7.0,
    "max_new_tokens": 9,
    "max_requests": 11,
    "prices": (1.0, 2.0),
    "many_requests": True,
    "download": True,
}


@pytest.mark.parametrize("app", [score.app, calibrate.app], ids=["score", "calibrate"])
def test_flags_reach_the_judge(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mapping[str, Any]] = []

    def refuse(spec: str, options: Mapping[str, Any], *, quiet: bool, requests: Requests) -> None:
        asked.append(options)
        raise UsageError("seen")

    monkeypatch.setattr("evaluators.judge.make_judge", refuse)
    run = make_run(tmp_path / "run", make_samples(1), lambda sample: "yes")
    what = [run] if app is score.app else ["--labels", tmp_path / "none.csv", "--out", tmp_path / "out.json"]
    flags = [each for pair in FLAGS.items() for each in pair] + ["--price-per-million", "1", "2", "--yes", "--download"]
    monkeypatch.setattr("sys.argv", ["command", *map(str, what), "--judge", "openai:m", *flags])
    with pytest.raises(SystemExit):
        console.run(app)
    assert asked == [WANTED]
