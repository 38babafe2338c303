"""Counts in the purchases that ship with Headcount, without Headcount.

    python3 tests/oracle/cdnow.py > tests/oracle/cdnow_expected.tsv

Reads data/cdnow_purchases.csv by the csv module and counts by plain loops, knowing nothing of how
Headcount does it: no index, no time zone database, no filter language. The conditions are written
twice, as a filter and as a function here. Each line of the output has the instant that is asked for,
the filter, how many of the 23,570 customers meet it, and which of a few named ones do (`-`: none).
Whether Headcount says the same: `cargo test --test cli cdnow`. Whether this script still says what is
committed is a step of .ci/run.

Two of the numbers, counted once more by awk. Every purchase is at midnight UTC, so days are compared
as texts. At least 3 purchases in the 90 days before 1997-07-01, which begin on 1997-04-02:

    awk -F, 'NR > 1 && $3 >= "1997-04-02" && $3 < "1997-07-01" { n[$1]++ }
             END { for (u in n) if (n[u] >= 3) c++; print c }' data/cdnow_purchases.csv

prints 940. Who never bought in 1998, of all, before 1998-06-30:

    awk -F, 'NR > 1 { all[$1] } NR > 1 && $3 >= "1998-01-01" && $3 < "1998-06-30" { in98[$1] }
             END { for (u in all) if (!(u in in98)) c++; print c }' data/cdnow_purchases.csv

prints 18207.
"""

import csv
import datetime
import pathlib

FILE = pathlib.Path(__file__).resolve().parents[2] / "data" / "cdnow_purchases.csv"

UTC = "UTC"
NEW_YORK = "America/New_York"

# Those of whom it is told one by one: one purchase ever, some, the most of all.
NAMED = ["cdnow-00001", "cdnow-00004", "cdnow-00111", "cdnow-07592", "cdnow-14048"]

INSTANTS = [
    "1997-03-15T00:00:00Z",
    "1997-07-01T00:00:00Z",
    # Still 1997 in New York.
    "1998-01-01T02:00:00Z",
    # A Sunday, on which the clocks of New York are set forward.
    "1998-04-05T12:30:00.25Z",
    # The purchases of this day have not happened yet.
    "1998-06-30T00:00:00Z",
    "1998-07-01T00:00:00Z",
]


def instant(text):
    text = text.removesuffix("Z")
    date, _, clock = text.partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = clock.split(":") if clock else ("0", "0", "0")
    at = datetime.datetime(year, month, day, int(hour), int(minute))
    return at + datetime.timedelta(microseconds=round(float(second) * 1_000_000))


def days_of(number):
    return datetime.timedelta(days=number)


# In 1997 and 1998, New York was 4 hours behind UTC from the first Sunday in April to the last one in
# October, each at 2 o'clock, and else 5.
SUMMERS = [
    (instant("1997-04-06T07:00:00Z"), instant("1997-10-26T06:00:00Z")),
    (instant("1998-04-05T07:00:00Z"), instant("1998-10-25T06:00:00Z")),
]


def hours_behind(at, zone):
    if zone == UTC:
        return 0
    for begin, end in SUMMERS:
        if begin <= at < end:
            return 4
    return 5


def local_date(at, zone):
    return (at - datetime.timedelta(hours=hours_behind(at, zone))).date()


def midnight(date, zone):
    """When a date begins."""
    at = datetime.datetime(date.year, date.month, date.day)
    for hours in (4, 5):
        candidate = at + datetime.timedelta(hours=hours)
        if zone != UTC and hours_behind(candidate, zone) == hours:
            return candidate
    return at


def monday(date):
    return date - days_of(date.weekday())


def first_of_month(date):
    return date.replace(day=1)


def months_before(date, number):
    for _ in range(number):
        date = first_of_month(first_of_month(date) - days_of(1))
    return date


# Windows: each takes the instant of the question and returns the first instant and the one after.


