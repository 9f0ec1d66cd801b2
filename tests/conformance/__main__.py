"""Command line: run cases, print a line for each that is not right, write the report."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections import Counter

from .cases import Case, load_cases
from .engines import ENGINES
from .execute import Outcome, run_case
from .report import STATUSES, write_report
from .workers import run_forked


def main() -> int:
    """Exit code 1 when a case is wrong or failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="case names with * and ?; all when omitted")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="fpc")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--no-report", action="store_true", help="do not write the report")
    options = parser.parse_args()
    cases = [
        case
        for case in load_cases()
        if not options.patterns or any(fnmatch.fnmatch(case.name, p) for p in options.patterns)
    ]

    def work(case: Case) -> Outcome:
        return run_case(case, ENGINES[options.engine])

    outcomes = []
    for outcome in run_forked(cases, work, options.jobs, options.timeout):
        outcomes.append(outcome)
        if outcome.status != "right":
            print(*(p for p in vars(outcome).values() if p), sep=" | ", flush=True)
    counts = Counter(o.status for o in outcomes)
    print(", ".join(f"{counts[s]} {s}" for s in STATUSES))
    if not options.patterns and not options.no_report:
        write_report(outcomes, options.engine)
    return 1 if counts["wrong"] or counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
