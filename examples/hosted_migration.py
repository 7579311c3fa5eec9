"""From a model that was deployed with explanations to the same explanations here, and to what the service never gave.

    python examples/hosted_migration.py [FOLDER]

Trains a small network on drawn circles and squares, saves it as the services took it (file bytes in, the pair
xai_preprocess and xai_model, explanation_metadata.json beside it), sends it the request that a client would have sent,
and prints the answer. Takes well under a minute.
"""

import base64
import io
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
CLASSES = ["circle", "square"]

METADATA = {
    "framework": "tensorflow2",
    "inputs": {
        "image": {
            "input_tensor_name": "pixels",
            "modality": "image",
            "input_baselines": [0, 1],
            "domain": {"min": 0, "max": 1},
            "visualization": {
                "type": "Pixels",
                "polarity": "positive",
                "clip_below_percentile": 70,
                "clip_above_percentile": 99.9,
                "color_map": "pink_green",
                "overlay_type": "grayscale",
                "output_format": "png",
            },
        }
    },
    "outputs": {"probability": {"output_tensor_name": "scores", "index_name_mapping": CLASSES}},
}


def photo(kind: int, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """uint8 (size, size, 3): a circle (0) or a square (1) of a random colour, somewhere on a noisy ground."""
    dark, bright = rng.integers(0, 100, 3), rng.integers(150, 256, 3)
    ground, ink = (dark, bright) if rng.random() < 0.5 else (bright, dark)
    canvas = Image.new("RGB", (size, size), tuple(int(value) for value in ground))
    radius = int(rng.uniform(0.16, 0.3) * size)
    x, y = (int(value) for value in rng.integers(radius + 2, size - radius - 2, 2))
    pen = ImageDraw.Draw(canvas)
    shape = (pen.ellipse, pen.rectangle)[kind]
    shape((x - radius, y - radius, x + radius, y + radius), fill=tuple(int(value) for value in ink))
    noisy = np.asarray(canvas) + rng.normal(0, 8, (size, size, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def save(folder: Path) -> None:
    """A trained network with the signatures that the services asked for, and its metadata."""
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kinds = np.arange(600) % 2
    photos = np.stack([photo(int(kind), rng) for kind in kinds]).astype(np.float32) / 255
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(photos, kinds, epochs=12, batch_size=32, verbose=0)
    print(f"trained on 600 drawings, accuracy on them {history.history['accuracy'][-1]:.2f}")

    def decode(contents):
        pixels = tf.io.decode_image(contents, channels=3, expand_animations=False)
        return tf.image.resize(tf.cast(pixels, tf.float32) / 255.0, (SIZE, SIZE))

    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def preprocess(self, bytes_inputs):
            return {"pixels": tf.map_fn(decode, bytes_inputs, fn_output_signature=tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)])
        def scores(self, pixels):
            return {"scores": self.network(pixels, training=False)}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def serve(self, bytes_inputs):
            return self.scores(**self.preprocess(bytes_inputs))

    served = Served()
    signatures = {
        "serving_default": served.serve,
        "xai_preprocess": served.preprocess,
        "xai_model": served.scores,
    }
    tf.saved_model.save(served, str(folder), signatures=signatures)
    (folder / "explanation_metadata.json").write_text(json.dumps(METADATA, indent=2))


def main(folder: Path) -> int:
    from pipelines.cli import main as rightreasons
    from pipelines.quiet import load_tensorflow

    load_tensorflow()
    model = folder / "model"
    save(model)
    rng = np.random.default_rng(7)
    instances = [{"image": {"b64": base64.b64encode(png(photo(kind, rng, 160))).decode()}} for kind in (0, 1)]
    (folder / "request.json").write_text(json.dumps({"instances": instances}))
    arguments = [
        "explain",
        "--model",
        str(model),
        "--instances",
        str(folder / "request.json"),
        "--step-count",
        "25",
    ]
    print(
        "$ rightreasons explain --model model --instances request.json --step-count 25 --json answer.json …"
    )
    code = rightreasons(
        [*arguments, "--json", str(folder / "answer.json"), "--raw", str(folder / "maps.npz")]
    )
    answer = json.loads((folder / "answer.json").read_text())
    for number, explanation in enumerate(answer["explanations"]):
        (found,) = explanation["attributions_by_label"]
        picture = folder / f"instance-{number}.png"
        picture.write_bytes(base64.b64decode(found.pop("attributions")["image"]["b64_png"]))
        print(f"{picture.name}: {json.dumps(found)}")
    print(
        "$ rightreasons explain … --methods xrai --picture type=regions --picture color_map=viridis --out pictures"
    )
    pictures = ["--methods", "xrai", "--picture", "type=regions", "--picture", "color_map=viridis"]
    return code or rightreasons([*arguments, *pictures, "--out", str(folder / "pictures")])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(Path(temporary)))
