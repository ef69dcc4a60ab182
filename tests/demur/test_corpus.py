"""The corpus table, and reading it."""

from pathlib import Path

import pytest
from datasets import Audio, Features, Value

from demur.corpus import COLUMNS, Corpus, arrow_schema
from demur.errors import CorpusError
from demur.nouns import Modality
from tests.corpora import make_corpus, some_prompts


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_the_schema_is_what_datasets_would_write(rate: int) -> None:
    def kind(column: str) -> Audio | Value:
        numbers = ("duration_s", "loudness_lufs", "wer")
        return Audio(sampling_rate=rate) if column == "audio" else Value("float64" if column in numbers else "string")

    features = Features({column: kind(column) for column in COLUMNS})
    assert arrow_schema(rate).equals(features.arrow_schema)
    assert Features.from_arrow_schema(arrow_schema(rate)) == features


def test_a_folder_without_a_corpus_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="demur build --out"):
        Corpus(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{}", "nonsense", '{"content_sha256": "0", "files": ["a"]}'])
def test_a_strange_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CorpusError, match="not a corpus manifest"):
        Corpus(tmp_path)


def test_a_missing_or_short_file_is_named(tmp_path: Path) -> None:
    make_corpus(tmp_path, some_prompts())
    shard = next((tmp_path / "data" / "audio_only").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CorpusError, match="missing or damaged"):
        Corpus(tmp_path)


def test_rows_hold_the_columns_that_were_asked_for(tmp_path: Path) -> None:
    make_corpus(tmp_path, some_prompts())
    assert all(set(row) == {"id", "label"} for row in Corpus(tmp_path).rows(Modality.AUDIO_ONLY, ["id", "label"]))
