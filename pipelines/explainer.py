"""A model loaded for explanations of single pictures, as a user and a metadata file ask for it, and those pictures."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audit.classifier import Classifier, Head, Preprocessing
from audit.errors import ConfigError, UnusableError
from pipelines.config import ModelConfig, RunConfig
from pipelines.explanation_metadata import in_pixels, model_overrides
from pipelines.geometry import Geometry
from pipelines.hosted._requests import Instance
from pipelines.hosted._values import BaselineValue, HostedExplanation
from pipelines.images import ImageFault, decode
from pipelines.models import LoadedModel, load_classifier, read_classes


@dataclass(frozen=True)
class Asked:
    """What is to be explained, and how; None and empty leave it to the metadata, then to our defaults.

    Attributes:
        methods: names in any spelling.
        metadata: of the hosted service.
        n_steps: equal steps of a path; None goes on to the error budget.
        noise_sigma: of SmoothGrad in units of the model's input; None is no SmoothGrad, unless a method says so.
        n_noisy: noisy copies.
        blur_sigma: pixels; paths start from the image so blurred.
        baselines: numbers or arrays in units of the model's input, or names of `audit.baselines`.
        top_k: classes with the highest outputs, -1 is all.
        indices: these classes instead.
        drawing: options of the pictures, by field of Visualization.
        score: "auto" explains what the model puts out, "logit" and "probability" as `model.explain`.
        is_baseline_explained: look at rule 44, for one more explanation a baseline.
    """

    methods: tuple[str, ...] = ()
    metadata: HostedExplanation | None = None
    n_steps: int | None = None
    noise_sigma: float | None = None
    n_noisy: int | None = None
    blur_sigma: float | None = None
    baselines: tuple[BaselineValue | str, ...] = ()
    top_k: int | None = None
    indices: tuple[int, ...] | None = None
    drawing: Mapping[str, Any] = field(default_factory=dict)
    score: str = "auto"
    is_baseline_explained: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture to be explained.

    Attributes:
        name: of the image.
        pixels: uint8 (H, W, 3), upright, as it was given.
        image: float32 (h, w, 3) in [0, 1], as the model sees it.
    """

    name: str
    pixels: np.ndarray
    image: np.ndarray


@dataclass(frozen=True)
class Explainer:
    """A loaded model with what was asked.

    Attributes:
        config: model, decoding, parameters of methods, seed.
        asked: what is to be explained.
        model: loaded.
        has_names: its classes have names; else they are named by their index.
    """

    config: RunConfig
    asked: Asked
    model: LoadedModel
    has_names: bool

    @property
    def classifier(self) -> Classifier:
        """The model behind its seam."""
        return self.model.classifier

    @property
    def is_scalar(self) -> bool:
        """The model has one output."""
        return self.classifier.head is Head.BINARY

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns an image in [0, 1] into the model's input."""
        stated = self.model.description["preprocessing"]
        return Preprocessing(tuple(stated["scale"]), tuple(stated["offset"]), stated["is_reversed"])


def load(config: RunConfig, asked: Asked) -> Explainer:
    """The model of a configuration, with what its metadata says about it.

    Raises:
        ModelError, ConfigError: as `pipelines.models.load_classifier`.
    """
    implied = {} if asked.metadata is None else dict(model_overrides(asked.metadata, config.model))
    settings = ModelConfig(**{**implied, **config.model.model_dump(exclude_unset=True)})

    def load_for(score: str) -> LoadedModel:
        return load_classifier(
            settings.model_copy(update={"explain": score}),
            batch_size=config.run.batch_size,
            callers=2,
            are_names_needed=False,
        )

    loaded = load_for("probability" if asked.score == "auto" else asked.score)
    if asked.score == "auto" and loaded.description["activation"] is None:
        # The model puts out logits; so that is what the service explained.
        loaded = load_for("logit")
    return Explainer(config, asked, loaded, read_classes(settings) is not None)


def pictures_of_files(explainer: Explainer, paths: Sequence[Path]) -> tuple[list[Picture], list[str]]:
    """Image files as pictures, named by their path, and what is wrong with those that cannot be read.

    Raises:
        UnusableError: none can be read.
    """
    pictures, faults = [], []
    for path in paths:
        try:
            pictures.append(_picture(explainer, path, str(path)))
        except ImageFault as fault:
            faults.append(str(fault))
    if not pictures:
        raise UnusableError(f"no image can be used: {'; '.join(faults[:3])}")
    return pictures, faults


def pictures_of_instances(explainer: Explainer, instances: Sequence[Instance]) -> Iterator[Picture]:
    """Instances of a request as pictures.

    Raises:
        UnusableError: bytes that are no image; an answer has no place for what was left out.
        ConfigError: numbers of another shape than the input's, or outside its range.
    """
    shape = (*explainer.classifier.image_shape, 3)
    with tempfile.TemporaryDirectory() as folder:
        for instance in instances:
            if isinstance(instance.content, bytes):
                # The one decoder of the program reads files.
                path = Path(folder) / instance.name
                path.write_bytes(instance.content)
                try:
                    yield _picture(explainer, path, instance.name)
                except ImageFault as fault:
                    raise UnusableError(
                        f"{instance.name}: {fault.reason}; expected a JPEG or PNG file"
                    ) from None
                continue
            if instance.content.shape != shape:
                raise ConfigError(
                    f"{instance.name}: expected numbers of the input's shape {shape}, found {instance.content.shape}"
                )
            image = np.asarray(
                in_pixels(instance.content, explainer.preprocessing, instance.name), dtype=np.float32
            )
            yield Picture(instance.name, np.round(image * 255).astype(np.uint8), image)


def _picture(explainer: Explainer, path: Path, name: str) -> Picture:
    data, model, own = explainer.config.data, explainer.config.model, explainer.model.own_inputs
    decoded = decode(path, exif=data.exif, alpha=data.alpha, max_pixels=data.max_pixels)
    target = explainer.classifier.image_shape
    geometry = Geometry(decoded.stored_size, decoded.orientation, target, model.resize, model.antialias)
    return Picture(
        name, decoded.pixels, geometry.image(decoded.pixels) if own is None else own.image(decoded.pixels)
    )
