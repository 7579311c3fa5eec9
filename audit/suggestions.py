"""Verdicts -> Suggestions: how many samples, without a confound here and with it there, loosen its bond."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from audit.bonds import bonds
from audit.interventions import WHOLE_BACKGROUND
from audit.types import ClassVerdict, Status, Suggestion, VerdictLimits
from audit.verdicts import looked_at, points, presence

WITHOUT, WITH = "add without confound", "add with confound"
REPRESENTATIVE = "add representative"
"""Of a class that is undecided for want of samples."""
WEAK = "add to weak slice"
"""Of a slice of a class that is recognised less often than the rest of it; see `audit.weak_slices`."""
N_EXEMPLARS = 4
MOST_TIMES = 20
"""More representative photos than so many times what a class has are no advice: the verdict says how many it takes."""


@dataclass(frozen=True)
class Counts:
    """How often a confound occurs in a class and in all others."""

    n_class: int
    n_with: int
    n_others: int
    n_others_with: int

    @property
    def association(self) -> Fraction:
        """P(confound | class) - P(confound | others), exact."""
        return Fraction(self.n_with, self.n_class) - Fraction(self.n_others_with, self.n_others)

    def after(self, without: int, with_: int) -> Fraction:
        """The association after the class got samples without, and the others got samples with it."""
        return Counts(
            self.n_class + without, self.n_with, self.n_others + with_, self.n_others_with + with_
        ).association


@dataclass(frozen=True)
class _Finding:
    """A confound of a flagged class, with the samples on both sides of it.

    Attributes:
        without, showing: sample ids of the class without and with the confound, sorted.
        recipients: other classes that could show the confound, first the one with most samples without it; of a
            background the next by name.
        recipient_counts: samples of the first of them with the confound, and all of them.
        without_words, with_words: what photos of either kind are like, behind the word "photos".
        n_all: samples of the class, also those that were not looked through for the confound.
    """

    label: str
    confound: str
    counts: Counts
    without: tuple[str, ...]
    showing: tuple[str, ...]
    recipients: tuple[str, ...]
    recipient_counts: tuple[int, int]
    without_words: str
    with_words: str
    n_all: int

    @property
    def thing(self) -> str:
        """What is counted together: classes share a confound, but each has a background of its own."""
        return f"{self.confound} of {self.label}" if self.confound == WHOLE_BACKGROUND else self.confound


def suggest(
    verdicts: Sequence[ClassVerdict], tables: Mapping[str, pd.DataFrame], limits: VerdictLimits
) -> tuple[Suggestion, ...]:
    """What to add so that a confound no longer tells a flagged class, and so that undecided classes can be judged.

    Args:
        verdicts: of every class and method; those count that are suspect or spurious with a confound, or undecided
            with a number of samples that would decide.
        tables: `predictions`, `confounds` and, where they were measured, `properties` of the run.
        limits: its `association_targets`; the first gives `n_to_add`, the others stand in the text.

    Returns:
        For each flagged class and confound up to two suggestions, one for each side; none where the
        association is at the target already or there is no other class. Classes that share a confound are
        solved together, since what one gets changes what the others are compared with; photos that a third
        class gets serve all of them. Of classes that share a global property only the one that is bound to it most
        asks: when most photos of one class are dark, those of the others are bright, and dark photos of the others and
        bright ones of the first loosen every bond. For each class that no method flags and one leaves undecided a
        suggestion of representative photos.
    """
    asking = flagged(verdicts, set(tables["confounds"]["confound"]) | {WHOLE_BACKGROUND})
    groups: dict[str, list[_Finding]] = {}
    for label, confound in asking:
        bound = {other for other, thing in asking if thing == confound}
        if finding := _finding(label, confound, tables, bound):
            groups.setdefault(confound, []).append(finding)
    wishes: dict[tuple[str, str, str], Suggestion] = {}
    for finding in (finding for group in groups.values() for finding in group):
        for wish in _wishes(finding, groups[finding.confound], limits.association_targets):
            key = (wish.label, wish.kind, wish.confound)
            if key not in wishes or wish.n_to_add > wishes[key].n_to_add:
                wishes[key] = wish
    return (*wishes.values(), *_representative(verdicts, tables["predictions"]))


def flagged(verdicts: Sequence[ClassVerdict], things: Collection[str]) -> Sequence[tuple[str, str]]:
    """Flagged classes with their confounds; of a property, which is no thing, the class that is bound to it most.

    Of equally bound ones, as two classes always are, the first by name: what mends one bond mends the other.
    """
    bound: dict[tuple[str, str], float] = {}
    for verdict in verdicts:
        if verdict.confound is not None and verdict.status in (Status.SUSPECT, Status.SPURIOUS):
            key = (verdict.label, verdict.confound)
            bound[key] = max(bound.get(key, -1.0), verdict.association)
    most = {
        confound: min((-own, label) for (label, name), own in bound.items() if name == confound)[1]
        for _, confound in bound
    }
    return [(label, confound) for label, confound in bound if confound in things or label == most[confound]]


def _representative(verdicts: Sequence[ClassVerdict], predictions: pd.DataFrame) -> Iterator[Suggestion]:
    """Photos of classes that are undecided for want of samples, as many as the most demanding method needs.

    Where a part of the class's samples could not be measured, as large a part of the new ones will not be. None where
    it takes more than MOST_TIMES as many as there are.
    """
    by_label: dict[str, list[ClassVerdict]] = {}
    for verdict in verdicts:
        by_label.setdefault(verdict.label, []).append(verdict)
    for label, own in by_label.items():
        is_flagged = any(v.status in (Status.SUSPECT, Status.SPURIOUS) for v in own)
        missing = [v for v in own if v.status is Status.UNDECIDED and v.n_needed > v.n > 0]  # false for NaN
        if is_flagged or not missing:
            continue
        n_class = int((predictions["label"] == label).sum())
        n_to_add = max(math.ceil((v.n_needed - v.n) * n_class / v.n) for v in missing)
        if n_to_add > MOST_TIMES * n_class:
            continue
        text = (
            f"Add about {n_to_add} more {label} photos like those there are (now {n_class}): whether {label} is sound "
            "is undecided, and as many would decide it."
        )
        yield Suggestion(label, REPRESENTATIVE, "", n_class, n_class, n_to_add, text, ())


def least_additions(counts: Counts, target: float) -> tuple[int, int]:
    """The fewest samples that bring the association to at most `target`.

    For x samples without the confound added to the class, the fewest y with it that must be added to the
    others follow in closed form from (b + y) / (m + y) >= a / (n + x) - target, with a of n and b of m now;
    every x below the best total so far is tried, so that the total is the least there is. All arithmetic is
    exact.

    Args:
        counts: of now.
        target: association to reach, in (0, 1).

    Returns:
        x and y; of equal totals the most even pair. (0, 0) where the target is met.

    Raises:
        ValueError: the target is not above 0 and below 1, or a group is empty.
    """
    if not 0 < target < 1 or counts.n_class == 0 or counts.n_others == 0:
        raise ValueError(f"target must be in (0, 1) and no group empty, got {target:g} and {counts}")
    limit = Fraction(str(target))
    best, without = (0, _with_needed(counts, 0, limit)), 0
    while without <= sum(best):
        pair = (without, _with_needed(counts, without, limit))
        best = min(best, pair, key=lambda found: (sum(found), abs(found[0] - found[1])))
        without += 1
    return best


def _with_needed(counts: Counts, without: int, limit: Fraction) -> int:
    """The fewest samples with the confound among the others, once the class has `without` more without it."""
    least_share = Fraction(counts.n_with, counts.n_class + without) - limit
    missing = least_share * counts.n_others - counts.n_others_with
    return max(0, math.ceil(missing / (1 - least_share)))


_MOST_ROUNDS = 100
"""Of joint additions; they end by themselves unless every class is bound to the confound."""


@dataclass(frozen=True)
class _Additions:
    """Samples to add for a confound: without it, by class; with it, by the class they go to and the thing."""

    without: Mapping[str, int]
    with_: Mapping[tuple[str, str], int]

    def of(self, finding: _Finding) -> tuple[int, int]:
        """What the text of one class asks for."""
        return self.without.get(finding.label, 0), self.with_.get((finding.recipients[0], finding.thing), 0)

    def after(self, finding: _Finding) -> Counts:
        """The counts of one class after all additions; what shows another thing shows no more of this one."""
        counts, label, thing = finding.counts, finding.label, finding.thing
        own_with = self.with_.get((label, thing), 0)
        own = self.without.get(label, 0) + sum(n for (to, _), n in self.with_.items() if to == label)
        all_with = sum(n for (_, shown), n in self.with_.items() if shown == thing)
        return Counts(
            counts.n_class + own,
            counts.n_with + own_with,
            counts.n_others + sum(self.without.values()) + sum(self.with_.values()) - own,
            counts.n_others_with + all_with - own_with,
        )


def _joint_additions(findings: Sequence[_Finding], target: float) -> _Additions:
    """Additions after which every class is at the target; for one class alone the fewest there are.

    Each class in turn gets the fewest that it still lacks, until none lacks any.
    """
    without, with_ = Counter[str](), Counter[tuple[str, str]]()
    additions = _Additions(without, with_)
    for _ in range(_MOST_ROUNDS):
        is_done = True
        for finding in findings:
            lacking = least_additions(additions.after(finding), target)
            without[finding.label] += lacking[0]
            with_[finding.recipients[0], finding.thing] += lacking[1]
            is_done = is_done and lacking == (0, 0)
        if is_done:
            break
    return additions


def _finding(
    label: str, confound: str, tables: Mapping[str, pd.DataFrame], bound: set[str]
) -> _Finding | None:
    """The samples on both sides of a confound; None where there is no other class to compare with.

    Classes that are bound to the same confound themselves are asked to show more of it only if there is no
    other; a background binds its own class alone.
    """
    shown = _shown(label, confound, tables)
    if shown is None:
        return None
    shows, without_words, with_words = shown
    n_all = int((tables["predictions"]["label"] == label).sum())
    looked = looked_at(tables)
    # What was discovered was searched for in some photos of each class; of the others nothing is known.
    is_known = looked[confound] if confound in looked.columns else pd.Series(True, shows.index)
    predictions, shows = tables["predictions"][is_known], shows[is_known]
    is_class = predictions["label"] == label
    if is_class.all() or not is_class.any():
        return None
    others = pd.DataFrame({"label": predictions["label"], "shows": shows})[~is_class]
    by_label = others.groupby("label")["shows"].agg(["sum", "size"])
    missing = by_label["size"] - by_label["sum"]
    if confound == WHOLE_BACKGROUND:
        # The class behind it in the alphabet: no class is then asked to stand on two others' backgrounds.
        free = sorted(by_label.index, key=lambda name: (name < label, name))
    else:
        order = sorted(by_label.index, key=lambda name: (name in bound, -missing[name], name))
        free = [name for name in order if name not in bound] or order
    first = by_label.loc[free[0]]
    return _Finding(
        label=label,
        confound=confound,
        counts=Counts(
            int(is_class.sum()), int(shows[is_class].sum()), len(others), int(others["shows"].sum())
        ),
        without=tuple(sorted(predictions.loc[is_class & ~shows, "sample_id"])),
        showing=tuple(sorted(predictions.loc[is_class & shows, "sample_id"])),
        recipients=tuple(free),
        recipient_counts=(int(first["sum"]), int(first["size"])),
        without_words=without_words,
        with_words=with_words,
        n_all=n_all,
    )


def _shown(
    label: str, confound: str, tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.Series, str, str] | None:
    """Which samples have a confound of a class, and the words for photos without and with it.

    Bool by row of `predictions`. A global property is had by the samples that are nearer to what is typical of the
    class; where it was not measured it is not had. A background as a whole is on every photo, and nothing tells whose
    it is like: every photo counts as on a background of its own class.
    """
    if confound == WHOLE_BACKGROUND:
        shows = tables["predictions"]["label"] == label
        return (
            shows,
            "on backgrounds like those of other classes",
            f"on backgrounds like those of {label} photos",
        )
    visible = presence(tables)
    if confound in visible.columns:
        return visible[confound], f"without a visible {confound}", f"with a visible {confound}"
    bond = next((b for b in bonds(tables, _LEVEL) if (b.label, b.confound) == (label, confound)), None)
    if bond is None:
        return None
    rows = tables["properties"].loc[tables["properties"]["property"] == confound].set_index("sample_id")
    rows = rows.reindex(tables["predictions"]["sample_id"])
    if bond.category:
        has = (rows["category"] == bond.category).to_numpy(dtype=bool)
        words = (f"whose {confound} is not {bond.category}", f"whose {confound} is {bond.category}")
    else:
        has = bond.has(rows["value"].to_numpy())
        middle, sides = (
            (bond.own + bond.others) / 2,
            ("below", "above") if bond.is_higher else ("above", "below"),
        )
        article = "an" if confound[:1].lower() in "aeiou" else "a"
        words = (
            f"with {article} {confound} {sides[0]} {middle:.3g}",
            f"with {article} {confound} {sides[1]} {middle:.3g}",
        )
    return pd.Series(has, index=tables["predictions"].index), *words


_LEVEL = 0.95
"""Confidence of the bonds' intervals, which nothing here reads."""


