"""The shape of the project: small files, small functions, one direction of imports."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60


def sources() -> list[Path]:
    """Every Python file that people write, without tests."""
    generated = re.compile(r"(/v1/|_stubs/|/tests/|/build/)")
    found = [path for top in ("lockservice", "clients", "deploy") for path in (ROOT / top).rglob("*.py")]
    return [path for path in found if not generated.search(str(path.relative_to(ROOT)))]


def test_files_are_rooms_not_houses() -> None:
    """No file is longer than 300 lines."""
    long = {str(path): lines for path in sources() if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX}

    assert not long


def test_functions_fit_a_screen() -> None:
    """No function is longer than 60 lines, its docstring and signature included."""
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(f"{path}:{node.name} {lines}")

    assert not long


def test_imports_point_down() -> None:
    """Only rpc/ and the server know gRPC; only shards/ knows redis-py; the domain knows neither."""
    allowed = {
        "grpc": re.compile(r"lockservice/(rpc/|server\.py|metrics\.py)"),
        "redis": re.compile(r"lockservice/(shards/|shard_url\.py)"),
        "aiohttp": re.compile(r"lockservice/(ops\.py|console/)"),
    }
    wrong = []
    for path in sources():
        name = str(path.relative_to(ROOT))
        if not name.startswith("lockservice/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                top = module.split(".")[0]
                if top in allowed and not allowed[top].match(name):
                    wrong.append(f"{name} imports {module}")

    assert not wrong
