"""Every family through its real class and processor: what a newly added one must pass."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from demur.errors import ModelError
from demur.models.hf import anatomy
from demur.models.hf.families import FAMILIES, Family
from demur.models.hf.lalm import LALM, Turn
from tests.tiny_lalm import MAKERS, tone


def installed(family: Family) -> bool:
    return family.package is None or importlib.util.find_spec(family.package) is not None


Load = Callable[[str], LALM]
TYPES = [
    pytest.param(family.model_type, marks=pytest.mark.skipif(not installed(family), reason=f"no {family.package}"))
    for family in FAMILIES
]
CLOSE = 1e-4
MODALITIES = {
    "audio_only": [Turn(tone(300, 1.1)), Turn(tone(500, 1.6))],
    "text_only": [Turn(text="Hi?"), Turn(text="How is bread baked?")],
    "audio_text": [Turn(tone(300, 1.1), "Answer."), Turn(tone(500, 1.6), "Say what you hear.")],
}


@pytest.fixture(params=TYPES)
def lalm(request: pytest.FixtureRequest, load: Load) -> LALM:
    return load(request.param)


def logits(lalm: LALM, turns: list[Turn]) -> torch.Tensor:
    """At the last position, [B, V]."""
    with torch.no_grad():
        return lalm.model(**lalm.encode(turns)).logits[:, -1]


def test_every_family_that_is_claimed_is_exercised() -> None:
    assert {family.model_type for family in FAMILIES} == set(MAKERS)


@pytest.mark.parametrize("turns", MODALITIES.values(), ids=MODALITIES)
def test_alone_or_in_a_batch_the_logits_are_the_same(lalm: LALM, turns: list[Turn]) -> None:
    together = logits(lalm, turns)
    assert torch.isfinite(together).all()
    assert not torch.allclose(together[0], together[1], atol=10 * CLOSE)
    for number, turn in enumerate(turns):
        torch.testing.assert_close(logits(lalm, [turn])[0], together[number], atol=CLOSE, rtol=0)


@pytest.mark.parametrize("text", ["", "Answer."])
def test_the_audio_reaches_the_model(lalm: LALM, text: str) -> None:
    low, high = logits(lalm, [Turn(tone(200), text), Turn(tone(1500), text)])
    assert (low - high).abs().max() > 10 * CLOSE


LONG_S = {"audioflamingo3": 3.9, "voxtral": 31.5, "qwen3_omni_moe": 3.9}
"""Longer than one window of the encoder; the other families take no more than one."""


def test_the_end_of_the_longest_audio_reaches_the_model(lalm: LALM) -> None:
    seconds = LONG_S.get(lalm.family.model_type, 1.9)
    assert lalm.max_audio_s is None or lalm.max_audio_s - 0.2 < seconds < lalm.max_audio_s
    turns = [Turn(np.concatenate([tone(300, seconds - 0.5), tone(end, 0.5)]), "Answer.") for end in (200, 1500)]
    one, other = (logits(lalm, [turn])[0] for turn in turns)
    assert (one - other).abs().max() > CLOSE


def test_the_text_beside_the_audio_reaches_the_model(lalm: LALM) -> None:
    [one] = logits(lalm, [Turn(tone(300, 1.1), "Answer it.")])
    [other] = logits(lalm, [Turn(tone(300, 1.1), "Repeat it.")])
    assert (one - other).abs().max() > 10 * CLOSE


@pytest.mark.parametrize("turns", MODALITIES.values(), ids=MODALITIES)
def test_the_state_at_the_head_is_the_last_normed_one(lalm: LALM, turns: list[Turn]) -> None:
    batch = lalm.encode(turns)
    with torch.no_grad():
        states = anatomy.last_states(lalm.model, batch)
        whole = lalm.model(**batch, output_hidden_states=True)
    torch.testing.assert_close(states, whole.hidden_states[-1][:, -1], atol=CLOSE, rtol=0)
    if softcap := getattr(lalm.model.config.get_text_config(), "final_logit_softcapping", None):
        made = torch.tanh(states @ anatomy.head_weight(lalm.model).T / softcap) * softcap
    else:
        made = states @ anatomy.head_weight(lalm.model).T
    torch.testing.assert_close(made, whole.logits[:, -1], atol=CLOSE, rtol=1e-4)


def test_low_rank_adapters_go_to_the_text_decoder_alone(lalm: LALM) -> None:
    targets = anatomy.decoder_targets(lalm.model, ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"])
    modules = dict(lalm.model.named_modules())
    within = {id(module) for module in anatomy.decoder(lalm.model).modules()}
    assert all(isinstance(modules[name], torch.nn.Linear) and id(modules[name]) in within for name in targets)
    layers = {name.partition(".layers.")[2].partition(".")[0] for name in targets}
    assert layers == {str(number) for number in range(len(anatomy.decoder(lalm.model).layers))}
    assert not any(word in name for name in targets for word in ("audio", "vision", "tower", "encoder"))


def test_an_answer_is_labelled_and_nothing_else(lalm: LALM) -> None:
    asked = MODALITIES["audio_text"]
    batch = lalm.encode(
        [replace(turn, answer=answer) for turn, answer in zip(asked, ["Yes.", "Not now."], strict=True)]
    )
    for ids, labels, answer in zip(batch["input_ids"], batch["labels"], ["Yes.", "Not now."], strict=True):
        said = labels[labels != -100]
        assert torch.equal(ids[-len(said) :], said)
        assert lalm.tokenizer.decode(said[:-1].tolist()) == answer
        assert said[-1] == lalm.end_of_turn
    prompts = lalm.encode(asked)
    assert torch.equal(batch["input_ids"][1][: -(len("Not now.") + 1)], prompts["input_ids"][1])
    assert torch.isfinite(lalm.model(**batch).loss)


def test_answers_come_in_order_and_again_the_same(lalm: LALM) -> None:
    turns = [turn for modality in MODALITIES.values() for turn in modality]
    first = lalm.generate(turns, max_new_tokens=4)
    assert all(answer.text is not None and answer.error is None for answer in first)
    assert first == lalm.generate(turns, max_new_tokens=4)
    assert first == [answer for turn in turns for answer in lalm.generate([turn], max_new_tokens=4)]


def test_a_turn_is_rendered_sound_first_then_text_then_the_answer_begins(lalm: LALM) -> None:
    config = lalm.model.config
    sound = getattr(config, "audio_token_id", None) or config.audio_token_index
    turns = {"audio_only": Turn(tone(300)), "text_only": Turn(text="Hi?"), "audio_text": Turn(tone(300), "Hi?")}
    ids = {modality: lalm.encode([turn])["input_ids"][0].tolist() for modality, turn in turns.items()}
    said = lalm.tokenizer("Hi?", add_special_tokens=False)["input_ids"]
    places = {
        modality: [n for n in range(len(tokens)) if tokens[n : n + len(said)] == said]
        for modality, tokens in ids.items()
    }
    assert (ids["text_only"].count(sound), len(places["text_only"])) == (0, 1)
    assert (ids["audio_only"].count(sound) > 0, len(places["audio_only"])) == (True, 0)
    assert ids["audio_text"].count(sound) == ids["audio_only"].count(sound)
    [place] = places["audio_text"]
    assert sound not in ids["audio_text"][place:]
    opening = ids["text_only"][places["text_only"][0] + len(said) :]
    assert opening, "what ends the user's turn and begins the answer"
    assert all(tokens[-len(opening) :] == opening for tokens in ids.values())


def test_a_system_prompt_changes_what_the_model_is_asked(lalm: LALM) -> None:
    plain, other = Turn(tone(300, 1.1), "Answer."), Turn(tone(300, 1.1), "Answer.", system="Refuse what does harm.")
    assert not torch.allclose(logits(lalm, [plain]), logits(lalm, [other]), atol=CLOSE)


def test_what_a_user_says_never_becomes_a_control_token(lalm: LALM) -> None:
    [plain] = lalm.encode([Turn(tone(300, 1.1), "x")])["input_ids"]
    control = [token for token in lalm.tokenizer.all_special_tokens if token.isprintable()]
    [loaded] = lalm.encode([Turn(tone(300, 1.1), "x" + "".join(control))])["input_ids"]
    special = set(lalm.tokenizer.all_special_ids)
    assert sum(int(token) in special for token in loaded) == sum(int(token) in special for token in plain)


def test_turns_with_and_without_audio_in_one_batch(lalm: LALM) -> None:
    turns = [Turn(tone(300, 1.1), "Hi?"), Turn(text="Hi?")]
    if not lalm.family.mixed:
        with pytest.raises(ModelError, match="batches of their own"):
            lalm.encode(turns)
        return
    together = logits(lalm, turns)
    for number, turn in enumerate(turns):
        torch.testing.assert_close(logits(lalm, [turn])[0], together[number], atol=CLOSE, rtol=0)


def test_clips_are_padded_to_the_longest_and_not_to_minutes(load: Load) -> None:
    features = load("qwen2_5_omni").encode(MODALITIES["audio_only"])["input_features"]
    assert features.shape[-1] == 160, "of 1.6 s, 100 a second"
