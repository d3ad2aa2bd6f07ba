"""What the figures draw, by its numbers; that each figure is made; that nothing global is touched."""

import matplotlib

matplotlib.use("Agg")

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from levyjax import plots
from levyjax.basins import Ball, Box, HalfSpace
from levyjax.claims.figures import maps
from levyjax.dynamics import SGD
from levyjax.engine import ExitCode
from levyjax.escape import EscapeProblem
from levyjax.escape.paths import ExitPaths
from levyjax.escape.statistics import kaplan_meier
from levyjax.landscapes import DoubleWell, Quadratic
from levyjax.noise import Independent
from levyjax.plots import animation, comparisons, exits, landscapes, tails
from levyjax.plots.escape_sets import escape_lengths


@pytest.fixture(autouse=True)
def _nothing_global():
    before = dict(matplotlib.rcParams)
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


RNG_TIMES = np.random.default_rng(0).exponential(3.0, 400)
FIGURES = {
    "exit_time_scaling": lambda **kw: plots.exit_time_scaling(
        [0.1, 0.01], [5.0, None], [(4.0, 6.0), (90.0, None)], [5.0, 100.0], label="α = 1.5", **kw
    ),
    "survival": lambda **kw: plots.survival(np.minimum(RNG_TIMES, 4), RNG_TIMES < 4, 1 / 3, label="sgd", **kw),
    "exponential_qq": lambda **kw: plots.exponential_qq(RNG_TIMES, label="sgd", **kw),
    "ccdf": lambda **kw: plots.ccdf(np.tan(np.linspace(-1.57, 1.57, 999)), 1.0, 1.0, label="Cauchy", **kw),
    "block_length_sweep": lambda **kw: plots.block_length_sweep(
        [10, 100, 1000], [1.3, 1.6, 1.7], [(1.2, 1.4), (1.5, 1.7), (1.5, 1.9)], **kw
    ),
    "ccdf_with_laws": lambda **kw: plots.ccdf_with_laws(
        np.tan(np.linspace(-1.57, 1.57, 999)), {"Cauchy": ([1.0, 100.0], [0.5, 0.0064])}, **kw
    ),
    "hill_plot": lambda **kw: plots.hill_plot(
        [10, 100, 1000], [1.4, 1.5, 1.6], [(1, 2), (1.3, 1.7), (1.5, 1.7)], [np.inf, 1.5, 1.4], chosen=100, **kw
    ),
    "quantile_plot": lambda **kw: plots.quantile_plot(
        np.arange(-50.0, 50.0), {"uniform": 100 * plots.plotted_levels(100) - 50}, **kw
    ),
    "characteristic_plot": lambda **kw: plots.characteristic_plot(RNG_TIMES, 1.5, 3.0, **kw),
    "aggregation_plot": lambda **kw: plots.aggregation_plot(
        [1, 2, 4], [1.2, 1.5, 1.7], [(1, 1.4), (1.4, 1.6), (1.5, 2)], **kw
    ),
    "ratio_forest": lambda **kw: plots.ratio_forest(
        ["a", "b", "c", "d"], [1.0, 1.5, None, 2.0], [(0.9, 1.1), (1.4, 1.6), None, (1.2, None)], **kw
    ),
    "basin_with_paths": lambda **kw: plots.basin_with_paths(
        [np.cumsum(np.ones((2, 5)), axis=1)], [[-1, 1, 1, -1], [-1, -1, 1, 1]], minimum=[0, 0], **kw
    ),
    "landscape": lambda **kw: plots.landscape(
        Quadratic([1.0, 0.2]), [-2, -2], [2, 2], basin=HalfSpace([1.0, 0.5], 1.0), paths=[np.zeros((2, 4))], **kw
    ),
    "phase_diagram": lambda **kw: plots.phase_diagram(
        plots.PhaseGrid((1.2, 1.8), ("a", "b"), np.array([[1.0, 2.0], [np.nan, 0.5]])), xlabel="α", ylabel="ε", **kw
    ),
    "escape_sets": lambda **kw: plots.escape_sets(
        HalfSpace([1.0, 0.5], 1.0), [0, 0], {"SGD": [1, 1], "Adam": [1.0, 3.0]}, directions=np.eye(2),
        landscape=Quadratic([1.0, 0.2]), **kw,
    ),
    "sooner_map": lambda **kw: maps.sooner_map(
        [1, 10, 100], [-1, 1], np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]]),
        [maps.MeasuredCell(10, 1, 1.9), maps.MeasuredCell(10, -1, None), maps.MeasuredCell(1, 1, 2.0, bound=True)],
        xlabel="condition number", ylabel="alignment", colorbar="ratio", **kw,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_made_and_drawn(name):
    axes = FIGURES[name]()
    assert axes.get_xlabel()
    axes.figure.canvas.draw()
    assert name in plots.__all__ or hasattr(maps, name)
    assert {label.get_fontsize() for label in axes.get_xticklabels()} == {7.5}  # made after the style has been left


