"""What a session does with limits, failures, interruption and a journal, without real kernels."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from footprint_compiler.errors import OutputError, RunnerError, TuningRecordError
from footprint_compiler.tuning.journal import Journal, SessionKey
from footprint_compiler.tuning.progress import SessionState, Watcher
from footprint_compiler.tuning.schedule import hope, next_task, recent_gain
from footprint_compiler.tuning.session import Limits, Progress, Session
from footprint_compiler.tuning.trial import TrialFailed
from tests.tuning.fakes import Clock, FakeCompiler, FakeRunner, FakeSearch, make_task

KEY = SessionKey("sha", "machine", "tvm", 1, "fake us", 0)


def valley(n: int) -> float:
    """Best at 13."""
    return 10.0 if n == 0 else 5.0 + abs(n - 13) * 0.5


@pytest.fixture(autouse=True)
def _closed():
    """Journals that a test left open."""
    opened.clear()
    yield
    for journal in opened:
        journal.close()


opened: list[Journal] = []


def start(
    folder: Path,
    runner: FakeRunner,
    tasks=None,
    limits: Limits | None = None,
    resume: bool = False,
    **more,
) -> Session:
    journal = Journal(folder / "j.journal", KEY, resume)
    opened.append(journal)
    return Session(
        tasks or [make_task()],
        FakeSearch,
        more.pop("compiler", FakeCompiler()),
        runner,
        journal,
        limits or Limits(trials=100, seconds=1e9, plateau=16),
        **more,
    )


def test_finds_the_best_and_settles(tmp_path):
    found: list[float] = []
    session = start(tmp_path, FakeRunner(valley))
    assert session.run(lambda p: found.append(p.best_ratio)) == "settled"
    progress = session.tasks[0]
    assert progress.best is not None
    assert progress.best[0] == {"n": 13}
    assert progress.best[2] == "k13"
    assert progress.best_ratio == pytest.approx(0.5)
    assert found == sorted(found, reverse=True)
    assert progress.state == "settled"
    assert progress.trials < 39


def test_stops_at_the_number_of_trials(tmp_path):
    session = start(tmp_path, FakeRunner(valley), limits=Limits(trials=5, seconds=1e9))
    assert session.run(lambda _: None) == "trials"
    assert session.trials == 5


def test_stops_at_the_end_of_the_budget(tmp_path):
    session = start(
        tmp_path, FakeRunner(valley), limits=Limits(trials=100, seconds=50), clock=Clock(1.0)
    )
    assert session.run(lambda _: None) == "budget"
    assert 0 < session.trials < 39


def test_nothing_faster_gives_no_record(tmp_path):
    session = start(tmp_path, FakeRunner(lambda n: 10.0 + n))
    session.run(lambda _: pytest.fail("nothing is faster"))
    assert session.tasks[0].best is None


def test_a_failure_costs_one_trial(tmp_path):
    session = start(tmp_path, FakeRunner(lambda n: None if n % 2 else valley(n)))
    session.run(lambda _: None)
    progress = session.tasks[0]
    assert progress.failures == sum(n % 2 for n in range(1, progress.trials + 1))
    assert progress.best is not None
    assert progress.best[0]["n"] in (12, 14)


def test_a_device_that_is_away_for_a_moment_costs_no_trial(tmp_path):
    class Flickering(FakeRunner):
        def measure(self, default, candidate, effort):
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls % 3:
                raise TrialFailed("lost", "no route to host")
            return super().measure(default, candidate, effort)

    session = start(tmp_path, Flickering(valley), limits=Limits(trials=6, seconds=1e9))
    assert session.run(lambda _: None) == "trials"
    assert session.tasks[0].failures == 0
    assert len(session.tasks[0].ratios) == 6


def test_a_device_that_is_gone_ends_the_session_and_no_candidate_is_blamed(tmp_path):
    class Dying(FakeRunner):
        def measure(self, default, candidate, effort):
            if len(self.measured) >= 4:
                raise TrialFailed("lost", "no route to host")
            return super().measure(default, candidate, effort)

    session = start(tmp_path, Dying(valley))
    with pytest.raises(RunnerError, match="any more: no route to host"):
        session.run(lambda _: None)
    session.close()
    assert session.trials == 3
    again = start(tmp_path, FakeRunner(valley), resume=True)
    assert (again.trials, again.tasks[0].failures) == (3, 0)
    again.run(lambda _: None)
    assert again.tasks[0].best[0] == {"n": 13}


def test_a_default_that_cannot_be_measured_gives_up_its_task_only(tmp_path):
    class Picky(FakeRunner):
        def measure(self, default, candidate, effort):
            if not self.measured:
                self.measured.append(0)
                return super().measure(default, FakeCompiler().build(None, {"n": 99}, "x"), effort)
            return super().measure(default, candidate, effort)

    runner = Picky(lambda n: None if n == 99 else valley(n))
    session = start(tmp_path, runner, [make_task("a"), make_task("b")])
    session.run(lambda _: None)
    assert [p.best is None for p in session.tasks] == [True, False]
    assert session.tasks[0].failures == 1


def test_scratch_that_breaks_the_plan_is_rejected(tmp_path):
    compiler = FakeCompiler(scratch=lambda n: 100 if n == 13 else 64 if n == 12 else 0)
    session = start(tmp_path, FakeRunner(valley), [make_task(room_bytes=64)], compiler=compiler)
    session.run(lambda _: None)
    progress = session.tasks[0]
    assert progress.best is not None
    assert progress.best[0] in ({"n": 12}, {"n": 14})
    assert progress.failures == 1


def test_a_lucky_measurement_is_measured_again(tmp_path):
    class Lucky(FakeRunner):
        exact = False

    seen: list[int] = []

    def cost(n: int) -> float:
        seen.append(n)
        lucky = n == 3 and seen.count(3) == 1
        return 1.0 if lucky else 10.0

    session = start(tmp_path, Lucky(cost), limits=Limits(trials=8, seconds=1e9))
    session.run(lambda _: pytest.fail("it was luck"))
    assert seen.count(3) == 2


def test_one_kernel_from_two_decisions_is_measured_once(tmp_path):
    class Twins(FakeCompiler):
        def build(self, task, decisions, symbol):
            even = {"n": int(decisions.get("n", 0)) // 2 * 2}
            return super().build(task, even, symbol)

    runner = FakeRunner(valley)
    session = start(tmp_path, runner, compiler=Twins(), limits=Limits(30, 1e9, 100))
    session.run(lambda _: None)
    assert session.trials == 19
    assert session.tasks[0].state == "exhausted"


def test_interrupted_and_resumed_it_goes_on(tmp_path):
    class Interrupting(FakeRunner):
        def measure(self, default, candidate, effort):
            if len(self.measured) == 12:
                raise KeyboardInterrupt
            return super().measure(default, candidate, effort)

    session = start(tmp_path, Interrupting(valley))
    with pytest.raises(KeyboardInterrupt):
        session.run(lambda _: None)
    session.close()
    done = session.trials
    assert done > 5

    again = start(tmp_path, FakeRunner(valley), resume=True)
    progress = again.tasks[0]
    assert again.trials == done == progress.trials
    assert len(progress.search.remembered) == done
    again.run(lambda _: None)
    assert progress.best is not None
    assert progress.best[0] == {"n": 13}
    first = [n for n in again.runner.measured if n > 0]
    assert len(set(first) & set(range(1, done))) <= 2  # only what is confirmed is measured again


def test_what_a_killed_session_did_not_confirm_is_confirmed_by_the_next(tmp_path):
    limits = Limits(trials=4, seconds=1e9)
    session = start(tmp_path, FakeRunner(valley), limits=limits)
    session.run(lambda _: None)
    session.close()

    found = []
    again = start(tmp_path, FakeRunner(valley), limits=limits, resume=True)
    assert again.run(found.append) == "trials"
    assert [progress.best[0] for progress in found] == [{"n": 4}]
    assert again.trials == 4


def test_everything_is_closed_whatever_fails(tmp_path):
    class Stuck(FakeRunner):
        def close(self) -> None:
            raise OSError("gone")

    class Closed(Watcher):
        closed = False

        def close(self) -> None:
            self.closed = True

    session = start(tmp_path, Stuck(valley), watcher=Closed())
    with pytest.raises(OSError, match="gone"):
        session.close()
    assert session.compiler.built == [-1]
    assert session.watcher.closed
    start(tmp_path, FakeRunner(valley))  # the journal is free again


def test_one_journal_has_one_writer(tmp_path):
    first = start(tmp_path, FakeRunner(valley), limits=Limits(trials=4, seconds=1e9))
    first.run(lambda _: None)
    for resume in (False, True):
        with pytest.raises(TuningRecordError, match="another session is writing"):
            Journal(tmp_path / "j.journal", KEY, resume)
    first.close()
    again = Journal(tmp_path / "j.journal", KEY, True)
    again.close()
    assert len(again.past) == 4


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path, monkeypatch):
    session = start(tmp_path, FakeRunner(valley), limits=Limits(trials=4, seconds=1e9))
    session.run(lambda _: None)
    before = (tmp_path / "j.journal").read_bytes()
    write, room = os.write, [20]

    def fill(file: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: room.pop()])

    session.limits = Limits(trials=9, seconds=1e9)
    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(OutputError, match="No space left"):
        session.run(lambda _: None)
    session.close()
    assert (tmp_path / "j.journal").read_bytes() == before


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"[1]\n", b'{"session": 3}\n', b"\n"])
def test_what_is_no_journal_is_refused(tmp_path, content):
    path = tmp_path / "j.journal"
    path.write_bytes(content)
    with pytest.raises(TuningRecordError, match="is not a journal"):
        Journal(path, KEY, True)
    assert path.read_bytes() == content


def test_without_resume_the_journal_starts_anew(tmp_path):
    limits = Limits(trials=4, seconds=1e9)
    for _ in range(2):
        session = start(tmp_path, FakeRunner(valley), limits=limits)
        assert session.trials == 0
        session.run(lambda _: None)
        session.close()


def test_a_journal_of_another_session_is_refused(tmp_path):
    Journal(tmp_path / "j.journal", KEY, False).close()
    other = SessionKey("other", "machine", "tvm", 1, "fake us", 7)
    with pytest.raises(TuningRecordError, match="model_sha256, seed differ"):
        Journal(tmp_path / "j.journal", other, True)


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    session = start(tmp_path, FakeRunner(valley), limits=Limits(trials=4, seconds=1e9))
    session.run(lambda _: None)
    session.close()
    path = tmp_path / "j.journal"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    journal = Journal(path, KEY, True)
    journal.close()
    assert len(journal.past) == 3
    assert path.read_bytes() == whole[: whole[:-7].rfind(b"\n") + 1]


def test_heavy_tasks_get_more_trials(tmp_path):
    tasks = [make_task("light"), make_task("heavy", uses=50)]
    session = start(tmp_path, FakeRunner(valley), tasks, Limits(24, 1e9, 100))
    session.run(lambda _: None)
    light, heavy = session.tasks
    assert heavy.trials > light.trials


def test_every_task_is_measured_before_any_gets_a_second_round():
    fresh, old = (Progress(make_task(name), FakeSearch(make_task(name))) for name in "ab")
    old.unit_cost = 1e9
    assert next_task([old, fresh]) is fresh
    old.state = fresh.state = "settled"
    assert next_task([old, fresh]) is None


def test_promise_fades():
    assert hope(0) > hope(10) > hope(100) > 0
    assert recent_gain([]) == 0
    assert recent_gain([1.2, 1.1]) == 0
    assert recent_gain([0.8]) == pytest.approx(0.2)
    assert recent_gain([0.8] + [0.9] * 16) == 0


def test_the_watcher_sees_every_trial(tmp_path):
    states: list[SessionState] = []

    class Watching(Watcher):
        def update(self, state: SessionState) -> None:
            states.append(state)

    session = start(
        tmp_path, FakeRunner(valley), limits=Limits(6, 1e9), watcher=Watching(), clock=Clock(0.5)
    )
    session.run(lambda _: None)
    assert {state.trials for state in states} == set(range(7))
    last = states[-1]
    assert last.tasks[0].default == 10.0
    assert last.tasks[0].weight == 1.0
    assert last.eta_s is not None
