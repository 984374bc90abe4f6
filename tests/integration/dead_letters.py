"""Requests that are put aside, and `penstock dead-letters` for them, on either broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.commands import main
from pipeline.records import PredictRequest
from pipeline.tensors import from_array

CODEC = AvroCodec()
START_MS = 1_700_000_000_000


def request(id_: str, servable: str = "") -> bytes:
    inputs = (from_array("x", np.array([[1.0, 2.0]], np.float32)),)
    return CODEC.encode_request(PredictRequest(id_, servable=servable, inputs=inputs))


class Letters:
    """The settings file of a route whose letters the command looks at."""

    config: Path

    def run(self, *arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, ["dead-letters", *arguments, "-c", str(self.config)], **more)

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
