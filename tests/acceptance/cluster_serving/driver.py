"""Runs one of the ancestor's clients and says what it did: ``python driver.py MODULE``, one JSON command a line.

For the environments of those clients alone, which have nothing of ours. ``{"new": name, "class": name, "with": {}}``
makes an object, ``{"call": name, "method": name, "args": [], "with": {}}`` calls it. The object ``module`` is the
client itself, a method may be one of a part (``cli.post``), and with ``"keep": name`` what it returns is an object of
that name. The answer is one line, with what was ``returned``, or ``raised`` and its ``text``.
"""

import importlib
import json
import operator
import os
import sys

import numpy as np

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # the clients print


def given(value):
    """Return an argument: ``{"array": nested, "dtype": name}`` is an array, ``{"object": name}`` what was kept."""
    if isinstance(value, dict) and "array" in value:
        return np.array(value["array"], value.get("dtype", "float32"))
    if isinstance(value, dict) and "object" in value:
        return objects[value["object"]]
    if isinstance(value, list):
        return [given(item) for item in value]
    if isinstance(value, dict):
        return {key: given(item) for key, item in value.items()}
    return value


def told(value):
    """Return what a client has returned, in JSON."""
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": value.shape, "array": value.tolist()}
    if isinstance(value, list):
        return [told(item) for item in value]
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    return value


module = importlib.import_module(sys.argv[1])
objects = {"module": module}
for line in sys.stdin:
    command = json.loads(line)
    arguments = {key: given(value) for key, value in command.get("with", {}).items()}
    try:
        if "new" in command:
            objects[command["new"]] = getattr(module, command["class"])(**arguments)
            answer = {"returned": None}
        else:
            method = operator.attrgetter(command["method"])(objects[command["call"]])
            returned = method(*map(given, command.get("args", [])), **arguments)
            if "keep" in command:
                objects[command["keep"]], returned = returned, None
            answer = {"returned": told(returned)}
    except Exception as error:  # noqa: BLE001  # whatever it is, the test shall see it
        answer = {"raised": type(error).__name__, "text": str(error)}
    print(json.dumps(answer), file=answers, flush=True)
