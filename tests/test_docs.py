"""The examples of the README and the guides run as printed, in order, in one empty folder a page."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from demur.cli import make_app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = ("make ", "pip ", "apt-get ", "git ")
"""Commands that make environments: the tests run inside one."""


def examples(page: Path) -> list[tuple[str, str]]:
    """(language, code) of every `sh` and `python` example that is not marked `no-run`."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [
        (language, code) for language, marks, code in found if language in {"sh", "python"} and "no-run" not in marks
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run_as_printed(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(tmp_path / ".cache"),
    }
    for language, code in examples(page):
        if language == "sh":
            lines = [line for line in code.splitlines() if not line.startswith(LEFT_OUT)]
            command = ["bash", "-c", "\n".join(["set -e", *lines])]
        else:
            command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def calls(page: Path) -> Iterator[list[str]]:
    """Every call in the `sh` examples, those that are not run among them, as words."""
    for language, _, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "sh":
            for line in re.sub(r"\\\n\s*", "", code).splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield words


def command_of(words: list[str]) -> Any:
    """The click command that a call is of, or None: not one of ours."""
    if words[0] == "demur":
        command: Any = typer.main.get_command(make_app())
        for word in words[1:]:
            if not hasattr(command, "commands"):
                break
            command = command.commands.get(word, command)
        return command
    if words[:2] == ["python", "-m"] and words[2].split(".")[0] in {"builders", "demur", "evaluators"}:
        module = importlib.import_module(words[2])
        return typer.main.get_command(module.app if hasattr(module, "app") else _main_of(words[2]))
    if words[0] == "python" and words[1].startswith("benchmarks/"):
        return typer.main.get_command(_script(ROOT / words[1]))
    return None


def _main_of(package: str) -> Any:
    main = importlib.import_module(f"{package}.__main__")
    return main.app if hasattr(main, "app") else main.make_app()


def _script(path: Path) -> typer.Typer:
    sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    finally:
        sys.path.remove(str(path.parent))
    app = typer.Typer()
    app.command()(module.main)
    return app


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_an_example_exists(page: Path) -> None:
    for words in calls(page):
        command = command_of(words)
        if command is not None:
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            given = {word.split("=")[0] for word in words if word.startswith("--") and word != "--help"}
            assert given <= known, f"{page.name}: {shlex.join(words)}: there is no {', '.join(sorted(given - known))}"
