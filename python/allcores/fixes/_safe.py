"""May a function run in another process or thread, out of turn, without the program noticing?

Only what can be told from the source counts: the function stands at module level, computes with its own
objects, and calls what is known to have no effect. Everything else is withheld, with the reason.
"""

from __future__ import annotations

import ast
import builtins

from allcores.fixes._apart import require_unchanged
from allcores.fixes._module import READERS, Module, loaded, parameters, root, stored, words
from allcores.fixes._request import Withheld
from allcores.fixes._source import AnyFunction

_BUILTINS = words(
    "abs all any ascii bin bool bytearray bytes chr complex dict divmod enumerate filter float format frozenset "
    "hex int isinstance issubclass len list map max min oct ord pow range repr reversed round set slice sorted "
    "str sum tuple zip"
)
# Whole modules, or functions of one, that change nothing but what they are given and are the same in each process.
_PURE = words(
    "math cmath hashlib itertools operator statistics string struct base64 binascii zlib decimal fractions "
    "textwrap unicodedata difflib json.loads json.dumps re.compile re.sub re.subn re.match re.search re.findall "
    "re.split re.fullmatch re.finditer re.escape functools.reduce bisect.bisect bisect.bisect_left "
    "bisect.bisect_right heapq.nlargest heapq.nsmallest heapq.merge collections.Counter collections.defaultdict "
    "collections.deque copy.copy copy.deepcopy random.Random html.escape html.unescape gzip.compress "
    "gzip.decompress bz2.compress bz2.decompress lzma.compress lzma.decompress datetime.timedelta "
    "urllib.parse"
)
_CLOCK = {"time.monotonic", "time.time", "time.perf_counter", "time.sleep"}
NETWORK = {
    "urllib.request.urlopen",
    "urllib.request.Request",
    "requests.get",
    "httpx.get",
    "socket.create_connection",
    "http.client.HTTPConnection",
    "http.client.HTTPSConnection",
}
# What a coroutine may await or hold meanwhile; of a client only what asks, and changes nothing on the other side.
_AWAITED = {"asyncio.sleep", "asyncio.open_connection", "asyncio.wait_for", "asyncio.timeout"}
CLIENTS = {"aiohttp.ClientSession", "httpx.AsyncClient"}
_ASKS = {"get", "head", "options"}
_EXCEPTIONS = {n for n, v in vars(builtins).items() if isinstance(v, type) and issubclass(v, BaseException)}


