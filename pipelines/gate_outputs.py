"""What a gate says: on the terminal, as JSON, as JUnit XML, as annotations and code quality entries of CI systems."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from audit.gate import GateResult, Outcome
from pipelines.gate import Gate
from pipelines.storage import digest, storing, write_text
from pipelines.terminal import SHORT, WIDE, tell_path
from reports import numbers

SIGNS = {
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.WARNED: ("▲", "bold yellow"),
    Outcome.WAIVED: ("~", "cyan"),
    Outcome.PASSED: ("✓", "green"),
}
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""
_LEVELS = {Outcome.FAILED: "error", Outcome.WARNED: "warning", Outcome.WAIVED: "notice"}
_SEVERITIES = {Outcome.FAILED: "major", Outcome.WARNED: "minor", Outcome.WAIVED: "info"}


def tell(gate: Gate, console: Console, lines: Iterable[str] = ()) -> None:
    """The outcome on one screen: the verdict, what did not pass, counts, `lines` as they are, the path to open."""
    results = gate.report.results
    console.print()
    console.print(_headline(gate), highlight=False)
    console.print()
    broken = [result for result in results if result.outcome is not Outcome.PASSED]
    if broken:
        console.print(_table(broken, is_wide=console.width >= WIDE), highlight=False)
        console.print()
    for note in (*_exempt_notes(results), *gate.report.notes):
        console.print(Padding(f"• {escape(note)}", (0, 0, 0, 2)), highlight=False)
    counts = ", ".join(
        f"{sum(result.outcome is outcome for result in results)} {outcome}" for outcome in reversed(SIGNS)
    )
    console.print(
        f"[dim]{len({r.number for r in results})} rules, {len(results)} checks: {counts}[/]", highlight=False
    )
    for line in lines:
        print(line)  # what a CI system reads must not be wrapped
    tell_path("Report", gate.run / "report" / "index.html", console)


def as_json(gate: Gate) -> str:
    """The outcome as JSON; what was not measured is null."""
    shown = {
        "passed": gate.report.has_passed,
        "run": str(gate.run),
        "reference": None if gate.reference is None else str(gate.reference),
        "rules": str(gate.rules_file),
        "results": [_result_json(result) for result in gate.report.results],
        "notes": list(gate.report.notes),
    }
    return json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_junit(gate: Gate) -> str:
    """The outcome as JUnit XML: a test case a check, waived ones skipped, warnings as its output."""
    results = gate.report.results
    count = {outcome: sum(result.outcome is outcome for result in results) for outcome in Outcome}
    counts = {
        "tests": str(len(results)),
        "failures": str(count[Outcome.FAILED]),
        "errors": "0",
        "skipped": str(count[Outcome.WAIVED]),
    }
    root = ElementTree.Element("testsuites", {"name": "rightreasons gate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(str(gate.rules_file)), **counts})
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": _xml(result.label or "whole run"), "name": _xml(_name(result)), "time": "0"},
        )
        text = _xml(sentence(result))
        if result.outcome is Outcome.FAILED:
            ElementTree.SubElement(
                case, "failure", {"message": text, "type": _xml(result.rule.statistic)}
            ).text = text
        elif result.outcome is Outcome.WAIVED:
            ElementTree.SubElement(case, "skipped", {"message": text})
        elif result.outcome is Outcome.WARNED:
            ElementTree.SubElement(case, "system-out").text = f"warning: {text}"
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def as_code_quality(gate: Gate) -> str:
    """What did not pass, in the JSON that GitLab shows as code quality of a merge request."""
    entries = [
        {
            "description": sentence(result),
            "check_name": result.rule.statistic,
            "fingerprint": digest([result.rule.text, result.label, result.method, result.statistic]),
            "severity": _SEVERITIES[result.outcome],
            "location": {"path": str(gate.rules_file), "lines": {"begin": 1}},
        }
        for result in gate.report.results
        if result.outcome in _SEVERITIES
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def annotations(gate: Gate, system: str) -> Iterator[str]:
    """Lines on standard output that a CI system shows beside a change; none for `none`."""
    say = ANNOTATIONS[system]
    if say is not None:
        yield from (
            say(result, gate.rules_file) for result in gate.report.results if result.outcome in _LEVELS
        )


def ci_system(environment: Mapping[str, str]) -> str:
    """The CI system that an environment is of, `none` for any other."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "azure" if environment.get("TF_BUILD") == "True" else "none"


