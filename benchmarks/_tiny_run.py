"""A whole audit that takes seconds: what the scripts about faults break off, over and over, and compare."""

import contextlib
import hashlib
import io
from pathlib import Path

from pipelines.cli import main
from tests.worlds import draw_world, model_reading

SHARD_SIZE = 6


def prepare(folder: Path, n_per_class: int = 6) -> list[str]:
    """Draws photographs and writes a model; returns the arguments of `rightreasons run`, which lack --out."""
    world = draw_world(folder / "world", n_per_class=n_per_class)
    model_reading("face").save(world.folder / "model.keras")
    settings = (
        "confounds.use=['annotated','border']",
        f"run.shard_size={SHARD_SIZE}",
        f"run.cache={folder / 'cache'}",
        "interventions.minimum_shown=2",
        "interventions.use=['remove','transplant']",
        "interventions.fills=['mean']",
        "verdicts.minimum_samples=2",
        "report.worst=1",
        "report.typical=1",
        "certificate.samples=0",
    )
    arguments = ["run", "--data", str(world.manifest), "--model", str(world.folder / "model.keras")]
    return [*arguments, "--methods", "grad_cam", *(word for s in settings for word in ("--set", s))]


def run_here(arguments: list[str], out: Path, *more: str) -> tuple[int, str]:
    """Runs in this process; the exit code and what was said on stderr."""
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = main([*arguments, "--workers", "0", "--out", str(out), *more])
    return code, said.getvalue()


def results_of(out: Path) -> dict[str, str]:
    """A digest of each table and each stored exemplar, by the name of its file."""
    files = [*(out / "tables").glob("*"), *(out / "exemplars").glob("*")]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
    }


def leftovers(out: Path) -> list[str]:
    """Files that a finished run should not have: half of something, or a mark of work begun."""
    return sorted(
        str(path.relative_to(out))
        for path in out.rglob("*")
        if ".partial" in path.name or path.name.endswith(".begun")
    )
