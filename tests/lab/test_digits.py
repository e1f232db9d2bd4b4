import pytest

from lab.digits import short, told


@pytest.mark.parametrize(("value", "digits", "said"), [
    (18.904, 3, "18.9"), (0.012345, 4, "0.01235"), (999.4, 3, "999"), (999.5, 3, "1,000"), (-1976.4, 3, "-1,976"),
    (1976.4, 4, "1976"), (9999.6, 4, "10,000"), (13455.2, 4, "13,455"), (0, 3, "0"), (2.5e12, 4, "2.5e+12"),
    (20959.16, 6, "20,959.2"), (float("nan"), 4, "nan"), (float("-inf"), 4, "-inf"),
])  # fmt: skip
def test_large_numbers_are_whole_and_not_written_with_an_exponent(value, digits, said):
    assert short(value, digits) == said


@pytest.mark.parametrize(("value", "digits", "said"), [
    (None, 4, "–"), (float("nan"), 4, "–"), (1566, 3, "1566"), (13002.0, 4, "13,002"), (10_000_000, 4, "10,000,000"),
    (20959.16, 4, "20,959"), (20525600.7, 6, "20,525,601"), (4.31712e-05, 4, "4.317e-05"), (float("inf"), 4, "inf"),
    (1e20, 4, "1e+20"),
])  # fmt: skip
def test_a_whole_number_keeps_all_of_its_digits(value, digits, said):
    assert told(value, digits) == said
