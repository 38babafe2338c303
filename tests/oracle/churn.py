"""What sets customers who left apart, worked out without Headcount by the textbook formulas.

Usage: python3 tests/oracle/churn.py data/telco_customers.csv

Prints each value of the columns of words with its counts among those who left and those who stayed,
and the figures that docs/comparing.md describes, to ten digits.
"""

import csv
import json
import math
import sys

Z = 1.959963984540054
NUMBERS = {"tenure", "monthly_charges", "total_charges"}


def wilson(count, users):
    """The interval of a share by Wilson (1927)."""
    share = count / users
    whole = 1 + Z * Z / users
    centre = (share + Z * Z / (2 * users)) / whole
    half = Z * math.sqrt(share * (1 - share) / users + Z * Z / (4 * users**2)) / whole
    return centre - half, centre + half


def newcombe(a, n, b, m):
    """The interval of a difference by method 10 of Newcombe (1998)."""
    p, q = a / n, b / m
    (l1, u1), (l2, u2) = wilson(a, n), wilson(b, m)
    low = p - q - math.sqrt((p - l1) ** 2 + (u2 - q) ** 2)
    high = p - q + math.sqrt((u1 - p) ** 2 + (q - l2) ** 2)
    return low, high


def katz(a, n, b, m):
    """The interval of a ratio of shares by Katz and others (1978)."""
    ratio = a * m / (b * n)
    spread = Z * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return ratio * math.exp(-spread), ratio * math.exp(spread)


def z_score(a, n, b, m):
    """The z of two proportions with the variance of both together."""
    p = (a + b) / (n + m)
    return (a / n - b / m) / math.sqrt(p * (1 - p) * (1 / n + 1 / m))


def digits(number):
    return float(f"{number:.10g}")


def main():
    with open(sys.argv[1], newline="") as file:
        rows = list(csv.DictReader(file))
    left = [row for row in rows if row["churn"] == "Yes"]
    stayed = [row for row in rows if row["churn"] != "Yes"]
    n, m = len(left), len(stayed)
    found = []
    for column in sorted(set(rows[0]) - NUMBERS - {"customer_id", "churn"}):
        for value in sorted({row[column] for row in rows}):
            a = sum(row[column] == value for row in left)
            b = sum(row[column] == value for row in stayed)
            z = z_score(a, n, b, m)
            found.append(
                {
                    "property": column,
                    "value": value,
                    "count": a,
                    "against_count": b,
                    "difference": [digits(end) for end in newcombe(a, n, b, m)],
                    "lift": digits(a * m / (b * n)),
                    "lift_interval": [digits(end) for end in katz(a, n, b, m)],
                    "effect": digits(z / math.sqrt(n + m)),
                    "p_value": digits(math.erfc(abs(z) / math.sqrt(2))),
                }
            )
    for one in found:
        print(json.dumps(one))


main()