def ever(as_of):
    return datetime.datetime.min, as_of


def rolling(number):
    return lambda as_of: (as_of - days_of(number), as_of)


def between(begin, end):
    return lambda as_of: (begin, min(end, as_of))


def ago(begin, end):
    return lambda as_of: (as_of - days_of(begin), as_of - days_of(end))


def this_month(zone=UTC):
    return lambda as_of: (midnight(first_of_month(local_date(as_of, zone)), zone), as_of)


def this_week(zone=UTC):
    return lambda as_of: (midnight(monday(local_date(as_of, zone)), zone), as_of)


def last_days(number, zone=UTC):
    def window(as_of):
        today = local_date(as_of, zone)
        return midnight(today - days_of(number), zone), midnight(today, zone)

    return window


def last_weeks(number, zone=UTC):
    def window(as_of):
        week = monday(local_date(as_of, zone))
        return midnight(week - days_of(7 * number), zone), midnight(week, zone)

    return window


def last_months(number, zone=UTC):
    def window(as_of):
        month = first_of_month(local_date(as_of, zone))
        return midnight(months_before(month, number), zone), midnight(month, zone)

    return window


# What is counted: each takes the purchases of a customer, the instant and a window.


def within(purchases, as_of, window):
    begin, end = window(as_of)
    return [(at, cents) for at, cents in purchases if begin <= at < end]


def count(purchases, as_of, window=ever):
    return len(within(purchases, as_of, window))


def cents(purchases, as_of, window=ever):
    return [cents for _, cents in within(purchases, as_of, window)]


def times(purchases, as_of, window=ever):
    return [at for at, _ in within(purchases, as_of, window)]


def different(purchases, as_of, window, of_date, zone=UTC):
    found = set()
    for at, _ in within(purchases, as_of, window):
        found.add(of_date(local_date(at, zone)))
    return len(found)


def average_above(purchases, as_of, window, dollars):
    amounts = cents(purchases, as_of, window)
    return len(amounts) > 0 and sum(amounts) > dollars * 100 * len(amounts)


def first_between(purchases, as_of, begin, end):
    found = times(purchases, as_of)
    return len(found) > 0 and begin <= min(found) < end


def last_before(purchases, as_of, before):
    found = times(purchases, as_of)
    return len(found) > 0 and max(found) < before


def same(date):
    return date


