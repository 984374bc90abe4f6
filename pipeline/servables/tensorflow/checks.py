"""What a graph must not do: everything but compute, unless it is allowed by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.tensorflow.graph import Graph, Part, node_name
from pipeline.servables.tensorflow.safe_ops import SAFE_OPS

# Operations that read a file of the model's own, and which of their inputs is its path.
RESTORE: Final = {"RestoreV2": 0}
READ_VOCABULARY: Final = {"InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1}
_MOST_NAMED: Final = 5


class OpCheck:
    """Checks of one graph; ``used`` are those of the ``allowed`` operations that it has come across."""

    def __init__(self, what: str, graph: Graph, allowed: Collection[str]) -> None:
        self._what = what
        self._graph = graph
        self._allowed = frozenset(allowed)
        self.used: set[str] = set()

    def computes_only(self, part: Part) -> None:
        """Raise InvalidArtefact for an operation that is neither known to only compute, nor allowed."""
        self.reads(part, {}, ())

    def reads(self, part: Part, readers: dict[str, int], sources: Collection[str]) -> None:
        """Check a part that may have ``readers``, too, if they get their path from the tensors ``sources`` alone."""
        refused: dict[str, str] = {}
        own = {node_name(source) for source in sources}
        for function, node in self._graph.each(part):
            where = f"{node.op} (node {node.name!r}{f' of {function!r}' if function else ''})"
            if node.op in self._allowed:
                self.used.add(node.op)
            elif node.op in readers:
                if not self._graph.origins(function, node.input[readers[node.op]]) <= own:
                    reason = f"{where} reads a file that the model does not name as its own"
                    raise InvalidArtefact(self._what, f"{reason}; nothing was run. The option allow_ops can allow it")
            elif node.op not in SAFE_OPS and node.op not in self._graph.functions:
                refused.setdefault(node.op, where)
        if refused:
            named = ", ".join(list(refused.values())[:_MOST_NAMED])
            reason = f"the model has operations that are not known to only compute: {named}; nothing of it was run"
            advice = "Export it without them, or name them in the option allow_ops if you trust its maker"
            raise InvalidArtefact(self._what, f"{reason}. {advice}")
