"""The configuration: one TOML file, every key overridable; every limit and default outside the plugins is here.

Order of precedence, last wins: defaults below, the file, options of the command line, `--set section.key=value`.
"""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit.errors import ConfigError
from audit.types import VerdictLimits
from pipelines.detector_files import is_file_name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """`[data]`: what is audited."""

    reader: str | None = Field(
        None, description="image_folder, manifest, coco, ...; found from the path where that is plain"
    )
    path: Path = Field(description="folder, manifest or annotation file")
    images: Path | None = Field(
        None, description="folder of the images, for readers whose annotations lie elsewhere"
    )
    manifest: Path | None = Field(
        None, description="CSV or Parquet with path,label: labels for a multi-object annotation"
    )
    splits: list[str] | None = Field(None, description="splits to audit; all by default")
    masks: Path | None = Field(
        None, description="folder of mask PNGs that mirrors the images; for readers that carry none"
    )
    mask_foreground: list[int] = Field(
        [], description="mask values that are the object; empty: every value above 0"
    )
    mask_ignore: list[int] = Field(
        [], description="mask values that count on neither side, such as an uncertain border"
    )
    labels: dict[str, str] = Field(
        {}, description="label of the dataset = class name of the model, where they differ"
    )
    per_class: int | None = Field(
        None, ge=1, description="at most so many samples a class, drawn by run.seed"
    )
    exif: Literal["apply", "ignore"] = Field(
        "apply", description="turn images as their EXIF orientation says, or not, as in training"
    )
    alpha: Literal["white", "black", "drop"] = Field(
        "white", description="what transparent pixels are laid on"
    )
    max_pixels: int = Field(
        50_000_000, ge=1, description="larger images are quarantined before they are decoded"
    )
    max_quarantine: float = Field(
        0.1, ge=0, le=1, description="a larger share of quarantined samples fails the run (exit code 3)"
    )
    allow_outside: bool = Field(False, description="accept paths that leave the dataset's folder")


class ModelConfig(_Section):
    """`[model]`: what is audited, and what its training fed it."""

    path: Path = Field(description=".keras, .h5 or a SavedModel folder")
    classes: Path | list[str] | None = Field(
        None, description="one name a line in output order, or a list; found beside the model or in it"
    )
    value_range: tuple[float, float] = Field(
        (0.0, 255.0), description="what black and white are at the model's input"
    )
    mean: list[float] | None = Field(
        None,
        description="per RGB channel in [0, 1], subtracted first; goes with std, and replaces value_range",
    )
    std: list[float] | None = Field(
        None, description="per RGB channel in [0, 1]; goes with mean, and replaces value_range"
    )
    preset: Literal["tf", "torch", "caffe"] | None = Field(
        None, description="keras.applications mode, instead of value_range, mean, std"
    )
    colour_order: Literal["rgb", "bgr"] = Field(
        "rgb", description="order of the channels at the model's input"
    )
    resize: Literal["stretch", "crop", "pad"] = Field(
        "stretch", description="how a picture becomes the input's shape; bilinear"
    )
    antialias: bool = Field(
        False, description="average when shrinking; tf.image and Keras layers do not unless told to"
    )
    is_range_described: bool = Field(
        False,
        description="value_range, mean and std describe what the model does itself, where it takes file bytes",
    )
    input_size: tuple[int, int] | None = Field(
        None, description="height, width; where the model leaves it open"
    )
    outputs: Literal["auto", "softmax", "sigmoid", "logits"] = Field(
        "auto", description="what the outputs are; auto looks at the last layer"
    )
    explain: Literal["logit", "probability"] = Field(
        "logit", description="the score that attributions explain"
    )
    signature: str | None = Field(
        None,
        description="of a SavedModel; the pair xai_preprocess and xai_model, else the one that takes pictures",
    )
    input: str | None = Field(
        None, description="of a SavedModel: the pictures, by the signature's name or a tensor's, 'pixels:0'"
    )
    output: str | None = Field(
        None, description="of a SavedModel: the scores, by the signature's name or a tensor's, 'scores:0'"
    )
    tags: list[str] | None = Field(
        None, description="of a SavedModel with several parts: the tags of the one that is meant"
    )
    feature_layer: str | None = Field(
        None, description="feature map for grad_cam; the last spatial one by default"
    )
    trust: bool = Field(
        False, description="run code stored in the model file; only for files you wrote yourself"
    )


class AttributionsConfig(_Section):
    """`[attributions]`: how the model's decision is traced to pixels."""

    methods: list[str] = Field(
        ["grad_cam", "blur_integrated_gradients+smoothgrad"],
        min_length=1,
        description="method names, +smoothgrad around any",
    )
    target: Literal["label", "predicted"] = Field("label", description="the class that is explained")
    polarity: Literal["positive", "absolute", "negative"] = Field(
        "positive", description="which sign of a map is its mass"
    )
    error_budget: float = Field(0.05, gt=0, description="local_error that path methods go on to")
    untrained_per_class: int = Field(
        16,
        ge=0,
        description="samples of a class whose maps are compared with those of random weights; 0: none",
    )
    parameters: dict[str, dict[str, Any]] = Field({}, description="parameters of a method, by its name")


