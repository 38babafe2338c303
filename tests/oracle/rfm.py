"""Scores users by recency, frequency and monetary value, and groups them, with nothing of Headcount:
each user's purchases are read from the file one by one, and every fraction is exact.

    python3 tests/oracle/rfm.py data/cdnow_purchases.csv 1998-07-01 > tests/oracle/rfm.json
"""

import csv
import json
import math
import sys
from datetime import datetime
from fractions import Fraction

SCORES = 5

# Recency, frequency: the pairs of scores of each group.
GROUPS = {
    "champions": ([5], [4, 5]),
    "loyal": ([3, 4], [4, 5]),
    "potential loyal": ([4, 5], [2, 3]),
    "new": ([5], [1]),
    "promising": ([4], [1]),
    "need attention": ([3], [3]),
    "about to sleep": ([3], [1, 2]),
    "can't lose": ([1, 2], [5]),
    "at risk": ([1, 2], [3, 4]),
    "hibernating": ([1, 2], [1, 2]),
}


def percentile(ordered, part):
    """Between the two nearest values by linear interpolation, as spreadsheets do it."""
    place = part * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def edges_of(values):
    ordered = sorted(values)
    return [percentile(ordered, Fraction(n, SCORES)) for n in range(1, SCORES)]


def score_of(value, edges):
    """Values above more edges score higher; a value on an edge is below it."""
    return 1 + sum(1 for edge in edges if value > edge)


def main(path, as_of):
    as_of = datetime.fromisoformat(as_of + "T00:00:00+00:00")
    users = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            time = datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00"))
            if row["event"] == "purchase" and time < as_of:
                users.setdefault(row["user_id"], []).append((time, Fraction(row["value"])))

    # Purchases are at midnight, so that days since the last are whole.
    recency = {user: -(as_of - max(bought)[0]).days for user, bought in users.items()}
    frequency = {user: len(bought) for user, bought in users.items()}
    monetary = {user: sum(value for _, value in bought) for user, bought in users.items()}
    dimensions = {"recency": recency, "frequency": frequency, "monetary": monetary}

    edges = {name: edges_of(values.values()) for name, values in dimensions.items()}
    scores = {
        name: {user: score_of(value, edges[name]) for user, value in values.items()}
        for name, values in dimensions.items()
    }
    pairs = [(scores["recency"][user], scores["frequency"][user]) for user in users]
    groups = {}
    for name, (of_recency, of_frequency) in GROUPS.items():
        inside = [
            monetary[user]
            for user in users
            if scores["recency"][user] in of_recency and scores["frequency"][user] in of_frequency
        ]
        average = float(sum(inside) / len(inside)) if inside else None
        groups[name] = {"users": len(inside), "average": average}
    assert sum(group["users"] for group in groups.values()) == len(users)

    answer = {
        "users": len(users),
        "edges": {
            # Whole days ago, the latest that are above each edge.
            "recency": [-math.floor(edge) - 1 for edge in edges["recency"]],
            "frequency": [math.floor(edge) for edge in edges["frequency"]],
            # To a millionth.
            "monetary": [float(Fraction(math.floor(edge * 10**6), 10**6)) for edge in edges["monetary"]],
        },
        "users_by_score": {
            name: [sum(1 for score in of.values() if score == n) for n in range(1, SCORES + 1)]
            for name, of in scores.items()
        },
        # By recency from the highest score, then by frequency from the lowest.
        "cells": [
            [pairs.count((r, f)) for f in range(1, SCORES + 1)] for r in range(SCORES, 0, -1)
        ],
        "groups": groups,
    }
    json.dump(answer, sys.stdout, indent=1)
    print()


main(*sys.argv[1:])
