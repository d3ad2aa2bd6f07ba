"""Makes stable_table.csv: density and upper tail of the standard stable law (S0) to 20 digits, by two routes.

Route 1 is the Zolotarev-Nolan integral (Nolan 1997), cut where its exponent passes given sizes. Route 2 is, for large x
and away from the light tail, the series in x^-alpha, and else the Fourier integral along a line parallel to the real
axis. A point is written only if both agree to 15 digits (12 for the series, which is asymptotic for alpha > 1); others
are listed. Run with mpmath installed: `python tests/make_stable_table.py`.
"""

import itertools
import sys
from pathlib import Path

from mpmath import atan, cos, exp, expm1, factorial, gamma, inf, log, mp, mpc, mpf, pi, quad, re, sin, tan

mp.dps = 30
ALPHAS = ["0.3", "0.5", "0.8", "0.99", "1", "1.01", "1.3", "1.5", "1.8", "1.99", "1.999", "1.999999"]
SYMMETRIC = ["0", "0.001", "0.1", "0.5", "1", "3", "6", "9", "13", "30", "1000", "1000000", "1000000000000"]
SKEWED = ["-20", "-3", "-0.5", "0", "1", "4", "50"]
BETAS = ["0.3", "0.9", "1"]


def crossings(log_g, low, high):
    """Points of (low, high) where log g, which is monotone, passes given values."""
    rising = log_g(high - (high - low) / 10**6) > log_g(low + (high - low) / 10**6)
    found = []
    for value in (-60, -30, -15, -8, -4, -2, -1, 0, 0.7, 1.5, 2.5, 3.5, 4.4):
        a, b = low, high
        for _ in range(60):
            middle = (a + b) / 2
            below = log_g(middle) < value
            a, b = (middle, b) if below == rising else (a, middle)
        found.append((a + b) / 2)
    return sorted({low, high, *found})


def nolan(x, alpha, beta):
    """Density and P(X > x), for x in S0 to the right of the point that S1 has at 0."""
    if alpha == 1 and beta != 0:
        if beta < 0:
            density, upper = nolan(-x, alpha, -beta)
            return density, None if upper is None else 1 - upper

        def log_g(t):
            a = pi / 2 + beta * t
            return -pi * x / (2 * beta) + log(2 / pi * a / cos(t)) + a * tan(t) / beta

        low, front = -pi / 2, 1 / (2 * beta)
    else:
        tangent = mpf(0) if alpha == 1 else tan(pi * alpha / 2)
        y = x + beta * tangent
        if alpha == 1:
            return 1 / (pi * (1 + x * x)), atan(1 / x) / pi if x > 0 else mpf(1) / 2
        theta = atan(beta * tangent) / alpha
        if y == 0:
            scale = (1 + (beta * tangent) ** 2) ** (1 / (2 * alpha))
            return gamma(1 + 1 / alpha) * cos(theta) / (pi * scale), (pi / 2 + theta) / pi
        if y < 0:
            density, upper = nolan(-x, alpha, -beta)
            return density, 1 - upper
        low, front = -theta, alpha / (pi * abs(alpha - 1) * y)
        if pi / 2 - low <= 0 or abs(pi / 2 + theta) < mpf(10) ** -25:
            return mpf(0), mpf(0)

        def log_g(t):
            power = alpha / (alpha - 1)
            value = power * log(y * cos(t) / sin(alpha * (theta + t))) + log(cos(alpha * theta)) / (alpha - 1)
            return value + log(cos(alpha * theta + (alpha - 1) * t) / cos(t))

    cuts = crossings(log_g, low, pi / 2)

    def density(t):
        g = log_g(t)
        return exp(g - exp(g)) if g < 10 else mpf(0)

    def upper(t):
        g = log_g(t)
        if alpha > 1:
            return exp(-exp(g)) if g < 10 else mpf(0)
        return -expm1(-exp(g)) if g < 10 else mpf(1)

    def inside(function):
        return lambda t: function(t) if low < t < pi / 2 else mpf(0)

    return front * quad(inside(density), cuts), quad(inside(upper), cuts) / pi


