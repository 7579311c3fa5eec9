"""What commands say on the terminal: the verdict first, aligned, coloured only on a terminal, the path to open last."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from audit.types import AuditRun, ClassVerdict, Status
from audit.verdicts import headline as worst_verdicts
from reports import numbers

SIGNS = {
    Status.SPURIOUS: ("✗", "bold red"),
    Status.SUSPECT: ("▲", "bold yellow"),
    Status.UNDECIDED: ("?", "cyan"),
    Status.SOUND: ("✓", "green"),
}
ORDER = tuple(SIGNS)
SHORT = {
    "integrated_gradients": "IG",
    "blur_integrated_gradients": "Blur IG",
    "blur_integrated_gradients+smoothgrad": "Blur IG+SG",
}
"""Names of methods where there is little room."""
WIDE = 110
"""Columns of a terminal that the whole table needs; a narrower one gets what matters most."""


def tell(run: AuditRun, report: Path, console: Console) -> None:
    """The whole of a finished run on one screen."""
    console.print()
    console.print(headline(run.verdicts), highlight=False)
    console.print()
    console.print(verdict_table(run, is_wide=console.width >= WIDE))
    for warning in run.manifest["warnings"]:
        console.print(f"[bold red]Warning:[/] {escape(warning)}", highlight=False)
    tell_reasons(run.verdicts, console)
    if run.suggestions:
        console.print("[bold]What to do next[/]")
        for text in dict.fromkeys(suggestion.text for suggestion in run.suggestions):
            console.print(Padding(f"• {escape(text)}", (0, 0, 0, 2)), highlight=False)
        console.print()
    counts = run.manifest["counts"]
    console.print(
        f"[dim]{counts['audited']} of {counts['samples']} images audited"
        + (f", {counts['quarantined']} quarantined" if counts["quarantined"] else "")
        + f", {numbers.count(run.manifest['n_gradients'])} gradients, {numbers.duration(run.manifest['seconds'])}[/]",
        highlight=False,
    )
    tell_path("Report", report, console)


def tell_path(name: str, path: Path, console: Console) -> None:
    """The path to open, on a line of its own so that it can be clicked or copied whole."""
    console.print(f"{name}: [bold]{escape(str(path))}[/]", highlight=False, soft_wrap=True)


def headline(verdicts: Sequence[ClassVerdict]) -> str:
    """One sentence: how many classes are flagged, which, and by what."""
    worst = worst_of_classes(verdicts)
    flagged = [v for v in worst if v.status in (Status.SPURIOUS, Status.SUSPECT)]
    if not flagged:
        n_sound = sum(v.status is Status.SOUND for v in worst)
        return f"[bold]{n_sound} of {len(worst)} classes are sound; none is flagged.[/]"
    named = [
        f"{escape(v.label)} is {v.status}" + (f" ({escape(v.confound)})" if v.confound else "")
        for v in flagged
    ]
    style = SIGNS[flagged[0].status][1]
    return f"[{style}]{len(flagged)} of {len(worst)} classes flagged: {numbers.enumerate_words(named, 4)}.[/]"


def worst_of_classes(verdicts: Sequence[ClassVerdict]) -> list[ClassVerdict]:
    """One verdict a class, the gravest of its methods; the gravest class first."""
    return sorted(worst_verdicts(verdicts).values(), key=lambda v: ORDER.index(v.status))


def verdict_table(run: AuditRun, *, is_wide: bool) -> Table:
    """A row per class and method; the narrow one leaves out numbers that the reasons and the report repeat."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("class", "verdict", "confound", "method"):
        table.add_column(name, no_wrap=name != "confound")
    for name in ("n", "accuracy", "mass inside", "area", "lift", "association")[: 6 if is_wide else 3]:
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for verdict in sorted(run.verdicts, key=lambda v: (_rank(run, v.label), v.label, v.method)):
        facts = run.manifest["classes"][verdict.label]
        sign, style = SIGNS[verdict.status]
        is_first, last = verdict.label != last, verdict.label
        cells = (
            escape(verdict.label) if is_first else "",
            f"[{style}]{sign} {verdict.status}[/]",
            escape(verdict.confound or ""),
            escape(verdict.method if is_wide else SHORT.get(verdict.method, verdict.method)),
            numbers.count(verdict.n),
            numbers.share(facts["accuracy"]) if is_first else "",
            numbers.interval(verdict.mass_inside, verdict.mass_inside_low, verdict.mass_inside_high),
            numbers.share(facts["area_inside"]) if is_first else "",
            numbers.ratio(verdict.lift),
            numbers.difference(verdict.association),
        )
        table.add_row(*cells[: len(table.columns)])
    return table


def tell_reasons(verdicts: Sequence[ClassVerdict], console: Console) -> None:
    """Why the flagged classes are flagged."""
    for verdict in worst_of_classes(verdicts):
        if verdict.status not in (Status.SPURIOUS, Status.SUSPECT):
            continue
        console.print()
        console.print(
            f"[bold]Why {escape(verdict.label)} is {verdict.status}[/] [dim]({verdict.method})[/]",
            highlight=False,
        )
        for reason in verdict.reasons:
            console.print(Padding(f"• {escape(reason)}", (0, 0, 0, 2)), highlight=False)
    console.print()


def _rank(run: AuditRun, label: str) -> int:
    return min(ORDER.index(verdict.status) for verdict in run.verdicts if verdict.label == label)
