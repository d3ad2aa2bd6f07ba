"""Mean exit times over starts against Getoor's formula."""

import math

import numpy as np
import pytest

from levyjax.basins import Box
from levyjax.dynamics import SGD
from levyjax.escape import EscapeProblem, Plan, exit_profile
from levyjax.landscapes import Flat
from levyjax.noise import Independent
from levyjax.solvers import Euler, JumpAdapted

FREE = EscapeProblem(Flat([0.0]), Box([-1.0], [1.0]), Independent(1.5, [1.0]), SGD(), 0.5)


def test_getoor_profile():
    """E_x = eps^-a (1 - x^2)^(a/2)/Gamma(1 + a); 3 starts, each |z| < 4 by chance in 6.3e-5, the solver's bias 1%."""
    starts = np.array([[0.0], [-0.5], [0.8]])
    profile = exit_profile(FREE, starts, Plan(JumpAdapted(), 20_000), 0)
    expected = 0.5**-1.5 * (1 - starts[:, 0] ** 2) ** 0.75 / math.gamma(2.5)
    assert np.all(profile.exited == 1)
    assert np.all(np.abs(profile.mean_exit_time - expected) < 4 * profile.standard_error + 0.01 * expected)


def test_no_mean_without_all_exits():
    profile = exit_profile(FREE, [[0.0]], Plan(Euler(0.1), 200, max_time=1.0), 0)
    assert 0 < profile.exited[0] < 1
    assert np.isnan(profile.mean_exit_time[0])
    assert np.isnan(profile.standard_error[0])


@pytest.mark.parametrize(
    ("starts", "words"),
    [([0.0, 0.5], "got shape (2,)."), ([[1.5]], "not inside the basin."), ([[0.0, 0.0]], "start has 2.")],
)
def test_bad_starts(starts, words):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
        exit_profile(FREE, starts, Plan(Euler(0.1), 10), 0)
    assert words in str(caught.value)