def series(x, alpha, beta):
    """The tail's series in S1, None where it does not reach 14 digits."""
    tangent = tan(pi * alpha / 2)
    y, twist, size = x + beta * tangent, atan(beta * tangent), (1 + (beta * tangent) ** 2) ** (mpf(1) / 2)
    density, upper, k, last = mpf(0), mpf(0), 1, inf
    while k < 400:
        term = gamma(alpha * k) / factorial(k) * (size * y**-alpha) ** k
        if abs(term) > last:
            break
        last = abs(term)
        term *= (-1) ** (k + 1) * sin(k * (pi * alpha / 2 + twist)) / pi
        density, upper, k = density + alpha * k * term / y, upper + term, k + 1
        if last < upper * mpf(10) ** -25:
            break
    return (density, upper) if last < abs(upper) * mpf(10) ** -13 else None


def fourier(x, alpha, beta, drop):
    """The integral along t = y - i drop, y > 0; only without a cut below 0 (beta = -1) unless drop = 0."""
    tangent = None if alpha == 1 else tan(pi * alpha / 2)

    def psi(t):
        twist = 2 / pi * log(t) * t if alpha == 1 else tangent * (t - t**alpha)
        return -1j * x * t - t**alpha - 1j * beta * twist

    end = mpf(75) ** (1 / min(alpha, mpf(1))) if drop == 0 else 75 * (1 + drop)
    height = re(psi(mpc(0, -drop))) if drop else mpf(0)

    def factor(y):
        return exp(psi(mpc(y, -drop)) - height)

    pieces = [mpf(0)] + [end * mpf(2) ** -k for k in range(60, 7, -1)]
    pieces += [end * mpf(k) / 256 for k in range(3, 257)]
    density = quad(lambda y: re(factor(y)) if y else mpf(1), pieces) * exp(height) / pi
    upper = quad(lambda y: re(factor(y) / (1j * mpc(y, -drop))) if y else mpf(0), pieces) * exp(height) / pi
    return density, upper + (mpf(1) / 2 if drop == 0 else 0)


def second(x, alpha, beta):
    if abs(x) >= 30:
        flip = -1 if x < 0 else 1
        if beta * flip > -1:
            return None if alpha == 1 else series(abs(x), alpha, beta * flip), 12
    if alpha < mpf("0.7") or abs(x) > 30:
        return None, 0
    return fourier(x, alpha, beta, mpf(0)), 15


def agree(one, two, digits):
    return abs(one - two) < abs(one) * mpf(10) ** -digits + mpf(10) ** -24


def point(alpha, beta, x):
    a, b, z = mpf(alpha), mpf(beta), mpf(x)
    first = nolan(z, a, b)
    tangent = mpf(0) if a == 1 else tan(pi * a / 2)
    left = nolan(-z, a, -b)[1] if (z + b * tangent < 0 or z < 0) else None
    other, digits = second(z, a, b)
    checked = "nolan"
    if other is not None:
        flipped = z <= -30
        reached = agree(first[0], other[0], digits) and agree(left if flipped else first[1], other[1], digits)
        checked = "both" if reached else "DIFFER"
    values = (first[0], first[1], left if left is not None else 1 - first[1])
    return [alpha, beta, x, *(mp.nstr(value, 20) for value in values), checked]


def main():
    target = Path(__file__).with_name("stable_table.csv")
    plan = [(a, "0", x) for a, x in itertools.product(ALPHAS, SYMMETRIC)]
    plan += list(itertools.product(ALPHAS, BETAS, SKEWED))
    with target.open("w") as file:
        file.write("alpha,beta,x,pdf,sf,cdf,routes\n")
        for alpha, beta, x in plan:
            row = point(alpha, beta, x)
            if row[-1] == "DIFFER":
                print(row, file=sys.stderr)
            file.write(",".join(row) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
