"""Which candidates to measure next: MetaSchedule's evolutionary search and XGBoost cost model.

The cost model predicts from TVM's per-store features of the emitted kernel, the loops and memory
accesses that its code really has, so what it learns from one task helps with the others. A kernel
in C has no such features and is told by the answers that made it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import tvm
from tvm import s_tir
from tvm.ir.utils import derived_object

from footprint_compiler.kernels.decisions import Choice, UnknownChoiceError
from footprint_compiler.kernels.kernel import Kernel
from footprint_compiler.tuning.candidate import emit_candidate
from footprint_compiler.tuning.space import (
    decisions_of,
    find_questions,
    import_meta_schedule,
    make_mutator,
    schedule_function,
    schedule_of,
    stand_in,
)
from footprint_compiler.tuning.tasks import Task

POPULATION = 48
WARM_UP = 16
"""Results before the cost model is asked."""
SLOW_S = 0.1
"""A task whose features take longer is learnt from its answers alone: thousands are predicted."""
FEW = 24
"""A space of at most so many candidates needs no search."""
FAILED_SECONDS = 1e10
"""What MetaSchedule takes a failed candidate to last."""


@dataclass(frozen=True)
class Proposal:
    """A candidate: decisions, and MetaSchedule's own object for it."""

    decisions: Mapping[str, Choice]
    candidate: Any


class CostModel:
    """One XGBoost model for all tasks of a session."""

    def __init__(self, seed: int) -> None:
        self._meta_schedule = import_meta_schedule()
        np.random.seed(seed % 2**32)  # MetaSchedule draws its warm-up scores from there
        config = self._meta_schedule.cost_model.xgb_model.XGBConfig(seed=seed % 2**31, nthread=1)
        self._features: dict[str, Any] = {}
        self.model = self._meta_schedule.cost_model.XGBModel(
            extractor=self._extractor(), config=config, num_warmup_samples=WARM_UP
        )
        self._per_store = self._meta_schedule.feature_extractor.PerStoreFeature()
        self.searches: dict[str, Search] = {}

    def _extractor(self) -> Any:
        owner, extractor = self, self._meta_schedule.feature_extractor

        # TVM has no type information, so that its classes are Any.
        class Extractor(extractor.PyFeatureExtractor):  # type: ignore[misc, name-defined] # TVM has no types
            def extract_from(self, context: Any, candidates: Sequence[Any]) -> list[Any]:
                search = owner.searches[str(context.task_name)]
                return [owner.features(search, each.sch) for each in candidates]

        return derived_object(Extractor)()

    def features(self, search: Search, schedule: Any) -> Any:
        """Features of the kernel that a schedule's decisions emit; none when they emit none."""
        decisions = decisions_of(schedule, search.questions)
        label = f"{search.task.key} {json.dumps(decisions, sort_keys=True)}"
        if label not in self._features:
            start = time.monotonic()
            if search.by_answers:
                self._features[label] = self._answers(search, decisions)
            else:
                self._features[label] = self._extract(search, decisions)
            search.by_answers |= time.monotonic() - start > SLOW_S
        return self._features[label]

    def _answers(self, search: Search, decisions: Mapping[str, Choice]) -> Any:
        """The position of each answer among its options, for lack of features or time."""
        vector = np.zeros((1, int(self._per_store.feature_vector_length)))
        for at, (label, question) in enumerate(search.questions.items()):
            chosen = decisions[label]
            vector[0, 4 * at] = 1.0 + question.options.index(chosen)
            numbers = chosen if isinstance(chosen, tuple) else ()
            vector[0, 4 * at + 1 : 4 * at + 1 + len(numbers[:3])] = numbers[:3]
        return tvm.runtime.tensor(vector)

    def _extract(self, search: Search, decisions: Mapping[str, Choice]) -> Any:
        kernel = search.emit(decisions)
        length = int(self._per_store.feature_vector_length)
        nothing = tvm.runtime.tensor(np.zeros((1, length)))
        if kernel is None:
            return nothing
        if kernel.c is not None:
            return self._answers(search, decisions)
        candidate = self._meta_schedule.MeasureCandidate(
            s_tir.Schedule(tvm.IRModule({"main": kernel.func})), []
        )
        try:
            return self._per_store.extract_from(search.context, [candidate])[0]
        except (RuntimeError, ValueError, TypeError):
            return nothing


