"""losses/ and signal/ can be used without the rest of the project."""

import ast
import sys
from pathlib import Path

import pytest

import avssl

ROOT = Path(avssl.__file__).parent
ALLOWED = {
    "losses": {"jax", "jaxtyping", "avssl.losses"} | set(sys.stdlib_module_names),
    "signal": {"jax", "jaxtyping", "numpy", "avssl.errors", "avssl.signal"}
    | set(sys.stdlib_module_names),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports(room: str):
    files = list((ROOT / room).glob("*.py"))
    assert len(files) > 3
    for file in files:
        for name in imported(file):
            allowed = any(name == root or name.startswith(f"{root}.") for root in ALLOWED[room])
            assert allowed, f"{file.name} imports {name}"
