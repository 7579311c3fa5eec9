"""Draws docs/gallery.md: every option of the pictures over one drawn scene.

    python examples/gallery.py docs

The scene and the model are made up here. The model's score is a sum over pixels: reddish ones count for "balloon",
leafy green ones against it. For such a model Integrated Gradients from black are known exactly: each pixel gets what
it adds to the score. The regions are XRAI's, over those maps.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from audit.attributions._merge import rank
from audit.attributions._segments import segments
from reports.pictures import draw, encode
from reports.visualization import COLOR_MAPS, Visualization

SIZE = 288
FINE = 3
INTEGRATED_GRADIENTS = {"color_map": "pink_green", "overlay_type": "grayscale"}
XRAI = {"color_map": "viridis", "overlay_type": "grayscale", "type": "regions"}

CHAPTERS: list[tuple[str, str, list[tuple[str, dict[str, Any]]]]] = [
    (
        "Types",
        "`pixels` draws each pixel by itself, `outlines` the areas that hold most of the attribution, shaded or not, "
        "`regions` areas of one value with seams between them, for XRAI.",
        [
            ("type=pixels", {"type": "pixels"}),
            ("type=outlines", {"type": "outlines"}),
            (
                "type=outlines shade_within_outlines=false",
                {"type": "outlines", "shade_within_outlines": False},
            ),
            ("type=regions, XRAI", XRAI),
            ("type=pixels, XRAI", {**XRAI, "type": "pixels"}),
            ("type=pixels blur_sigma=3", {"type": "pixels", "blur_sigma": 3.0}),
        ],
    ),
    (
        "Polarity",
        "What spoke for the class, against it, or both. For a picture that was predicted wrongly, `negative` shows "
        "what spoke against its label.",
        [
            ("polarity=positive", {"polarity": "positive"}),
            ("polarity=negative", {"polarity": "negative"}),
            ("polarity=both", {"polarity": "both"}),
            ("polarity=both type=outlines", {"polarity": "both", "type": "outlines"}),
        ],
    ),
    (
        "Colour maps",
        "The diverging ones give each sign a colour; `viridis`, `red` and `green` draw both signs alike.",
        [(f"color_map={name}", {"color_map": name, "polarity": "both"}) for name in sorted(COLOR_MAPS)],
    ),
    (
        "Overlays",
        "What lies under the map, and how much of it is kept.",
        [
            (f"overlay_type={name}", {"overlay_type": name})
            for name in ("none", "original", "grayscale", "mask_black")
        ]
        + [
            (
                "overlay_type=original overlay_multiplier=0.3",
                {"overlay_type": "original", "overlay_multiplier": 0.3},
            ),
            ("overlay_type=mask_black type=outlines", {"overlay_type": "mask_black", "type": "outlines"}),
            ("overlay_type=mask_black, XRAI", {**XRAI, "type": "pixels", "overlay_type": "mask_black"}),
            ("overlay_type=none, XRAI", {**XRAI, "overlay_type": "none"}),
        ],
    ),
    (
        "Percentiles",
        "By rank, percentiles count the attributed pixels of the polarity: 98 to 100 are the top 2 % of them. By mass "
        "they count what pixels hold together: 40 keeps the strongest that hold 60 %.",
        [
            (
                "clip_below_percentile=0 clip_above_percentile=100",
                {"clip_below_percentile": 0, "clip_above_percentile": 100},
            ),
            ("the default, 62 to 99.9", {}),
            ("clip_below_percentile=90", {"clip_below_percentile": 90}),
            (
                "clip_below_percentile=98 clip_above_percentile=100",
                {"clip_below_percentile": 98, "clip_above_percentile": 100},
            ),
            ("clip_by=mass clip_below_percentile=40", {"clip_by": "mass", "clip_below_percentile": 40}),
            ("clip_below_percentile=40", {"clip_below_percentile": 40}),
        ],
    ),
    (
        "Sizes and places",
        "`resized_shape` is the size of the picture; with `translate` it is the size of the map, and the map lies with "
        "its origin at that place of the photo as it was given, here for a model that is fed a square cut out of it.",
        [
            ("resized_shape=[96, 192]", {"resized_shape": (96, 192)}),
            (
                "resized_shape=[144, 144] translate=[110, 20]",
                {"resized_shape": (144, 144), "translate": (110, 20)},
            ),
        ],
    ),
]


def scene() -> np.ndarray:
    """uint8 (SIZE, SIZE, 3): a balloon over hills, a tree, a barn; with grain."""
    side = SIZE * FINE
    down = np.linspace(0, 1, side)[:, None, None]
    sky = (1 - down) * np.array([96, 150, 214]) + down * np.array([222, 226, 224])
    canvas = Image.fromarray(np.broadcast_to(sky, (side, side, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(canvas)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * side, y * side) for x, y in points]

    for x, y, r in (
        (0.14, 0.16, 0.06),
        (0.2, 0.14, 0.075),
        (0.27, 0.165, 0.055),
        (0.82, 0.3, 0.05),
        (0.88, 0.29, 0.06),
    ):
        pen.ellipse(at((x - r, y - r * 0.6), (x + r, y + r * 0.6)), fill=(240, 242, 244))
    ridge = [(x, 0.74 + 0.05 * np.sin(7 * x + 1)) for x in np.linspace(0, 1, 60)]
    pen.polygon(at(*ridge, (1, 1), (0, 1)), fill=(128, 150, 104))
    near = [(x, 0.83 + 0.04 * np.sin(5 * x - 1)) for x in np.linspace(0, 1, 60)]
    pen.polygon(at(*near, (1, 1), (0, 1)), fill=(104, 126, 76))
    pen.rectangle(at((0.62, 0.74), (0.8, 0.86)), fill=(120, 66, 58))
    pen.polygon(at((0.6, 0.745), (0.71, 0.66), (0.82, 0.745)), fill=(84, 78, 82))
    pen.rectangle(at((0.19, 0.7), (0.215, 0.88)), fill=(92, 70, 50))
    for x, y, r in ((0.2, 0.62, 0.09), (0.14, 0.68, 0.06), (0.26, 0.68, 0.065)):
        pen.ellipse(at((x - r, y - r), (x + r, y + r)), fill=(48, 110, 44))
    # The balloon: an envelope of gores, ropes and a basket.
    middle, top, radius = 0.55, 0.1, 0.185
    pen.polygon(
        at((middle - 0.1, 0.42), (middle + 0.1, 0.42), (middle + 0.025, 0.54), (middle - 0.025, 0.54)),
        fill=(196, 48, 36),
    )
    for index, share in enumerate(np.linspace(1, 0.12, 5)):
        colour = ((206, 44, 34), (236, 168, 58))[index % 2]
        pen.ellipse(at((middle - radius * share, top), (middle + radius * share, top + 0.37)), fill=colour)
    canvas = lit(canvas, (middle, 0.3), 0.24, ((206, 44, 34), (236, 168, 58), (196, 48, 36)))
    pen = ImageDraw.Draw(canvas)
    for x in (-0.022, 0.022):
        pen.line(at((middle + x, 0.54), (middle + x * 0.8, 0.6)), fill=(70, 60, 50), width=FINE)
    pen.rectangle(at((middle - 0.026, 0.6), (middle + 0.026, 0.645)), fill=(140, 96, 52))
    canvas = lit(canvas, (0.2, 0.66), 0.15, ((48, 110, 44),))
    photo = np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS)).astype(float)
    grain = np.random.default_rng(0).normal(0, 7, (SIZE, SIZE, 1)) + np.random.default_rng(1).normal(
        0, 4, photo.shape
    )
    return np.clip(photo + grain, 0, 255).round().astype(np.uint8)


def lit(
    canvas: Image.Image, middle: tuple[float, float], radius: float, colours: tuple[tuple[int, int, int], ...]
) -> Image.Image:
    """A round thing of some colours lit from the upper left: darker to the right and down."""
    pixels = np.asarray(canvas).astype(float)
    side = pixels.shape[0]
    y, x = np.mgrid[:side, :side] / side
    away = ((x - middle[0]) + 0.5 * (y - middle[1])) / radius
    is_thing = np.min([np.abs(pixels - colour).max(axis=-1) for colour in colours], axis=0) < 20
    light = np.where(is_thing, np.clip(0.8 - 0.42 * away, 0.3, 1.15), 1.0)
    return Image.fromarray(np.clip(pixels * light[..., None], 0, 255).astype(np.uint8))


def attributions(photo: np.ndarray) -> np.ndarray:
    """float (SIZE, SIZE): what each pixel adds to the score of "balloon"."""
    red, green, blue = np.moveaxis(photo / 255, -1, 0)
    reddish = np.maximum(red - 0.7 * green - 0.35 * blue - 0.05, 0) ** 1.5
    leafy = np.maximum(green - 0.85 * red - 0.3 * blue - 0.02, 0) ** 1.5
    return np.asarray(reddish - 3 * leafy)


def main(folder: Path) -> None:
    """Writes the pictures and the page."""
    photo = scene()
    gradients = attributions(photo)
    regions = rank(gradients.astype(np.float32), segments(photo.astype(np.float32) / 255), "full")[0]
    place = folder / "gallery"
    place.mkdir(parents=True, exist_ok=True)
    (place / "scene.jpg").write_bytes(encode(photo, "jpeg"))
    lines = [
        "# Pictures",
        "",
        "Every option that pictures have, over one drawn scene. The made-up model looks for a balloon: reddish pixels "
        "count for it, leafy ones against it, so the barn's wall misleads it a little. `python examples/gallery.py "
        "docs` draws this page again.",
        "",
        "Options stand in the `visualization` of a metadata file, or on the command line: "
        "`rightreasons explain photo.jpg --model model.keras --picture color_map=viridis --picture polarity=both`.",
        "",
        "![The scene](gallery/scene.jpg)",
        "",
    ]
    for title, text, entries in CHAPTERS:
        lines += [f"## {title}", "", text, ""]
        for start in range(0, len(entries), 3):
            row = entries[start : start + 3]
            names = []
            for offset, (caption, options) in enumerate(row):
                name = f"{title.split()[0].lower()}-{start + offset + 1}.jpg"
                attribution = regions if "XRAI" in caption else gradients
                if "translate" in options:
                    # As of a model that was fed this part of the photo.
                    (x, y), (height, width) = options["translate"], options["resized_shape"]
                    attribution = attribution[y : y + height, x : x + width]
                picture = draw(photo, attribution, Visualization(**{**INTEGRATED_GRADIENTS, **options}))
                (place / name).write_bytes(encode(picture, "jpeg"))
                names.append(name)
            captions = [caption for caption, _ in row]
            shown = [f"![{caption}](gallery/{name})" for caption, name in zip(captions, names, strict=True)]
            lines += [f"| {' | '.join(captions)} |", f"|{'---|' * len(row)}", f"| {' | '.join(shown)} |", ""]
    (folder / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
