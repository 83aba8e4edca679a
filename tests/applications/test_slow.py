# A suite of tests that compute, for pytest -n 2: all-cores-busy, with pytest-xdist's workers.
import pytest


@pytest.mark.parametrize("number", range(150))
def test_sum(number):
    assert sum(i * i % 7 for i in range(600_000)) > number
