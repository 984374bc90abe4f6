"""PyTorch models in files, and what an attacker makes of them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import torch


class Net(torch.nn.Sequential):
    """64 -> hidden -> 10; what state dicts of the tests are loaded into."""

    def __init__(self, hidden=32):
        super().__init__(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))


class Touch:
    """A pickle bomb: whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


class Cast(torch.nn.Module):
    """Returns its input in a dtype, and in a structure."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        return x.to(self.dtype)


def export(module, inputs, path, *, batch=True, **more):
    """Save the module as an exported program; axis 0 of all positional inputs is the batch."""
    if batch:
        axis = torch.export.Dim("batch", min=1)
        more["dynamic_shapes"] = tuple({0: axis} for _ in inputs)
    torch.export.save(torch.export.export(module.eval(), tuple(inputs), **more), path)
    return path


def rewritten(source, target, changes, *, compress=False):
    """Copy a zip file with records changed: name without its folder -> new content, or a function of the old."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        names = old.namelist()
        root = names[0].partition("/")[0]
        for name in names:
            content = old.read(name)
            change = changes.get(name.removeprefix(f"{root}/"), content)
            how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            new.writestr(name, change(content) if callable(change) else change, how)
        for name in set(changes) - {name.removeprefix(f"{root}/") for name in names}:
            new.writestr(f"{root}/{name}", changes[name])
    return Path(target)


def in_program(change):
    """A change of ``models/model.json``, made by a function of the parsed program and of its text."""

    def changed(content):
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return {"models/model.json": changed}


def saved(value):
    """The bytes that torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
