"""Tables through `datasets`: real data sets on disk, and the Hub out of reach."""

from pathlib import Path

import pytest

from builders.prompts import load_prompts
from builders.prompts.hub import load_tables, published
from demur.errors import InputError
from demur.nouns import Label

datasets = pytest.importorskip("datasets")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_OFFLINE=1, which is read once, at import."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits with class labels and sound, as a dataset on the Hub may have them."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features(
        {
            "prompt": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["safe", "unsafe"]),
            "audio": datasets.Audio(),
            "flags": {"hate": datasets.Value("bool")},
        }
    )
    for split, label in (("train", 1), ("test", 0)):
        row = {"prompt": f"A {split} prompt?", "label": label, "audio": None, "flags": {"hate": True}}
        datasets.Dataset.from_list([row], features=features).to_parquet(tmp_path / "owned" / f"{split}.parquet")
    return tmp_path / "owned"


def test_splits_become_tables_with_labels_by_name_and_without_sound(dataset: Path) -> None:
    tables = load_tables(str(dataset))
    assert [table.name for table in tables] == [f"{dataset}/train", f"{dataset}/test"]
    assert tables[0].columns == ("prompt", "label", "flags")
    assert tables[0].rows == [{"prompt": "A train prompt?", "label": "unsafe", "flags": {"hate": True}}]
    assert tables[1].rows[0]["label"] == "safe"
    assert len({table.sha256 for table in tables}) == 2
    assert load_tables(str(dataset), split="test") == tables[1:]


def test_published_loads_all_parts_the_default_ones_or_one(dataset: Path) -> None:
    parts = {split: (str(dataset), None, split) for split in ("train", "test")}
    assert len(published("https://example.org", parts)(None)) == 2
    assert [table.name for table in published("https://example.org", parts, ["test"])(None)] == [f"{dataset}/test"]
    assert [table.name for table in published("https://example.org", parts)("train")] == [f"{dataset}/train"]


def test_a_dataset_spec_is_read_like_a_file(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.prompts.loading.load_tables", lambda repo, config, split: load_tables(str(dataset)))
    found = load_prompts(["owner/name"])
    assert [prompt.label for prompt in found.prompts] == [Label.HARMFUL, Label.BORDERLINE]
    assert found.inputs[0].rows == 1


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "spec", ["advbench", "harmbench", "strongreject", "xstest", "jailbreakbench", "or-bench:toxic"]
)
def test_a_known_set_out_of_reach_says_where_to_get_it(spec: str) -> None:
    with pytest.raises(InputError) as error:
        load_prompts([spec])
    assert str(error.value).startswith(f"{spec}: ")
    assert "cannot be loaded from the Hugging Face Hub" in str(error.value)
    assert "download it from https://" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("spec", ["owner/name", "owner/name:train", "owner/name/config", "owner/name/config:train"])
def test_any_dataset_out_of_reach(spec: str) -> None:
    with pytest.raises(InputError, match=r"owner/name: cannot be loaded .*pass the file's path"):
        load_prompts([spec])
