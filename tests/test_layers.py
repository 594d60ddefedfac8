"""Imports go down the layers: a module imports only from its own number or a smaller one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
LAYERS = {
    "__init__": 0,
    "types": 1,
    "judgement": 1,
    "errors": 1,
    "stats": 1,
    "causes": 1,
    "curves": 1,
    "files": 1,
    "progress": 1,
    "spool": 1,
    "user_code": 1,
    "identifiers": 1,
    "scorers": 2,
    "retrieval": 2,
    "task": 3,
    "checks": 3,
    "doubts": 3,
    "looks": 3,
    "provable": 3,
    "probing": 7,
    "models": 3,
    "tuning": 4,
    "workers": 4,
    "measure": 4,
    "rungs": 5,
    "verdict": 6,
    "run": 7,
    "asked": 7,
    "planning": 7,
    "ladder": 7,
    "ascent": 7,
    "conclusion": 7,
    "trail": 7,
    "inquiring": 7,
    "forgetting": 6,
    "judging": 7,
    "rejudge": 7,
    "report": 8,
    "viewing": 8,
    "serving": 8,
    "web": 8,
    "exporting": 8,
    "rechecking": 8,
    "cli": 9,
    "scaffold": 8,
    "demo": 8,
}
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "altair",
    "vl_convert",
    "sklearn",
    "aiohttp",
    "pyarrow",
    "bm25s",
    "sacrebleu",
    "llguidance",
    "gguf",
    "gepa",
    "genai_prices",
    "tree_sitter",
    "tree_sitter_python",
    "pypdf",
    "mammoth",
    "selectolax",
    "tokenizers",
    "safetensors",
    "starlette",
    "uvicorn",
    "any_llm",
    "openai",
    "ray",
}

TORCH_THROUGHOUT = {
    "attention",
    "bert",
    "blocks",
    "decoding",
    "generation",
    "label_trie",
    "linear",
    "llama",
    "packing",
    "trainable",
    "training",
}
"""Modules that need torch on every line; they are themselves imported inside functions only."""


def layer(module: str) -> int:
    parts = module.split(".")
    return LAYERS[parts[1] if len(parts) > 1 else "__init__"]


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import of our own modules in a file, inside functions and type checks too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("shouldtune"):
            found += [
                (node.lineno, f"{node.module}.{name.name}" if node.module == "shouldtune" else str(node.module))
                for name in node.names
            ]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names if name.name.startswith("shouldtune")]
    return [(line, "shouldtune" if module == "shouldtune.__version__" else module) for line, module in found]


def upward(root: Path) -> list[str]:
    """Every import that goes up, as `file:line imports module`."""
    wrong = []
    for path in sorted((root / "shouldtune").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        wrong += [
            f"{path.relative_to(root)}:{line} imports {other}"
            for line, other in imports(path)
            if layer(other) > layer(module)
        ]
    return wrong


def test_imports_go_down_the_layers() -> None:
    assert upward(SOURCE) == []


def test_an_import_turned_around_is_found(tmp_path: Path) -> None:
    package = tmp_path / "shouldtune" / "stats"
    package.mkdir(parents=True)
    (package / "means.py").write_text("from shouldtune.verdict.decide import decide\n")
    assert upward(tmp_path) == ["shouldtune/stats/means.py:1 imports shouldtune.verdict.decide"]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.stem in TORCH_THROUGHOUT:
        return
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.name.split(".")[0] for node in top if isinstance(node, ast.Import) for name in node.names}
    names |= {(node.module or "").split(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
    assert not names & HEAVY


def test_the_command_line_starts_without_heavy_libraries() -> None:
    names = sorted(HEAVY | {"numpy"})
    code = f"import sys, shouldtune.cli; print(*sorted(set(sys.modules) & set({names})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
