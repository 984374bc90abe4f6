"""PyTorch: exported programs, TorchScript, and a state dict for a module that the operator names."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import nn

from tests.acceptance.kinds import asked


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"probabilities": torch.softmax(self.out(torch.relu(self.hidden(image))), 1)}


class Numbers(nn.Module):
    def forward(self, bool, u8, i8, i16, i32, i64, f16, f32, f64):  # noqa: A002  # names of tensors
        return {
            "bool_out": bool.clone(),
            "u8_out": u8.clone(),
            "i8_out": i8.clone(),
            "i16_out": i16.clone(),
            "i32_out": i32.clone(),
            "i64_out": i64.clone(),
            "f16_out": f16.clone(),
            "f32_out": f32.clone(),
            "f64_out": f64.clone(),
        }


def main() -> None:
    folder = asked.folder()
    images, labels = (torch.from_numpy(array) for array in asked.digits())
    net = trained(images, labels)
    example, rows = images[:40], {0: torch.export.Dim("batch", min=1, max=4096)}
    with torch.inference_mode():
        answers = net(example)
    same = ({"image": example.numpy()}, {name: tensor.numpy() for name, tensor in answers.items()})

    program = torch.export.export(net, (example,), dynamic_shapes={"image": rows})
    torch.export.save(program, asked.version(folder, "exported") / "model.pt2")
    asked.write(folder, "exported", serving_default=same)

    numbers = {name: torch.from_numpy(array) for name, array in asked.TORCH_NUMBERS.items()}
    shapes = dict.fromkeys(numbers, rows)
    program = torch.export.export(Numbers(), tuple(numbers.values()), dynamic_shapes=shapes)
    torch.export.save(program, asked.version(folder, "exported-numbers") / "model.pt2")
    torch.jit.script(Numbers()).save(asked.version(folder, "torchscript-numbers") / "model.pt")
    outputs = {name: tensor.numpy() for name, tensor in Numbers()(*numbers.values()).items()}
    for stream in ("exported-numbers", "torchscript-numbers"):
        asked.write(folder, stream, serving_default=(asked.TORCH_NUMBERS, outputs))

    torch.jit.script(net).save(asked.version(folder, "torchscript") / "model.pt")
    asked.write(folder, "torchscript", serving_default=same)
    torch.save(net.state_dict(), asked.version(folder, "state-dict") / "model.pth")
    save_file(net.state_dict(), asked.version(folder, "safetensors") / "model.safetensors")
    for stream in ("state-dict", "safetensors"):
        asked.write(folder, stream, serving_default=same)


def trained(images: torch.Tensor, labels: torch.Tensor) -> Digits:
    torch.manual_seed(1)
    net = Digits()
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(50):
        optimiser.zero_grad()
        nn.functional.nll_loss(net(images)["probabilities"].log(), labels).backward()
        optimiser.step()
    return net.eval()


if __name__ == "__main__":
    main()
