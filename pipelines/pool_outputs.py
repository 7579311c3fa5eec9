"""What `suggest` writes and says: the list in a format of the user's choice, a sheet of thumbnails, a few lines."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

import pipelines.exporters as exporters
from audit import plugins
from audit.suggestions import REPRESENTATIVE, WEAK, WITH, WITHOUT
from pipelines.pool import Suggested, spread_over, suggest_from_pool
from pipelines.progress import Progress
from pipelines.storage import Run, storing, write_text
from pipelines.terminal import tell_path
from reports import numbers
from reports.pool_sheet import Thumbnail, render

_SIDE, _QUALITY = 160, 60
"""Long side of a thumbnail in pixels, and its WebP quality: some 2 kB each."""


def suggest(run: Run, pool: Path, n: int, where: tuple[Path, str | None], console: Console) -> Suggested:
    """Chooses from a pool, writes list and sheet, and says what was found.

    Args:
        run: a finished run.
        pool: a folder of pictures, or a table.
        n: pictures at most.
        where: the list's file, and its format; None goes by the file's ending.
        console: where to.

    Raises:
        ConfigError: there is no such format.
        AuditError: as `suggest_from_pool`.
    """
    out, form = where
    # Hours of looking must not end in a wrong word.
    exporter = plugins.find(exporters, form or out.suffix.lstrip(".").lower())()
    found = suggest_from_pool(run, pool, n, progress=Progress(console))
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        exporter(found.table, out)
    page = out.with_suffix(".html")
    tiles = [
        Thumbnail(
            rank=int(row["rank"]),
            name=Path(row["path"]).name,
            picture=_thumbnail(Path(row["path"])),
            group=group_name(row["kind"], row["confound"], row["asked_for"]),
            reason=row["reason"],
        )
        for row in found.table.to_dict("records")
    ]
    write_text(page, render(run.path.resolve().name, tiles, notes(found)))
    tell(found, out, page, console)
    return found


def group_name(kind: str, confound: str, label: str) -> str:
    """What a wish asks for, in a few words."""
    if kind == REPRESENTATIVE:
        return f"{label}, representative"
    return f"{'not ' if kind == WITH else ''}{label}, {'without' if kind == WITHOUT else 'with'} {confound}"


def notes(found: Suggested) -> tuple[str, ...]:
    """What a reader should know before trusting the list, in sentences."""
    said = []
    for ask, n in spread_over(found.wishes, found.table).items():
        fits = found.choice.n_found[ask]
        short = f", fewer than the {ask.n} that are suggested" if fits < ask.n else ""
        short += ", and a larger --n would list some" if fits and not n else ""
        said.append(
            f"{group_name(ask.kind, ask.confound, ask.label)}: {n} on the list; {fits} of {found.n_pictures} "
            f"pictures of the pool fit{short}."
        )
    sliced = {ask.trait for ask in found.wishes if ask.kind == WEAK}
    for trait, share in found.choice.reading.items():
        subject = "The class" if trait in sliced else f"With what tells {trait} left out, the class"
        said.append(
            f"{subject} of labelled photos is read rightly in {numbers.share(share)}, classes weighted alike; look at "
            "each picture before it is labelled."
        )
    confounds = {ask.trait: ask.confound for ask in found.wishes}
    for trait, auroc in found.choice.presence.items():
        why = "Nobody marked the objects" if trait in sliced else f"No detector looks for {confounds[trait]}"
        said.append(
            f"{why} in the pool; the model's features tell {trait if trait in sliced else 'it'} with an AUROC of "
            f"{numbers.plain(auroc)}."
        )
    said += [
        f"{label} photos on other backgrounds are asked for too; nothing tells them in a pool."
        for label in found.on_backgrounds
    ]
    if found.choice.n_duplicates:
        said.append(
            f"{found.choice.n_duplicates} pictures are copies of labelled or other ones and were left out."
        )
    if found.n_unreadable:
        said.append(f"{numbers.plural(found.n_unreadable, 'picture', 'pictures')} could not be read.")
    return tuple(said)


def tell(found: Suggested, out: Path, page: Path, console: Console) -> None:
    """What was found, on the terminal."""
    console.print(f"\n[bold]{len(found.table)} pictures to add[/]\n", highlight=False)
    for sentence in notes(found):
        console.print(Padding(f"• {escape(sentence)}", (0, 0, 0, 2)), highlight=False)
    console.print()
    tell_path("List", out, console)
    tell_path("Thumbnails", page, console)


def tell_made(made: tuple[int, Sequence[str]], out: Path, console: Console) -> None:
    """What was made, on the terminal."""
    n, sentences = made
    console.print(f"\n[bold]{n} pictures made; they are no photos[/]\n", highlight=False)
    for sentence in sentences:
        console.print(Padding(f"• {escape(sentence)}", (0, 0, 0, 2)), highlight=False)
    console.print()
    tell_path("Manifest", out / "manifest.csv", console)


def _thumbnail(path: Path) -> str:
    """A small WebP as a data address; empty where the file cannot be opened any more."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError):
        return ""
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