class ConfoundsConfig(_Section):
    """`[confounds]`: which other things are looked for."""

    use: list[str] = Field(
        ["annotated", "faces", "text", "border", "global", "discovered", "background"],
        description="annotated, global, discovered, background, and detectors by name or file",
    )
    parameters: dict[str, dict[str, Any]] = Field(
        {}, description="parameters of a detector, by its name; of a file, by its name without the ending"
    )
    discover_per_class: int = Field(
        60,
        ge=10,
        description="samples of a class, and as many of other classes, in which things without a name are looked for",
    )


class InterventionsConfig(_Section):
    """`[interventions]`: what is changed in pictures to see what the decision rests on."""

    use: list[str] = Field(
        [
            "remove",
            "transplant",
            "thing_alone",
            "swap_background",
            "keep_alone",
            "noise",
            "normalise",
            "impose",
        ],
        description="remove, transplant, ...; none: verdicts rest on maps alone",
    )
    fills: list[str] = Field(
        ["blur", "inpaint", "mean", "patch"],
        min_length=1,
        description="what stands in for a thing taken away; more fills, fewer accidents",
    )
    per_class: int = Field(60, ge=2, description="changed samples for each class, confound and intervention")
    confounds_per_class: int = Field(
        5,
        ge=0,
        description="confounds tried for each class, the most suspicious first; the background comes on top",
    )
    properties_per_class: int = Field(
        2, ge=0, description="global properties tried for each class, those that tell it from the others best"
    )
    minimum_separation: float = Field(
        0.4,
        ge=0,
        le=1,
        description="a property is tried where it tells the class apart: 2 AUC - 1, 1 is always, 0 as by chance",
    )
    minimum_shown: int = Field(10, ge=2, description="a confound on fewer samples of the class is not tried")
    max_passes: int = Field(
        50_000,
        ge=0,
        description="most forward passes of all interventions; fewer samples a class where it is too few",
    )
    parameters: dict[str, dict[str, Any]] = Field(
        {}, description="parameters of an intervention, by its name"
    )


class CertificateConfig(_Section):
    """`[certificate]`: whether explanations can be trusted on this model."""

    samples: int = Field(
        16,
        ge=0,
        description="images it is measured on; takes minutes on a large network; fewer than 4: no certificate",
    )


class VerdictsConfig(_Section):
    """`[verdicts]`: where the lines are drawn."""

    q: float = Field(0.05, gt=0, lt=1, description="false discovery rate over everything that was looked at")
    delta: float = Field(0.075, gt=0, lt=1, description="an effect within +-delta is none")
    minimum_effect: float = Field(
        0.05, ge=0, lt=1, description="mass share beyond the area share that is worth naming"
    )
    minimum_change: float = Field(
        0.1, ge=0, lt=1, description="change of probability beyond the control's that proves a confound"
    )
    minimum_samples: int = Field(10, ge=2, description="a class with fewer measurable samples is undecided")
    minimum_lift: float = Field(
        1.5, ge=1, description="mass over area of a confound that the screen asks for"
    )
    association_targets: list[float] = Field(
        [0.05, 0.1, 0.25],
        min_length=1,
        description="associations that suggestions aim at; the first gives n_to_add: a network that may lean on a "
        "weaker bond still does",
    )
    unbound: float = Field(
        0.25, gt=0, lt=1, description="an association that surely lies below binds nothing to a class"
    )
    accepted: dict[str, dict[str, str]] = Field(
        {}, description='confounds a team accepts: {class = {confound = "reason"}}'
    )

    def limits(self) -> VerdictLimits:
        """The values that `audit` takes."""
        return VerdictLimits(
            q=self.q,
            delta=self.delta,
            minimum_effect=self.minimum_effect,
            minimum_change=self.minimum_change,
            minimum_samples=self.minimum_samples,
            minimum_lift=self.minimum_lift,
            association_targets=tuple(self.association_targets),
            accepted=self.accepted,
            unbound=self.unbound,
        )


class ReportConfig(_Section):
    """`[report]`: what the report shows."""

    worst: int = Field(6, ge=0, description="worst samples a class, by mass inside of the first method")
    typical: int = Field(6, ge=0, description="typical samples a class: nearest to the class's median")
    thumbnails: int = Field(
        20_000,
        ge=0,
        description="samples with a picture in the gallery, drawn while they are scored; 0: none",
    )
    discovered: int = Field(2, ge=0, description="samples of each confound that was found without a name")
    demonstrations: int = Field(
        2, ge=0, description="changed pictures shown for each class, confound and intervention"
    )
    demonstrated_confounds: int = Field(
        4, ge=0, description="confounds a class with such pictures, those that move its decision most"
    )


