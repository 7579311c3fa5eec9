from pathlib import Path

import pytest

from audit.errors import ConfigError
from pipelines.config import load, parse_override

FILE = '[data]\npath = "photos"\n\n[model]\npath = "model.keras"\n'


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "audit.toml"
    path.write_text(FILE)
    return path


def test_paths_of_a_file_are_relative_to_the_file_and_those_of_options_to_the_working_directory(
    file, monkeypatch
):
    monkeypatch.chdir("/")
    config = load(file, [("data.masks", Path("masks"))])
    assert config.data.path == file.parent / "photos"
    assert config.data.masks == Path("/masks")


def test_an_override_wins_over_the_file(file):
    config = load(file, [("run.workers", 3), ("data.path", "/elsewhere")])
    assert (config.run.workers, config.data.path) == (3, Path("/elsewhere"))


def test_an_unknown_key_is_named_with_the_nearest_valid_one(file):
    file.write_text(FILE + "\n[run]\nworker = 2\n")
    with pytest.raises(ConfigError, match=r"audit.toml: unknown key 'run.worker'; did you mean 'workers'\?"):
        load(file, [])


def test_an_unknown_section_is_named_with_the_nearest_valid_one(file):
    file.write_text(FILE + "\n[verdict]\nq = 0.1\n")
    with pytest.raises(ConfigError, match=r"'verdict'; did you mean 'verdicts'"):
        load(file, [])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("run.workers", -1), "run.workers: .*greater than or equal to 0, found -1"),
        (("model.resize", "squash"), "model.resize: .*'stretch', 'crop' or 'pad', found 'squash'"),
        (("verdicts.q", "half"), "verdicts.q: .*valid number.* found 'half'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(file, setting, words):
    with pytest.raises(ConfigError, match=words):
        load(file, [setting])


def test_a_missing_key_points_to_init():
    with pytest.raises(ConfigError, match=r"'data' is needed; `rightreasons init"):
        load(None, [("model.path", "m.keras")])


def test_a_missing_or_broken_file_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.toml", [])
    broken = tmp_path / "broken.toml"
    broken.write_text("[data\n")
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load(broken, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.workers=2", ("run.workers", 2)),
        ("data.splits=['test']", ("data.splits", ["test"])),
        ("model.resize=crop", ("model.resize", "crop")),
        ('model.resize="crop"', ("model.resize", "crop")),
        ("data.labels={tee = 't-shirt'}", ("data.labels", {"tee": "t-shirt"})),
    ],
)
def test_overrides_take_toml_values_and_bare_words(text, expected):
    assert parse_override(text) == expected


def test_an_override_without_a_section_is_refused():
    with pytest.raises(ConfigError, match=r"expected section.key=value, found 'workers=2'"):
        parse_override("workers=2")
