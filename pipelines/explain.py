"""Single pictures explained: what the hosted services answered, and the raw maps that they kept to themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from audit import baselines
from audit.attributions import AttributionMethod
from audit.attributions._names import build, canonical
from audit.errors import ConfigError
from pipelines.engine import sample_seeds
from pipelines.explainer import Asked, Explainer, Picture
from pipelines.explanation_metadata import baseline_choices, in_pixels, noise_share, with_input_size
from pipelines.hosted import _rules
from pipelines.hosted._values import DEFAULT_NOISE, Answered, Attributed, HostedMethod
from reports.pictures import draw, encode
from reports.visualization import Visualization, published

_ROWS = 32
"""Pairs of image and class that a method gets at once."""

SCALAR = -1
"""Index of a scalar output in an answer."""


@dataclass(frozen=True)
class Explained:
    """What a method says about all pictures.

    Attributes:
        method: canonical name.
        answered: one a picture.
        warnings: plain sentences.
    """

    method: str
    answered: tuple[Answered, ...]
    warnings: tuple[str, ...]


def explain(explainer: Explainer, pictures: Sequence[Picture]) -> list[Explained]:
    """What each method that was asked for says about the pictures.

    Raises:
        ConfigError: a method, a parameter or a class index is wrong.
    """
    images = np.stack([picture.image for picture in pictures])
    outputs = _outputs(explainer, images)
    pairs = [(row, target) for row in range(len(pictures)) for target in _targets(explainer, outputs[row])]
    asked = explainer.asked
    own = (
        asked.metadata.method.name if asked.metadata and asked.metadata.method else "integrated_gradients",
    )
    seeds = sample_seeds(explainer.config.run.seed, [picture.name for picture in pictures])
    found = []
    for name in asked.methods or own:
        method, spelled = _method(explainer, name)
        work = _Work(
            explainer, method, spelled, visualization(explainer, spelled), tuple(pictures), images, seeds
        )
        rows = [
            row for start in range(0, len(pairs), _ROWS) for row in _rows(work, pairs[start : start + _ROWS])
        ]
        answered = tuple(
            Answered(picture.name, outputs[index], tuple(one for row, one in rows if row == index))
            for index, picture in enumerate(pictures)
        )
        found.append(Explained(spelled, answered, tuple(dict.fromkeys(_warnings(work, answered)))))
    return found


def visualization(explainer: Explainer, method: str) -> Visualization:
    """How the maps of a method are drawn.

    Raises:
        ConfigError: options contradict each other.
    """
    metadata = explainer.asked.metadata
    try:
        base = published(method) if metadata is None else metadata.visualization(method)
        if explainer.asked.drawing.get("type", base.type) != base.type:
            # What the file says of pictures of another type does not hold for these.
            base = replace(base, blur_sigma=Visualization.blur_sigma)
        return replace(base, **explainer.asked.drawing)
    except ValueError as error:
        raise ConfigError(f"picture: {error}") from None


def _outputs(explainer: Explainer, images: np.ndarray) -> np.ndarray:
    """float64 (B, K), what the model puts out; one column for a model with a scalar output."""
    is_logit = explainer.model.description["activation"] is None
    found = explainer.classifier.logits(images) if is_logit else explainer.classifier.probabilities(images)
    return np.asarray(found[:, 1:] if explainer.is_scalar else found, dtype=np.float64)


def _targets(explainer: Explainer, outputs: np.ndarray) -> list[int]:
    """The classes to explain of one image, the highest output first unless they were given."""
    asked, metadata = explainer.asked, explainer.asked.metadata
    if explainer.is_scalar:
        return [1]
    indices = asked.indices
    top_k = asked.top_k
    if indices is None and top_k is None and metadata is not None:
        indices, top_k = metadata.output_indices, metadata.top_k
    if indices is not None:
        beyond = [index for index in indices if not 0 <= index < len(outputs)]
        if beyond:
            raise ConfigError(
                f"label_indices: expected indices of the model's {len(outputs)} outputs, from 0, found {beyond[0]}"
            )
        return list(indices)
    falling = np.argsort(-outputs, kind="stable")
    return [int(index) for index in (falling if top_k == -1 else falling[: top_k or 1])]


@dataclass(frozen=True)
class _Work:
    """One method on all pictures; images float32 (B, H, W, 3), seeds uint64 (B,)."""

    explainer: Explainer
    method: AttributionMethod
    spelled: str
    options: Visualization
    pictures: tuple[Picture, ...]
    images: np.ndarray
    seeds: np.ndarray

    @property
    def baseline(self) -> Any:
        """What paths start from; None for methods without one. SmoothGrad's is that of the method it is around."""
        return getattr(getattr(self.method, "method", self.method), "baseline", None)