class _Check:
    """One function, and what it calls."""

    def __init__(
        self,
        module: Module,
        process: bool,
        network: bool,
        coroutine: bool = False,
        clients: frozenset[str] = frozenset(),
    ) -> None:
        self.module = module
        self.process = process
        self.coroutine = coroutine
        self.clients = clients  # parameters of the first function that hold a client
        self.allowed = (
            _PURE | _CLOCK | (NETWORK if network else set()) | (_AWAITED | CLIENTS if coroutine else set())
        )
        self.seen: set[str] = set()
        self.globals: set[str] = set()

    def function(self, name: str) -> None:
        if name in self.seen:
            return
        self.seen.add(name)
        function = self.module.functions[name]
        if function.decorator_list:
            raise Withheld(f"{name} has a decorator, which may do anything")
        if isinstance(function, ast.AsyncFunctionDef) and not self.coroutine:
            raise Withheld(f"{name} is a coroutine")
        defaults = [*function.args.defaults, *[one for one in function.args.kw_defaults if one]]
        if any(not isinstance(one, ast.Constant) for one in defaults):
            raise Withheld(f"{name} keeps its defaults from call to call")
        self.body(function)

    def body(self, function: AnyFunction) -> None:
        name = function.name
        own = stored(function) - {function.name}
        params = parameters(function)
        if self.coroutine:
            self._note_clients(function)
        fresh = {one for one in own - params if self._is_fresh(function, one)} - self.clients
        for node in ast.walk(function):
            if isinstance(node, ast.Global | ast.Nonlocal):
                raise Withheld(f"{name} changes {node.names[0]}, which others share")
            if isinstance(node, ast.Yield | ast.YieldFrom):
                raise Withheld(f"{name} is a generator")
            if (
                isinstance(
                    node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
                )
                and node is not function
            ):
                raise Withheld(f"{name} has imports, classes or functions inside it")
            if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
                base = root(node)
                if base not in fresh:
                    raise Withheld(f"{name} changes {base or 'an object'}, which others may share")
            aug = node.target if isinstance(node, ast.AugAssign) else None
            if isinstance(aug, ast.Name) and aug.id not in fresh:
                raise Withheld(f"{name} changes {aug.id} in place")
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in own | params:
                self._global(name, node.id)
            if isinstance(node, ast.Call):
                self._call(name, node, own | params, fresh)

    def _is_client(self, node: ast.expr) -> bool:
        """A call that asks a client: what it gives back is the caller's own."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)):
                return name in self.clients and attr in _ASKS
        return False

    def _note_clients(self, function: AnyFunction) -> None:
        for node in ast.walk(function):
            match node:
                case ast.withitem(context_expr=ast.Call(func=func), optional_vars=ast.Name(id=name)):
                    self.clients |= {name} if self.module.dotted(func) in CLIENTS else set()

    def _is_fresh(self, function: AnyFunction, name: str) -> bool:
        values = []
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                if any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
                    values.append(node.value)
                elif name in {
                    n for t in node.targets if isinstance(t, ast.Tuple | ast.List) for n in stored(t)
                }:
                    opened = node.value.value if isinstance(node.value, ast.Await) else None
                    called = opened.func if isinstance(opened, ast.Call) else None
                    if called is None or self.module.dotted(called) != "asyncio.open_connection":
                        return False
            elif (
                isinstance(node, ast.withitem)
                and node.optional_vars is not None
                and name in stored(node.optional_vars)
            ):
                values.append(node.context_expr)
            elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and name in stored(node.target):
                if not (isinstance(node.iter, ast.Call) and root(node.iter.func) == "range"):
                    return False
            elif isinstance(node, ast.NamedExpr | ast.AnnAssign) and name in stored(node.target):
                return False
        made = (
            ast.Constant,
            ast.List,
            ast.Dict,
            ast.Set,
            ast.ListComp,
            ast.DictComp,
            ast.SetComp,
            ast.JoinedStr,
            ast.BinOp,
            ast.Compare,
            ast.UnaryOp,
        )
        values = [one.value if isinstance(one, ast.Await) else one for one in values]
        return all(
            isinstance(one, made)
            or self._is_client(one)
            or (
                isinstance(one, ast.Call)
                and isinstance(one.func, ast.Name)
                and one.func.id in _BUILTINS - {"max", "min"}
            )
            or (isinstance(one, ast.Call) and self.module.dotted(one.func) != "")
            for one in values
        )

    def _global(self, name: str, used: str) -> None:
        module = self.module
        if used in module.functions or used in module.imports:
            if used in module.functions:
                self.function(used)
            return
        if used not in module.constants:
            if used in vars(builtins) and module.is_builtin(used):
                return
            raise Withheld(f"{name} uses {used}, which may change while the program runs")
        if used in self.globals:
            return
        self.globals.add(used)
        for node in ast.walk(module.source.tree):
            changed = isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load)
            called = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr not in READERS
                and not isinstance(node.func.value, ast.Call)
            )
            inner = node.func if called and isinstance(node, ast.Call) else node
            if (changed or called) and root(inner) == used:
                raise Withheld(f"{name} uses {used}, which the program changes")
        if self.process:
            require_repeatable(module, module.constants[used], used)

    def finish(self, name: str) -> None:
        """Once all that ``name`` calls is known."""
        for used in sorted(self.globals):
            require_unchanged(self.module, name, used, self.seen)

    def _call(self, name: str, node: ast.Call, own: set[str], fresh: set[str]) -> None:
        module, func = self.module, node.func
        if isinstance(func, ast.Name):
            known = func.id in module.functions or module.dotted(func) != ""
            plain = (func.id in _BUILTINS or func.id in _EXCEPTIONS) and module.is_builtin(func.id)
            if func.id in own or not (known or plain):
                raise Withheld(f"{name} calls {func.id}, and what that does to others cannot be told")
        dotted = module.dotted(func)
        if dotted:
            if not _is_pure(dotted, self.allowed):
                raise Withheld(f"{name} calls {dotted}, and what that does to others cannot be told")
        elif isinstance(func, ast.Attribute):
            base = root(func)
            if base in self.clients and func.attr not in _ASKS:
                raise Withheld(
                    f"{name} calls {base}.{func.attr}, which may change something on the other side"
                )
            made = isinstance(func.value, ast.Constant | ast.JoinedStr | ast.Call | ast.BinOp)
            if func.attr not in READERS and base not in fresh and not made:
                raise Withheld(
                    f"{name} calls {base or ''}.{func.attr}, and what that does to others cannot be told"
                )
        elif not isinstance(func, ast.Name):
            raise Withheld(f"{name} calls what it computes")


_SAME = ("sys.argv", "sys.maxsize", "sys.byteorder", "sys.version_info", "os.environ", "os.sep", "os.linesep")


def _is_pure(dotted: str, allowed: set[str]) -> bool:
    return any(dotted == pure or dotted.startswith(pure + ".") for pure in allowed)


def require_repeatable(module: Module, node: ast.expr, name: str, depth: int = 0) -> None:
    """Another process computes a module's names again: do they become the same, and at little cost?"""
    again = Withheld(f"each process would compute {name} again, and perhaps otherwise")
    for one in ast.walk(node):
        dotted = module.dotted(one) if isinstance(one, ast.Attribute | ast.Name) else ""
        if isinstance(one, ast.Call):
            plain = isinstance(one.func, ast.Name) and one.func.id in _BUILTINS
            method = isinstance(one.func, ast.Attribute) and one.func.attr in READERS
            if not (plain or method or _is_pure(module.dotted(one.func), _PURE)):
                raise again
        elif isinstance(one, ast.Attribute) and dotted and one.attr not in READERS:
            if not _is_pure(dotted, _PURE | set(_SAME)) and not any(
                p.startswith(dotted + ".") for p in _PURE
            ):
                raise again
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and one.id not in stored(node):
            if one.id in module.constants and depth < 8:
                require_repeatable(module, module.constants[one.id], name, depth + 1)
            elif one.id not in module.imports and not (one.id in _BUILTINS and module.is_builtin(one.id)):
                raise again


def require_task(module: Module, name: str, process: bool, network: bool = False) -> AnyFunction:
    """``name`` may be given to a pool, and its calls do not notice each other. Withheld where that is not sure."""
    if name not in module.functions:
        raise Withheld(f"{name} is no plain function of this file")
    check = _Check(module, process, network)
    check.function(name)
    check.finish(name)
    function = module.functions[name]
    if process and not module.returns_small(function):
        raise Withheld(
            f"the size of what {name} returns cannot be told: sending it may cost more than it saves"
        )
    return function


def require_coroutine(
    module: Module, name: str, clients: frozenset[str] = frozenset(), decorated: bool = False
) -> AnyFunction:
    """Several of ``name`` may run at once, and do not notice each other. Withheld where that is not sure."""
    function = module.functions[name]
    check = _Check(module, process=False, network=True, coroutine=True, clients=clients)
    if decorated:
        check.seen.add(name)
        check.body(function)
        for one in function.decorator_list:
            check.globals -= loaded(one)  # the application: it keeps the handler
    else:
        check.function(name)
    check.finish(name)
    return function
