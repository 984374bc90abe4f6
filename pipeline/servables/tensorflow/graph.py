"""Which part of a graph some of its nodes need, and where the value of an input comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

_CALLS: Final = ("PartitionedCall", "StatefulPartitionedCall")
_PASS_ON: Final = ("Identity", "StopGradient")
_READ: Final = "ReadVariableOp"
_VARIABLES: Final = ("VarHandleOp", "VariableV2")
_ASSIGN: Final = "AssignVariableOp"
# Beginnings of the names of what changes a part of a variable.
_CHANGE: Final = ("ResourceScatter", "ResourceStridedSlice")
_DT_STRING: Final = 7


class Part(NamedTuple):
    """Names of nodes of a graph, and of the functions of its library that they call, directly or not."""

    nodes: frozenset[str]
    functions: frozenset[str]


class Graph:
    """A ``GraphDef`` (protobuf) with its nodes and functions by name; a name that it lacks raises KeyError."""

    def __init__(self, definition: Any) -> None:
        self.nodes = {node.name: node for node in definition.node}
        self.functions = {function.signature.name: function for function in definition.library.function}
        if len(self.nodes) != len(definition.node) or len(self.functions) != len(definition.library.function):
            raise ValueError("two nodes or two functions have one name")
        self._callers: dict[str, list[tuple[str, Any]]] | None = None

    def part(self, roots: Iterable[str]) -> Part:
        """Return all that has to run before the ``roots`` (names of nodes or tensors) have their values."""
        nodes: set[str] = set()
        functions: set[str] = set()
        waiting = [node_name(root) for root in roots]
        called: list[str] = []
        while waiting:
            name = waiting.pop()
            if name not in nodes:
                nodes.add(name)
                node = self.nodes[name]
                waiting += map(node_name, node.input)
                called += calls(node)
        while called:
            name = called.pop()
            if name not in functions and name in self.functions:
                functions.add(name)
                called += (callee for node in self.functions[name].node_def for callee in calls(node))
        return Part(frozenset(nodes), frozenset(functions))

    def variables(self, nodes: Iterable[str]) -> set[str]:
        """Return the variables of the graph that some of these nodes take."""
        taken = {node_name(tensor) for name in nodes for tensor in self.nodes[name].input}
        return {name for name in taken if self.nodes[name].op in _VARIABLES}

    def each(self, part: Part) -> Iterator[tuple[str, Any]]:
        """Yield every node of a part with the name of its function, "" for the graph itself."""
        for name in part.nodes:
            yield "", self.nodes[name]
        for name in part.functions:
            for node in self.functions[name].node_def:
                yield name, node

    def origins(self, function: str, tensor: str) -> set[str]:
        """Return the nodes of the graph whose text an input of a node in ``function`` has, passed on as it is.

        Of a variable it is that of whatever is assigned to any variable of text. "" stands for a node in a function,
        and for what is passed on in another way than by calls and variables.
        """
        found: set[str] = set()
        seen: set[tuple[str, str]] = set()
        waiting = [(function, tensor)]
        while waiting:
            scope, name = waiting.pop()
            if (scope, name) not in seen:
                seen.add((scope, name))
                found |= self._step(scope, name, waiting)
        return found

    def _step(self, scope: str, tensor: str, waiting: list[tuple[str, str]]) -> set[str]:
        if not scope:
            return self._pass_on(scope, self.nodes[node_name(tensor)], waiting)
        definition = self.functions[scope]
        arguments = [argument.name for argument in definition.signature.input_arg]
        if tensor in arguments:
            place = arguments.index(tensor)
            callers = self._calls_of(scope)
            waiting += ((caller, node.input[place]) for caller, node in callers if node.op in _CALLS)
            return {""} if any(node.op not in _CALLS for _, node in callers) else set()
        inside = next(node for node in definition.node_def if node.name == node_name(tensor))
        return self._pass_on(scope, inside, waiting)

    def _pass_on(self, scope: str, node: Any, waiting: list[tuple[str, str]]) -> set[str]:
        if node.op in _PASS_ON:
            waiting.append((scope, node.input[0]))
            return set()
        if node.op != _READ:
            return {"" if scope else node.name}
        found = set()
        for place, writer in self.each(Part(frozenset(self.nodes), frozenset(self.functions))):
            if any(value.type == _DT_STRING for value in writer.attr.values()):
                if writer.op == _ASSIGN:
                    waiting.append((place, writer.input[1]))
                elif writer.op.startswith(_CHANGE):
                    found.add("")
        return found

    def _calls_of(self, function: str) -> list[tuple[str, Any]]:
        if self._callers is None:
            self._callers = {}
            everything = Part(frozenset(self.nodes), frozenset(self.functions))
            for scope, node in self.each(everything):
                for callee in calls(node):
                    self._callers.setdefault(callee, []).append((scope, node))
        return self._callers.get(function, [])


def node_name(tensor: str) -> str:
    """Return the node of ``node``, ``node:0``, ``node:output:0`` or ``^node``."""
    return tensor.removeprefix("^").partition(":")[0]


def calls(node: Any) -> list[str]:
    """Return what a node may call: the functions that its attributes name, and one that its operation may be."""
    named = [node.op]
    for value in node.attr.values():
        if value.HasField("func"):
            named.append(value.func.name)
        elif value.HasField("list"):
            named += (function.name for function in value.list.func)
    return named
