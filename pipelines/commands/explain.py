"""`rightreasons explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import DONE, Classes, Methods, Model, Settings, make_console

if TYPE_CHECKING:
    from pipelines.config import RunConfig
    from pipelines.explainer import Asked
    from pipelines.hosted._requests import Request
    from pipelines.hosted._values import HostedExplanation

EXAMPLE = "rightreasons explain cat.jpg --model saved_model --methods xrai --json answer.json --shape vertex"


def command(
    images: Annotated[list[Path] | None, typer.Argument(metavar="[IMAGE]...", help="Image files.")] = None,
    model: Model = None,
    methods: Methods = None,
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="explanation_metadata.json or an ExplanationSpec; found beside the model by its first name."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures; by default explained/.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="The service's answer as a file.")] = None,
    shape: Annotated[
        str | None,
        typer.Option(help="Shape of that answer: ai-platform or vertex; by default the metadata's."),
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Maps as they are: .npy, or .npz with names and scores.")
    ] = None,
    instances: Annotated[
        Path | None,
        typer.Option(help='A request with instances, {"b64": …} or numbers, instead of image files.'),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--num-integral-steps",
            "--step-count",
            min=1,
            max=100,
            help="Equal steps; by default an error budget.",
        ),
    ] = None,
    noise_sigma: Annotated[
        float | None, typer.Option(min=0, help="SmoothGrad's, in units of the model's input.")
    ] = None,
    noisy_samples: Annotated[
        int | None, typer.Option("--noisy-sample-count", min=1, max=50, help="SmoothGrad's copies.")
    ] = None,
    blur_sigma: Annotated[
        float | None,
        typer.Option("--max-blur-sigma", min=0, help="Start from the image blurred by so many pixels."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="black, white, grey, random, blurred, or a number of the model's input; may be repeated."
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=-1, help="Classes of the highest scores; -1 is all.")
    ] = None,
    label_indices: Annotated[
        str | None, typer.Option(help="Indices of the classes to explain instead, separated by commas.")
    ] = None,
    picture: Annotated[
        list[str] | None, typer.Option(help="An option of the pictures: color_map=viridis; may be repeated.")
    ] = None,
    score: Annotated[
        str, typer.Option(help="What is explained: auto (the model's output), logit or probability.")
    ] = "auto",
    check_baseline: Annotated[
        bool,
        typer.Option("--check-baseline", help="Explain the baselines too; warn where that is not about 0."),
    ] = False,
    classes: Classes = None,
    settings: Settings = None,
) -> int:
    """Explain single pictures: as pictures, as a hosted service's answer, as raw maps."""
    from pipelines import answers, explain, explainer
    from pipelines.explanation_metadata import service
    from pipelines.quiet import load_tensorflow

    config = _configured(model, classes, settings)
    stated = _metadata(config, metadata)
    request = _request(instances, images, stated)
    asked = _asked(
        stated,
        request,
        methods=_split(methods),
        n_steps=steps,
        noise_sigma=noise_sigma,
        n_noisy=noisy_samples,
        blur_sigma=blur_sigma,
        baselines=tuple(_baseline(text) for text in baseline or []),
        top_k=_top_k(top_k),
        indices=_indices(label_indices),
        drawing=_drawing(picture, stated),
        score=_score(score),
        is_baseline_explained=check_baseline,
    )
    wanted = answers.Wanted(
        pictures=out or (None if json_file or raw else Path("explained")),
        json_file=json_file,
        service=service(shape or (stated.service if stated else "ai-platform")),
        raw=answers.raw_file(raw),
    )
    wanted.check(asked)
    load_tensorflow()
    loaded = explainer.load(config, asked)
    if request is None:
        pictures, faults = explainer.pictures_of_files(loaded, images or [])
    else:
        pictures, faults = list(explainer.pictures_of_instances(loaded, request.instances)), []
    found = explain.explain(loaded, pictures)
    written = answers.write(found, wanted, asked.metadata)
    answers.tell(found, written, faults, make_console())
    return DONE


