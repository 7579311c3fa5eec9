"""Array jobs: parts that know nothing of each other, joined into the run that one process would have made."""

import pytest

from audit.errors import ConfigError
from pipelines.cli import main
from pipelines.parts import Part, parse_part
from pipelines.storage import Run
from tests.pipelines.test_run import finished, run, tables_of, world  # noqa: F401


def test_each_shard_is_of_one_part():
    parts = [Part(number, 3) for number in (1, 2, 3)]
    assert [[part.holds(index) for part in parts].index(True) for index in range(6)] == [0, 1, 2, 0, 1, 2]
    assert all(sum(part.holds(index) for part in parts) == 1 for index in range(50))


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="NUMBER/COUNT"):
        parse_part(text)


def test_parts_joined_are_the_run_of_one_process(world, finished, tmp_path, capsys):  # noqa: F811
    cut = ["--set", "run.shard_size=7"]  # 48 samples: 7 shards
    for number in ("1", "2"):
        assert run(world, tmp_path / number, *cut, "--shard", f"{number}/2") == 0
    assert Run(tmp_path / "1").finished_shards() == {0, 2, 4, 6}
    assert Run(tmp_path / "2").finished_shards() == {1, 3, 5}
    assert "27 of 48 samples" in capsys.readouterr().out  # shards of 7, 7, 7 and 6
    parts = [str(tmp_path / number) for number in ("1", "2")]
    assert main(["merge", *parts, "--out", str(tmp_path / "run")]) == 0
    assert tables_of(tmp_path / "run") == tables_of(finished)


def test_parts_of_two_audits_are_not_joined(world, tmp_path, capsys):  # noqa: F811
    cut = ["--set", "run.shard_size=7"]
    assert run(world, tmp_path / "1", *cut, "--shard", "1/7") == 0
    assert run(world, tmp_path / "2", *cut, "--shard", "2/7", "--set", "run.seed=1") == 0
    assert main(["merge", str(tmp_path / "1"), str(tmp_path / "2"), "--out", str(tmp_path / "run")]) == 2
    assert "run.seed: 0 -> 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
