"""The claims: what every one of them must have, and the formulas that their experiments rest on."""

import itertools

import numpy as np
import pytest

from levyjax.claims import CLAIMS
from levyjax.claims.matched_progress import Setting, boundary_ratio, log_ratio, matched_ratio, sde_pair
from levyjax.escape import predict

CELLS = list(itertools.product((1.2, 1.5, 1.8), (3.0, 100.0), (-0.5, 0.0, 0.5)))


def test_every_claim_says_what_and_whence_and_how_it_is_judged():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.statement.endswith("."), claim.id
        assert claim.source, claim.id
        assert claim.rule, claim.id


@pytest.mark.parametrize("cell", CELLS)
class TestMatchedProgress:
    def test_both_laws_give_the_map(self, cell):
        setting = Setting(*cell)
        ratio = matched_ratio(setting)
        sgd, adam = (predict(problem) for problem in sde_pair(setting, ratio))
        assert sgd.valid
        assert adam.valid
        measured = ratio * adam.mean_exit_time / sgd.mean_exit_time
        assert np.log10(measured) == pytest.approx(log_ratio(setting, ratio), abs=1e-4)

    def test_equal_learning_rates_in_the_noises_unit_are_equal_progress_without_alignment(self, cell):
        setting = Setting(cell[0], cell[1], 0.0)
        assert matched_ratio(setting) == pytest.approx(1, rel=1e-9)
        assert boundary_ratio(setting) == pytest.approx(1, rel=1e-9)