def _configured(model: Path | None, classes: Path | None, settings: list[str] | None) -> "RunConfig":
    """The configuration of an audit without a dataset."""
    from pipelines.config import load, parse_override

    if model is None:
        raise typer.BadParameter("expected a model; give --model PATH")
    options: dict[str, Any] = {"data.path": Path(), "model.path": model, "model.classes": classes}
    overrides = [(key, value) for key, value in options.items() if value is not None]
    return load(None, overrides + [parse_override(setting) for setting in settings or []])


def _metadata(config: "RunConfig", path: Path | None) -> "HostedExplanation | None":
    """The metadata of an option, else that beside a SavedModel."""
    from pipelines.explanation_metadata import beside, read

    found = path or beside(config.model.path)
    return None if found is None else read(found)


def _request(
    instances: Path | None, images: list[Path] | None, metadata: "HostedExplanation | None"
) -> "Request | None":
    """The request of an option; exactly one of it and image files is there."""
    from pipelines.hosted._requests import read_request

    if (instances is None) is not bool(images):
        raise typer.BadParameter("expected image files or --instances FILE, one of the two")
    return None if instances is None else read_request(instances, metadata.input.name if metadata else None)


def _asked(metadata: "HostedExplanation | None", request: "Request | None", **options: Any) -> "Asked":
    """What is asked for; options of the command line win over those of the request."""
    from pipelines.explainer import Asked

    if request is not None:
        stated: dict[str, Any] = {
            "top_k": request.top_k,
            "indices": request.label_indices,
            "baselines": request.baselines,
        }
        if options["top_k"] is not None:
            stated["indices"] = None
        if options["blur_sigma"] is not None:
            stated["baselines"] = ()
        named = tuple(name.partition("+")[0] for name in options["methods"])
        # Steps and noise of a request are those of its method, not of another that the command line names.
        if request.method is not None and named in ((), (request.method.name,)):
            method = request.method
            stated |= {
                "methods": (method.name,),
                "n_steps": method.n_steps,
                "noise_sigma": method.noise_sigma,
                "blur_sigma": method.blur_sigma,
            }
            stated["n_noisy"] = method.n_noisy if method.noise_sigma is not None else None
        options = {
            key: value if value not in (None, ()) else stated.get(key, value)
            for key, value in options.items()
        }
    return Asked(metadata=metadata, **options)


def _split(methods: str | None) -> tuple[str, ...]:
    from audit.attributions._names import canonical

    return tuple(canonical(name) for name in methods.split(",")) if methods else ()


def _baseline(text: str) -> float | str:
    """A number, or a name that `audit.baselines` checks."""
    try:
        return float(text)
    except ValueError:
        return text


def _top_k(top_k: int | None) -> int | None:
    if top_k == 0:
        raise typer.BadParameter("--top-k: expected a number of classes, or -1 for all; found 0")
    return top_k


def _indices(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise typer.BadParameter(
            f"--label-indices: expected whole numbers separated by commas, found {text!r}"
        )
    return tuple(int(part) for part in parts)


def _drawing(settings: list[str] | None, metadata: "HostedExplanation | None") -> dict[str, Any]:
    """Options of the pictures, checked as those of a metadata file."""
    from pipelines.config import parse_override
    from pipelines.hosted._blocks import DRAWING_KEYS, drawing_of
    from pipelines.hosted._keys import block_of

    stated = dict(metadata.input.drawing) if metadata else {}
    values: dict[str, Any] = {}
    for setting in settings or []:
        if "=" not in setting:
            raise typer.BadParameter(f"--picture: expected key=value, found {setting!r}")
        key, value = parse_override(f"picture.{setting}")
        values[key.partition(".")[2]] = value
    kind = stated.get("type", metadata.input.drawing_defaults.get("type", "pixels") if metadata else "pixels")
    return drawing_of(block_of(values, "--picture", DRAWING_KEYS), str(kind)) if values else {}


def _score(score: str) -> str:
    if score not in ("auto", "logit", "probability"):
        raise typer.BadParameter(f"--score: expected auto, logit or probability; found {score!r}")
    return score
