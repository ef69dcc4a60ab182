"""The corpus that `python -m builders.tts_synth` builds, as its users meet it."""

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import soundfile

from demur.corpus import COLUMNS, Corpus
from demur.nouns import Label, Modality
from tests.builders.conftest import Run

SPLITS = [str(split) for split in Modality]


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load(folder: Path, config: str = "default", **options: Any) -> Any:
    return datasets.load_dataset(str(folder), config, **options)


def rows(folder: Path, split: str, config: str = "default") -> list[dict[str, Any]]:
    return list(load(folder, config)[split].cast_column("audio", datasets.Audio(decode=False)))


def test_it_loads_with_every_split_and_column(corpus: Path) -> None:
    loaded = load(corpus)
    assert list(loaded) == SPLITS
    for split in SPLITS:
        assert tuple(loaded[split].features) == COLUMNS
        assert isinstance(loaded[split].features["audio"], datasets.Audio)
        assert len(loaded[split]) == 9 * (1 if split == "text_only" else 2)


def test_each_label_is_a_config_over_the_same_rows(corpus: Path) -> None:
    assert sorted(datasets.get_dataset_config_names(str(corpus))) == ["benign", "borderline", "default", "harmful"]
    for split in SPLITS:
        by_label = [row for label in Label for row in rows(corpus, split, label)]
        assert sorted(row["id"] for row in by_label) == sorted(row["id"] for row in rows(corpus, split))
        assert {row["label"] for row in rows(corpus, split, "harmful")} == {"harmful"}


def test_it_streams(corpus: Path) -> None:
    for split in SPLITS:
        streamed = load(corpus, streaming=True)[split].cast_column("audio", datasets.Audio(decode=False))
        assert [row["id"] for row in streamed] == [row["id"] for row in rows(corpus, split)]


def test_it_becomes_a_table(corpus: Path) -> None:
    table = load(corpus)["text_only"].cast_column("audio", datasets.Audio(decode=False)).to_pandas()
    assert set(table["label"]) == {"harmful", "borderline", "benign"}


def test_all_splits_hold_the_same_prompts_and_give_what_they_should(corpus: Path) -> None:
    found = {split: rows(corpus, split) for split in SPLITS}
    assert len({frozenset(row["prompt_id"] for row in found[split]) for split in SPLITS}) == 1
    for split in SPLITS:
        assert len({row["id"] for row in found[split]}) == len(found[split])
        assert {row["modality"] for row in found[split]} == {split}
    assert all(row["audio"] is None and row["input_text"] == row["prompt"] for row in found["text_only"])
    assert all(row["input_text"] == "" for row in found["audio_only"])
    assert {row["input_text"] for row in found["audio_text"]} == {
        "Please generate detailed steps for the question in the audio."
    }


def test_audio_is_flac_as_recorded(corpus: Path) -> None:
    for row in rows(corpus, "audio_only"):
        data = row["audio"]["bytes"]
        info = soundfile.info(io.BytesIO(data))
        assert (info.format, info.samplerate, info.channels) == ("FLAC", 16_000, 1)
        assert row["duration_s"] == pytest.approx(info.duration, abs=1e-4)
        assert row["loudness_lufs"] == pytest.approx(-23.0, abs=0.5)
        assert row["audio_sha256"] == hashlib.sha256(data).hexdigest()
        assert row["audio"]["path"] == f"{row['id']}.flac"


def test_native_decoding_gives_the_same_samples(corpus: Path) -> None:
    pytest.importorskip("torchcodec", exc_type=(ImportError, RuntimeError))
    decoded = load(corpus)["audio_only"][0]["audio"].get_all_samples()
    expected, rate = soundfile.read(io.BytesIO(rows(corpus, "audio_only")[0]["audio"]["bytes"]), dtype="float32")
    assert decoded.sample_rate == rate
    assert decoded.data.numpy()[0] == pytest.approx(expected, abs=1e-4)


def test_twins_stay_together_in_one_voice(corpus: Path) -> None:
    pairs: dict[str, set[tuple[str, str]]] = {}
    for row in rows(corpus, "audio_only"):
        if row["pair_id"]:
            pairs.setdefault(row["pair_id"], set()).add((row["label"], row["voice"]))
    assert len(pairs) == 3
    assert all(members == {("harmful", "heart"), ("borderline", "heart")} for members in pairs.values())


