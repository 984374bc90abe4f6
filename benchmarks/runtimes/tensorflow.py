"""TensorFlow: a SavedModel, and its own signature function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import model
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "tensorflow"
OPTIONS: Final = {"intra_op_threads": 1, "inter_op_threads": 1}


def network(load: Workload) -> Any:
    """Return a Keras model: the MLP of all cases, or ResNet-50 with random weights."""
    import tensorflow as tf  # noqa: PLC0415  # 5 s that its users alone pay

    tf.keras.utils.set_random_seed(1)
    if load.name != MLP.name:
        image = tf.keras.Input(load.row_shape, name=load.input)
        net = tf.keras.applications.ResNet50(weights=None, input_tensor=image, classifier_activation=None)
        return tf.keras.Model(image, net.output, name=load.name)
    rows = tf.keras.Input(load.row_shape, name=load.input)
    hidden = tf.keras.layers.Dense(model.HIDDEN, "relu", use_bias=False)
    logits = tf.keras.layers.Dense(model.CLASSES, use_bias=False)
    net = tf.keras.Model(rows, logits(hidden(rows)))
    for layer, weights in zip((hidden, logits), model.weights(), strict=True):
        layer.set_weights([weights])
    return net


def write(load: Workload, version: Path) -> None:
    """See Runtime: a SavedModel with one signature, its output named as the workload's."""
    import tensorflow as tf  # noqa: PLC0415  # likewise

    net = network(load)
    spec = tf.TensorSpec((None, *load.row_shape), tf.float32, name=load.input)
    answer = tf.function(lambda rows: {load.output: net(rows, training=False)}, input_signature=[spec])
    tf.saved_model.save(net, str(version), signatures={"serving_default": answer.get_concrete_function()})


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:
    """See Runtime."""
    import tensorflow as tf  # noqa: PLC0415  # likewise

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(version))
    answer = loaded.signatures["serving_default"]
    (name,) = answer.structured_input_signature[1]

    def predict(rows: Floats) -> Floats:
        outputs: Floats = answer(**{name: tf.constant(rows)})[load.output].numpy()
        return outputs

    predict.loaded = loaded  # type: ignore[attr-defined]  # the function alone does not keep its variables
    return predict
