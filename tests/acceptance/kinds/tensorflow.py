"""TensorFlow: a SavedModel with several signatures, and a ``.keras`` file."""

from __future__ import annotations

import openvino as ov
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.acceptance.kinds import asked


def main() -> None:
    folder = asked.folder()
    images, labels = asked.digits()
    tf.keras.utils.set_random_seed(1)
    net = tf.keras.Sequential(
        [
            tf.keras.Input((64,), name="image"),
            tf.keras.layers.Dense(32, "relu"),
            tf.keras.layers.Dense(10, "softmax", name="probabilities"),
        ]
    )
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(images, labels, epochs=3, verbose=0)

    module = tf.Module()
    module.net = net
    signatures = {
        "serving_default": tf.function(
            lambda image: {"probabilities": net(image, training=False)},
            input_signature=[rows(tf.float32, 64, name="image")],
        ),
        "text": tf.function(
            lambda text: {"upper": tf.strings.upper(text)}, input_signature=[rows(tf.string, 1, name="text")]
        ),
        "numbers": tf.function(
            lambda **numbers: {f"{name}_out": tf.identity(number) for name, number in numbers.items()},
        ).get_concrete_function(
            **{name: rows(tf.as_dtype(array.dtype), 1, name=name) for name, array in asked.NUMBERS.items()}
        ),
    }
    tf.saved_model.save(module, str(asked.version(folder, "saved-model")), signatures=signatures)

    loaded = tf.saved_model.load(str(folder / "saved-model" / "1"))

    def ask(signature, **inputs):
        outputs = loaded.signatures[signature](**{name: tf.constant(array) for name, array in inputs.items()})
        return inputs, {name: tensor.numpy() for name, tensor in outputs.items()}

    asked.write(
        folder,
        "saved-model",
        serving_default=ask("serving_default", image=images[:40]),
        text=ask("text", text=asked.TEXTS),
        numbers=ask("numbers", **asked.NUMBERS),
    )

    net.save(asked.version(folder, "keras") / "model.keras")
    answers = tf.keras.models.load_model(folder / "keras" / "1" / "model.keras")(images[:40]).numpy()
    asked.write(folder, "keras", serving_default=({"image": images[:40]}, {"probabilities": answers}))

    for_openvino(folder, images[:40], module, signatures["serving_default"])


def for_openvino(folder, images, module, network):
    """The same network as files that OpenVINO reads, and as OpenVINO answers."""
    saved = asked.version(folder, "saved-model-in-openvino")
    tf.saved_model.save(module, str(saved), signatures={"serving_default": network})
    frozen = asked.version(folder, "frozen-graph")
    graph = convert_variables_to_constants_v2(network.get_concrete_function()).graph
    (frozen / "frozen_inference_graph.pb").write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))
    for stream, model in (("saved-model-in-openvino", saved), ("frozen-graph", frozen / "frozen_inference_graph.pb")):
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        names = compiled.input(0).get_any_name(), compiled.output(0).get_any_name()
        answers = compiled([images])[0]
        asked.write(folder, stream, serving_default=({names[0]: images}, {names[1]: answers}))


def rows(dtype, *axes, name):
    return tf.TensorSpec((None, *axes), dtype, name=name)


if __name__ == "__main__":
    main()