def write(gate: Gate, junit: Path | None, json_file: Path | None, code_quality: Path | None) -> None:
    """Writes the files that were asked for."""
    for path, make in ((junit, as_junit), (json_file, as_json), (code_quality, as_code_quality)):
        if path is not None:
            with storing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, make(gate))


def sentence(result: GateResult) -> str:
    """One check in one sentence: `t-shirt, grad_cam: mass_inside is 0.11, the rule is mass_inside >= 0.4`."""
    subject = ", ".join(filter(None, (result.label, result.method))) or "whole run"
    told = result.reason.removeprefix("not measured: ")
    reason = f" ({told})" if told else ""
    return (
        f"{subject}: {result.statistic} is {shown(result.observed)}, the rule is {result.rule.text}{reason}"
    )


def shown(value: float | str | None) -> str:
    """An observed value as text."""
    if value is None:
        return "not measured"
    return value if isinstance(value, str) else f"{value:.4g}"


def _headline(gate: Gate) -> str:
    failed = [result for result in gate.report.results if result.outcome is Outcome.FAILED]
    n_rules = len({result.number for result in gate.report.results})
    if not failed:
        return f"[bold green]The gate passed:[/] none of {numbers.plural(n_rules, 'rule', 'rules')} failed."
    n_failed = len({result.number for result in failed})
    labels = list(dict.fromkeys(result.label or "whole run" for result in failed))
    return (
        f"[bold red]The gate failed:[/] {n_failed} of {numbers.plural(n_rules, 'rule', 'rules')}, in "
        f"{escape(numbers.enumerate_words(labels, 4))}."
    )


def _table(results: list[GateResult], *, is_wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("outcome", no_wrap=True)
    for name in ("class", "method", "rule", "found"):
        table.add_column(name)
    for result in sorted(results, key=lambda result: (list(SIGNS).index(result.outcome), result.number)):
        sign, style = SIGNS[result.outcome]
        found = (
            f"{result.statistic} {shown(result.observed)}" if _is_family(result) else shown(result.observed)
        )
        more = result.reason.removeprefix("not measured: ")
        table.add_row(
            f"[{style}]{sign} {result.outcome}[/]",
            escape(result.label or "whole run"),
            escape(result.method if is_wide else SHORT.get(result.method, result.method)),
            escape(f"{result.number}: {result.rule.text}"),
            escape(f"{found}: {more}" if more else found),
        )
    return table


def _is_family(result: GateResult) -> bool:
    return result.statistic != result.rule.statistic


def _exempt_notes(results: tuple[GateResult, ...]) -> list[str]:
    """What passed for another reason than its number."""
    found = [
        f"{result.label}, {result.method or 'every method'}: {result.statistic} passed, {result.reason}"
        for result in results
        if result.outcome is Outcome.PASSED and "is accepted" in result.reason
    ]
    return list(dict.fromkeys(found))


def _name(result: GateResult) -> str:
    details = ", ".join(filter(None, (result.method, result.statistic if _is_family(result) else "")))
    return f"rule {result.number}: {result.rule.text}" + (f" [{details}]" if details else "")


def _result_json(result: GateResult) -> dict[str, Any]:
    rule = result.rule
    return {
        "rule": result.number,
        "text": rule.text,
        "level": str(rule.level),
        "label": result.label or None,
        "method": result.method or None,
        "statistic": result.statistic,
        "observed": result.observed,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "waiver": rule.waiver and {"until": rule.waiver.until, "reason": rule.waiver.reason},
    }


def _xml(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _github(result: GateResult, rules_file: Path) -> str:
    """A workflow command; a line break or a sign of its syntax in a class name must not end or forge one."""
    name = _percent_coded(_name(result), "%\r\n:,")
    file = _percent_coded(str(rules_file), "%\r\n:,")
    text = _percent_coded(sentence(result), "%\r\n")
    return f"::{_LEVELS[result.outcome]} file={file},title={name}::{text}"


def _azure(result: GateResult, _: Path) -> str:
    level = "error" if result.outcome is Outcome.FAILED else "warning"
    text = sentence(result).replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")
    return f"##vso[task.logissue type={level}]{text}"


def _percent_coded(text: str, signs: str) -> str:
    return "".join(f"%{ord(sign):02X}" if sign in signs else sign for sign in text)


ANNOTATIONS: dict[str, Callable[[GateResult, Path], str] | None] = {
    "none": None,
    "github": _github,
    "azure": _azure,
}
"""CI systems that show lines of standard output beside a change."""
