"""Array jobs: `run --shard 3/16` scores a sixteenth of the shards into a folder of its own, `merge` joins the folders.

No engine and no scheduler of ours is needed. The parts share nothing while they work; each may be interrupted and
resumed by the same command. Which shards are whose depends on their number alone.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.errors import ConfigError, RunError
from pipelines.config import RunConfig, validate
from pipelines.shards import changed
from pipelines.storage import Run


@dataclass(frozen=True)
class Part:
    """One of `of` equal parts; `number` counts from 1."""

    number: int
    of: int

    def holds(self, index: int) -> bool:
        """Whether the shard of that index, from 0, is of this part."""
        return index % self.of == self.number - 1


def parse_part(text: str) -> Part:
    """`3/16`.

    Raises:
        ConfigError: not of that form, or a number that is not between 1 and the count.
    """
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
        return Part(int(number), int(of))
    raise ConfigError(f"--shard: expected NUMBER/COUNT such as 3/16, the number from 1, found {text!r}")


def gather(parts: Sequence[Path], out: Path) -> RunConfig:
    """Copies the finished shards of the parts into one run folder, ready for `run.audit` to finish.

    Args:
        parts: run folders of `--shard`.
        out: the run folder; new, empty, or one that an earlier merge began.

    Returns:
        The configuration that the parts were run with.

    Raises:
        RunError: a part is no run, or one of another audit; `out` is a run of another audit.
    """
    if not parts:
        raise ConfigError("expected the folders of the parts, found none")
    manifests = {part: Run(part).manifest() for part in parts}
    first = manifests[parts[0]]
    run = Run(out)
    if run.exists():
        manifests[out] = run.manifest()
    for part, manifest in manifests.items():
        if manifest["fingerprint"] != first["fingerprint"]:
            differences = changed(first["scoring"], manifest["scoring"]) or ["the samples or their files"]
            raise RunError(
                f"{part}: expected a part of the audit of {parts[0]}, found another; "
                f"different: {'; '.join(differences)}"
            )
    with run.locked():
        run.clear_partial()
        for part in parts:
            _copy(Run(part), run)
        run.write_manifest(first | {"state": "begun"})
    return validate(first["config"], str(parts[0] / "manifest.json"))


def _copy(part: Run, run: Run) -> None:
    """The shards that the run does not have yet, each whole or not at all, and what was learned about the images."""
    for sheet in part.read_sheets():
        run.write_sheet(sheet)
    for index in sorted(part.finished_shards() - run.finished_shards()):
        run.scored.write(index, part.scored.read(index))
    cache = part.path / "cache"
    for file in sorted(cache.rglob("*")):
        target = run.path / "cache" / file.relative_to(cache)
        if file.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
