import pytest

from lab.digits import short


@pytest.mark.parametrize(("value", "digits", "said"), [
    (18.904, 3, "18.9"), (0.012345, 4, "0.01235"), (999.4, 3, "999"), (999.5, 3, "1,000"), (-1976.4, 3, "-1,976"),
    (1976.4, 4, "1976"), (9999.6, 4, "10,000"), (13455.2, 4, "13,455"), (0, 3, "0"), (2.5e12, 4, "2.5e+12"),
    (float("nan"), 4, "nan"), (float("-inf"), 4, "-inf"),
])  # fmt: skip
def test_large_numbers_are_whole_and_not_written_with_an_exponent(value, digits, said):
    assert short(value, digits) == said
