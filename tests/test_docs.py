"""The examples of the README and the guides run as printed, in order, in one empty folder a page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
