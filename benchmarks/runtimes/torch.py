"""PyTorch: an exported program, and the module that it unpacks to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from benchmarks import model
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "torch"
OPTIONS: Final = {"threads": 1}
# (channels inside, blocks, stride of the first block): the four stages of ResNet-50.
_STAGES: Final = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def network(load: Workload) -> Any:
    """Return a module: the MLP of all cases, or ResNet-50 with random weights."""
    import torch  # noqa: PLC0415  # 3 s that its users alone pay
    from torch import nn  # noqa: PLC0415  # likewise

    torch.manual_seed(1)
    if load.name != MLP.name:
        return _resnet(load.classes)
    net = nn.Sequential(
        nn.Linear(model.FEATURES, model.HIDDEN, bias=False),
        nn.ReLU(),
        nn.Linear(model.HIDDEN, model.CLASSES, bias=False),
    )
    with torch.no_grad():
        for place, weights in zip((0, 2), model.weights(), strict=True):
            layer: Any = net[place]
            layer.weight.copy_(torch.from_numpy(weights.T.copy()))
    return net


def write(load: Workload, version: Path) -> None:
    """See Runtime: an exported program with a batch of any size, its tensors named as the workload's."""
    import torch  # noqa: PLC0415  # likewise

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(load)

    class OfRows(Named):
        def forward(self, x: Any) -> Any:
            return {load.output: self.net(x)}

    class OfImages(Named):
        def forward(self, image: Any) -> Any:
            return {load.output: self.net(image)}

    named = OfRows() if load.name == MLP.name else OfImages()
    shapes = {load.input: {0: torch.export.Dim("batch", min=1, max=4096)}}
    program = torch.export.export(named.eval(), (torch.zeros(2, *load.row_shape),), dynamic_shapes=shapes)
    torch.export.save(program, version / "model.pt2")


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:
    """See Runtime."""
    import torch  # noqa: PLC0415  # likewise

    torch.set_num_threads(1)
    module = torch.export.load(version / "model.pt2").module()

    def predict(rows: Floats) -> Floats:
        with torch.inference_mode():
            answer: Floats = module(torch.from_numpy(rows))[load.output].numpy()
        return answer

    return predict


def write_signature(load: Workload, version: Path) -> None:
    """Write the signature of a format that has none in its file, beside it."""
    sides = (("inputs", load.input, load.row_shape), ("outputs", load.output, (load.classes,)))
    signature = {side: [{"name": name, "datatype": "FP32", "shape": [-1, *shape]}] for side, name, shape in sides}
    (version / "signature.json").write_text(json.dumps({"serving_default": signature}))


def _resnet(classes: int) -> Any:
    from torch import nn  # noqa: PLC0415  # likewise

    def convolution(channels: int, filters: int, size: int, stride: int) -> Any:
        return nn.Sequential(nn.Conv2d(channels, filters, size, stride, size // 2, bias=False), nn.BatchNorm2d(filters))

    class Block(nn.Module):
        def __init__(self, channels: int, width: int, stride: int) -> None:
            super().__init__()
            self.inside = nn.Sequential(
                convolution(channels, width, 1, 1),
                nn.ReLU(),
                convolution(width, width, 3, stride),
                nn.ReLU(),
                convolution(width, 4 * width, 1, 1),
            )
            is_same = channels == 4 * width
            self.beside = nn.Identity() if is_same else convolution(channels, 4 * width, 1, stride)

        def forward(self, image: Any) -> Any:
            return nn.functional.relu(self.inside(image) + self.beside(image))

    layers: list[Any] = [convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in _STAGES:
        for number in range(blocks):
            layers.append(Block(channels, width, stride if number == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
