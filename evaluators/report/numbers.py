"""Numbers as people read them."""

from math import floor

from demur.results import Estimate

NOTHING = "–"
_MINUS = "\u2212"


def percent(value: float | None) -> str:
    """A share in percent: 0% and 100% only where it is none or all.

    >>> percent(0.876), percent(1 / 200), percent(199 / 200), percent(1.0)
    ('88%', '<1%', '>99%', '100%')
    """
    if value is None:
        return NOTHING
    if 0 < value <= 0.005:
        return "<1%"
    return ">99%" if 0.995 <= value < 1 else f"{100 * value:.0f}%"


def coverage(value: float) -> str:
    """A share in percent, rounded down to a tenth: 100% only where nothing is missing.

    >>> coverage(0.9992), coverage(0.75), coverage(1.0)
    ('99.9%', '75%', '100%')
    """
    return f"{floor(1000 * value + 1e-9) / 10:g}%"


def tick(value: float) -> str:
    """A place on an axis in percent, unrounded.

    >>> tick(0.75 * 0.1), tick(0.5)
    ('7.5%', '50%')
    """
    return f"{100 * value:g}%"


def span(estimate: Estimate) -> str:
    """The ends of a share's interval, in percent.

    >>> span(Estimate(value=0.876, low=0.8, high=0.92))
    '80–92'
    """
    return (
        "" if estimate.low is None or estimate.high is None else f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f}"
    )


def signed(value: float | None) -> str:
    """A difference of shares in points, with its sign.

    >>> signed(-0.034), signed(0.002)
    ('−3', '0')
    """
    if value is None:
        return NOTHING
    points = round(100 * value)
    return f"+{points}" if points > 0 else f"{_MINUS}{-points}" if points < 0 else "0"


def signed_span(estimate: Estimate) -> str:
    """The ends of a difference's interval, in points."""
    return "" if estimate.low is None else f"{signed(estimate.low)} to {signed(estimate.high)}"


def decimal(value: float | None) -> str:
    """A score of -1 to 1.

    >>> decimal(-0.5)
    '−0.50'
    """
    return NOTHING if value is None else f"{value:.2f}".replace("-0.00", "0.00").replace("-", _MINUS)


def decimal_span(estimate: Estimate) -> str:
    """The ends of a score's interval."""
    return "" if estimate.low is None else f"{decimal(estimate.low)} to {decimal(estimate.high)}"


def p_value(p: float) -> str:
    """A p, never as 0.

    >>> p_value(0.00001), p_value(0.0312)
    ('<0.001', '0.031')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def words(name: str) -> str:
    """A name from a table as words.

    >>> words("non_violent_crimes")
    'non violent crimes'
    """
    return name.replace("_", " ")


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "model"), count(1200, "clip")
    ('1 model', '1,200 clips')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
