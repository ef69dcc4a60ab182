"""Kills, hangs, broken voices, full disks, bad arguments: each ends clearly, and nothing is lost."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.builders.conftest import Run
from tests.builders.test_tts_synth import content, tones


def prompts_of(tmp_path: Path, *texts: str) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def one_line(stderr: str) -> str:
    """The only line on stderr that is not a progress bar."""
    (line,) = [line for line in stderr.splitlines() if line.startswith("demur: ")]
    return line


@pytest.mark.slow
@pytest.mark.parametrize("moment", [1, 5, 12])
def test_a_killed_build_goes_on_and_ends_the_same(command: Run, plugin_path: Path, tmp_path: Path, moment: int) -> None:
    path = prompts_of(tmp_path, *(f"sentence number {number} of them" for number in range(16)))
    undisturbed = command(*tones(path, tmp_path / "whole"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    out, log, mood = tmp_path / "killed", tmp_path / "log", tmp_path / "mood"
    mood.write_text("slow")
    arguments = [*map(str, tones(path, out)), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(plugin_path), "MOOD": str(mood), "MOODY_LOG": str(log)}
    process = subprocess.Popen([sys.executable, "-m", "builders.tts_synth", *arguments], env=environment)
    while len(list(out.rglob("*.clip"))) < moment:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # the workers notice
    done_before = len(list(out.rglob("*.clip")))
    spoken_before = len(log.read_text().splitlines())
    again = command(*arguments, MOODY_LOG=str(log))
    assert again.returncode == 0, again.stderr
    assert content(out) == content(tmp_path / "whole")
    assert spoken_before - done_before <= 2  # at most one clip a worker is lost
    assert len(log.read_text().splitlines()) - spoken_before == 16 - done_before


@pytest.mark.slow
def test_a_kill_while_publishing_or_clearing_up_changes_nothing(command: Run, tmp_path: Path) -> None:
    """The states that such kills leave, one after the other."""
    path = prompts_of(tmp_path, *(f"sentence number {number}" for number in range(4)))
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert command(*tones(path, whole)).returncode == 0
    mood = tmp_path / "mood"
    mood.write_text("")
    hung = [*tones(prompts_of(tmp_path, "hang", *(f"sentence number {number}" for number in range(4))), out)]
    assert command(*hung, "--timeout", "1", MOOD=str(mood)).returncode == 1  # leaves work behind
    prompts_of(tmp_path, *(f"sentence number {number}" for number in range(4)))
    (out / ".work" / "begun.json").unlink()  # killed while clearing up: clips that belong to nothing
    assert command(*tones(path, out)).returncode == 0
    assert content(out) == content(whole)
    for lost in ("manifest.json", "data", "README.md"):  # killed while publishing, with the work still there
        begun = json.loads((out / "manifest.json").read_text())
        work = out / ".work"
        work.mkdir()
        (work / "begun.json").write_text(json.dumps({key: begun[key] for key in ("recipe", "environment")}))
        (out / "manifest.json").unlink()
        if lost != "manifest.json":
            subprocess.run(["rm", "-r", str(out / lost)], check=True)
        assert command(*tones(path, out)).returncode == 0
        assert content(out) == content(whole)


@pytest.mark.slow
def test_a_clip_that_was_damaged_on_disk_is_made_again(command: Run, tmp_path: Path) -> None:
    mood = tmp_path / "mood"
    mood.write_text("")
    out = tmp_path / "out"
    arguments = [*tones(prompts_of(tmp_path, "first sentence", "hang"), out), "--timeout", "1"]
    assert command(*arguments, MOOD=str(mood)).returncode == 1
    (clip,) = out.rglob("*.clip")
    data = clip.read_bytes()
    clip.write_bytes(data[:-100] + bytes(100))
    mood.write_text("calm")
    damaged = command(*arguments, MOOD=str(mood))
    assert damaged.returncode == 1
    assert "damaged on disk" in one_line(damaged.stderr)
    assert command(*arguments, MOOD=str(mood)).returncode == 0


@pytest.mark.slow
def test_workers_end_with_a_killed_build(command: Run, plugin_path: Path, tmp_path: Path) -> None:
    arguments = [*map(str, tones(prompts_of(tmp_path, "hang here"), tmp_path / "out")), "--timeout", "600"]
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(plugin_path), "MOODY_LOG": str(log)}
    process = subprocess.Popen([sys.executable, "-m", "builders.tts_synth", *arguments], env=environment)
    while not log.exists():
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_folder_that_is_no_corpus_is_left_alone(command: Run, tmp_path: Path) -> None:
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "precious.csv").write_text("precious")
    for more in ([], ["--overwrite"]):
        done = command("--limit", 1, "--no-asr", "--out", tmp_path / "mine", *more)
        assert done.returncode == 1
        assert "is no corpus" in one_line(done.stderr)
    assert (tmp_path / "mine" / "data" / "precious.csv").read_text() == "precious"
    (tmp_path / "file").write_text("")
    assert "not a folder" in one_line(command("--limit", 1, "--no-asr", "--out", tmp_path / "file").stderr)


@pytest.mark.slow
def test_a_damaged_corpus_is_not_called_built(command: Run, tmp_path: Path) -> None:
    arguments = tones(prompts_of(tmp_path, "first sentence"), tmp_path / "out")
    assert command(*arguments).returncode == 0
    next((tmp_path / "out" / "data").rglob("*.parquet")).unlink()
    done = command(*arguments)
    assert done.returncode == 1
    assert "missing or damaged" in one_line(done.stderr)
    assert command(*arguments, "--overwrite").returncode == 0


@pytest.mark.slow
def test_a_text_that_no_voice_can_say_is_rejected_and_the_build_ends(command: Run, tmp_path: Path) -> None:
    path = prompts_of(tmp_path, "please raise this", "a fine sentence")
    arguments = ["--prompts", path, "--label", "benign", "--no-asr", "--out", tmp_path / "out"]
    done = command(*arguments, "--voices", "moody:bass", "--voices", "moody:tenor")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "engine_error"


@pytest.mark.slow
def test_an_interrupted_build_says_how_to_go_on(plugin_path: Path, tmp_path: Path) -> None:
    arguments = [*map(str, tones(prompts_of(tmp_path, "hang here"), tmp_path / "out"))]
    process = subprocess.Popen(
        [sys.executable, "-m", "builders.tts_synth", *arguments],
        env={**os.environ, "PYTHONPATH": str(plugin_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "out" / ".work" / "begun.json").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in one_line(stderr)


@pytest.mark.slow
def test_a_hang_is_no_rejection_and_is_tried_again(command: Run, tmp_path: Path) -> None:
    mood = tmp_path / "mood"
    mood.write_text("")
    path = prompts_of(tmp_path, "first sentence", "this will hang", "last sentence")
    arguments = [*tones(path, tmp_path / "out"), "--timeout", "2", "--workers", "1"]
    hung = command(*arguments, MOOD=str(mood))
    assert hung.returncode == 1
    assert "1 of 3 clips are not made yet" in one_line(hung.stderr)
    assert "took too long" in one_line(hung.stderr)
    assert len(list((tmp_path / "out").rglob("*.clip"))) == 2
    assert not (tmp_path / "out" / "manifest.json").exists()
    mood.write_text("calm")
    assert command(*arguments, MOOD=str(mood)).returncode == 0
    assert (tmp_path / "out" / "rejected.jsonl").read_text() == ""


@pytest.mark.slow
def test_an_engine_out_of_reach_is_no_rejection(command: Run, tmp_path: Path) -> None:
    path = prompts_of(tmp_path, "first sentence", *(f"offline {number}" for number in range(9)))
    done = command(*tones(path, tmp_path / "out"), MOOD=str(path), timeout=60)
    assert done.returncode == 1
    assert "no network" in one_line(done.stderr)
    assert "run the same command again" in one_line(done.stderr)


@pytest.mark.slow
def test_a_broken_voice_ends_the_build_and_nobody_fills_in(command: Run, tmp_path: Path) -> None:
    path = prompts_of(tmp_path, *(f"sentence number {number}" for number in range(12)))
    out = tmp_path / "out"
    arguments = ["--prompts", path, "--label", "benign", "--voices", "moody:*", "--no-asr", "--out", out]
    done = command(*arguments)
    assert done.returncode == 1
    assert one_line(done.stderr).startswith("demur: voice moody:broken cannot speak: the voice file is damaged")
    kept = [json.loads(path.read_bytes().splitlines()[0]) for path in out.rglob("*.clip")]
    assert all(not header["failed"] for header in kept)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_is_gone_on_from(plugin_path: Path, command: Run, tmp_path: Path) -> None:
    path = prompts_of(tmp_path, "a short one", "a sentence that is so long that its clip does not fit " * 12)
    arguments = [*map(str, tones(path, tmp_path / "out")), "--workers", "1"]

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    full = subprocess.run(
        [sys.executable, "-m", "builders.tts_synth", *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=small_files,
        env={**os.environ, "PYTHONPATH": str(plugin_path)},
    )
    assert full.returncode == 1
    assert "File too large" in one_line(full.stderr)
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert command(*arguments).returncode == 0


@pytest.mark.slow
def test_two_builds_into_one_folder_do_not_mix(command: Run, plugin_path: Path, tmp_path: Path) -> None:
    mood = tmp_path / "mood"
    mood.write_text("")
    arguments = [*map(str, tones(prompts_of(tmp_path, "hang here"), tmp_path / "out")), "--timeout", "60"]
    environment = {**os.environ, "PYTHONPATH": str(plugin_path), "MOOD": str(mood)}
    first = subprocess.Popen([sys.executable, "-m", "builders.tts_synth", *arguments], env=environment)
    try:
        while not (tmp_path / "out" / ".work" / "begun.json").exists():
            time.sleep(0.05)
        second = command(*arguments)
        assert second.returncode == 1
        assert "another demur process" in one_line(second.stderr)
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--prompts", "absent.csv"], 1, "absent.csv"),
        (["--voices", "nobody:*"], 2, "no engine named 'nobody'"),
        (["--condition", "underwater"], 2, "underwater"),
        (["--voices-per-prompt", "9"], 2, "there are 1 voices"),
        (["--engine-option", "piper"], 2, "ENGINE.KEY=VALUE"),
    ],
)
def test_bad_arguments_end_in_one_line(
    command: Run, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = command("--out", tmp_path / "out", "--no-asr", *arguments)
    assert done.returncode == code
    assert message in one_line(done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--nonsense"], "No such option"), (["--limit", "many"], "'--limit'"), ([], "--out DIR is missing")],
)
def test_wrong_usage_is_exit_code_two_and_one_line(command: Run, arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in one_line(done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_voices_need_is_fetched_once_before_the_workers_start(command: Run, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    path = prompts_of(tmp_path, "first sentence", "second sentence")
    arguments = ["--prompts", path, "--label", "benign", "--no-asr", "--workers", 2, "--out", out]
    offline = command(*arguments, "--voices", "moody:broken", MOODY_OFFLINE="1")
    assert offline.returncode == 1
    assert one_line(offline.stderr) == "demur: the voice cannot be fetched"
    done = command(*arguments, "--voices", "moody:tenor", "--overwrite", MOODY_LOG=str(log), MOODY_PREPARED=str(log))
    assert done.returncode == 0
    first, *others = log.read_text().splitlines()
    assert first == "prepare\t['tenor']"
    assert sorted(others) == ["tenor\tfirst sentence", "tenor\tsecond sentence"]
