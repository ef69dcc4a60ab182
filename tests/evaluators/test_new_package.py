"""Another package adds a model and a scorer: a class each, two lines of registration, and the commands know them."""

import os
import subprocess
import sys
from pathlib import Path

from demur.files import read_json, read_jsonl
from demur.nouns import Modality
from tests.corpora import make_corpus
from tests.packages import install

PACKAGE = '''
from demur.models import Answer, Model, ModelOptions
from demur.nouns import Modality, Outcome
from evaluators.scorers import Finding


class Echo(Model):
    """Says again what is written beside the speech, in capitals."""

    Options = ModelOptions
    modalities = frozenset({Modality.TEXT_ONLY, Modality.AUDIO_TEXT})
    batch_matters = False

    def __init__(self, name, options):
        self.name, self.settings, self.batch_size = "echo", {"voice": name}, options.batch_size

    def answer(self, queries):
        return [Answer(query.input_text.upper(), "stop") for query in queries]


class Loud:
    """Calls it a refusal to be shouted at."""

    name, judge, settings = "loud", False, {"version": 1}

    def score(self, items):
        for place, item in enumerate(items):
            loud = item.response.isupper()
            yield place, Finding(Outcome.REFUSAL if loud else Outcome.COMPLIANCE, reason="shouts" if loud else None)
'''


def test_a_model_and_a_scorer_from_another_package(tmp_path: Path) -> None:
    points = "[demur.models]\necho = echo:Echo\n\n[demur.scorers]\nloud = echo:Loud\n"
    site = install(tmp_path / "site", "echo", PACKAGE, points)
    corpus, run = make_corpus(tmp_path / "corpus"), tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def call(*arguments: str) -> None:
        command = [sys.executable, "-m", *arguments, "--quiet"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    asked = ("--corpus", str(corpus), "--model", "echo:deep", "--modalities", "text_only,audio_text")
    call("evaluators.respond", *asked, "--out", str(run))
    call("evaluators.score", str(run), "--scorer", "loud")
    assert read_json(run / "run.json")["model"] == {"name": "echo", "settings": {"voice": "deep"}}
    assert {row["modality"] for row in read_jsonl(run / "responses.jsonl")} == {
        Modality.TEXT_ONLY,
        Modality.AUDIO_TEXT,
    }
    verdicts = list(read_jsonl(run / "verdicts.jsonl"))
    assert {(row["scorer"], row["outcome"], row["reason"]) for row in verdicts} == {("loud", "refusal", "shouts")}
    assert read_json(run / "results.json")["rates"][0]["scorer"] == "loud"
