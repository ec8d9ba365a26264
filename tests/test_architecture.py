"""The structure of the code: direction of imports, size of files, what `import llmos` costs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llmos

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "llmos"
PYTHON_FILES = sorted(
    path
    for folder in ("src", "tests", "examples", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def test_imports_go_one_way() -> None:
    # A process of its own: libraries that tests have loaded change what modules look like.
    code = "import sys; from importlinter.cli import lint_imports as lint; " + (
        "sys.exit(lint(config_filename=sys.argv[1], no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "pyproject.toml")],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"an import points upward: run `lint-imports`\n{done.stdout}"


def test_no_file_is_longer_than_500_lines() -> None:
    assert len(PYTHON_FILES) > 20
    long = [str(p) for p in PYTHON_FILES if len(p.read_text().splitlines()) > 500]
    assert long == []


def test_package_files_are_small_and_import_no_library() -> None:
    files = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert len(files) > 5
    allowed = set(sys.stdlib_module_names) | {"llmos"}
    for path in files:
        source = path.read_text()
        assert len(source.splitlines()) <= 40, f"{path}: more than a dict of components"
        assert ast.get_docstring(ast.parse(source)), path
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.partition(".")[0] for name in names} <= allowed, path


def test_every_folder_of_code_is_a_package() -> None:
    # A folder without __init__.py is left out of the wheel, and of the check on imports.
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_import_llmos_loads_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import llmos; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    ).stdout.split()
    assert "llmos" in loaded
    assert set(loaded) - {"llmos"} <= set(sys.stdlib_module_names)


def test_the_recipe_needs_no_numpy_and_no_torch() -> None:
    code = "import sys, llmos; llmos.load_recipe; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    ).stdout.split()
    assert "llmos.recipe" in loaded
    assert not {"numpy", "torch", "transformers"} & set(loaded)


def test_the_names_that_llmos_exports_exist_where_it_says() -> None:
    assert set(dir(llmos)) == set(llmos.__all__) == {*llmos._HOMES, "__version__"}
    for module, name in llmos._HOMES.values():
        path = ROOT / "src" / f"{module.replace('.', '/')}.py"
        defined = {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}
        assert name in defined, f"{module} has no {name}"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = llmos.nonsense


def test_no_source_file_runs_code_that_travels() -> None:
    # A recipe, an update or a checkpoint must never be able to execute anything. Code that a model
    # wrote runs in the sandbox alone, behind its walls.
    jail = PACKAGE / "evaluation" / "sandbox" / "jail.py"
    for path in set(PACKAGE.rglob("*.py")) - {jail}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module or ""}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = {node.func.id} & {"eval", "exec"}
            elif isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                trusted = not isinstance(node.value, ast.Constant) or node.value.value is not False
                names = {"trust_remote_code"} if trusted else set()
            else:
                continue
            bad = names & {"pickle", "marshal", "shelve", "eval", "exec", "trust_remote_code"}
            assert not bad, f"{path}: {bad}"
