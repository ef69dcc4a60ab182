"""Progress: a bar at a terminal, lines in a log, nothing where it is not wanted."""

import io
import re
import sys
import time

import pytest

from demur import console


def work(*, steps: int, seconds: float, quiet: bool = False) -> None:
    with console.progress(total=steps, what="answers", unit="answer", quiet=quiet) as bar:
        for _ in range(steps):
            time.sleep(seconds / steps)
            bar.update()


def test_in_a_log_each_state_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.1)
    work(steps=20, seconds=0.6)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert all(re.fullmatch(r"answers: +\d+% \d+/20 \[.*answer/s\]", line) for line in lines)
    assert lines[-1].startswith("answers: 100% 20/20")


def test_a_bar_within_another_leaves_no_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.05)
    with console.progress(total=2, what="training", unit="step", quiet=False) as bar:
        for _ in range(2):
            work(steps=10, seconds=0.3)
            bar.update()
    said = capsys.readouterr().err
    assert "answers: 100%" in said
    assert "training: 100%" in said
    assert all(line.isprintable() and line.strip() for line in said.splitlines())


@pytest.mark.parametrize(("line_every", "quiet"), [(60.0, False), (0.05, True)], ids=["soon done", "quiet"])
def test_what_is_soon_done_or_quiet_says_nothing(
    line_every: float, quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "LINE_EVERY_S", line_every)
    work(steps=10, seconds=0.2, quiet=quiet)
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_a_bar_is_drawn_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(steps=10, seconds=0.3)
    shown = terminal.getvalue()
    assert shown.count("\n") == 1
    assert "answers:   0%|" in shown
    assert "10/10" in shown.rsplit("\r", 1)[-1]
