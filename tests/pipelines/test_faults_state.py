"""Random lives of a run folder: work, power cuts, other data, half-written files; it always ends as the data say."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from audit.errors import RunError
from benchmarks._tiny_run import leftovers
from benchmarks.disk_faults import Disk, PowerCutError, faulty
from pipelines.config import RunConfig, RunConfigSection
from pipelines.engine import Work
from pipelines.engines.local import Local
from pipelines.execute import Crew, Tasks, execute
from pipelines.run import _prepare
from pipelines.shards import make_plan
from pipelines.storage import Run
from tests.pipelines.test_execute import audit, score

NAMES = st.sampled_from([f"{number}.jpg" for number in range(6)])
HALVES = st.sampled_from(
    ["shards/00000.partial-host-1", "tables.partial", "manifest.json.partial-1", "report.partial"]
)


class RunFolder(RuleBasedStateMachine):
    """A run folder, the data beside it, and which data each fingerprint stands for."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.data = frozenset({"0.jpg", "1.jpg", "2.jpg"})
        self.data_of: dict[str, frozenset[str]] = {}

    def teardown(self):
        shutil.rmtree(self.folder)

    @property
    def run(self) -> Run:
        return Run(self.folder / "run")

    @property
    def claimed(self) -> frozenset[str] | None:
        """The data that the folder says it is of; None where no run was begun."""
        return self.data_of[self.run.manifest()["fingerprint"]] if self.run.exists() else None

    def work(self, nth: int | None = None, *, is_new: bool = False) -> None:
        """What `rightreasons run` does until the tables are there, with scores that need no model."""
        table = self.folder / "m.csv"
        table.write_text("path,label\n" + "".join(f"{name},a\n" for name in sorted(self.data)))
        sections = {"data": {"path": table}, "model": {"path": "m"}, "run": {"workers": 0, "shard_size": 2}}
        config = RunConfig.model_validate(sections)
        plan = make_plan(config, ("a",), "digest")
        self.data_of[plan.fingerprint] = self.data
        run, disk = self.run, Disk(self.run.path, nth, PowerCutError())
        with faulty(disk), run.locked(), Crew(Local(RunConfigSection(workers=0)), 60.0) as crew:
            _prepare(run, config, plan, is_new=is_new)
            execute(Work(config, run.path, (), None), plan.shards, crew, lambda _: None, Tasks(audit, score))
            run.merge_shards()

    @rule(name=NAMES)
    def add_a_sample(self, name):
        self.data |= {name}

    @rule(name=NAMES)
    def take_a_sample_away(self, name):
        self.data = self.data - {name} or self.data

    @precondition(lambda self: self.claimed in (None, self.data))
    @rule()
    def work_to_the_end(self):
        self.work()
        assert sorted(self.run.table("predictions")["sample_id"]) == sorted(self.data)
        assert leftovers(self.run.path) == []

    @precondition(lambda self: self.claimed not in (None, self.data))
    @rule()
    def other_data_are_refused_until_the_old_results_are_dropped(self):
        with pytest.raises(RunError, match="holds another audit; changed since"):
            self.work()
        self.work(is_new=True)
        assert sorted(self.run.table("predictions")["sample_id"]) == sorted(self.data)

    @rule(nth=st.integers(1, 120))
    def work_until_the_power_goes_off(self, nth):
        try:
            self.work(nth, is_new=self.claimed not in (None, self.data))
        except PowerCutError:
            return
        assert sorted(self.run.table("predictions")["sample_id"]) == sorted(self.data)

    @precondition(lambda self: self.run.shards.exists())
    @rule(name=HALVES)
    def somebody_died_in_the_middle_of_a_file(self, name):
        (self.run.path / name).touch()

    @invariant()
    def what_has_its_final_name_is_complete_and_of_the_claimed_data(self):
        claimed = self.claimed
        for index in self.run.finished_shards():
            assert claimed is not None
            assert set(self.run.scored.read(index)["predictions"]["sample_id"]) <= claimed


TestRunFolder = RunFolder.TestCase
TestRunFolder.settings = settings(max_examples=6, stateful_step_count=10, deadline=None)
