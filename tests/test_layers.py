"""Imports run one way: every module of the package stands in a layer and imports only from layers below its own."""

import ast
from importlib.util import resolve_name
from pathlib import Path

import micropolis

PACKAGE = Path(micropolis.__file__).parent
# From the bottom up; modules of one layer do not know each other. A package counts as one module.
LAYERS = """
errors
checks trace_files workers
constraints progress
parameters
_density
density
tracing
from_numpy pointers densities data
protocol
_diagnostics _metropolis _hamiltonian _neural
linalg jit
adaptation diagnostics jit_density
jit_source
neural
metropolis hamiltonian
readable sfc64
kernels
trace
chains storage pages
starts steps
sampling
cuda
bayes
estimators
plots_networks
plots
demos
__main__
"""
RANK = {name: rank for rank, line in enumerate(LAYERS.split("\n")) for name in line.split()}
# Constructors and drivers that load the module above them when they are called, never at import.
LAZY = {
    ("density", "from_numpy"),
    ("density", "densities"),
    ("density", "jit_density"),
    ("density", "pointers"),
    ("from_numpy", "jit_source"),
    ("sampling", "cuda"),
}


def imports(path):
    """(imported module of ours, whether at module level) for every import statement of a file."""
    tree = ast.parse(path.read_text())
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), ".".join(parts[:-1]))
            targets = [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            continue
        for target in targets:
            package, *rest = target.split(".")
            if package == "micropolis" and rest and not rest[0].startswith("__"):
                yield rest[0], id(node) not in inside


def test_every_module_stands_in_a_layer():
    modules = [path for path in PACKAGE.iterdir() if path.suffix in (".py", ".so") or (path / "__init__.py").exists()]
    found = {path.name.split(".")[0] for path in modules}
    assert found - RANK.keys() == {"__init__"}


def test_imports_run_one_way():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        importer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for imported, at_module_level in imports(path):
            if imported == importer or (not at_module_level and (importer, imported) in LAZY):
                continue
            if importer == "__init__" or RANK[imported] >= RANK[importer]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {imported}")
    assert not wrong


def test_the_walk_sees_imports_of_every_kind():
    """A walk that sees nothing would pass everything."""
    seen = set(imports(PACKAGE / "density.py")) | set(imports(PACKAGE / "hamiltonian" / "nuts.py"))
    assert {
        ("checks", True),
        ("from_numpy", False),
        ("_density", True),
        ("adaptation", True),
        ("protocol", True),
    } <= seen