CONDITIONS = [
    ("count(purchase, 90d) >= 3", lambda p, now: count(p, now, rolling(90)) >= 3),
    ("count(purchase) = 1", lambda p, now: count(p, now) == 1),
    ("count(purchase) = 0", lambda p, now: count(p, now) == 0),
    ("avg(purchase) > 50", lambda p, now: average_above(p, now, ever, 50)),
    ("avg(purchase, 180d) > 50", lambda p, now: average_above(p, now, rolling(180), 50)),
    (
        "last(purchase) < now() - 180d",
        lambda p, now: last_before(p, now, now - days_of(180)),
    ),
    (
        "NOT last(purchase) >= now() - 180d",
        lambda p, now: not any(at >= now - days_of(180) for at in times(p, now)),
    ),
    (
        "count(purchase, DATE '1998-01-01', now()) = 0",
        lambda p, now: count(p, now, between(instant("1998-01-01"), now)) == 0,
    ),
    (
        "first(purchase) >= DATE '1997-03-01' AND first(purchase) < DATE '1997-04-01'",
        lambda p, now: first_between(p, now, instant("1997-03-01"), instant("1997-04-01")),
    ),
    # 1997-03-01 began at 5 o'clock UTC in New York, and so did 1997-04-01: the clocks changed later.
    (
        "first(purchase IN 'America/New_York') >= DATE '1997-03-01'"
        " AND first(purchase IN 'America/New_York') < DATE '1997-04-01'",
        lambda p, now: first_between(
            p, now, instant("1997-03-01T05:00:00Z"), instant("1997-04-01T05:00:00Z")
        ),
    ),
    (
        "sum(purchase, last 3 months) > 100",
        lambda p, now: sum(cents(p, now, last_months(3))) > 100_00,
    ),
    (
        "sum(purchase, last 3 months IN 'America/New_York') > 100",
        lambda p, now: sum(cents(p, now, last_months(3, NEW_YORK))) > 100_00,
    ),
    (
        "sum(purchase) BETWEEN 29.33 AND 58.66",
        lambda p, now: 29_33 <= sum(cents(p, now)) <= 58_66,
    ),
    (
        "days(purchase, last 8 weeks) >= 2",
        lambda p, now: different(p, now, last_weeks(8), same) >= 2,
    ),
    (
        "weeks(purchase, 180d) >= 4",
        lambda p, now: different(p, now, rolling(180), monday) >= 4,
    ),
    (
        "weeks(purchase, 180d IN 'America/New_York') >= 4",
        lambda p, now: different(p, now, rolling(180), monday, NEW_YORK) >= 4,
    ),
    (
        "months(purchase) >= 4",
        lambda p, now: different(p, now, ever, first_of_month) >= 4,
    ),
    (
        "months(purchase IN 'America/New_York') >= 4",
        lambda p, now: different(p, now, ever, first_of_month, NEW_YORK) >= 4,
    ),
    ("max(purchase) >= 200", lambda p, now: max(cents(p, now), default=0) >= 200_00),
    (
        "min(purchase) < 10",
        lambda p, now: len(cents(p, now)) > 0 and min(cents(p, now)) < 10_00,
    ),
    ("min(purchase, 365d) = 0", lambda p, now: 0 in cents(p, now, rolling(365))),
    ("count(purchase, this month) > 0", lambda p, now: count(p, now, this_month()) > 0),
    (
        "count(purchase, this month IN 'America/New_York') > 0",
        lambda p, now: count(p, now, this_month(NEW_YORK)) > 0,
    ),
    (
        "count(purchase, this week IN 'America/New_York') > 0",
        lambda p, now: count(p, now, this_week(NEW_YORK)) > 0,
    ),
    (
        "count(purchase, last 7 days IN 'America/New_York') > 0",
        lambda p, now: count(p, now, last_days(7, NEW_YORK)) > 0,
    ),
    (
        "count(purchase, now() - 60d, now() - 30d) > 0 AND NOT count(purchase, 30d) > 0",
        lambda p, now: count(p, now, ago(60, 30)) > 0 and not count(p, now, rolling(30)) > 0,
    ),
    (
        "AT LEAST 2 OF (count(purchase, 60d) >= 2, sum(purchase) > 500, max(purchase) > 100)",
        lambda p, now: (count(p, now, rolling(60)) >= 2)
        + (sum(cents(p, now)) > 500_00)
        + (max(cents(p, now), default=0) > 100_00)
        >= 2,
    ),
    (
        "months(purchase, last 6 months) >= 3 AND NOT (avg(purchase) > 50 OR count(purchase, this month) = 0)",
        lambda p, now: different(p, now, last_months(6), first_of_month) >= 3
        and not (average_above(p, now, ever, 50) or count(p, now, this_month()) == 0),
    ),
]


def read():
    purchases = {}
    with open(FILE, newline="") as file:
        for row in csv.DictReader(file):
            # All have two decimals.
            dollars, cents = row["value"].split(".")
            amount = int(dollars) * 100 + int(cents)
            purchases.setdefault(row["user_id"], []).append((instant(row["timestamp"]), amount))
    return purchases


def main():
    purchases = read()
    for text in INSTANTS:
        as_of = instant(text)
        for condition, holds in CONDITIONS:
            members = set()
            for customer, bought in purchases.items():
                if holds(bought, as_of):
                    members.add(customer)
            named = ",".join(name for name in NAMED if name in members)
            print(text, condition, len(members), named or "-", sep="\t")


if __name__ == "__main__":
    main()
