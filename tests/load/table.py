"""One table of the reports of ghz; fails if a call failed, or was not made."""

import json
import sys

# Ended by its reader after the first message, which ghz does by cancelling the call.
ENDED_BY_THE_READER = {"SegmentService.WatchSegments": "Canceled"}


def milliseconds(report, percent):
    for part in report.get("latencyDistribution") or []:
        if part["percentage"] == percent:
            return f"{part['latency'] / 1e6:.2f} ms"
    return "-"


def main():
    calls, folder, methods = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    print(f"{'method':<37}{'calls':>6}{'errors':>8}{'a second':>10}{'50 %':>11}{'95 %':>11}{'99 %':>11}")
    failed = []
    for method in methods:
        with open(f"{folder}/{method}.json") as file:
            report = json.load(file)
        statuses = report["statusCodeDistribution"]
        made = sum(statuses.values())
        errors = made - statuses.get(ENDED_BY_THE_READER.get(method, "OK"), 0)
        row = [milliseconds(report, percent) for percent in (50, 95, 99)]
        print(f"{method:<37}{made:>6}{errors:>8}{report['rps']:>10,.0f}{row[0]:>11}{row[1]:>11}{row[2]:>11}")
        if errors or made != calls:
            failed.append((method, statuses, report.get("errorDistribution")))
    for method, statuses, errors in failed:
        print(f"{method}: {statuses} {errors}")
    print(f"{len(methods) - len(failed)} methods passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