class Search:
    """The search in one task.

    Args:
        task: what to tune.
        model: shared by all tasks.
        seed: of sampling and mutation.
        most: trials at most.
        batch: candidates of one round.
    """

    def __init__(self, task: Task, model: CostModel, seed: int, most: int, batch: int) -> None:
        meta_schedule = import_meta_schedule()
        self.task, self.model, self.batch = task, model, batch
        self.by_answers = False
        self.questions = find_questions(task)
        self.size = int(np.prod([len(q.options) for q in self.questions.values()]))
        model.searches[task.key] = self
        self._meta_schedule = meta_schedule
        self._module = stand_in(task.key)
        self._target = tvm.target.Target(dict(task.source.target.tvm))
        space = meta_schedule.space_generator.ScheduleFn(
            schedule_function(self.questions),
            sch_rules=[],
            postprocs=[],
            mutator_probs={make_mutator(meta_schedule, seed): 1.0},
        )
        strategy = meta_schedule.search_strategy.EvolutionarySearch(
            population_size=POPULATION, init_min_unmeasured=POPULATION // 2, genetic_num_iters=3
        )
        self.context = meta_schedule.TuneContext(
            self._module,
            target=self._target,
            space_generator=space,
            search_strategy=strategy,
            task_name=task.key,
            rand_state=seed % (2**30) + 1,
            num_threads=1,
        )
        self._grid = list(self._whole_grid()) if self.size <= FEW else None
        self._database = meta_schedule.database.MemoryDatabase()
        self._workload = self._database.commit_workload(self._module)
        spaces = self.context.generate_design_space()
        # Counts every proposal, also those that turn out to be no new kernel.
        self.context.pre_tuning(64 * most + 1024, batch, spaces, self._database, model.model)

    def emit(self, decisions: Mapping[str, Choice]) -> Kernel | None:
        """The kernel that ``decisions`` emit, or None when they do not fit together."""
        source = self.task.source
        try:
            emitted = emit_candidate(
                self.task.func, source.machine, frozenset(source.constants), decisions
            )
        except UnknownChoiceError:
            return None
        return emitted.kernel

    def _whole_grid(self) -> Iterator[dict[str, Choice]]:
        options = [question.options for question in self.questions.values()]
        for values in product(*options):
            yield dict(zip(self.questions, values, strict=True))

    def propose(self) -> list[Proposal]:
        """The next round; empty when the space is exhausted. A small space is tried in full."""
        if self._grid is not None:
            chosen, self._grid = self._grid[: self.batch], self._grid[self.batch :]
            return [Proposal(each, self._candidate(each)) for each in chosen]
        candidates = self.context.generate_measure_candidates()
        return [Proposal(decisions_of(each.sch, self.questions), each) for each in candidates or ()]

    def tell(self, proposals: Sequence[Proposal], costs: Sequence[float | None]) -> None:
        """Results of the last round, in seconds or anything proportional; None is a failure."""
        seconds = [FAILED_SECONDS if cost is None else cost for cost in costs]
        candidates = [proposal.candidate for proposal in proposals]
        self._learn(candidates, seconds)
        if self._grid is not None:
            return
        runner = self._meta_schedule.runner
        results = [runner.RunnerResult([cost], None) for cost in seconds]
        self.context.notify_runner_results(candidates, results)

    def remember(self, decisions: Sequence[Mapping[str, Choice]], costs: Sequence[float]) -> None:
        """Results that were not proposed in this session: the default, and those of a journal."""
        self._learn([self._candidate(each) for each in decisions], costs)

    def _candidate(self, decisions: Mapping[str, Choice]) -> Any:
        schedule = schedule_of(self._module, self.questions, decisions)
        return self._meta_schedule.MeasureCandidate(schedule, [])

    def _learn(self, candidates: Sequence[Any], seconds: Sequence[float]) -> None:
        record = self._meta_schedule.database.TuningRecord
        for candidate, cost in zip(candidates, seconds, strict=True):
            self._database.commit_tuning_record(
                record(candidate.sch.trace, self._workload, [cost], self._target, [])
            )
        results = [self._meta_schedule.runner.RunnerResult([cost], None) for cost in seconds]
        if candidates:
            self.model.model.update(self.context, list(candidates), results)
