"""Starts the service for a test, and counts what passed."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADCOUNT = os.environ.get("HEADCOUNT", str(ROOT / "target" / "debug" / "headcount"))
CUSTOMERS = ROOT / "data" / "telco_customers.csv"


@contextlib.contextmanager
def service():
    """Yields the address of a service of its own, which ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        command = [HEADCOUNT, "serve", "--data", folder + "/data", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            assert line.startswith("serving on http://"), line
            yield line.split("//")[1].strip()
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def import_customers(address):
    command = [HEADCOUNT, "--server", address, "import", str(CUSTOMERS)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run(tests):
    """Runs each test against a service of its own; ends the process with what came of them."""
    failed = 0
    for test in tests:
        try:
            with service() as address:
                test(address)
            print(f"{test.__name__} ... ok")
        except Exception as error:
            failed += 1
            print(f"{test.__name__} ... FAILED: {type(error).__name__}: {error}")
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
