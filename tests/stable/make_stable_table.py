"""Makes stable_table.csv: log density, log P(X > x) and log P(X <= x) of the standard stable law (S0), by two routes.

Route 1 is the Zolotarev-Nolan integral (Nolan 1997), cut where its exponent passes given sizes. Route 2 is the series
in x^-alpha (convergent for alpha < 1, asymptotic for alpha > 1) or the Fourier integral along a line parallel to the
real axis, through the saddle in a light tail. The column `digits` says to how many digits of the density and of the
tail both routes agree; the tests take rows with at least 12. Needs mpmath: `python tests/stable/make_stable_table.py`.
"""

import itertools
import sys
from pathlib import Path

from mpmath import atan, cos, exp, expm1, factorial, gamma, inf, log, log1p, mp, mpc, mpf, pi, quad, re, sin, tan

mp.dps = 60
ALPHAS = ["0.3", "0.5", "0.8", "0.99", "0.999999", "1", "1.01", "1.3", "1.5", "1.8", "1.99", "1.999", "1.999999"]
SYMMETRIC = ["0", "0.001", "0.1", "0.5", "1", "3", "6", "9", "13", "30", "1000", "1000000", "1000000000000"]
SKEWED = ["-20", "-3", "-0.5", "0", "1", "4", "50"]
BETAS = ["0.3", "0.9", "1"]
NEAREST = ("0.999999", "1.999", "1.999999")  # for symmetric laws only
LEVELS = (-60, -30, -15, -8, -4, -2, -1, 0, 0.7, 1.5, 2.5, 3.5, 4.4)


def bisect(below, low, high):
    """Where a condition stops to hold between low and high."""
    for _ in range(160):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def integrals(log_g, low, high):
    """Logs of int g exp(-g) dt, int exp(-g) dt and int 1 - exp(-g) dt, for monotone log g."""
    edge, bare = (high - low) * mpf(10) ** -45, log_g

    def log_g(t):  # next to an end rounding would decide
        return min(bare(min(max(t, low + edge), high - edge)), mpf(100))

    rising, least = log_g(high) > log_g(low), min(log_g(low), log_g(high))
    base = exp(least) if least > 0 else mpf(0)

    def excess(t):
        return min(max(exp(log_g(t)) - base, mpf(0)), mpf(200))

    def weigh(t):
        return exp(log_g(t) - excess(t)) if log_g(t) < 25 + max(least, 0) else mpf(0)

    cuts = {low, high}
    for level in LEVELS:
        size = exp(mpf(level))
        cuts.add(bisect(lambda t, size=size: (excess(t) < size) == rising, low, high))
    cuts = sorted(cuts)
    smaller = quad(lambda t: exp(-excess(t)), cuts)
    larger = quad(lambda t: -expm1(-min(exp(log_g(t)), mpf(200))), cuts)
    return log(quad(weigh, cuts)) - base, log(smaller) - base, log(larger)


def nolan(x, alpha, beta):
    """Log density, log P(X > x) and log P(X <= x), x in S0."""
    tangent = mpf(0) if alpha == 1 else tan(pi * alpha / 2)
    y = x + beta * tangent
    y = mpf(0) if abs(y) < mpf(10) ** -40 else y
    if (alpha == 1 and (beta < 0 or beta == 0 > x)) or (alpha != 1 and y < 0):
        density, upper, lower = nolan(-x, alpha, -beta)
        return density, lower, upper
    if alpha == 1 and beta == 0:
        upper = atan(1 / x) / pi if x > 0 else mpf(1) / 2
        return -log(pi * (1 + x * x)), log(upper), log1p(-upper)
    if alpha == 1:
        density, smaller, larger = integrals(lambda t: log_g_at_one(t, x, beta), -pi / 2, pi / 2)
        upper, lower = larger - log(pi), smaller - log(pi)
        return density - log(2 * beta), rest(lower, upper), rest(upper, lower)
    theta = atan(beta * tangent) / alpha
    if y == 0:
        scale = (1 + (beta * tangent) ** 2) ** (1 / (2 * alpha))
        upper = (pi / 2 + theta) / pi
        return log(gamma(1 + 1 / alpha) * cos(theta) / (pi * scale)), log(upper), log1p(-upper)
    if abs(pi / 2 + theta) < mpf(10) ** -25:
        return -inf, -inf, mpf(0)

    def log_g(t):
        power = alpha / (alpha - 1)
        value = power * log(y * cos(t) / sin(alpha * (theta + t))) + log(cos(alpha * theta)) / (alpha - 1)
        return value + log(cos(alpha * theta + (alpha - 1) * t) / cos(t))

    density, smaller, larger = integrals(log_g, -theta, pi / 2)
    density += log(alpha / (pi * abs(alpha - 1) * y))
    if alpha > 1:  # P(X <= x) is 1/2 - theta/pi more than what is left
        upper = smaller - log(pi)
        return density, upper, rest(upper, log((pi / 2 - theta + exp(larger)) / pi))
    nothing = abs(pi / 2 - theta) < mpf(10) ** -25
    lower = smaller - log(pi) if nothing else log((pi / 2 - theta + exp(smaller)) / pi)
    upper = larger - log(pi)
    return density, rest(lower, upper), rest(upper, lower)


def rest(small, value):
    """The other tail of one with a known logarithm: from there where it is small, else as given."""
    return log1p(-exp(small)) if small < -1 else value


