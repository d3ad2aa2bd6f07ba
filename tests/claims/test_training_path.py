"""The figures of training, and the parts of the claims about it that have exact answers."""

import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest
from scipy import stats

from levyjax.claims import assumptions
from levyjax.claims.base import Settings
from levyjax.claims.figures.assumptions import assumption_quantities
from levyjax.claims.training_path import runs
from levyjax.escape.statistics import binomial_interval
from levyjax.plots import alpha_along_training, loss_along_path
from levyjax.training import TrainConfig, train


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


class TestFigures:
    def test_estimates_and_their_twins_are_drawn_at_their_values(self):
        axes = alpha_along_training([0, 5, 9], {"a": [1.0, 1.1, 1.2]}, {"a": [1.3, 1.4, 1.5]})
        drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()]
        assert [1.0, 1.1, 1.2] in drawn
        assert [1.3, 1.4, 1.5] in drawn
        with pytest.raises(ValueError, match="Gaussian noise is given for b"):
            alpha_along_training([0, 1], {"a": [1, 1]}, {"b": [1, 1]})

    def test_infinite_estimates_leave_the_axis_finite(self):
        axes = alpha_along_training([0, 5], {"a": [np.inf, 3.0]})
        assert axes.get_ylim() == (0, pytest.approx(3.3))

    def test_only_interior_maxima_are_marked(self):
        axes = loss_along_path({"over": ([0, 0.4, 1], [1, 3, 2]), "down": ([0, 0.5, 1], [3, 2, 1])})
        marks = [line.get_xdata() for line in axes.get_lines() if line.get_marker() == "o"]
        assert [list(np.atleast_1d(mark)) for mark in marks] == [[0.4]]
        with pytest.raises(ValueError, match="no path"):
            loss_along_path({})

    def test_quantities_that_are_never_positive_say_so(self):
        axes = assumption_quantities([1, 2], {"v_max": [0.1, 0.2], "v_min": [0.0, 0.0]})
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert set(labels) == {"v_max", "v_min (never above 0)"}
        with pytest.raises(ValueError, match="v_max has 3 values at 2 places"):
            assumption_quantities([1, 2], {"v_max": [1, 2, 3]})


class TestParts:
    @pytest.mark.parametrize(("hits", "count"), [(0, 6), (3, 8), (8, 8)])
    def test_the_interval_of_a_share_is_exact(self, hits, count):
        expected = stats.binomtest(hits, count).proportion_ci(method="exact")
        assert binomial_interval(hits, count) == pytest.approx((expected.low, expected.high))

    def test_adams_averages_forget_as_powers_of_their_betas(self):
        averages = assumptions._step_answers(30)
        for part, beta in zip(averages, (0.9, 0.999), strict=True):
            np.testing.assert_allclose(part, beta ** np.arange(30), rtol=1e-4)

    @pytest.mark.slow
    def test_runs_abreast_are_those_of_the_training_loop_in_law(self):
        """Another order of examples, but the same network, rate and batch size: losses within a fifth."""
        found = runs((32,), optax.sgd(0.1), 2, 4, 100, seed=0)
        loop = train(TrainConfig(iterations=400, record_every=400))
        np.testing.assert_allclose(found.losses[:, -1], loop.train_loss[-1], rtol=0.2)
        assert found.points.shape == (2, 4, found.model.parameters.size)


@pytest.mark.slow
def test_the_condition_is_refuted_and_the_rates_too():
    verdicts = {claim.id: claim.run(Settings(quick=True)).verdict for claim in assumptions.CLAIMS}
    assert verdicts == {"D9": "refuted", "D4": "refuted"}