def _wishes(finding: _Finding, group: Sequence[_Finding], targets: Sequence[float]) -> tuple[Suggestion, ...]:
    """The suggestions for the first target, with the others in their text; `group` shares the confound."""
    without, with_ = _joint_additions(group, targets[0]).of(finding)
    if without == 0 and least_additions(finding.counts, targets[0]) == (0, 0):
        return ()
    text = _text(finding, group, targets)
    both = (
        Suggestion(
            label=finding.label,
            kind=WITHOUT,
            confound=finding.confound,
            n_now=len(finding.without),
            n_class=finding.counts.n_class,
            n_to_add=without,
            text=text,
            exemplars=finding.without[:N_EXEMPLARS],
        ),
        Suggestion(
            label=finding.recipients[0],
            kind=WITH,
            confound=finding.confound,
            n_now=finding.recipient_counts[0],
            n_class=finding.recipient_counts[1],
            n_to_add=with_,
            text=text,
            exemplars=finding.showing[:N_EXEMPLARS],
        ),
    )
    return tuple(wish for wish in both if wish.n_to_add > 0)


def _text(finding: _Finding, group: Sequence[_Finding], targets: Sequence[float]) -> str:
    """The sentence for the first target and one clause for each further one that is not met by now."""
    counts = finding.counts
    additions = _joint_additions(group, targets[0])
    without, with_ = additions.of(finding)
    parts = []
    if without:
        parts.append(
            f"{without} {finding.label} photos {finding.without_words} "
            f"(now {len(finding.without)} of {counts.n_class})"
        )
    if with_:
        is_visible = finding.with_words.startswith("with a visible")
        like = "with one" if without and is_visible else finding.with_words
        parts.append(f"{with_} {_recipients_text(finding)} {like} (now {_now_text(finding)})")
    now, after = float(counts.association), float(additions.after(finding).association)
    others = [f.label for f in group if f.label != finding.label and additions.of(f) != (0, 0)]
    together = f" (together with the additions for {' and '.join(others)})" if others else ""
    sentences = [
        f"Add about {' and '.join(parts)}{together}: the association of {finding.confound} with {finding.label} "
        f"{'falls' if after < now else 'goes'} from {points(now)} to about {points(after)} points."
    ]
    further = [
        target
        for target in dict.fromkeys(targets[1:])
        if target < counts.association and target != targets[0]
    ]
    sentences += [
        f"For {points(target)} points: {_pair_text(_joint_additions(group, target).of(finding))}."
        for target in further
    ]
    if counts.n_class < finding.n_all:
        sentences.append(
            f"The counts are of the {counts.n_class} of {finding.n_all} {finding.label} photos that were searched for "
            "it; a search may miss some, so they are the least."
        )
    if finding.confound == WHOLE_BACKGROUND:
        sentences.append("This counts as though no such photo were there; where some are, fewer will do.")
    return " ".join(sentences)


def _recipients_text(finding: _Finding) -> str:
    if len(finding.recipients) == 1:
        return f"{finding.recipients[0]} photos"
    shown = finding.recipients[:5]
    names = (
        f"{', '.join(shown[:-1])} and {shown[-1]}"
        if len(shown) == len(finding.recipients)
        else f"{', '.join(shown)}, …"
    )
    return f"photos of other classes (spread over {names})"


def _now_text(finding: _Finding) -> str:
    if len(finding.recipients) == 1:
        n_with, n_samples = finding.recipient_counts
        return f"{n_with} of {n_samples}"
    return f"{finding.counts.n_others_with} of {finding.counts.n_others}"


def _pair_text(pair: tuple[int, int]) -> str:
    """Counts of the two kinds, in the order of the sentence before."""
    words = (f"{pair[0]} without", f"{pair[1]} with")
    return " and ".join(word for word, n in zip(words, pair, strict=True) if n)
