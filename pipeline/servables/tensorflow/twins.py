"""Variables of Keras 3 as ``tf.saved_model.save`` writes them: twice, and only the one that nothing reads is restored.

A Keras variable exports the ``tf.Variable`` that functions read, and for itself another, which starts with what the
first holds. The checkpoint is that of the other. ``tf.saved_model.load`` makes objects, and does not meet the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.servables.tensorflow.graph import Graph, node_name


def unite(graph: Graph, restore: Iterable[str]) -> None:
    """Put the variable that is read in place of its twin, so that ``restore`` (roots in the graph) fills it.

    Twins are of one type and shape, the one starts with what the other holds, and it alone is restored. Raises
    ValueError where a variable has two of them, KeyError and IndexError for a graph that does not fit together.
    """
    filled = graph.variables(graph.part(restore).nodes)
    read_of = {twin: read for twin, read in _starts(graph) if twin in filled and read not in filled}
    if len(set(read_of.values())) != len(read_of):
        raise ValueError("two variables are restored in place of one")
    for node in graph.nodes.values() if read_of else ():
        for place, tensor in enumerate(node.input):
            if tensor.removesuffix(":0") in read_of:
                node.input[place] = read_of[tensor.removesuffix(":0")]


def _starts(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield each variable that an operation outside of functions gives what another like it holds, and that other."""
    for node in graph.nodes.values():
        if node.op == "AssignVariableOp":
            target, value = (graph.nodes[node_name(tensor)] for tensor in node.input[:2])
            if target.op == "VarHandleOp" and value.op == "ReadVariableOp":
                source = graph.nodes[node_name(value.input[0])]
                if all(target.attr.get(name) == source.attr.get(name) for name in ("dtype", "shape")):
                    yield target.name, source.name