def _rows(work: _Work, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, Attributed]]:
    """Pairs of picture and class, explained together: the row of the picture, and the attribution."""
    explainer, classifier = work.explainer, work.explainer.classifier
    rows, targets = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    images, seeds = work.images[rows], work.seeds[rows]
    batch = work.method(classifier, images, targets, seeds)
    scores = classifier.scores(images, targets)
    starts = np.full(len(rows), np.nan)
    if work.baseline is not None:
        built = baselines.build(work.baseline, images, seeds)
        starts = np.mean([classifier.scores(start, targets) for start in built], axis=0)
    return [
        (
            row,
            Attributed(
                target=SCALAR if explainer.is_scalar else target,
                class_name=explainer.model.classes[target] if explainer.has_names else None,
                score=float(scores[place]),
                baseline_score=float(starts[place]),
                approx_error=float(batch.approx_error[place]),
                status=batch.status[place],
                map=batch.maps[place],
                picture=_drawn(explainer, work.pictures[row], batch.maps[place], work.options),
                output_format=work.options.output_format,
            ),
        )
        for place, (row, target) in enumerate(pairs)
    ]


def _drawn(
    explainer: Explainer, picture: Picture, attribution: np.ndarray, options: Visualization
) -> bytes | None:
    """The encoded picture; None where the metadata calls the input numbers."""
    metadata = explainer.asked.metadata
    if metadata is not None and not metadata.input.is_image:
        return None
    # A place in the photo as it was given is meant where there is one; else the model's input is drawn on.
    under = (
        picture.pixels if options.translate is not None else np.round(picture.image * 255).astype(np.uint8)
    )
    if options.translate is not None and options.resized_shape is None:
        options = replace(options, resized_shape=picture.image.shape[:2])
    return encode(draw(under, attribution, options), options.output_format)


def _method(explainer: Explainer, name: str) -> tuple[AttributionMethod, str]:
    """The method with its parameters, and its canonical name."""
    asked = explainer.asked
    settings = explainer.config.attributions
    spelled = canonical(name)
    own = _hosted_method(asked, spelled)
    if own.noise_sigma is not None and "smoothgrad" not in spelled:
        spelled = f"{spelled}+smoothgrad"
    base = spelled.partition("+")[0]
    starts = _starts(explainer, own)
    parameters = {canonical(key): dict(value) for key, value in settings.parameters.items()}
    stated: dict[str, Any] = parameters.setdefault(base, {})
    if own.n_steps:
        stated["n_steps"] = own.n_steps
    if starts:
        stated["baseline"] = tuple(starts)
    smooth = parameters.pop("gradient+smoothgrad", {})
    if own.noise_sigma is not None:
        smooth |= {"sigma": noise_share(own.noise_sigma, explainer.preprocessing), "n_samples": own.n_noisy}
    elif asked.n_noisy is not None:
        smooth |= {"n_samples": asked.n_noisy}
    return build(spelled, {**parameters, "smoothgrad": smooth}, settings.error_budget), spelled