def log_g_at_one(t, x, beta):
    """log g at alpha = 1, beta > 0."""
    a = pi / 2 + beta * t
    return -pi * x / (2 * beta) + log(2 / pi * a / cos(t)) + a * tan(t) / beta


def series(y, alpha, beta):
    """Density and upper tail by the series in S1 at y > 0, and the digits it reaches."""
    tangent = tan(pi * alpha / 2)
    twist, size = atan(beta * tangent), (1 + (beta * tangent) ** 2) ** (mpf(1) / 2)
    density, upper, k, last, largest = mpf(0), mpf(0), 1, inf, mpf(0)
    while k < 3000:
        term = gamma(alpha * k) / factorial(k) * (size * y**-alpha) ** k
        if alpha > 1 and term > last:
            break
        last, largest = term, max(term, largest)
        term *= (-1) ** (k + 1) * sin(k * (pi * alpha / 2 + twist)) / pi
        density, upper, k = density + alpha * k * term / y, upper + term, k + 1
        if last < abs(upper) * mpf(10) ** -25:
            break
    return density, upper


def fourier(x, alpha, beta, drop):
    """Log density and log upper tail by the integral along t = y - i drop; only for beta = -1 unless drop = 0.

    In a light tail of alpha < 1 the line rises, for only exp(-i x t) decays fast there.
    """
    turn = exp(mpc(0, "0.3" if drop and alpha < 1 else 0))

    tangent = None if alpha == 1 else tan(pi * alpha / 2)

    def psi(t):
        twist = 2 / pi * log(t) * t if alpha == 1 else tangent * (t - t**alpha)
        return -1j * x * t - t**alpha - 1j * beta * twist

    end = mpf(80) ** (1 / min(alpha, mpf(1))) if drop == 0 else 80 * (1 + drop)
    height = re(psi(mpc(0, -drop))) if drop else mpf(0)

    def factor(y):
        return turn * exp(psi(y * turn - 1j * drop) - height)

    pieces = [mpf(0)] + [end * mpf(2) ** -k for k in range(60, 7, -1)]
    pieces += [end * mpf(k) / 256 for k in range(3, 257)]
    density = quad(lambda y: re(factor(y)) if y else re(turn), pieces) / pi
    upper = (
        quad(
            lambda y: re(factor(y) / (1j * (y * turn - 1j * drop))) if y else re(turn) / drop if drop else mpf(0),
            pieces,
        )
        / pi
    )
    upper += mpf(1) / 2 if drop == 0 else 0
    return log(density) + height if density > 0 else None, log(upper) + height if upper > 0 else None


def saddle(x, alpha):
    """s where psi(-is) of beta = -1 is least."""
    tangent = None if alpha == 1 else tan(pi * alpha / 2)

    def slope(s):
        if alpha == 1:
            return -x + 2 / pi * (log(s) + 1)
        return -(x - tangent) - alpha * s ** (alpha - 1) / cos(pi * alpha / 2)

    low, high = mpf(10) ** -30, mpf(10) ** 30
    if slope(low) > 0 or slope(high) < 0:
        return mpf(0)
    return exp(bisect(lambda u: slope(exp(u)) < 0, log(low), log(high)))


def second(x, alpha, beta):
    """As `nolan`, by the other route."""
    if beta == -1:
        drop = saddle(x, alpha)
        if drop and drop > mpf("0.1"):
            return fourier(x, alpha, beta, drop)
    y = x + beta * (tan(pi * alpha / 2) if alpha != 1 else 0)
    if alpha != 1 and y < -(mpf(10) ** -40):
        density, upper = second(-x, alpha, -beta)
        return (density, log1p(-exp(upper))) if upper is not None else (None, None)
    if alpha != 1 and y > 0 and (alpha < mpf("0.7") or x >= 30):
        with mp.workdps(150):
            density, upper = series(y, alpha, beta)
        if density > 0 and upper > 0:
            return log(density), log(upper)
    if (alpha < mpf("0.7") and x != 0) or x > 60:
        return None, None
    return fourier(x, alpha, beta, mpf(0))


def digits(pair, other):
    found = 34
    for one, two in zip(pair, other, strict=True):
        if one is None or two is None:
            return 0
        if one != two:
            found = min(found, int(-log(abs(one - two)) / log(10)))
    return found


def point(alpha, beta, x):
    a, b, z = (mpf(float(value)) for value in (alpha, beta, x))  # as double precision has them
    density, upper, lower = nolan(z, a, b)
    tail = lower if z < 0 else upper
    nothing = density == -inf
    other = (-inf, -inf) if nothing else second(-z, a, -b) if z < 0 else second(z, a, b)
    return [
        alpha,
        beta,
        x,
        *(mp.nstr(value, 22) for value in (density, upper, lower)),
        str(digits((density, tail), other)),
    ]


def main():
    target = Path(__file__).with_name("stable_table.csv")
    plan = [(a, "0", x) for a, x in itertools.product(ALPHAS, SYMMETRIC)]
    plan += itertools.product([a for a in ALPHAS if a not in NEAREST], BETAS, SKEWED)
    chosen = plan[int(sys.argv[1]) :: int(sys.argv[2])] if len(sys.argv) > 2 else plan
    with target.open("w") as file:
        file.write("alpha,beta,x,logpdf,logsf,logcdf,digits\n")
        for row in map(point, *zip(*chosen, strict=True)):
            file.write(",".join(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
