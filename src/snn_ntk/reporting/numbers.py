"""Numbers as people read them: as many digits as the interval warrants, words for large ones, a power of ten for small ones."""

from __future__ import annotations

import math

__all__ = ["show_estimate", "show_interval", "show_number", "show_percent", "show_region"]

Interval = tuple[float, float]

_WORDS = {12: "trillion", 9: "billion", 6: "million", 3: "thousand"}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DIGITS = 3  # of a number without an interval
_ALL: Interval = (-math.inf, math.inf)
_MOST = 7  # of one whose interval is narrower than that: what is left is rounding


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _place(value: float, interval: Interval) -> int:
    """The power of ten of the last digit to show: at most a seventh of the interval's width, and the larger end has two.

    Where the interval has one sign, no number in it becomes zero.
    """
    low, high = interval
    largest = _exponent(max(abs(low), abs(high)))
    place = max(min(_exponent((high - low) / 7), largest - 1), largest - _MOST + 1)
    return min(place, _exponent(value)) if low * high > 0 else place


def _show(value: float, place: int, scientific: bool) -> str:
    """A finite number rounded to a multiple of ten to the `place`."""
    rounded = round(value, -place)
    sign, size = "−" if rounded < 0 else "", abs(rounded)
    if size == 0:
        return f"{0:.{max(0, -place)}f}" if not scientific else "0"
    exponent = _exponent(size)
    if scientific or exponent >= 15:
        return f"{sign}{size / 10.0**exponent:.{max(0, exponent - place)}f}\u00a0×\u00a010{str(exponent).translate(_RAISED)}"
    if size >= 10_000:
        power = next(power for power in _WORDS if size >= 10**power)
        return f"{sign}{size / 10**power:.{max(0, power - place)}f}\u00a0{_WORDS[power]}"
    return f"{sign}{size:,.{max(0, -place)}f}"


def _side(value: float, region: Interval) -> tuple[bool, bool]:
    return value < region[0], value > region[1]


def show_number(value: float, interval: Interval | None = None, region: Interval = _ALL) -> str:
    """A number with the digits that its interval warrants; three where it has none, fewer if it is small or they say it all.

    More where it would otherwise seem to lie in a region that it lies outside of, or the reverse.

    >>> show_number(0.99953, (0.9961, 1.0039)), show_number(-0.0017, (-0.41, 0.36)), show_number(-0.0017321)
    ('1.000', '0.00', '−0.0017')
    >>> show_number(-0.004, (-0.004, 0.9), (0, math.inf)), show_number(0.05004, region=(0, 0.05))
    ('−0.004', '0.05004')
    >>> [show_number(value).replace("\\u00a0", " ") for value in (0.5, 1.23456, 47144, 3e8, 4.21e-5, math.inf)]
    ['0.5', '1.23', '47.1 thousand', '300 million', '4.21 × 10⁻⁵', '∞']
    """
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 and not (interval and interval[0] < interval[1]):
        return "0"
    place, scientific = _digits_of(value, interval)
    while _side(round(value, -place), region) != _side(value, region):
        place -= 1
    return _show(value, place, scientific)


def _digits_of(value: float, interval: Interval | None) -> tuple[int, bool]:
    """The power of ten of the last digit to show, and whether the number is shown with one."""
    if interval and interval[0] < interval[1]:
        return _place(value, interval), max(map(abs, interval)) < 1e-3
    said = math.isclose(value, float(f"{value:.{_DIGITS}g}"), rel_tol=1e-12)
    digits = _DIGITS if said or abs(value) >= 0.01 else _DIGITS - 1  # a small one has zeros enough
    exponent = _exponent(float(f"{value:.{digits}g}"))
    place = exponent - digits + 1
    while place < exponent and math.isclose(value, round(value, -place - 1), rel_tol=1e-12):
        place += 1
    return place, abs(value) < 1e-3


def show_percent(value: float, interval: Interval | None = None, region: Interval = _ALL) -> str:
    """A share in per cent.

    >>> show_percent(0.0247, (0.02, 0.03)).replace("\\u00a0", " ")
    '2.5 %'
    """
    shares = (interval and (100 * interval[0], 100 * interval[1])), (100 * region[0], 100 * region[1])
    return show_number(100 * value, *shares) + "\u00a0%"


def show_interval(interval: Interval, region: Interval = _ALL) -> str:
    """An interval that was measured, in the digits of the number that it belongs to.

    >>> show_interval((0.9961, 1.0039))
    '[0.996, 1.004]'
    """
    return "[{}, {}]".format(*(show_number(end, interval, region) for end in interval))


def show_estimate(value: float, interval: Interval, region: Interval = _ALL) -> str:
    """A number and its interval; one without sampling error has none to show.

    >>> show_estimate(0.99953, (0.9961, 1.0039)), show_estimate(0.25, (0.25, 0.25))
    ('1.000 [0.996, 1.004]', '0.25')
    """
    shown = show_number(value, interval, region)
    return shown if interval[0] == interval[1] else f"{shown} {show_interval(interval, region)}"


def show_region(region: Interval) -> str:
    """A region that was chosen: an interval, a half-line or a point.

    >>> show_region((-math.inf, 0.05)), show_region((0, 1)), show_region((-0.6, -0.4))
    ('≤ 0.05', '[0, 1]', '[−0.6, −0.4]')
    """
    low, high = region
    if low == high:
        return show_number(low)
    if math.isinf(low):
        return f"≤ {show_number(high)}"
    if math.isinf(high):
        return f"≥ {show_number(low)}"
    return f"[{show_number(low)}, {show_number(high)}]"
