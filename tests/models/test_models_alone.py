import ast
from pathlib import Path

import avssl.models


def test_no_other_room_is_imported():
    folder = Path(next(iter(avssl.models.__path__)))
    imported = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    ours = {name for name in imported if name.split(".")[0] == "avssl"}
    assert "avssl.models.norm" in ours
    allowed = ("avssl.errors", "avssl.models")
    assert [name for name in ours if not name.startswith(allowed)] == []