class RunConfigSection(_Section):
    """`[run]`: how the work is done; nothing here changes a score, sampling only which maps are made."""

    engine: str = Field("local", description="who works: local processes, or a dask cluster")
    workers: int = Field(1, ge=0, description="worker processes on this machine; 0 works in this process")
    scheduler: str | None = Field(None, description="address of the dask scheduler, tcp://host:8786")
    resources: dict[str, float] = Field({}, description="what a task needs of a dask worker: {GPU = 1}")
    seed: int = Field(
        0,
        ge=0,
        description="of noise and of draws; a score also depends on the sample id, never on its neighbours",
    )
    shard_size: int = Field(64, ge=1, description="samples a shard: the unit of resume")
    batch_size: int = Field(16, ge=1, description="rows of every call of the model")
    sampling: bool = Field(
        False,
        description="make maps of samples in random order, of each class only until its verdict needs no more",
    )
    first_draw: int = Field(
        64, ge=16, description="samples of a class that are drawn at first; by half more each time after"
    )
    timeout_seconds: float = Field(
        300, gt=0, description="least time without any finished shard before workers are restarted"
    )
    cache: Path | None = Field(
        None, description="folder of detections to reuse between runs; inside the run by default"
    )


class RunConfig(_Section):
    """The whole file."""

    data: DataConfig
    model: ModelConfig
    attributions: AttributionsConfig = AttributionsConfig()
    confounds: ConfoundsConfig = ConfoundsConfig()
    interventions: InterventionsConfig = InterventionsConfig()
    certificate: CertificateConfig = CertificateConfig()
    verdicts: VerdictsConfig = VerdictsConfig()
    report: ReportConfig = ReportConfig()
    run: RunConfigSection = RunConfigSection()


_PATHS = (
    ("data", "path"),
    ("data", "images"),
    ("data", "manifest"),
    ("data", "masks"),
    ("model", "path"),
    ("model", "classes"),
    ("run", "cache"),
)


def load(path: Path | None, overrides: list[tuple[str, Any]]) -> RunConfig:
    """The configuration of a file (or of none) with overrides ("section.key", value) on top.

    Paths of the file are relative to the file, paths of overrides to the working directory.

    Raises:
        ConfigError: unreadable file, unknown key, wrong value; the message names the key and the nearest valid one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read_toml(path)
        _resolve_paths(values, path.resolve().parent)
    on_top: dict[str, Any] = {}
    for dotted, value in overrides:
        put(on_top, dotted, value)
    _resolve_paths(on_top, Path.cwd())
    return validate(_merge(values, on_top), where=str(path) if path else "command line")


def validate(values: dict[str, Any], where: str) -> RunConfig:
    """Plain values as a RunConfig.

    Raises:
        ConfigError: names the first wrong key.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, where)) from None


def parse_override(setting: str) -> tuple[str, Any]:
    """`section.key=value` with a TOML value, or a bare word.

    Raises:
        ConfigError: not of that form.
    """
    dotted, equals, text = setting.partition("=")
    if not equals or "." not in dotted:
        raise ConfigError(f"--set: expected section.key=value, found {setting!r}")
    try:
        return dotted.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return dotted.strip(), text.strip()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; `rightreasons init` writes one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None


def put(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets a nested key of a dictionary that the caller made; a part that holds a dot stands in quotes.

    Raises:
        ConfigError: what stands before the last part has no parts.
    """
    *sections, key = _parts(dotted)
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(
                f"--set {dotted}: expected a section before {key!r}, found the value {values!r}"
            )
    values[key] = value


def _parts(dotted: str) -> list[str]:
    """The parts of a dotted key, as TOML reads it; class names have blanks, which TOML wants quoted and we do not."""
    try:
        found, parts = tomllib.loads(f"{dotted} = 0"), []
    except tomllib.TOMLDecodeError:
        return dotted.split(".")
    while isinstance(found, dict):
        ((part, found),) = found.items()
        parts.append(part)
    return parts


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _resolve_paths(values: dict[str, Any], root: Path) -> None:
    """Makes the path entries absolute, in a dictionary that this module made."""
    for section, key in _PATHS:
        table = values.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str | Path):
            table[key] = _resolved(table[key], root)
    confounds = values.get("confounds")
    if isinstance(confounds, dict) and isinstance(confounds.get("use"), list):
        # A detector of the user's own is a path among names.
        confounds["use"] = [
            _resolved(entry, root) if isinstance(entry, str) and is_file_name(entry) else entry
            for entry in confounds["use"]
        ]


def _resolved(path: str | Path, root: Path) -> str:
    return str((root / Path(path).expanduser()).absolute())


def _explain(error: ValidationError, where: str) -> str:
    """The first fault as one sentence."""
    fault = error.errors()[0]
    place = [str(part) for part in fault["loc"]]
    dotted = ".".join(place)
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(place[-1], _keys(place[:-1]), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(_keys(place[:-1]))}"
        return f"{where}: unknown key {dotted!r}; {hint}"
    if fault["type"] == "missing":
        return f"{where}: {dotted!r} is needed; `rightreasons init --data DIR --model PATH` writes a file with it"
    return f"{where}: {dotted}: {fault['msg']}, found {fault['input']!r}"


def _keys(place: list[str]) -> list[str]:
    """The valid keys of a section, or the sections."""
    model: Any = RunConfig
    for part in place:
        found = model.model_fields.get(part)
        if found is None or not hasattr(found.annotation, "model_fields"):
            return []
        model = found.annotation
    return list(model.model_fields)
