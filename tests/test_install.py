"""What a user installs works: the built wheel in an empty environment, and a checkout that is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMOKE = """
import json, sys
from pathlib import Path
from datasets import load_dataset
rows = load_dataset(sys.argv[1], "harmful")["text_only"]
print(len(rows), rows[0]["category"])
"""


def run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(root: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", root, cwd=root)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "-c", root / "constraints.txt", wheel, cwd=tmp_path)
    run(python, "-m", "builders.tts_synth", "--limit", 1, "--no-asr", "--out", "corpus", cwd=tmp_path)
    assert run(python, "-c", SMOKE, "corpus", cwd=tmp_path, HF_DATASETS_CACHE=str(tmp_path)).startswith("1 ")
    assert "Usage" in run(python.parent / "demur", "build", "--help", cwd=tmp_path)
    missing = subprocess.run(
        [python, "-m", "builders.tts_synth", "--limit", "1", "--out", "heard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 1
    assert "pip install 'demur[asr]'" in missing.stderr


def test_a_checkout_works_without_installation(root: Path, tmp_path: Path) -> None:
    """Only the checkout is on the path; names are found in its pyproject.toml."""
    hide = tmp_path / "sitecustomize.py"
    hide.write_text(
        "import importlib.metadata as metadata, sys\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in type(f).__module__]\n"
        "sys.path = [p for p in sys.path if not p.endswith('/src')]\n"
        "real = metadata.distribution\n"
        "def distribution(name):\n"
        "    if name == 'demur': raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = distribution\n"
        "points = metadata.entry_points\n"
        "metadata.entry_points = lambda **k: () if 'demur' in k.get('group', '') else points(**k)\n"
    )
    out = tmp_path / "corpus"
    run(
        sys.executable,
        "-m",
        "builders.tts_synth",
        "--limit",
        1,
        "--no-asr",
        "--out",
        out,
        cwd=root,
        PYTHONPATH=str(tmp_path),
    )
    assert (out / "manifest.json").is_file()
