"""`demur finetune` as a command: its flags are its options; it survives a kill, and runs as several processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from demur import plugins
from demur.corpus import Corpus
from demur.errors import CorpusError, InputError, UsageError
from demur.files import read_json, read_jsonl
from demur.finetune.__main__ import make_app
from tests.corpora import make_corpus, some_prompts

METHODS = ["circuit-breaker", "rrs", "safety-prompt", "sft", "steer"]


def test_the_methods_are_registered() -> None:
    assert plugins.names(plugins.METHODS) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_a_method_is_a_flag_that_says_what_it_does(method: str) -> None:
    shown = CliRunner().invoke(make_app(), [method, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
    for name, field in plugins.find(plugins.METHODS, method).Options.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert str(field.description).split()[0] in shown
    assert "demur finetune rrs --corpus" in shown


def test_importing_the_command_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'peft', 'matplotlib'}"
    code = f"import sys, demur.finetune.__main__ as m; m.make_app(); print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def run(*arguments: object, **given: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, check=False)


def call(*arguments: object) -> None:
    CliRunner().invoke(make_app(), [str(each) for each in arguments], catch_exceptions=False)


def test_wrong_usage_is_said(corpus: Corpus, tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    common = ["--corpus", corpus.folder, "--out", tmp_path / "out", "--model"]
    with pytest.raises(UsageError, match="only a model that runs here in transformers can be tuned"):
        call("rrs", *common, "cascade-tiny")
    with pytest.raises(UsageError, match="--validation 2"):
        call("rrs", *common, f"hf:{tiny_folder('text')}", "--validation", "2")
    with pytest.raises(CorpusError, match="no finished corpus here"):
        call("rrs", "--corpus", tmp_path / "none", "--out", tmp_path / "out", "--model", f"hf:{tmp_path / 'no-model'}")
    (tmp_path / "test").mkdir()
    make_corpus(tmp_path / "test", some_prompts(2, 0))
    with pytest.raises(InputError, match="would be tuned on"):
        call("rrs", *common, f"hf:{tiny_folder('text')}", "--held-out", tmp_path / "test")
    assert not (tmp_path / "out").exists()


def arguments(corpus: Corpus, model: Path, out: Path) -> list[object]:
    return [
        *("rrs", "--corpus", corpus.folder, "--model", f"hf:{model}", "--dtype", "float32", "--out", out),
        *("--validation-tokens", 2, "--epochs", 3, "--train-batch", 2, "--captures", out.parent / "captures"),
    ]


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(out / "log.jsonl") if row["kind"] == "step"]


@pytest.mark.slow
def test_a_process_that_is_killed_in_mid_epoch_goes_on(
    corpus: Corpus, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny_folder("text")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run("-m", "demur.finetune", *arguments(corpus, model, whole)).returncode == 0
    command = [sys.executable, "-m", "demur.finetune", *map(str, arguments(corpus, model, killed))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (killed / "log.jsonl").is_file() or '"step": 5' not in (killed / "log.jsonl").read_text():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "run.json").exists()
    assert run("-m", "demur.finetune", *arguments(corpus, model, killed)).returncode == 0
    assert losses(killed) == pytest.approx(losses(whole), abs=1e-5)
    chosen = [read_json(out / "run.json")["chosen"]["candidate"] for out in (killed, whole)]
    assert chosen[0] == chosen[1]


@pytest.mark.slow
def test_two_processes_train_one_adapter(corpus: Corpus, tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    model = tiny_folder("text")
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "demur.finetune"]
    two = arguments(corpus, model, tmp_path / "two")
    done = run(*torchrun, *two, "--train-batch", 1, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert run("-m", "demur.finetune", *arguments(corpus, model, tmp_path / "one")).returncode == 0
    one, both = (read_json(tmp_path / name / "run.json") for name in ("one", "two"))
    assert both["training_prompts"] == one["training_prompts"]
    assert both["base_validation"] == one["base_validation"]
    assert len(losses(tmp_path / "two")) == len(losses(tmp_path / "one"))
    assert len(list(read_jsonl(tmp_path / "two" / "validation.jsonl"))) == 4 * 3, "each question once a validation"
    again = run(*torchrun, *two, "--train-batch", 1, CUDA_VISIBLE_DEVICES="")
    assert again.returncode == 0, again.stderr
    assert len(re.findall("finished already", again.stderr)) == 1
