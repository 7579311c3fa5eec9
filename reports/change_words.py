"""What a comparison says, in words: statistics, classes, the headline."""

from collections.abc import Sequence

from audit.types import ChangeKind, ClassChange, Comparison, Hits
from reports import numbers

ORDER = (ChangeKind.WORSENED, ChangeKind.IMPROVED, ChangeKind.INCOMPARABLE, ChangeKind.UNCHANGED)
"""The order in which classes are named."""


def statistic_words(statistic: str) -> str:
    """The name of a statistic as people say it: `mass on face`, `necessity of face (remove)`."""
    head, _, rest = statistic.partition(".")
    if not rest:
        return statistic.replace("_", " ")
    if head == "mass_on":
        return f"mass on {rest}"
    confound, _, kind = rest.rpartition(".")
    return f"{head} of {confound} ({kind})" if confound else f"{head} of {kind}"


def class_sentence(changes: Sequence[ClassChange]) -> str:
    """What became of one class: `improved in mass inside (grad_cam), worsened in accuracy`."""
    parts = []
    for kind in (ChangeKind.WORSENED, ChangeKind.IMPROVED):
        methods: dict[str, list[str]] = {}
        for change in changes:
            if change.kind is kind:
                methods.setdefault(statistic_words(change.statistic), []).append(change.method)
        named = [f"{name} ({', '.join(m)})" if any(m) else name for name, m in methods.items()]
        if named:
            parts.append(f"{kind} in {numbers.enumerate_words(named, 4)}")
    return "; ".join(parts)


def headline(comparison: Comparison) -> tuple[str, ...]:
    """The verdict on the candidate: a sentence a kind that occurs, the gravest first."""
    total = len(comparison.kinds)
    if not total:
        return ("No class could be compared: the runs share no class with samples.",)
    sentences = []
    for kind in ORDER:
        labels = [label for label, found in comparison.kinds.items() if found is kind]
        if not labels:
            continue
        verb = str(kind)
        if kind in (ChangeKind.UNCHANGED, ChangeKind.INCOMPARABLE):
            verb = f"{'is' if len(labels) == 1 else 'are'} {kind}"
        subject = f"{numbers.count(len(labels))} of {numbers.count(total)} classes"
        sentences.append(f"{subject} {verb}: {numbers.enumerate_words(labels, 4)}.")
    return tuple(sentences)


def loss_sentence(hits: Hits) -> str:
    """How many predictions were lost and won: `Beside that, 15 of 60 predictions were lost and 3 won (p = 0.008).`"""
    p_value = numbers.probability(hits.p_value)
    sign = p_value if p_value.startswith("<") else f"= {p_value}"
    counts = (
        f"{numbers.count(hits.lost)} of {numbers.plural(hits.n, 'prediction was', 'predictions were')} lost"
    )
    return f"Beside that, {counts} and {numbers.count(hits.won)} won (p {sign.replace('<', '< ')})."
