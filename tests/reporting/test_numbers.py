"""Numbers as people read them, read back: they say what their intervals say, and no more digits than that."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snn_ntk.reporting.numbers import show_estimate, show_interval, show_number, show_percent, show_region

WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
PLAIN = str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789")


def read(text: str) -> tuple[float, float]:
    """A number as shown, and what its last digit is worth."""
    mantissa, power, word = re.fullmatch(r"([−\d.,]+)(?:\u00a0×\u00a010([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)|\u00a0(\w+))?", text).groups()
    scale = 10.0 ** int(power.translate(PLAIN)) if power else WORDS.get(word, 1.0)
    digits = mantissa.translate(PLAIN).replace(",", "")
    return float(digits) * scale, 10.0 ** -len(digits.partition(".")[2]) * scale


@st.composite
def estimates(draw):
    size = 10.0 ** draw(st.integers(-9, 14))
    middle = draw(st.floats(-10, 10)) * size
    below, above = (draw(st.floats(1e-4, 3)) * size for _ in range(2))
    return middle, (middle - below, middle + above)


@given(estimates())
def test_a_shown_estimate_is_the_measured_one_to_a_small_part_of_its_interval(estimate):
    value, interval = estimate
    width = interval[1] - interval[0]
    shown = [show_number(number, interval) for number in (value, *interval)]
    assert show_interval(interval) == f"[{shown[1]}, {shown[2]}]"
    for text, number in zip(shown, (value, *interval), strict=True):
        assert read(text)[0] == pytest.approx(number, abs=max(width / 14, 1e-6 * max(map(abs, interval))))
        assert not re.match(r"−0(\.0*)?$", text)
    low, middle, high = (read(shown[index])[0] for index in (1, 0, 2))
    assert low <= middle <= high
    if interval[0] * interval[1] > 0:
        assert math.copysign(1, low) == math.copysign(1, interval[0])
        assert low * high > 0


@given(estimates())
def test_no_digit_is_shown_that_the_interval_does_not_warrant(estimate):
    value, interval = estimate
    largest = max(map(abs, interval))
    if interval[0] * interval[1] > 0:  # else small numbers keep a digit of their own
        value = interval[0] if abs(interval[0]) == largest else interval[1]
    text = show_number(value, interval)
    if "." in text:  # zeros before the point may only fill up
        assert read(text)[1] > min((interval[1] - interval[0]) / 70, largest / 100) * (1 - 1e-9)


def test_the_number_and_its_interval_have_the_same_digits():
    assert show_estimate(0.99953, (0.9961, 1.0039)) == "1.000 [0.996, 1.004]"
    assert show_estimate(-0.5, (-0.54, -0.46)) == "−0.50 [−0.54, −0.46]"
    assert show_percent(0.0251, (0.0192, 0.031)) == "2.5\u00a0%"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.99996, "1.00"), (0.5, "0.5"), (-0.123456, "−0.123"), (1230.4, "1,230"), (131072.0, "131 thousand"),
     (2.5e6, "2.5 million"), (3e8, "300 million"), (999_999.0, "1.00 million"), (4.21e-5, "4.21 × 10⁻⁵"),
     (1e-3, "0.001"), (6.02e23, "6.02 × 10²³"), (-0.00542, "−0.00542"), (-0.005421, "−0.0054"), (4.2137e-5, "4.2 × 10⁻⁵"), (0.0, "0"), (math.inf, "∞"), (-math.inf, "−∞")],
)  # fmt: skip
def test_a_number_without_sampling_error_has_three_digits_at_most(value, text):
    assert show_number(value).replace("\u00a0", " ") == text
    assert show_estimate(value, (value, value)).replace("\u00a0", " ") == text


def test_a_region_is_shown_as_it_was_chosen():
    assert show_region((-0.6, -0.4)) == "[−0.6, −0.4]"
    assert show_region((0.9, math.inf)) == "≥ 0.9"
    assert show_region((2.0, 2.0)) == "2"
