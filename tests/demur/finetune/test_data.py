"""Which questions are learnt from and which are kept for validation."""

from pathlib import Path

import pytest

from demur.corpus import Corpus
from demur.errors import InputError
from demur.finetune.data import Split, check_held_out, load_split
from demur.nouns import Label, Partition
from tests.corpora import make_corpus, make_samples, some_prompts, write_corpus


def pairs_of(split: Split) -> tuple[set[str | None], set[str | None]]:
    return {each.pair_id for each in split.train.harmful}, {each.pair_id for each in split.validation.harmful}


def test_a_fifth_of_the_pairs_is_kept_whole(tmp_path: Path) -> None:
    corpus = Corpus(make_corpus(tmp_path / "c", some_prompts(10, 5), voices=("a", "b")))
    split = load_split(corpus, audio=True, seed=0)
    train, held = pairs_of(split)
    assert (len(train), len(held), train & held) == (8, 2, set())
    for part in (split.train, split.validation):
        assert {each.pair_id for each in part.harmful} == {each.pair_id for each in part.twins}
        assert all(each.label is Label.BORDERLINE for each in part.twins)
    assert len(split.train.harmful) == 16, "both voices of a prompt stay together"
    assert split.train.plain == ()
    assert len(split.validation.plain) == 2
    assert split.validation.harmful[0].samples(8000) is not None


def test_the_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    corpus = Corpus(make_corpus(tmp_path / "c", some_prompts(10, 5)))
    drawn = [pairs_of(load_split(corpus, audio=False, seed=seed))[1] for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len({frozenset(map(str, each)) for each in drawn}) > 1


def test_plain_benign_prompts_on_wish(tmp_path: Path) -> None:
    split = load_split(Corpus(make_corpus(tmp_path / "c", some_prompts(5, 5))), audio=False, seed=0, plain_benign=True)
    assert (len(split.train.plain), len(split.validation.plain)) == (4, 1)
    assert len(split.train.benign) == 8
    assert all(each.flac is None for each in split.train)


def test_training_prompts_name_every_prompt_used(tmp_path: Path) -> None:
    prompts = some_prompts(4, 0)
    split = load_split(Corpus(make_corpus(tmp_path / "c", prompts)), audio=False, seed=0)
    assert split.prompt_ids == sorted(prompt.prompt_id for prompt in prompts)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({Label.BORDERLINE, Label.BENIGN}, "no harmful prompts"),
        ({Label.HARMFUL, Label.BENIGN}, "no benign twins"),
    ],
)
def test_an_empty_class_is_said(tmp_path: Path, labels: set[Label], message: str) -> None:
    prompts = [prompt for prompt in some_prompts(4, 2) if prompt.label in labels]
    with pytest.raises(InputError, match=message):
        load_split(Corpus(make_corpus(tmp_path / "c", prompts)), audio=False, seed=0)


def test_twins_of_nothing_are_no_pairs(tmp_path: Path) -> None:
    harmful, twins = some_prompts(1, 0), some_prompts(3, 0)[3::2]
    with pytest.raises(InputError, match="1 pairs"):
        load_split(Corpus(make_corpus(tmp_path / "c", [*harmful, *twins])), audio=False, seed=0)


def test_prompts_for_tests_are_not_tuned_on(tmp_path: Path) -> None:
    samples = make_samples(some_prompts(4, 0))
    kept = [each.model_copy(update={"partition": Partition.TEST}) for each in samples]
    corpus = Corpus(write_corpus(tmp_path / "c", kept))
    with pytest.raises(InputError, match="kept for tests"):
        load_split(corpus, audio=False, seed=0)
    assert load_split(corpus, audio=False, seed=0, allow_overlap=True).train.harmful


def test_a_test_corpus_with_a_tuned_prompt_is_refused(tmp_path: Path) -> None:
    corpus = Corpus(make_corpus(tmp_path / "tune", some_prompts(4, 0)))
    other = Corpus(make_corpus(tmp_path / "test", some_prompts(0, 3)))
    split = load_split(corpus, audio=False, seed=0)
    check_held_out(split, [other])
    with pytest.raises(InputError, match="8 of its prompts would be tuned on"):
        check_held_out(split, [other, corpus])
    check_held_out(split, [corpus], allow_overlap=True)