@pytest.mark.parametrize("name", FIGURES)
def test_given_axes_are_used_and_no_figure_is_made(name):
    given = matplotlib.figure.Figure().add_subplot()
    assert FIGURES[name](ax=given) is given
    assert not plt.get_fignums()
    given.figure.canvas.draw()


def test_style_is_local_and_refuses_unknown_settings():
    with plots.style(lines_linewidth=3):
        assert matplotlib.rcParams["lines.linewidth"] == 3
    with pytest.raises(ValueError, match="no matplotlib setting"), plots.style(no_such=1):
        pass


def test_a_notebooks_backend_that_is_loaded_inside_the_style_stays_interactive():
    """It turns interactive mode on with the first figure; turned off again, no later figure is shown."""
    assert not matplotlib.is_interactive()
    try:
        with plots.style():
            matplotlib.interactive(True)
        assert matplotlib.is_interactive()
    finally:
        matplotlib.interactive(False)


def test_palette_differs_in_lightness_and_hue():
    colors = np.array([matplotlib.colors.to_rgb(color) for color in plots.PALETTE])
    apart = np.abs(colors[:, None] - colors[None]).sum(-1) + np.eye(len(colors))
    assert apart.min() > 0.3
    assert (colors @ [0.2126, 0.7152, 0.0722] < 0.75).all()  # visible on white


