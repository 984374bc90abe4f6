"""MLServer's Kafka server: V2 JSON in and out, no group, no commit: at-most-once, for it has nothing else.

Run as a program, this writes MLServer's settings and becomes ``mlserver start``; MLServer imports ``Mlp`` from here.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.contenders.work import load_model


class Mlp(MLModel):  # type: ignore[misc]  # its package is only in the environment of its own
    """The model as a custom runtime; MLServer stacks the rows of several requests before ``predict``."""

    async def load(self) -> bool:
        """See MLModel."""
        extra = self.settings.parameters.extra
        self._predict = load_model(extra["model"], extra["openvino"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """See MLModel."""
        logits = self._predict(NumpyCodec.decode_input(payload.inputs[0]))
        output = NumpyCodec.encode_output("logits", logits)
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=[output])


def main() -> None:
    """Write the settings and start."""
    settings = json.loads(sys.argv[1])
    folder = Path(settings["folder"])
    ports = dict(zip(("http_port", "grpc_port", "metrics_port"), settings["ports"], strict=True))
    server = {
        "kafka_enabled": True,
        "kafka_servers": settings["bootstrap"],
        "kafka_topic_input": settings["requests"],
        "kafka_topic_output": settings["results"],
        "parallel_workers": 0,
        "debug": False,
        "host": "127.0.0.1",
        "logging_settings": {"version": 1, "root": {"level": "WARNING"}, "loggers": {"mlserver": {"level": "WARNING"}}},
        **ports,
    }
    model = {
        "name": "mlp",
        "implementation": f"{__package__}.mlserver.Mlp",
        "parameters": {"extra": {"model": settings["model"], "openvino": settings["openvino"]}},
        "max_batch_size": settings["batch_size"],
        "max_batch_time": settings["batch_time_s"],
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = Path(sys.executable).with_name("mlserver")
    os.execv(command, [str(command), "start", str(folder)])  # noqa: S606  # no shell; its process id stays ours


if __name__ == "__main__":
    main()
