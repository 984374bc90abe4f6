"""What a program's file says in text that PyTorch evaluates: symbolic sizes, guards, names, structures, operators.

``torch.export.load`` hands sizes to sympy's eval, guards and names to exec, and operators and classes to getattr and
import. So a text must be one that an export writes, or it is refused: each check returns whether it is.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any, Final

_MOST_CHARACTERS: Final = 4096
# No quote that closes another, no comment, no line of its own, no escape.
_SIZE: Final = re.compile(r"[\w ().,*+/%<>=!|&~'-]*", re.ASCII)
_GUARD: Final = re.compile(r"[\w ().,*+/%<>=!|&~'\[\]-]*", re.ASCII)
_NAME: Final = re.compile(r"[\w.]*", re.ASCII)
_SYMBOL: Final = re.compile(r"(s|u|z|zf|zuf)\d+", re.ASCII)
_CONSTANTS: Final = frozenset({"oo", "int_oo", "true", "false", "nan"})
_FUNCTIONS: Final = re.compile(
    "Symbol|Integer|Rational|Float|Add|Mul|Pow|Max|Min|Mod|Abs|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|"
    "StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|And|Or|Not|floor|ceiling|sqrt|FloorDiv|"
    "ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|"
    "FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity|"
    "IsNonOverlappingAndDenseIndicator"
)
_ARITHMETIC: Final = (ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)
_COMPOSED: Final = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, *_ARITHMETIC)
_OPERATORS: Final = re.compile(
    "add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|lshift|rshift"
)
_TREES: Final = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
# Of PyTorch's own operators, those that open files.
_FILE_OPERATORS: Final = ("aten::from_file", "aten::save")
_LIBRARIES: Final = ("aten", "prims", "quantized_decomposed")
# How an export writes no_grad and autocast down.
_MODES: Final = frozenset(
    {
        "torch._C._set_grad_enabled",
        "torch.amp.autocast_mode._enter_autocast",
        "torch.amp.autocast_mode._exit_autocast",
    }
)
_HIGHER_ORDER: Final = re.compile(
    "cond|map_impl|while_loop|scan|associative_scan|wrap_with_set_grad_enabled|wrap_with_autocast|"
    "tag_activation_checkpoint"
)


def is_name(text: str) -> bool:
    """Whether it is a dotted name, or empty."""
    return _NAME.fullmatch(text) is not None and "__import__" not in text


def is_size(text: str) -> bool:
    """Whether it is a symbolic size as sympy's srepr writes it: ``Mul(Integer(2), Symbol('s0', integer=True))``."""
    tree = _parse(text, _SIZE)
    return tree is not None and _is_size(tree)


def is_guard(text: str) -> bool:
    """Whether it is a condition on the inputs' sizes: ``L['x'].size()[0] <= 8``."""
    tree = _parse(text, _GUARD)
    return tree is not None and _is_guard(tree)


def is_structure(text: str) -> bool:
    """Whether it is a tree specification in JSON of tuples, lists and dicts, and of nothing that is imported."""
    try:
        version, tree = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return False
    return version == 1 and "__enum__" not in text and _is_tree(tree)


def is_operator(text: str, torch: Any, libraries: tuple[str, ...]) -> bool:
    """Whether it names an operator of PyTorch's own, or of ``libraries``, that opens no file; looks it up."""
    first, *rest = text.split(".")
    if not is_name(text) or any(part.startswith("__") for part in rest):
        return False
    if first == "_operator":
        return len(rest) == 1 and _OPERATORS.fullmatch(rest[0]) is not None
    if first == "math":
        return len(rest) == 1 and hasattr(math, rest[0])
    if text.startswith("torch.ops.higher_order."):
        return len(rest) == 3 and _HIGHER_ORDER.fullmatch(rest[2]) is not None
    if text.startswith("torch.ops.") and len(rest) == 4 and rest[1] in (*_LIBRARIES, *libraries):
        found = getattr(getattr(getattr(torch.ops, rest[1]), rest[2], None), rest[3], None)
        return isinstance(found, torch._ops.OpOverload) and found.name().split(".")[0] not in _FILE_OPERATORS  # noqa: SLF001  # the class has no public name
    return text in _MODES or (re.fullmatch(r"torch\._?sym_\w+", text, re.ASCII) is not None and hasattr(torch, rest[0]))


def _parse(text: str, allowed: re.Pattern[str]) -> ast.AST | None:
    if len(text) > _MOST_CHARACTERS or not allowed.fullmatch(text):
        return None
    try:
        return ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _is_size_call(node)
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float, bool) or (isinstance(node.value, str) and _is_number(node.value))
    if isinstance(node, ast.Name):
        return node.id in _CONSTANTS or _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return False
    return isinstance(node, _COMPOSED) and all(_is_size(child) for child in ast.iter_child_nodes(node))


def _is_size_call(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    flags = [word.value.value if isinstance(word.value, ast.Constant) else None for word in call.keywords]
    if not _FUNCTIONS.fullmatch(name) or not all(isinstance(flag, bool) for flag in flags):
        return False
    if name == "Symbol":
        return len(call.args) == 1 and _is_text(call.args[0], _SYMBOL)
    # A tower of powers would keep the load busy for ever.
    is_small = "Pow" not in name or not any(_is_power(node) for inside in call.args for node in ast.walk(inside))
    return not flags and is_small and all(_is_size(argument) for argument in call.args)


def _is_power(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and "Pow" in node.func.id


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text, re.ASCII) is not None and len(text) < 64


def _is_guard(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return _is_guard_call(node)
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float, bool, type(None)) or _is_text(node, _NAME)
    if isinstance(node, ast.Name):
        return node.id == "L"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
        return False
    is_composed = isinstance(node, (*_COMPOSED, ast.Subscript))
    return is_composed and all(_is_guard(child) for child in ast.iter_child_nodes(node))


def _is_guard_call(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        reads = call.func.attr in ("size", "stride", "storage_offset") and not call.args and not call.keywords
        return reads and _is_guard(call.func.value)
    is_known = isinstance(call.func, ast.Name) and call.func.id in ("min", "max", "abs", "int", "float")
    return is_known and not call.keywords and all(_is_guard(argument) for argument in call.args)


def _is_text(node: ast.AST, pattern: re.Pattern[str]) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(pattern.fullmatch(node.value))


def _is_tree(tree: Any) -> bool:
    if not isinstance(tree, dict) or tree.get("type") not in _TREES:
        return False
    children = tree.get("children_spec")
    return isinstance(children, list) and all(_is_tree(child) for child in children)
