"""The arithmetic of RRS against a plain numpy restatement, and its errors."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from demur.errors import InputError
from demur.finetune import arithmetic

torch = pytest.importorskip("torch")

NUMBERS = st.floats(-1, 1, width=32)


def states(rows: int, features: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, (rows, features), elements=NUMBERS)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """H_B, H_H, H_R and the head's row."""
    n, d = draw(st.integers(1, 6)), draw(st.integers(2, 16))
    return (*(draw(states(n, d)) for _ in range(3)), draw(states(1, d))[0])


@settings(max_examples=150)
@given(problems(), st.sampled_from(["positive", "top-m"]), st.sampled_from([0.125, 0.25, 0.5, 1.0]), st.floats(0.5, 4))
def test_shift_and_targets_agree_with_numpy(
    problem: tuple[np.ndarray, ...], mask: arithmetic.Mask, fraction: float, scale: float
) -> None:
    benign, harmful, refusing, row = (each.astype(np.float64) for each in problem)
    delta = refusing.mean(0) - benign.mean(0)
    c = row * delta
    if mask == "positive":
        kept = c >= 0
        assume(np.all((np.abs(c) > 1e-5) | (row == 0) | (delta == 0)))  # a sign that rounding cannot change
    else:
        size = round(fraction * len(c))
        order = np.sort(c)[::-1]
        assume(size > 0 and (size == len(c) or order[size - 1] - order[size] > 1e-4))
        kept = c >= order[size - 1]
    assume(abs(c[kept].sum()) > 1e-4)
    given_ = [torch.from_numpy(each) for each in problem]
    shift_by = arithmetic.refusal_shift(given_[2], given_[0])
    np.testing.assert_allclose(shift_by, delta, atol=1e-6)
    if c[kept].sum() <= 0:
        with pytest.raises(InputError, match="does not make refusals likelier"):
            arithmetic.mask_shift(shift_by, given_[3], mask, fraction)
        return
    shift = arithmetic.mask_shift(shift_by, given_[3], mask, fraction)
    assert shift.gain == pytest.approx(c[kept].sum(), abs=1e-4)
    np.testing.assert_allclose(shift.masked, np.where(kept, delta, 0), atol=1e-6)
    for rows, sign in ((harmful, 1), (benign, -1)):
        wanted = rows + sign * scale * np.where(kept, delta, 0)
        np.testing.assert_allclose(
            arithmetic.targets(torch.from_numpy(rows), shift, sign * scale), wanted, rtol=0, atol=1e-6
        )


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.floats(0.25, 2), st.data())
def test_penalty_is_the_squared_norm_of_the_product(
    r: int, inputs: int, outputs: int, s: float, data: st.DataObject
) -> None:
    pairs = [(data.draw(states(r, inputs)), data.draw(states(outputs, r))) for _ in range(2)]
    doubles = [(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs]
    wanted = sum(np.sum((s * b @ a) ** 2) for a, b in doubles)
    found = arithmetic.low_rank_penalty([(torch.from_numpy(a), torch.from_numpy(b), s) for a, b in doubles])
    assert float(found) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_top_m_keeps_the_published_number_of_features() -> None:
    delta = torch.arange(16.0)
    for fraction, count in ((0.125, 2), (0.25, 4), (0.5, 8)):
        assert int(arithmetic.mask_shift(delta, torch.ones(16), "top-m", fraction).kept.sum()) == count


def test_how_many_begin_with_a_token() -> None:
    states = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [-1.0, -2.0]])
    weight = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.bfloat16)
    assert arithmetic.begins_with(states, weight, 1) == 0.75


def test_a_shift_that_lowers_the_refusal_logit_stops() -> None:
    with pytest.raises(InputError, match=r"change the logit .* by -3"):
        arithmetic.mask_shift(torch.tensor([-1.0, -2.0]), torch.ones(2), "top-m", 1.0)
    with pytest.raises(InputError, match="does not make refusals likelier"):
        arithmetic.mask_shift(torch.tensor([-1.0, -2.0]), torch.ones(2))


class _Words:
    unk_token_id = 0

    def encode(self, word: str, add_special_tokens: bool) -> list[int]:
        return {"I": [7], "Sorry": [3, 4]}.get(word, [0])


def test_the_refusal_token_is_a_single_one() -> None:
    assert arithmetic.first_token(_Words()) == 7
    for word in ("Sorry", "Leider"):
        with pytest.raises(InputError, match=f"no single token '{word}'"):
            arithmetic.first_token(_Words(), word)
