"""Tune the models of a zoo for one target within one budget of time.

    python benchmarks/tune_zoo.py ZOO --target x86-64-v3 --budget 900 [--models a,b]
                                  [--runner local] [--records tuning_logs]

ZOO is laid out as for ``zoo.py``. Each model gets an equal share of the seconds that are left, so
that what one leaves over goes to those after it. Records are written as they are confirmed, and a
second run of the command adds to them. With the runner ``local`` nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from zoo import bindings

from footprint_compiler.errors import FpcError
from footprint_compiler.options import BuildOptions
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from footprint_compiler.tuning.progress import Watcher
from footprint_compiler.tuning.runners import make_runner
from footprint_compiler.tuning.session import Limits
from footprint_compiler.tuning.tune import TuneOptions, tune

MODELS = (
    "kws01_dscnn,kws01_dscnn_qdq,ic01_resnet8,ic01_resnet8_qdq,vww01_mobilenetv1_025,"
    "vww01_mobilenetv1_qdq,mobilenetv2_035_128,person_detect_qdq,mcunet_vww_qdq,"
    "micro_kws_m_fp32,micro_kws_m_qdq,ad01_autoencoder,ad01_autoencoder_qdq,micro_speech_qdq"
)


def main() -> None:
    """Parse arguments, tune, print one line per model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--target", default="x86-64-v3")
    parser.add_argument("--runner", default="auto")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--records", type=Path, default=Path("tuning_logs"))
    parser.add_argument("--budget", type=float, default=900.0, help="seconds in all")
    parser.add_argument("--trials", type=int, default=400, help="of each model")
    parser.add_argument("--plateau", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    target = load_target(given.target)
    index = json.loads((given.zoo / "INDEX.json").read_text(encoding="utf-8"))["models"]
    entries = {entry["name"]: entry for entry in index}
    names = given.models.split(",")
    stop = time.monotonic() + given.budget
    for number, name in enumerate(names):
        share = max(1.0, (stop - time.monotonic()) / (len(names) - number))
        shapes, constants = bindings(entries[name])
        options = TuneOptions(
            Limits(given.trials, share, given.plateau),
            given.seed,
            build=BuildOptions(shapes=shapes, constants=constants),
        )
        model = given.zoo / "models" / name / "model.onnx"
        runner = make_runner(given.runner, target)
        try:
            outcome = tune(model, target, runner, given.records, options, Watcher(), Reporter())
        except FpcError as error:
            print(f"{name:24} {error}", flush=True)
            continue
        tuned = [task for task in outcome.tasks if task.unit_cost]
        before = sum((task.unit_cost or 0.0) * task.task.uses for task in tuned)
        after = sum((task.unit_cost or 0.0) * task.task.uses * task.best_ratio for task in tuned)
        gain = before / after if after else 1.0
        print(
            f"{name:24} {gain:5.2f} x, {len(outcome.records):3} records, {outcome.trials:4} trials "
            f"of {len(tuned)} tasks, {outcome.reason}",
            flush=True,
        )


if __name__ == "__main__":
    main()
