"""Landscapes that several tests share: three wells in a row, and two wells with a bent boundary."""

import numpy as np

from levyjax.landscapes import MultiWell, from_function

MINIMA, SADDLES = [-1.0, 1.0, 2.5], [0.2, 2.0]
HEIGHTS = {"barriers": [1.0, 0.5], "curvatures": [2.0, 3.0, 4.0], "saddle_curvatures": [2.5, 2.0]}


def row(well, saddles=None):
    return MultiWell(MINIMA, SADDLES if saddles is None else saddles, heights=[0.0, -0.3, 0.2], well=well, **HEIGHTS)


def bent(parameters):
    """Two wells on a parabola: the boundary between them is a curve without a formula."""

    def value(x, p):
        across = x[1] - 0.4 * (x[0] ** 2 - 1) + p[2] * (x[0] - 1)
        return 0.25 * p[0] * (x[0] ** 2 - 1) ** 2 + 0.5 * p[1] * across**2

    return from_function(value, [1.0, 0.0], np.asarray(parameters))