class TestScaling:
    def test_points_are_sorted_into_means_and_bounds(self):
        points = comparisons.scaling_points(
            [0.1, 0.01, 0.05], [5.0, None, 20.0], [(4.0, 7.0), (90.0, None), (15.0, 30.0)]
        )
        assert points.x.tolist() == [0.05, 0.1]
        assert points.mean.tolist() == [20.0, 5.0]
        assert points.errors.tolist() == [[5.0, 1.0], [10.0, 2.0]]
        assert (points.bound_x.tolist(), points.bound.tolist()) == ([0.01], [90.0])

    def test_censored_says_which_cells_are_bounds(self):
        points = comparisons.scaling_points([0.1, 0.2], [5.0, 4.0], [(4, 6), (3, 5)], censored=[True, False])
        assert (points.x.tolist(), points.bound.tolist()) == ([0.2], [4.0])

    def test_theory_is_sorted_and_leaves_gaps_out(self):
        x, y = comparisons.theory_line([0.1, 0.01, 0.05], [1.0, 3.0, None])
        assert (x.tolist(), y.tolist()) == ([0.01, 0.1], [3.0, 1.0])

    def test_overlays_differ_and_explain_themselves_once(self):
        axes = FIGURES["exit_time_scaling"]()
        plots.exit_time_scaling([0.1], [9.0], [(8, 10)], [9.0], label="α = 1.8", ax=axes)
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert names == ["α = 1.5", "α = 1.8", "theory", "no exit: lower bound"]
        first, *_, second = (container[0] for container in axes.containers)
        assert to_hex(first.get_color()) != to_hex(second.get_color())
        assert first.get_marker() != second.get_marker()

    def test_all_censored(self):
        axes = plots.exit_time_scaling([0.1], [None], [(50.0, None)])
        axes.figure.canvas.draw()
        assert axes.get_ylim()[0] < 50 < axes.get_ylim()[1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([0.1, 0.2], [1.0], [(1, 2)]), "one of each"),
            (([0.1], [None], [None]), "bound"),
            (([0.1], [1.0], [(1, 2)], None, [True, False]), "censored"),
            (([0.1], [1.0], [(1, 2)], [1.0, 2.0]), "predictions"),
        ],
    )
    def test_refusals(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            plots.exit_time_scaling(*arguments)


class TestForest:
    def test_points(self):
        points = comparisons.forest_points(
            "abcd", [1.0, 1.5, None, 2.0], [(0.9, 1.1), (1.4, 1.6), None, (1.2, None)], expected=1.0
        )
        assert points.off.tolist() == [False, True, False, True]
        assert np.isnan([points.ratio[2], points.low[2], points.high[2]]).all()
        assert points.high[3] == np.inf

    def test_rows_run_from_the_top_and_missing_ones_say_so(self):
        axes = FIGURES["ratio_forest"]()
        assert axes.get_ylim()[0] > axes.get_ylim()[1]
        assert [text.get_text() for text in axes.texts] == ["no estimate"]

    def test_wide_ranges_are_logarithmic_with_round_ticks(self):
        axes = plots.ratio_forest(["a", "b"], [0.01, 30.0], [(0.009, 0.02), (20.0, 40.0)])
        assert axes.get_xscale() == "log"
        assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1", "10"]

    def test_refusals(self):
        for arguments in [(["a"], [1.0, 2.0], [None]), ([], [], []), (["a"], [1.0], [(2.0, 1.0)])]:
            with pytest.raises(ValueError, match=r"row|low end"):
                plots.ratio_forest(*arguments)


class TestExits:
    def test_thinning_keeps_the_curve(self):
        full = kaplan_meier(np.random.default_rng(1).exponential(1.0, 50_000))
        thin = exits.thinned(full)
        assert thin.times.size <= 1502
        assert thin.times[-1] == full.times[-1]
        assert set(thin.times) <= set(full.times)
        log = np.log(thin.survival[:-1])
        assert np.abs(np.diff(log[log > np.log(0.01)])).max() < 0.03
        assert thin.survival[-5:] == pytest.approx(np.arange(4, -1, -1) / 50_000)  # the last exits one by one

    def test_marks_of_censoring_lie_on_the_curve(self):
        t, s = exits.censoring_marks([1.0, 2.0, 3.0, 3.0], [True, False, True, False])
        assert (t.tolist(), s.tolist()) == ([2.0, 3.0], [0.75, 0.375])
        assert exits.censoring_marks([1.0], None)[0].size == 0
        assert exits.censoring_marks(np.arange(1000.0), np.zeros(1000, bool))[0].size == 40

    def test_survival_shows_the_last_exit_and_the_rate(self):
        axes = plots.survival([1.0, 2.0, 4.0], rate=0.5)
        assert axes.get_ylim() == pytest.approx((1 / 6, 1.2))
        guide = axes.lines[-1]
        assert guide.get_ydata() == pytest.approx(np.exp(-0.5 * guide.get_xdata()))

    def test_overlaid_survival_curves_are_all_in_view(self):
        axes = plots.survival(RNG_TIMES)
        plots.survival([1.0, 50.0], ax=axes)
        assert axes.get_ylim()[0] == pytest.approx(0.5 / 400)
        assert axes.get_xlim()[1] > 50

    def test_quantiles_of_exp_lie_on_the_diagonal(self):
        points = exits.exponential_quantiles(stats.expon.ppf((np.arange(1000) + 0.5) / 1000), rate=1.0)
        assert points.observed == pytest.approx(points.expected)
        assert ((points.low < points.expected) & (points.expected < points.high)).all()
        assert points.expected.size <= 400
        assert points.expected[-1] == pytest.approx(np.log(2000))

    def test_quantile_band_covers(self):
        """Each point is in its band with probability 0.95; the false-alarm probability here is 1e-4."""
        draws = np.random.default_rng(2).exponential(1.0, (500, 60))
        inside = [(q.low <= q.observed) & (q.observed <= q.high) for q in map(_unit_quantiles, draws)]
        for at in (0, 30, 59):
            hits = int(np.sum([row[at] for row in inside]))
            assert stats.binomtest(hits, 500, 0.95).pvalue > 1e-4 / 3

    def test_jumps_are_parted_from_the_walk(self):
        track = np.array([[0.0, 0.1, 2.0, 2.1], [0.0, 0.0, 0.0, 0.1]])
        walked, jumped = exits.split_jumps(track, 1.0)
        np.testing.assert_array_equal(walked[0], [0.0, 0.1, np.nan, 2.0, 2.1])
        np.testing.assert_array_equal(jumped[0], [0.1, 2.0, np.nan])
        walked, jumped = exits.split_jumps(track, 5.0)
        np.testing.assert_array_equal(walked, track)
        assert np.isnan(jumped).all()
        assert exits.jump_length(np.array([[-1.0, 1.0], [-4.0, 4.0]])) == pytest.approx(0.2)

    def test_refusals(self):
        for times, rate in [([], None), ([np.nan], None), ([-1.0], None), ([0.0], None), ([1.0], 0.0)]:
            with pytest.raises(ValueError, match=r"exit times|rate"):
                plots.exponential_qq(times, rate)
        with pytest.raises(ValueError, match=r"shape \(2, m\)"):
            plots.basin_with_paths([np.zeros((5, 3))], np.zeros((2, 4)))


def _unit_quantiles(draw):
    return exits.exponential_quantiles(draw, rate=1.0)


class TestTails:
    def test_points_of_a_known_sample(self):
        tail = tails.empirical_tail([-4.0, 1.0, 2.0, 0.0])
        assert tail.size.tolist() == [1.0, 2.0, 4.0]
        assert tail.probability.tolist() == [0.625, 0.375, 0.125]
        assert ((tail.low < tail.probability) & (tail.probability < tail.high)).all()

    def test_the_largest_are_never_thinned_away(self):
        samples = np.random.default_rng(3).standard_cauchy(100_000)
        tail = tails.empirical_tail(samples)
        assert tail.size.size <= 300
        assert tail.size[-8:] == pytest.approx(np.sort(np.abs(samples))[-8:])

    def test_stable_line_is_the_cauchy_tail(self):
        u, p = tails.stable_tail(np.array([1.0, 1e5]), 1.0, 3.0)
        assert p[-1] == pytest.approx(2 * stats.cauchy.sf(1e5 / 3), rel=1e-6)
        assert p[0] <= 0.5
        assert np.diff(np.log(p)) / np.diff(np.log(u)) == pytest.approx(-1.0)

    def test_stable_line_meets_a_stable_sample(self):
        """False alarms: 1e-4. At 50 scales the next term of the tail is 0.2% of the first."""
        samples = stats.levy_stable.rvs(1.5, 0.0, scale=2.0, size=200_000, random_state=4)
        u, p = tails.stable_tail(np.array([50.0, 100.0]), 1.5, 2.0)
        assert stats.binomtest(int(np.sum(np.abs(samples) > u[-1])), 200_000, p[-1]).pvalue > 1e-4

    @pytest.mark.parametrize("deficit", [0.0, 0.7, 2.0])
    def test_finite_variance_curve_is_recovered(self, deficit):
        lengths = [10, 100, 1000]
        alphas = tails.finite_variance_alpha(lengths, deficit)
        assert tails.block_length_laws(lengths, alphas).deficit == pytest.approx(deficit, abs=1e-12)
        assert tails.block_length_laws(lengths, [1.5] * 3).alpha == pytest.approx(1.5)

    def test_released_log_of_the_paper(self):
        """The curve fitted on (36400, 1.2182) predicts 1.1819 at 16640, where a stable law would repeat itself."""
        deficit = (1 / 1.2182 - 0.5) * np.log(36400)
        assert tails.finite_variance_alpha(16640, deficit) == pytest.approx(1.1819, abs=1e-3)

    def test_units_are_on_the_axes(self):
        ccdf = plots.ccdf_with_laws([1.0, 2.0], {}, unit="medians")
        quantile = plots.quantile_plot([1.0, -2.0], {}, unit="medians")
        assert ccdf.get_xlabel() == "$u$ (medians)"
        assert quantile.get_ylabel() == "quantile of the data (medians)"

    def test_a_moment_estimate_that_is_mostly_infinite_says_so(self):
        axes = plots.hill_plot([10, 20, 40], [3.0, 2.5, 2.0], moment=[np.inf, np.inf, 5.0])
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Hill", "moment, infinite at most $k$"]

    def test_the_line_at_two_is_named_outside_the_axes(self):
        for name in ("hill_plot", "block_length_sweep", "aggregation_plot"):
            axes = FIGURES[name]()
            axes.figure.canvas.draw()
            (text,) = axes.texts
            assert text.get_text() == r"$\alpha = 2$"
            assert text.get_window_extent().x0 >= axes.get_window_extent().x1

    def test_intervals_weight_the_fits(self):
        laws = tails.block_length_laws([10, 1000], [1.2, 1.8], [(1.199, 1.201), (1.0, 1.99)])
        assert laws.alpha == pytest.approx(1.2, abs=1e-3)

    def test_refusals(self):
        for call in [
            lambda: tails.empirical_tail([0.0, 0.0]),
            lambda: tails.empirical_tail([np.inf]),
            lambda: plots.ccdf([1.0, 2.0], alpha=2.0),
            lambda: plots.ccdf([1.0, 2.0], alpha=1.5, scale=0.0),
            lambda: plots.block_length_sweep([10], [1.5]),
            lambda: plots.block_length_sweep([1, 10], [1.5, 1.5]),
            lambda: plots.block_length_sweep([2, 10], [1.5, -1.5]),
            lambda: plots.block_length_sweep([2, 10], [1.5, 1.5], [(1, 2), (2, 1)]),
        ]:
            with pytest.raises(ValueError, match=r"."):
                call()


class TestPhase:
    ROWS = tuple(
        {"dynamics": name, "alpha": alpha, "noise_level": level, "ratio": ratio, "rate": ratio / alpha}
        for name, alpha, level, ratio in [
            ("sgd", 1.8, 0.1, 1.5), ("sgd", 1.2, 0.1, 1.0), ("sgd", 1.2, 0.2, 0.5), ("sgd", 1.8, 0.2, 2.0),
            ("adam", 1.2, 0.1, 4.0), ("adam", 1.8, 0.1, 3.0), ("adam", 1.2, 0.2, 1.0), ("adam", 1.8, 0.2, 1.0),
        ]
    )  # fmt: skip

    def test_numbers_come_to_their_places_in_order(self):
        grid = plots.phase_grid(self.ROWS[:3], "alpha", "noise_level")
        assert (grid.x, grid.y) == ((1.2, 1.8), (0.1, 0.2))
        np.testing.assert_array_equal(grid.ratio, [[1.0, 1.5], [0.5, np.nan]])

    def test_one_of_two_over_the_other(self):
        grid = plots.contest_grid(self.ROWS, "alpha", "noise_level")
        np.testing.assert_allclose(grid.ratio, [[1.0 / 4.0, 1.5 / 3.0], [0.5, 2.0]])

    def test_cells_of_no_data_are_hatched_and_the_others_have_numbers(self):
        axes = FIGURES["phase_diagram"]()
        assert [text.get_text() for text in axes.texts] == ["1", "2", "0.5"]
        assert [patch.get_hatch() for patch in axes.patches] == ["////"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["no data"]

    def test_refused(self):
        with pytest.raises(ValueError, match="hold the other axes"):
            plots.phase_grid(self.ROWS, "alpha", "noise_level")
        with pytest.raises(ValueError, match="between two"):
            plots.contest_grid(self.ROWS[:3], "alpha", "noise_level")
        with pytest.raises(ValueError, match="not run at the same values"):
            plots.contest_grid(self.ROWS[:3] + self.ROWS[4:5], "alpha", "noise_level")


class TestAnimation:
    """Two particles in a ball of radius 1: one goes a short way, one jumps inside at step 1 and out at step 3."""

    X = np.array([[[0.0, 0.1, 0.1, 0.2], [0.0, 0.0, 0.0, 0.0]], [[0.0, 0.5, 0.5, 3.0], [0.0, 0.0, 0.1, 0.0]]])
    PATHS = ExitPaths(X, np.array([3, 3]), np.array([ExitCode.CENSORED, ExitCode.EXITED]))
    PROBLEM = EscapeProblem(Quadratic([1.0, 1.0]), Ball(1.0, [0.0, 0.0]), Independent(1.5, [1.0] * 2), SGD(), 0.1)

    def test_frames_have_places_jumps_and_who_has_left(self):
        well = plots.Well("well", self.PROBLEM, self.PATHS, 0.5)
        first, last = animation.frame_of(well, 1, 0), animation.frame_of(well, 3, 1)
        assert first.outside.tolist() == [False, False]
        assert first.chords.tolist() == [[[0.0, 0.0], [0.5, 0.0]]]
        assert first.leaving.tolist() == [False]
        assert last.outside.tolist() == [False, True]
        assert last.points.tolist() == [[0.2, 3.0], [0.0, 0.0]]
        assert last.chords.tolist() == [[[0.5, 0.1], [3.0, 0.0]]]
        assert last.leaving.tolist() == [True]
        assert animation.part_inside(well).tolist() == [1.0, 1.0, 1.0, 0.5]

    def test_it_is_drawn_with_counters(self, tmp_path):
        wells = [plots.Well(name, self.PROBLEM, self.PATHS, 0.5, rate) for name, rate in (("one", 0.3), ("two", None))]
        film = plots.animate_exits(wells, reach=2.0, title="both", num_frames=3)
        film.save(tmp_path / "film.gif", writer="pillow", dpi=40)
        titles = [axes.get_title() for axes in plt.gcf().axes]
        assert titles == ["one: 1 of 2 have left", "two: 1 of 2 have left", ""]
        assert (tmp_path / "film.gif").read_bytes()[:4] == b"GIF8"

    def test_refused(self):
        well = plots.Well("well", self.PROBLEM, self.PATHS, 0.5)
        for wells, frames in [([], 3), ([well], 5), ([well], 1)]:
            with pytest.raises(ValueError, match="wells of the plane"):
                plots.animate_exits(wells, reach=2.0, num_frames=frames)


class TestEscapeSets:
    def test_lengths_are_those_of_the_basin_through_the_map(self):
        """Along the axes of a box a jump has to be half a side over the map's entry; a quarter turn is a quarter."""
        lengths = escape_lengths(Box([-1, -2], [1, 2]), [0, 0], [1.0, 0.5])
        quarter = lengths.size // 4
        assert lengths[::quarter].tolist() == pytest.approx([1.0, 4.0, 1.0, 4.0], rel=1e-6)

    def test_directions_that_never_leave_are_infinite(self):
        lengths = escape_lengths(HalfSpace([1.0, 0.0], 1.0), [0, 0], [1.0, 1.0])
        assert np.isinf(lengths).mean() == pytest.approx(0.5, abs=0.01)

    def test_refused(self):
        with pytest.raises(ValueError, match="of the plane"):
            escape_lengths(Box([-1], [1]), [0.0], [1.0])
        with pytest.raises(ValueError, match="one or more maps"):
            plots.escape_sets(Box([-1, -1], [1, 1]), [0.0, 0.0], {})


class TestLandscape:
    def test_the_graph_is_the_function_above_its_minimum_and_the_basin_is_shaded(self):
        function = DoubleWell(2.0, 1.0)
        axes = plots.landscape(function, [-3.0], [4.0], basin=Box([0.5], [2.5]))
        (line,) = (one for one in axes.lines if len(one.get_xdata()) > 100)
        x = np.asarray(line.get_xdata())
        with jax.enable_x64(True):
            value, base = (np.asarray(function.value(jnp.asarray(at))) for at in (x[None], [[2.0]]))
        np.testing.assert_allclose(np.asarray(line.get_ydata()), value - base, atol=1e-5 * np.abs(value).max())
        shaded = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert shaded.intervalx == pytest.approx([0.5, 2.5])

    def test_outline_of_a_box_and_of_an_open_set(self):
        box = landscapes.outline(Box([-1.0, -2.0], [1.0, 2.0]), np.zeros(2), 100.0)
        assert np.maximum(abs(box[0]), abs(box[1]) / 2) == pytest.approx(1)
        half = landscapes.outline(HalfSpace([1.0, 0.0], 1.0), np.zeros(2), 100.0)
        left = np.hypot(*half) < 99
        assert left.sum() == pytest.approx(180, abs=4)
        assert half[0][left] == pytest.approx(1, rel=1e-5)
        assert np.hypot(*half[:, ~left]) == pytest.approx(100, rel=0.01)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((Quadratic(np.ones(3)), [-1, -1, -1], [1, 1, 1]), "one or two dimensions"),
            ((Quadratic([1.0]), [-1, -1], [1, 1]), "one or two dimensions"),
            ((Quadratic([1.0]), [1.0], [1.0]), "lower must be below upper"),
        ],
    )
    def test_refused(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            plots.landscape(*arguments)
        with pytest.raises(ValueError, match="paths are drawn in a basin"):
            plots.landscape(Quadratic([1.0, 1.0]), [-1, -1], [1, 1], paths=[np.zeros((2, 3))])
