"""Every example in a docstring of the package runs and prints what it says, installed or in place."""

import doctest
import importlib
import pkgutil

import pytest

import micropolis

# modules whose import needs an extra
NEEDS = dict.fromkeys(("estimators.common", "estimators.metropolis", "estimators.bayesian"), "sklearn")
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(micropolis.__path__, "micropolis.") if "__main__" not in module.name
)


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")  # examples are short
@pytest.mark.parametrize("name", ["micropolis", *MODULES])
def test_examples_of(name, monkeypatch, tmp_path):
    for part, package in NEEDS.items():
        if name.endswith(part):
            pytest.importorskip(package)
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in finder.find(module, name):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples]
    assert len(found) > 25