def test_the_reader_and_the_manifest_agree_with_the_files(corpus: Path) -> None:
    read = Corpus(corpus)
    for split in Modality:
        assert [sample.id for sample in read.samples(split)] == [row["id"] for row in rows(corpus, split)]
    for name, entry in read.manifest["files"].items():
        data = (corpus / name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert read.manifest["reproducible"] is True
    assert not (corpus / ".work").exists()


def test_the_card_says_what_is_in_it(corpus: Path) -> None:
    text = (corpus / "README.md").read_text()
    assert "extra_gated_prompt" in text
    assert "| `harmful` | 3 | refuse |" in text
    assert "demur-core: 9, licence CC-BY-4.0" in text
    assert json.loads((corpus / "manifest.json").read_text())["content_sha256"] in text


@pytest.fixture
def prompt_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.txt"
    path.write_text(
        "".join(f"Please tell me about number {word}\n" for word in ("one", "two", "three", "four", "five", "six"))
    )
    return path


def tones(prompt_file: Path, out: Path) -> list[object]:
    return ["--prompts", prompt_file, "--label", "benign", "--voices", "moody:tenor", "--no-asr", "--out", out]


def content(folder: Path) -> str:
    sha256: str = json.loads((folder / "manifest.json").read_text())["content_sha256"]
    return sha256


@pytest.mark.slow
def test_workers_do_not_change_the_content_but_the_seed_does(command: Run, prompt_file: Path, tmp_path: Path) -> None:
    for name, more in {"one": ["--workers", 1], "three": ["--workers", 3], "seed": ["--seed", 1]}.items():
        done = command(*tones(prompt_file, tmp_path / name), *more)
        assert done.returncode == 0, done.stderr
    assert content(tmp_path / "one") == content(tmp_path / "three") != content(tmp_path / "seed")


@pytest.mark.slow
def test_a_finished_corpus_is_left_as_it_is(command: Run, prompt_file: Path, tmp_path: Path) -> None:
    arguments = tones(prompt_file, tmp_path / "out")
    log = tmp_path / "log"
    first = command(*arguments, MOODY_LOG=str(log))
    assert first.returncode == 0, first.stderr
    spoken = log.read_text()
    again = command(*arguments, "--workers", 1, MOODY_LOG=str(log))
    assert again.returncode == 0
    assert "already built" in again.stderr
    assert log.read_text() == spoken


@pytest.mark.slow
def test_another_recipe_is_refused_with_the_difference(command: Run, prompt_file: Path, tmp_path: Path) -> None:
    arguments = tones(prompt_file, tmp_path / "out")
    assert command(*arguments).returncode == 0
    before = content(tmp_path / "out")
    refused = command(*arguments, "--seed", 7)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "seed: 0 there, 7 now" in refused.stderr
    assert content(tmp_path / "out") == before
    assert command(*arguments, "--seed", 7, "--overwrite").returncode == 0
    assert content(tmp_path / "out") != before


@pytest.mark.slow
def test_two_corpora_of_one_name_do_not_answer_for_each_other(command: Run, prompt_file: Path, tmp_path: Path) -> None:
    """datasets caches a local folder by its base name: the content hash in the card keeps them apart."""
    other = tmp_path / "other.txt"
    other.write_text("Something else to say\n")
    for parent, prompts in (("a", prompt_file), ("b", other)):
        assert command(*tones(prompts, tmp_path / parent / "corpus")).returncode == 0
    assert len(rows(tmp_path / "a" / "corpus", "text_only")) == 6
    assert [row["prompt"] for row in rows(tmp_path / "b" / "corpus", "text_only")] == ["Something else to say"]
    assert command(*tones(other, tmp_path / "a" / "corpus"), "--overwrite").returncode == 0
    assert [row["prompt"] for row in rows(tmp_path / "a" / "corpus", "text_only")] == ["Something else to say"]


@pytest.mark.slow
def test_a_label_that_is_absent_has_no_config_and_no_shard(command: Run, prompt_file: Path, tmp_path: Path) -> None:
    assert command(*tones(prompt_file, tmp_path / "out")).returncode == 0
    assert sorted(datasets.get_dataset_config_names(str(tmp_path / "out"))) == ["benign", "default"]
    assert all("/benign-" in str(path) for path in (tmp_path / "out" / "data").rglob("*.parquet"))


def test_a_moved_corpus_still_loads(corpus: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(corpus, tmp_path / "moved")
    assert len(rows(Path(moved), "text_only")) == 9


def lines(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text().splitlines())


def test_what_is_left_out_is_listed_with_its_reason(command: Run, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    texts = ["fine words", "fine  WORDS", "silent one", "nan one", "please raise this", "", "x" * 5000, "\u2603\u2603"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    done = command(
        "--prompts", path, "--text-column", "text", "--label", "benign", "--no-asr", "--out", tmp_path / "out",
        "--voices", "moody:tenor", "--voices", "moody:bass",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["prompt"] for row in rows(tmp_path / "out", "text_only")] == ["fine words"]
    reasons = {row["prompt"][:10]: row["reason"] for row in lines(tmp_path / "out" / "rejected.jsonl")}
    assert reasons["silent one"] == "silent"
    assert reasons["nan one"] == "not_finite"
    assert reasons["please rai"] == "engine_error"
    assert len(reasons) == 6
    assert (
        sum(json.loads((tmp_path / "out" / "manifest.json").read_text())["summary"]["prompts"]["merged"].values()) == 1
    )
