"""The command as a whole: its help teaches, and its demo runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demur.cli import make_app

COMMANDS = {"build", "respond", "score", "leaderboard", "calibrate", "finetune", "demo"}


def test_every_command_is_there_and_its_help_shows_examples() -> None:
    app = make_app()
    shown = CliRunner().invoke(app, ["--help"]).output
    assert set(re.findall(r"^\W*(\w+)\s{2,}", shown, re.MULTILINE)) >= COMMANDS
    for command in COMMANDS - {"demo"}:
        assert f"demur {command}" in CliRunner().invoke(app, [command, "--help"]).output


@pytest.mark.slow
def test_the_demo_runs_and_its_snippet_runs_as_printed(tmp_path: Path) -> None:
    demur = Path(sys.executable).parent / "demur"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [demur, "demo", "--limit", "2"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    snippet = done.stdout.partition("try it in Python:\n")[2]
    shown = subprocess.run(
        [sys.executable, "-c", snippet], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert re.search(r"\| \(\d+,\) samples at 16000 Hz", shown.stdout)
    page = (tmp_path / "demo" / "leaderboard" / "index.html").read_text()
    assert "demur-tiny-safety-prompt" in page
    assert (tmp_path / "demo" / "adapter" / "run.json").is_file()
