"""Records: what they match, how they are kept, merged and pruned, and what the commands say."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from click.testing import CliRunner

from footprint_compiler.cli.main import cli
from footprint_compiler.cli.tune import parse_seconds
from footprint_compiler.errors import OutputError, TuningRecordError
from footprint_compiler.progress import Reporter
from footprint_compiler.targets import load_target
from footprint_compiler.tuning.apply import Applied, report
from footprint_compiler.tuning.manage import export, merge, prune, summary
from footprint_compiler.tuning.outdated import outdated
from footprint_compiler.tuning.record import Record, Versions, current_versions
from footprint_compiler.tuning.records import (
    add_records,
    keep_best,
    read_file,
    read_records,
    write_records,
)
from footprint_compiler.tuning.workload import MachineKey, machine_key
from tests.tuning.models import convolution, tasks_of

HERE = MachineKey("cortex-a72", "cortex-a72", "neon")


def make_record(workload: str = "w1", cost: float = 5.0, **more) -> Record:
    fields = {
        "workload": workload,
        "machine": HERE,
        "versions": current_versions(),
        "default_kernel": "d",
        "kernel": "k",
        "decisions": {"tile": (4, 2), "order": "rows", "pixels": 3},
        "cost": cost,
        "default_cost": 10.0,
        "unit": "cycles",
        "runner": "emulator",
        "description": f"conv2d of {workload}",
    }
    return Record(**{**fields, **more})


def test_a_line_holds_a_record():
    record = make_record()
    assert Record.from_line(record.to_line()) == record
    assert Record.from_line(record.to_line()).decisions == record.decisions
    assert record.speed_up == 2.0


@pytest.mark.parametrize("line", ["", "{}", "[1]", '{"workload": 1}', "null"])
def test_what_is_no_record_is_refused(line):
    with pytest.raises(ValueError, match=r"."):
        Record.from_line(line)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cost": "x"}, "cost"),
        ({"cost": -5.0}, "cost"),
        ({"default_cost": float("nan")}, "default_cost"),
        ({"cost": True}, "cost"),
        ({"workload": None}, "workload"),
        ({"decisions": {"tile": [1, "a"]}}, "decisions"),
        ({"decisions": {"tile": {}}}, "decisions"),
        ({"versions": Versions("0.27", [1])}, "schedule"),
        ({"machine": replace(HERE, target="../../elsewhere")}, "target"),
        ({"machine": replace(HERE, features=["neon"])}, "features"),
    ],
)
def test_values_that_no_record_has_are_refused_by_name(change, named):
    with pytest.raises(ValueError, match=rf"not a tuning record: {named} cannot"):
        Record.from_line(make_record(**change).to_line())


def test_empty_lines_are_none(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(f"\n{make_record().to_line()}\n\n", encoding="utf-8")
    assert read_file(path) == [make_record()]


def test_a_record_in_the_folder_of_another_target_is_refused(tmp_path):
    """It would replace the file of its own target when that of the other is written."""
    own, astray = replace(HERE, target="cortex-a53"), make_record("w2")
    write_records(tmp_path, {"x": make_record(machine=own)})
    path = tmp_path / "cortex-a53" / "records.jsonl"
    before = path.read_text(encoding="utf-8")
    path.write_text(before + astray.to_line() + "\n", encoding="utf-8")
    for act in (
        lambda: read_records(tmp_path),
        lambda: prune(tmp_path, "cortex-a53", 1.0),
        lambda: add_records(tmp_path, [make_record("w3", machine=own)], "cortex-a53"),
    ):
        with pytest.raises(TuningRecordError, match=r"line 2: a record of cortex-a72, not of"):
            act()
    assert not (tmp_path / "cortex-a72").exists()


def test_many_may_add_at_once(tmp_path):
    def add(start: int) -> None:
        for number in range(start, start + 8):
            add_records(tmp_path, [make_record(f"w{number}")], "cortex-a72")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(0, 32, 8)))
    assert len(read_records(tmp_path)) == 32


def test_what_is_no_better_is_not_counted_as_kept(tmp_path):
    same = make_record()
    assert add_records(tmp_path, [same]) == (0, 1, [same])
    assert add_records(tmp_path, [make_record(), make_record("w2")]) == (1, 2, [make_record("w2")])


def test_records_cannot_be_added_to_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        merge([tmp_path / "file"], tmp_path / "file")


def test_a_folder_keeps_targets_apart(tmp_path):
    other = make_record(machine=MachineKey("native", "x", "avx2"))
    records = {r.key: r for r in (make_record(), make_record("w2"), other)}
    paths = write_records(tmp_path, records)
    assert [path.parent.name for path in paths] == ["cortex-a72", "native"]
    assert read_records(tmp_path) == records
    assert read_records(tmp_path, "native") == {other.key: other}
    before = paths[0].read_bytes()
    write_records(tmp_path, dict(reversed(records.items())))
    assert paths[0].read_bytes() == before


def test_the_better_of_two_stays():
    kept = {}
    keep_best(kept, [make_record(cost=5.0), make_record(cost=8.0), make_record(cost=4.0)])
    assert [r.cost for r in kept.values()] == [4.0]
    newer = make_record(cost=9.0, default_kernel="new")
    keep_best(kept, [newer])
    assert list(kept.values()) == [newer]


@pytest.mark.parametrize(
    "change",
    [
        {"machine": replace(HERE, target="cortex-a76")},
        {"machine": replace(HERE, cpu="cortex-a53")},
        {"machine": replace(HERE, features="neon dotprod")},
        {"versions": Versions("0.1", 1)},
        {"versions": replace(current_versions(), schedule=-1)},
        {"workload": "w9"},
    ],
)
def test_every_part_of_the_key_counts(change):
    assert make_record(**change).key != make_record().key


def test_machines_of_one_name_differ_by_cpu_and_features():
    keys = {machine_key(load_target(name)) for name in ("arm64", "cortex-a72", "cortex-a76")}
    assert len(keys) == 3
    assert all(key.features for key in keys)


def test_merge_takes_folders_and_files(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, record in ((one, make_record(cost=5.0)), (two, make_record(cost=4.0))):
        write_records(folder, {record.key: record})
    single = tmp_path / "all.jsonl"
    extra = make_record("w2")
    single.write_text(extra.to_line() + "\n", encoding="utf-8")
    assert merge([two, single], one) == (1, 2)
    found = read_records(one)
    assert {r.workload: r.cost for r in found.values()} == {"w1": 4.0, "w2": 5.0}


def test_merge_of_a_broken_file_writes_nothing(tmp_path):
    broken = tmp_path / "x.jsonl"
    broken.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(TuningRecordError, match="line 1"):
        merge([broken], tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_prune_removes_other_versions_and_small_gains(tmp_path):
    old = make_record("w2", versions=Versions("0.1", 1))
    small = make_record("w3", cost=9.95)
    records = {r.key: r for r in (make_record(), old, small)}
    write_records(tmp_path, records)
    assert prune(tmp_path, None, 1.02) == (3, 1)
    assert [r.workload for r in read_records(tmp_path).values()] == ["w1"]
    assert prune(tmp_path, None, 100.0) == (1, 0)
    assert read_records(tmp_path) == {}


def test_prune_with_a_model_removes_what_is_emitted_otherwise(tmp_path):
    target = load_target("cortex-a72")
    model = convolution(tmp_path, "padded", False)
    task = next(task for task in tasks_of(model, target) if task.family == "conv2d")
    here = machine_key(target)
    fresh = make_record(
        task.key,
        machine=here,
        default_kernel=task.default_kernel,
        kernel=task.default_kernel,
        decisions=task.defaults,
    )
    other = make_record("w2", machine=here)
    choices = {label: question.options[0] for label, question in task.questions.items()}
    stale = {
        "default schedule": replace(fresh, default_kernel="d"),
        "generator": replace(fresh, kernel="k"),
        "no longer exists": replace(fresh, decisions={**choices, "tile": (99, 99)}),
    }
    for reason, record in stale.items():
        found = outdated([task], here, {r.key: r for r in (record, other)})
        assert list(found) == [record.key]
        assert reason in found[record.key]
    assert outdated([task], here, {fresh.key: fresh, other.key: other}) == {}
    write_records(tmp_path, {r.key: r for r in (stale["generator"], other)})
    words = ["tune", "prune", str(tmp_path), "--model", str(model)]
    refused = CliRunner().invoke(cli, words)
    assert refused.exit_code == 2
    assert "--model needs --target" in refused.stderr
    done = CliRunner().invoke(cli, [*words, "--target", "a72"])
    assert "2 -> 1 records" in done.output
    assert [r.workload for r in read_records(tmp_path).values()] == ["w2"]


def test_a_build_says_what_is_out_of_date():
    said: list[str] = []

    class Listener(Reporter):
        def log(self, message: str, level: str = "info") -> None:
            if level == "info":
                said.append(message)

    applied = [Applied("w1", "conv2d", None, "its record is older than the generator")]
    report([*applied, Applied("w2", "dense", None)], "shipped", Listener())
    assert len(said) == 1
    assert "1 of the records are out of date" in said[0]


def test_export_is_one_file_that_merge_reads(tmp_path):
    records = {r.key: r for r in (make_record(), make_record("w2"))}
    write_records(tmp_path / "a", records)
    assert export(tmp_path / "a", tmp_path / "x.jsonl", None) == 2
    merge([tmp_path / "x.jsonl"], tmp_path / "b")
    assert read_records(tmp_path / "b") == records
    with pytest.raises(TuningRecordError, match="no records of native"):
        export(tmp_path / "a", tmp_path / "y.jsonl", "native")


def test_summary_is_a_geometric_mean():
    lines = summary([make_record(cost=5.0), make_record("w2", cost=1.25)])
    assert len(lines) == 1
    assert lines[0].endswith("2 records, 4.00 x")


def test_commands(tmp_path):
    folder = tmp_path / "logs"
    write_records(folder, {make_record().key: make_record()})

    def fpc(*words: str):
        return CliRunner().invoke(cli, ["tune", *words])

    shown = fpc("show", str(folder))
    assert shown.exit_code == 0
    assert "conv2d of w1" in shown.output
    assert "2.00 x" in shown.output
    body = json.loads(fpc("show", str(folder), "--json").output)
    assert body["records"][0]["speed_up"] == 2.0
    assert fpc("export", str(folder), "-o", str(tmp_path / "o.jsonl")).exit_code == 0
    merged = fpc("merge", str(tmp_path / "o.jsonl"), "--into", str(tmp_path / "new"))
    assert "0 -> 1 records" in merged.output
    assert "1 -> 0 records" in fpc("prune", str(tmp_path / "new"), "--least", "3").output
    missing = fpc("show", str(tmp_path / "nothing"))
    assert missing.exit_code == 2
    wrong = fpc("model.onnx", "--budget", "soon")
    assert wrong.exit_code == 2
    assert "is not a time like 30m" in wrong.stderr


def test_times():
    context = None
    assert parse_seconds(context, None, "90") == 90
    assert parse_seconds(context, None, "30m") == 1800
    assert parse_seconds(context, None, "1.5h") == 5400
