"""The committed report: counts, what is refused and why, and one CSV row per case."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnx
import tvm

from .cases import ABSOLUTE_TOLERANCE
from .execute import Outcome

FOLDER = Path(__file__).resolve().parent
STATUSES = ("right", "wrong", "refused", "failed")


def write_report(outcomes: Sequence[Outcome], engine: str) -> None:
    """Write REPORT.md and results.csv beside this file."""
    rows = sorted(outcomes, key=lambda o: o.name)
    with (FOLDER / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "status", "error", "operator", "detail"])
        writer.writerows([o.name, o.status, o.error, o.operator, o.detail] for o in rows)
    (FOLDER / "REPORT.md").write_text(_markdown(rows, engine))


def read_results() -> list[Outcome]:
    """The committed rows."""
    with (FOLDER / "results.csv").open(newline="") as file:
        return [
            Outcome(r["case"], r["status"], r["error"], r["operator"], r["detail"])
            for r in csv.DictReader(file)
        ]


def _markdown(rows: Sequence[Outcome], engine: str) -> str:
    counts = Counter(o.status for o in rows)
    refused = Counter((o.error, o.operator, o.detail) for o in rows if o.status == "refused")
    lines = [
        "# Conformance",
        "",
        f"Backend node tests of onnx {onnx.__version__}, TVM {tvm.__version__}, engine `{engine}`.",
        "Written by `python -m tests.conformance`; one row per case in `results.csv`.",
        "Inputs that determine shapes, axes, counts or modes are bound as constants (`cases.py`).",
        "A result is right when dtype and shape are equal and values agree within the test's own",
        "tolerances, integers exactly.",
        "",
        *(
            f"`{name}` has an absolute tolerance of {atol:g}: see `cases.py` for the reason."
            for name, atol in ABSOLUTE_TOLERANCE.items()
        ),
        "",
        "| outcome | cases |",
        "|---|---|",
        *(f"| {s} | {counts[s]} |" for s in STATUSES),
        f"| all | {len(rows)} |",
        "",
    ]
    bad = [o for o in rows if o.status in ("wrong", "failed")]
    if bad:
        lines += ["## Wrong or failed", "", "| case | outcome | detail |", "|---|---|---|"]
        lines += [f"| {o.name} | {o.status} | {_cell(o.detail)} |" for o in bad] + [""]
    lines += ["## Refused", "", "| error | operator | reason | cases |", "|---|---|---|---|"]
    ordered = sorted(refused.items(), key=lambda item: (-item[1], item[0]))
    lines += [f"| {e} | {_cell(o)} | {_cell(d)} | {n} |" for (e, o, d), n in ordered]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
