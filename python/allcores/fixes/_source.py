"""One file of the user's: its syntax tree, edits of its bytes, and the diff that they make."""

from __future__ import annotations

import ast
import difflib
import os
import re
import stat
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import replace

from allcores.fixes._request import Request, Withheld

MAX_BYTES = 1 << 20
AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


def _read(request: Request) -> bytes:
    try:
        fd = os.open(request.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Withheld("it is no regular file")
            if found.st_size > MAX_BYTES:
                raise Withheld("the file is larger than 1 MiB")
            if request.started_ns and found.st_mtime_ns > request.started_ns:
                raise Withheld("the file has changed since the program started")
            return file.read(MAX_BYTES)
    except OSError as error:
        raise Withheld(f"the file cannot be read: {error.strerror}") from None


def _check_text(data: bytes) -> None:
    lines = iter(data.splitlines(keepends=True))
    try:
        encoding, _ = tokenize.detect_encoding(lambda: next(lines, b""))
    except (SyntaxError, LookupError):
        raise Withheld("its encoding is not known") from None
    if encoding not in ("utf-8", "utf-8-sig"):
        raise Withheld(f"the file is in {encoding}, not in UTF-8")
    if re.search(rb"\r(?!\n)|\f|\0", data):
        raise Withheld("the file has control characters between its lines")
    if data.startswith(b"\xef\xbb\xbf"):
        raise Withheld("the file begins with a byte order mark")


def _parse(data: bytes, version: tuple[int, int] | None = None) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(data, feature_version=version)


class Source:
    """``tree`` with ``parent`` of each node; ``replace`` and ``insert`` collect edits; ``diff`` applies them."""

    def __init__(self, request: Request) -> None:
        self.request = request
        if not re.fullmatch(r"[^\0-\x1f\"\\\x7f]+", request.name) or ".." in request.name.split("/"):
            raise Withheld("the file's name has characters that a patch cannot hold")
        self.data = _read(request)
        _check_text(self.data)
        try:
            self.tree = _parse(self.data)
        except (SyntaxError, ValueError):
            raise Withheld("its syntax is newer than the Python that allcores is installed with") from None
        self.starts = [0]
        for line in self.data.split(b"\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.newline = "\r\n" if b"\r\n" in self.data else "\n"
        self.parent: dict[ast.AST, ast.AST] = {}
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parent[child] = node
        self.edits: list[tuple[int, int, str]] = []

    @property
    def is_main(self) -> bool:
        """Is it the program's main file, as far as is known?"""
        main = self.request.main
        return not main or (main != "-" and os.path.realpath(main) == os.path.realpath(self.request.path))

    def main_file(self) -> Source:
        """The program's main file, which is another."""
        main = self.request.main
        return Source(replace(self.request, path=main, main=main, name=os.path.basename(main)))

    # --- looking

    def at(self, line: int, column: int = 0) -> int:
        """Offset of a place as ast counts it."""
        return self.starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Offsets of a node."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def text(self, node: ast.expr | ast.stmt) -> str:
        """The user's own words."""
        start, end = self.span(node)
        return self.data[start:end].decode()

    def line_text(self, line: int) -> str:
        """One line without its end."""
        return self.data[self.starts[line - 1] : self.starts[line] - 1].decode().rstrip("\r")

    def indent(self, node: ast.stmt) -> str:
        """The blanks before a statement, which must be the first of its line."""
        text = self.line_text(node.lineno)
        blanks = text[: len(text) - len(text.lstrip(" \t"))]
        if len(blanks.encode()) != node.col_offset:
            raise Withheld("several statements stand in one line")
        return blanks

    def step(self) -> str:
        """What one level of this file's indentation is made of."""
        for node in ast.walk(self.tree):
            body = getattr(node, "body", None)
            if isinstance(node, ast.stmt) and isinstance(body, list) and body[0].lineno > node.lineno:
                outer, inner = self.indent(node), self.indent(body[0])
                if inner.startswith(outer):
                    return inner[len(outer) :]
        return "    "

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Its parents, innermost first."""
        while node in self.parent:
            node = self.parent[node]
            yield node

    def loops_above(self, node: ast.AST) -> Iterator[ast.For | ast.AsyncFor | ast.While | ast.comprehension]:
        """Loops and comprehensions of its function in each of whose turns it is reached, innermost first."""
        before, function = node, self.function_of(node)
        for up in self.above(node):
            if up is function:
                return
            first = isinstance(before, ast.comprehension) and getattr(up, "generators", [None])[0] is before
            if isinstance(up, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) and not first:
                yield from up.generators
            elif isinstance(up, ast.While) or (
                isinstance(up, ast.For | ast.AsyncFor) and before is not up.iter and before not in up.orelse
            ):
                yield up
            before = up

    def function_of(self, node: ast.AST) -> AnyFunction | None:
        """The function whose code it is; None at module level. Withheld in a lambda or a class."""
        for one in self.above(node):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                return one
            if isinstance(one, ast.Lambda | ast.ClassDef):
                raise Withheld("it stands in a lambda or a class body")
        return None

    def is_seen(self, node: ast.stmt | ast.expr) -> bool:
        """Was the run seen in these lines?"""
        return any(node.lineno <= line <= (node.end_lineno or node.lineno) for line in self.request.lines)

    def nearest(self, nodes: list[ast.stmt]) -> list[ast.stmt]:
        """Those in which the run was seen, the most telling place and the innermost first."""

        def rank(node: ast.stmt) -> tuple[int, int]:
            end = node.end_lineno or node.lineno
            first = [i for i, line in enumerate(self.request.lines) if node.lineno <= line <= end]
            return first[0], end - node.lineno

        return sorted((node for node in nodes if self.is_seen(node)), key=rank)

    # --- editing

    def replace(self, node: ast.expr | ast.stmt, text: str) -> None:
        """Other words in a node's place."""
        start, end = self.span(node)
        self.edits.append((start, end, text))

    def replace_lines(self, first: int, last: int, lines: list[str]) -> None:
        """Other lines in place of whole ones; ``last`` below ``first``: before that line."""
        text = "".join(line + self.newline for line in lines)
        end = self.starts[last] if last + 1 < len(self.starts) else len(self.data)
        if end >= len(self.data) and not self.data.endswith(b"\n") and last >= first:
            text = text[: -len(self.newline)]
            end = len(self.data)
        self.edits.append((self.starts[first - 1], min(end, len(self.data)), text))

    def replace_block(self, first: int, last: int, lines: list[str]) -> None:
        """Like replace_lines; as deep as shift() moved what stood there."""
        start, end = self.at(first), self.starts[last]
        step = next(
            (text for at, _, text in self.edits if at == start and text and not text.strip(" \t")), ""
        )
        self.edits = [one for one in self.edits if not (start <= one[0] < end and not one[2].strip(" \t"))]
        self.replace_lines(first, last, [step + line for line in lines])

    def _inside_strings(self) -> set[int]:
        inside: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.JoinedStr) or (
                isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
            ):
                inside.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
        return inside

    def shift(self, first: int, last: int, step: str) -> None:
        """These lines one level deeper; what lies inside a string stays as it is."""
        inside = self._inside_strings()
        for line in range(first, last + 1):
            if line not in inside and self.line_text(line).strip():
                self.edits.append((self.at(line), self.at(line), step))

    def _edited(self) -> bytes:
        parts: list[bytes] = []
        done = 0
        for start, end, text in sorted(self.edits, key=lambda edit: edit[:2]):
            if start < done:
                raise Withheld("the changes would overlap")
            parts += [self.data[done:start], text.encode()]
            done = end
        return b"".join([*parts, self.data[done:]])

    def diff(self) -> str:
        """A unified diff for ``patch -p1``."""
        new = self._edited()
        try:
            _parse(new, (3, max(self.request.python[1], 8)))
        except (SyntaxError, ValueError):
            raise Withheld("the file uses syntax that could not be kept") from None
        before = self.data.decode().split("\n")
        after = new.decode().split("\n")
        tab = "\t" if " " in self.request.name else ""
        lines = list(
            difflib.unified_diff(
                [line + "\n" for line in before[:-1]] + ([before[-1]] if before[-1] else []),
                [line + "\n" for line in after[:-1]] + ([after[-1]] if after[-1] else []),
                f"a/{self.request.name}{tab}",
                f"b/{self.request.name}{tab}",
            )
        )
        if not lines:
            raise Withheld("there is nothing to change")
        return "".join(
            line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines
        )
