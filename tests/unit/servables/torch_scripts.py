"""Modules that torch.jit.script compiles; it reads annotations, so that this module leaves them as they are."""

import torch


class Writes(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        self.path = str(path)
        self.l = torch.nn.Linear(64, 10)

    def forward(self, input):  # noqa: A002  # as in Net
        torch.save(input, self.path)
        return self.l(input)


class WritesWhenLoaded(torch.nn.Module):
    path: str

    def __init__(self, path):
        super().__init__()
        self.path = str(path)

    def forward(self, input):  # noqa: A002  # as in Net
        return input

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        torch.save(state, self.path)


class TwoMethods(torch.nn.Module):
    def forward(self, x):
        return x * 2

    @torch.jit.export
    def halved(self, x):
        return x / 2