def _hosted_method(asked: Asked, spelled: str) -> HostedMethod:
    """Parameters as the services had them: those asked for, else the file's where it speaks of this method.

    n_steps of 0 stands for the error budget.
    """
    base = spelled.partition("+")[0]
    stated = asked.metadata.method if asked.metadata and asked.metadata.method else None
    own = stated if stated is not None and stated.name == base else HostedMethod(base, n_steps=0)
    if asked.n_noisy is not None and own.noise_sigma is None and "smoothgrad" not in spelled:
        # As a smoothGradConfig without a sigma.
        own = replace(own, noise_sigma=DEFAULT_NOISE)
    noise_sigma = own.noise_sigma if asked.noise_sigma is None else asked.noise_sigma
    if "smoothgrad" not in spelled and any("smoothgrad" in name for name in asked.methods):
        # Who says which methods are smoothed means those alone.
        noise_sigma = None
    return HostedMethod(
        base,
        n_steps=own.n_steps if asked.n_steps is None else asked.n_steps,
        noise_sigma=noise_sigma,
        n_noisy=own.n_noisy if asked.n_noisy is None else asked.n_noisy,
        blur_sigma=own.blur_sigma if asked.blur_sigma is None else asked.blur_sigma,
    )


def _starts(explainer: Explainer, own: HostedMethod) -> list[baselines.Choice]:
    """Where paths start; empty leaves it to the method."""
    asked, shape = explainer.asked, explainer.classifier.image_shape
    if asked.baselines:
        chosen = [
            one if isinstance(one, str) else in_pixels(one, explainer.preprocessing)
            for one in asked.baselines
        ]
    elif own.blur_sigma:
        chosen = [f"blurred:{own.blur_sigma:g}"]
    elif asked.metadata is not None and _has_baseline(own.name):
        chosen = list(baseline_choices(replace(asked.metadata, method=None), explainer.preprocessing))
    else:
        chosen = []
    return [with_input_size(one, shape) for one in chosen]


def _has_baseline(name: str) -> bool:
    """Whether paths of a method start from a baseline that can be chosen."""
    import audit.attributions
    from audit.plugins import find

    return "baseline" in find(audit.attributions, name).__dataclass_fields__


def _warnings(work: _Work, answered: Sequence[Answered]) -> Iterator[str]:
    """The rules of thumb that are broken, as sentences."""
    found = [(one.name, attributed) for one in answered for attributed in one.attributions]
    noise = _hosted_method(work.explainer.asked, work.spelled).noise_sigma
    sentences = [
        _rules.large_error(found),
        _rules.close_scores(found),
        _rules.faint_noise(noise, noise_share(noise or 0.0, work.explainer.preprocessing)),
        *_baseline_warnings(work, answered),
        *(_rules.hard_for_xrai(work.spelled, picture.name, picture.pixels) for picture in work.pictures),
        *_label_warnings(work, answered),
    ]
    yield from (sentence for sentence in sentences if sentence is not None)


def _baseline_warnings(work: _Work, answered: Sequence[Answered]) -> Iterator[str | None]:
    """Rules about where paths start."""
    if work.baseline is None:
        return
    explainer = work.explainer
    starts = baselines.build(work.baseline, work.images, work.seeds)
    for start in starts:
        check = baselines.uninformative(explainer.classifier, start)
        yield _rules.informative_baseline(check, explainer.model.classes[check.worst_class])
    yield _rules.nearly_black([float(start[0].mean()) for start in starts])
    yield _rules.white_baseline([start[0] for start in starts], work.images)
    if explainer.asked.is_baseline_explained:
        target = answered[0].attributions[0].target
        pictures = np.stack([start[0] for start in starts])
        targets = np.full(len(starts), 1 if target == SCALAR else target, dtype=np.int64)
        batch = work.method(explainer.classifier, pictures, targets, np.repeat(work.seeds[:1], len(starts)))
        # A map sums to the score difference as far as its steps are enough.
        yield _rules.unstable_baseline(batch.maps.sum(axis=(1, 2), dtype=np.float64))


def _label_warnings(work: _Work, answered: Sequence[Answered]) -> Iterator[str | None]:
    """Rules about classes that were asked for and not predicted."""
    asked, metadata = work.explainer.asked, work.explainer.asked.metadata
    are_given = asked.indices is not None or (
        asked.top_k is None and metadata is not None and metadata.output_indices is not None
    )
    if work.explainer.is_scalar or not are_given:
        return
    classes = work.explainer.model.classes
    for one in answered:
        predicted = classes[int(one.outputs.argmax())]
        for each in one.attributions:
            yield _rules.wrong_prediction(one.name, classes[each.target], predicted, work.options.polarity)
