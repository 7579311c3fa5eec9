"""The rules of the house, read off the source files."""

import ast
from pathlib import Path

import pytest

import audit.attributions
import audit.confounds
import pipelines.exporters
import pipelines.readers
from audit import plugins

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    path: ast.parse(path.read_text())
    for package in ("audit", "reports", "pipelines")
    for path in sorted((ROOT / package).rglob("*.py"))
}
PLUGIN_PACKAGES = (audit.attributions, audit.confounds, pipelines.readers, pipelines.exporters)
FORBIDDEN_IN_AUDIT = {
    "open",
    "print",
    "input",
    "logging",
    "warnings",
    "os",
    "pathlib",
    "time",
    "datetime",
    "random",
}


def imports(tree: ast.AST) -> set[str]:
    """Top names of everything a file imports, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def in_package(name: str) -> list[tuple[Path, ast.AST]]:
    return [(path, tree) for path, tree in SOURCES.items() if path.relative_to(ROOT).parts[0] == name]


@pytest.mark.parametrize(
    ("package", "right_of_it"), [("audit", ("reports", "pipelines")), ("reports", ("pipelines",))]
)
def test_imports_point_one_way(package, right_of_it):
    wrong = [
        (path.name, name)
        for path, tree in in_package(package)
        for name in imports(tree)
        if name.split(".")[0] in right_of_it
    ]
    assert wrong == []


def test_reports_import_nothing_of_audit_but_types():
    wrong = [
        (path.name, name)
        for path, tree in in_package("reports")
        for name in imports(tree)
        if name.split(".")[0] == "audit" and name != "audit.types"
    ]
    assert wrong == []


def test_audit_has_no_effects():
    wrong = []
    for path, tree in in_package("audit"):
        names = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        wrong += [
            (path.name, name)
            for name in (names | {name.split(".")[0] for name in imports(tree)}) & FORBIDDEN_IN_AUDIT
        ]
    assert wrong == []


def test_audit_draws_no_global_random_numbers():
    allowed = {"Generator", "default_rng", "SeedSequence"}
    wrong = []
    for path, tree in in_package("audit"):
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        drawn = {node.attr for node in attributes if ast.unparse(node.value) == "np.random"}
        wrong += [(path.name, name) for name in drawn - allowed]
    assert wrong == []


@pytest.mark.parametrize("package", PLUGIN_PACKAGES, ids=lambda package: package.__name__)
def test_a_plugin_has_one_public_name_which_is_a_frozen_dataclass(package):
    for name in plugins.names(package):
        found = plugins.find(package, name)
        assert found.__dataclass_params__.frozen, name


def test_every_attribution_method_names_its_source_and_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for name in plugins.names(audit.attributions):
        text = (ROOT / "audit" / "attributions" / f"{name}.py").read_text()
        assert "Source:" in text, name
        assert f"`{name}`" in readme, name


@pytest.mark.parametrize(
    "package", [audit.confounds, pipelines.readers], ids=lambda package: package.__name__
)
def test_every_choice_stands_in_the_readme(package):
    readme = (ROOT / "README.md").read_text()
    assert [name for name in plugins.names(package) if f"`{name}`" not in readme] == []


def test_the_top_level_stays_as_agreed():
    allowed = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "Makefile",
        "audit",
        "pipelines",
        "reports",
        "tests",
        "benchmarks",
        "docs",
        "examples",
    }
    tracked = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    strangers = {
        name for name in tracked - allowed if not (ROOT / name).is_dir() or any((ROOT / name).glob("*.py"))
    }
    assert strangers == set()


def test_no_file_names_what_it_may_not():
    words = ("nan_to_num", "except:", "NotImplementedError", "TODO", "FIXME")
    wrong = [(path.name, word) for path in SOURCES for word in words if word in path.read_text()]
    assert wrong == []
