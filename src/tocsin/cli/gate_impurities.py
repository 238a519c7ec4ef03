"""Finds what makes a decision depend on more than its input, where linters do not look.

It reads the syntax tree only, so it knows a set by how it was written or annotated, not by its type.
"""

import ast
from collections.abc import Iterable, Iterator

CLOCKS_AND_CHANCE = frozenset(
    {"now", "utcnow", "today", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time_ns"}
    | {"urandom", "getrandbits", "token_bytes", "token_hex", "uuid1", "uuid4", "environ", "getenv"}
)
CALLS = {
    "hash": "hash() differs from run to run: take a digest",
    "id": "id() is an address in memory: compare with `is`, or take a name",
    "open": "open() is for the shell: the bytes arrive as an argument",
    "print": "print() is for the shell: say it with an event",
    "input": "input() is for the shell",
    "__import__": "an import that the contracts cannot see",
    "eval": "eval() runs what the contracts cannot see",
    "exec": "exec() runs what the contracts cannot see",
}
MODULES = frozenset(
    {
        "time",
        "sched",
        "random",
        "secrets",
        "uuid",
        "os",
        "io",
        "locale",
        "platform",
        "signal",
        "socket",
        "select",
    }
    | {
        "asyncio",
        "threading",
        "concurrent",
        "multiprocessing",
        "subprocess",
        "queue",
        "tempfile",
        "importlib",
    }
)
"""Whoever imports one of them can ask the machine."""
INDIFFERENT = frozenset(
    {"sorted", "len", "any", "all", "set", "frozenset", "min", "max"}
)  # order is no matter here
IN_ORDER = frozenset({"list", "tuple", "enumerate", "iter", "next", "zip", "map", "filter", "reversed"})
SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
SET_NAMES = frozenset({"set", "frozenset", "Set", "AbstractSet", "FrozenSet", "MutableSet"})
SET_ITERATED = "a set has no order: sort it, or keep a tuple or a dict"


def is_set_type(annotation: ast.expr | None) -> bool:
    """Does this annotation say set? (`set[str]`, `frozenset`, `set[str] | None`)"""
    match annotation:
        case ast.Name(id=name):
            return name in SET_NAMES
        case ast.Subscript(value=value):
            return is_set_type(value)
        case ast.Attribute(attr=name):
            return name in SET_NAMES
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return is_set_type(left) or is_set_type(right)
        case _:
            return False


def set_fields(trees: Iterable[ast.AST]) -> frozenset[str]:
    """The attributes that any class annotates as a set, over all these modules."""
    return frozenset(
        line.target.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and is_set_type(line.annotation)
    )


class Reader(ast.NodeVisitor):
    """Walks one module and collects (line, what is wrong with it)."""

    def __init__(self, fields: frozenset[str], *, floats: bool) -> None:
        self.fields = fields
        self.floats = floats
        self.scopes: list[set[str]] = [set()]
        self.indifferent: set[ast.AST] = set()
        self.found: list[tuple[int, str]] = []

    def say(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.found.append((node.lineno, what))

    # ------------------------------------------------------------ sets

    def is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in SET_METHODS:
                return self.is_set(value)
            case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), left=left, right=right):
                return self.is_set(left) or self.is_set(right)
            case ast.IfExp(body=body, orelse=other):
                return self.is_set(body) or self.is_set(other)
            case ast.Name(id=name):
                return any(name in scope for scope in self.scopes)
            case ast.Attribute(attr=name):
                return name in self.fields
            case _:
                return False

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                (self.scopes[-1].add if self.is_set(node.value) else self.scopes[-1].discard)(target.id)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and is_set_type(node.annotation):
            self.scopes[-1].add(node.target.id)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.scopes.append({one.arg for one in arguments if is_set_type(one.annotation)})
        self.generic_visit(node)
        self.scopes.pop()

    def visit_For(self, node: ast.For) -> None:
        if self.is_set(node.iter):
            self.say(node.iter, SET_ITERATED)
        self.generic_visit(node)

    def visit_comprehensions(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        if node not in self.indifferent and any(self.is_set(part.iter) for part in node.generators):
            self.say(node, SET_ITERATED)
        self.generic_visit(node)

    visit_ListComp = visit_GeneratorExp = visit_DictComp = visit_comprehensions

    def visit_Starred(self, node: ast.Starred) -> None:
        if self.is_set(node.value) and node not in self.indifferent:
            self.say(node, SET_ITERATED)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        self.indifferent.update(node.elts)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        if self.is_set(node.value):
            self.say(node, SET_ITERATED)
        self.generic_visit(node)

    # ------------------------------------------------------------ imports, calls and names

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self.imported(node, name.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if not node.level:
            self.imported(node, node.module or "")

    def imported(self, node: ast.stmt, module: str) -> None:
        if module.partition(".")[0] in MODULES:
            self.say(
                node, f"{module} is the clock, chance or the machine: `at` and bytes arrive with the input"
            )

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in INDIFFERENT:
                self.indifferent.update(node.args)
            case ast.Name(id=name) if name in IN_ORDER and any(map(self.is_set, node.args)):
                self.say(node, SET_ITERATED)
            case ast.Attribute(attr="join" | "fromkeys" | "extend") if any(map(self.is_set, node.args)):
                self.say(node, SET_ITERATED)
            case ast.Attribute(value=value, attr="pop") if self.is_set(value) and not node.args:
                self.say(node, SET_ITERATED)
            case ast.Name(id=name) if name in CALLS:
                self.say(node, CALLS[name])
            case ast.Name(id="float") if self.floats:
                self.say(node, "a float does not survive canonical JSON: integers, or decimals as strings")
            case ast.Name(id="getattr"):
                for argument in node.args[1:2]:
                    if isinstance(argument, ast.Constant) and argument.value in CLOCKS_AND_CHANCE:
                        self.say(
                            node, f"{argument.value} by another way is still the clock, chance or environment"
                        )
            case _:
                pass
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in CLOCKS_AND_CHANCE:
            self.say(node, f".{node.attr} asks the machine: `at` and everything random arrive with the input")
        self.generic_visit(node)

    # ------------------------------------------------------------ the rest

    def visit_Constant(self, node: ast.Constant) -> None:
        if self.floats and isinstance(node.value, float):
            self.say(node, "a float does not survive canonical JSON: integers, or decimals as strings")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if self.floats and isinstance(node.op, ast.Div):
            self.say(node, "/ makes a float: // keeps integers")
        self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.say(node, "nothing in here waits: async belongs in the runtime")
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.say(node, "state is a value that is passed, not a global")


def impurities(source: str, *, fields: frozenset[str] = frozenset(), floats: bool = False) -> Iterator[str]:
    """Everything in this module that the input alone does not decide, as `line: what`.

    fields: names of attributes that are sets, from `set_fields`.
    floats: also refuse floats.
    """
    tree = ast.parse(source)
    reader = Reader(fields | set_fields([tree]), floats=floats)
    reader.visit(tree)
    yield from (f"{line}: {what}" for line, what in sorted(reader.found))
