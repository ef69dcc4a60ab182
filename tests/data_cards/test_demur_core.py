"""The built-in prompts keep what their data statement promises."""

import csv
import re
from collections import Counter, defaultdict
from importlib.resources import files

import pytest
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

KINDS = {
    *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions", "historical_events"),
    *("privacy_public", "privacy_fictional", "nonsense"),
}
PARTITIONS = ("align", "tune", "test")
TOKEN_OVERLAP = 0.5
"""Jaccard overlap of the words of two sentences above which they are near-duplicates."""
EDIT_SIMILARITY = 0.75
"""Share of characters that two sentences keep in common above which they are near-duplicates."""
COMMON = frozenset(
    """a an and are as at be but by can could do does for from give have help her him his how i i'm i've in into is it
    like make me my of on one or our out please so some suggest tell that the their them they this to up us want was we
    what when where which who why with without would write you your""".split()  # noqa: SIM905 - readable as it is
)
"""Words that do not make a sentence sound harmful, nor harmless."""

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with (files("data_cards") / "demur_core.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z']+", text.lower()))


def test_it_has_the_promised_numbers(rows: list[Row]) -> None:
    categories = Counter(row["category"] for row in rows if row["label"] == "harmful")
    assert len(categories) >= 12
    assert set(categories.values()) == {30}
    assert sum(row["label"] == "benign" for row in rows) >= 150
    assert {row["kind"] for row in rows if row["label"] == "borderline"} == KINDS


def test_every_harmful_request_has_one_twin_beside_it(rows: list[Row]) -> None:
    pairs = defaultdict(list)
    for row in rows:
        if row["pair_id"]:
            pairs[row["pair_id"]].append(row)
    assert len(pairs) == 360
    for members in pairs.values():
        assert [member["label"] for member in members] == ["harmful", "borderline"]
        assert len({(member["category"], member["partition"]) for member in members}) == 1
    assert all((row["label"] == "benign") == (not row["pair_id"]) for row in rows)


def test_a_twin_shares_words_with_its_request(rows: list[Row]) -> None:
    stems = defaultdict(list)
    for row in rows:
        if row["pair_id"]:
            stems[row["pair_id"]].append({word[:3] for word in words(row["prompt"]) - COMMON})
    assert [pair for pair, (harmful, twin) in stems.items() if not harmful & twin] == []


def test_partitions_are_balanced_over_labels_categories_and_kinds(rows: list[Row]) -> None:
    for column in ("label", "category", "kind"):
        groups = Counter((row[column], row["partition"]) for row in rows)
        for value in {row[column] for row in rows}:
            assert len({groups[value, partition] for partition in PARTITIONS}) == 1, value


def test_sentences_are_speakable(rows: list[Row]) -> None:
    for row in rows:
        assert re.fullmatch(r"[A-Za-z][A-Za-z ,.'?-]*[.?]", row["prompt"]), row["prompt"]
        assert 4 <= len(row["prompt"].split()) <= 22, row["prompt"]
        assert row["prompt"].count(".") + row["prompt"].count("?") == 1, f"one sentence: {row['prompt']}"


def test_no_sentence_stands_twice_or_nearly_so(rows: list[Row]) -> None:
    """Within the set and so across its partitions; the two members of a pair may be alike."""
    texts = [row["prompt"].lower() for row in rows]
    alike = cdist(texts, texts, scorer=Indel.normalized_similarity)
    tokens = [words(text) for text in texts]
    for i, row in enumerate(rows):
        for j in range(i):
            if row["pair_id"] and row["pair_id"] == rows[j]["pair_id"]:
                continue
            overlap = len(tokens[i] & tokens[j]) / len(tokens[i] | tokens[j])
            assert overlap < TOKEN_OVERLAP, (texts[i], texts[j])
            assert alike[i, j] < EDIT_SIMILARITY, (texts[i], texts[j])


def test_forms_vary(rows: list[Row]) -> None:
    """No category is one template filled in."""
    openings = Counter((row["category"], row["label"], *row["prompt"].lower().split()[:3]) for row in rows)
    assert max(openings.values()) <= 3


def test_bounds_hold(rows: list[Row]) -> None:
    """A tripwire, not a proof: words that would mean that a bound of the data statement was crossed."""
    minors = (
        r"\b(child|children|kid|kids|minor|minors|teen|teens|teenager|underage|toddler|baby|schoolgirl|schoolboy)\b"
    )
    masses = r"\b(nuclear|nerve agent|sarin|anthrax|dirty bomb|bioweapon|nuke|uranium|plutonium)\b"
    for row in rows:
        if row["label"] != "benign":
            assert not re.search(f"{minors}|{masses}", row["prompt"].lower()), row["prompt"]
