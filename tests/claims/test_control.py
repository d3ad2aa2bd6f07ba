"""What decides exit times: the problems differ in one thing only, and the verdict's rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levyjax.claims import control
from levyjax.claims.base import Settings
from levyjax.claims.figures.wells import factor_panel
from levyjax.escape import predict


def test_each_factor_varies_alone():
    with jax.enable_x64(True):
        for name, values in control._VALUES.items():
            for value in values[::4]:
                one = control.problem("jumps", **{name: value})
                sizes = control._BASE | {name: value}
                edge = jnp.array([[sizes["width"]]])
                np.testing.assert_allclose(one.landscape.value(edge), sizes["height"], rtol=1e-9)
                np.testing.assert_allclose(one.landscape.gradient(edge), 0, atol=1e-9)
                np.testing.assert_allclose(one.landscape.hessian(), sizes["curvature"])
                assert float(one.noise_level) ** -2 == pytest.approx(8000 * sizes["inverse noise"])
                assert predict(one).valid


@pytest.mark.slow
def test_means_under_jumps_are_those_of_the_law():
    """Nine means within 4 standard errors (chance: 6e-4 for all) and 1% for the solver; the law is width^alpha."""
    series = control.measure("jumps", Settings(quick=True), 7)
    for one in series.values():
        assert np.all(np.abs(np.log(one.means / one.predicted)) < 4 * one.error + 0.01)
    widths = series["width"]
    assert widths.predicted[-1] / widths.predicted[0] == pytest.approx(4**1.5, rel=1e-6)


@pytest.mark.parametrize(
    ("width", "nothing", "growth", "verdict"),
    [
        ((1.48, 1.52), [(-0.02, 0.02)] * 2, [(0.7, 0.9), (0.9, 1.1)], "confirmed"),
        ((1.48, 1.52), [(-0.02, 0.02), (0.1, 0.2)], [(0.7, 0.9), (0.9, 1.1)], "refuted"),
        ((1.48, 1.52), [(-0.02, 0.02)] * 2, [(0.1, 0.3), (0.9, 1.1)], "refuted"),
        ((1.3, 1.7), [(-0.02, 0.02)] * 2, [(0.7, 0.9), (0.9, 1.1)], "undecided"),
    ],
)
def test_verdict(width, nothing, growth, verdict):
    assert control.judge_control(width, nothing, growth) == verdict


def test_panel_draws():
    ends = {"a": [[2.0, 4.0], [3.0, 5.0]]}
    axes = factor_panel([0.5, 2.0], {"a": [3.0, 4.0]}, ends, {"a": [3.0, 4.0]}, xlabel="width", log=True)
    axes.figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.5", "2"]
