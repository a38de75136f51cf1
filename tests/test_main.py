"""The command line: the demo's table and picture, what is said where extras are missing, and `info`."""

import importlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from micropolis import __version__, checks, data
from micropolis.__main__ import main
from micropolis.demos import digits, moons
from micropolis.demos.posteriors import PICTURE
from micropolis.errors import MissingExtraError


def without(monkeypatch, *missing):
    """Make checks.extra behave as if some packages were not installed."""

    def extra(package, name, purpose):
        if package.split(".")[0] in missing:
            raise MissingExtraError(f"{purpose} needs {package}: pip install 'micropolis[{name}]'")
        return importlib.import_module(package)

    monkeypatch.setattr(checks, "extra", extra)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(printed):
    """Name and numbers of each line of the demo's table."""
    lines = [line.split() for line in printed.splitlines() if line.startswith(data.NAMES)]
    return {line[0]: [float(cell) for cell in line[1:]] for line in lines}


def mean_row(printed, begin):
    """Numbers of the one line that begins so."""
    (line,) = [line for line in printed.splitlines() if line.startswith(begin)]
    return [float(cell) for cell in line.removeprefix(begin).split()]


def test_demo_prints_a_table_and_writes_a_picture(folder, capsys):
    image = pytest.importorskip("matplotlib.image")
    assert main(["demo", "--draws", "200"]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"acceptance (\S+), loss (\S+) -> (\S+) \(best\), accuracy (\S+) -> (\S+)\n", printed)
    acceptance, start, best, before, after = map(float, found.groups())
    assert 0.05 < acceptance < 0.4 and best < 0.05 < start  # a random network's loss is near log 2
    assert before < 0.9 and after >= 0.99
    table = rows(printed)
    assert tuple(table) == data.NAMES
    for dim, z, ess, rate, seconds, divergent in table.values():
        assert z < 5  # 33 means: beyond 4.4 once in 3000 tests of exact errors; theirs are estimated
        assert ess > 50
        # each as printed: ESS and rate to the unit, seconds to the millisecond
        assert (ess - 0.5) / (seconds + 0.0005) - 0.5 <= rate <= (ess + 0.5) / (seconds - 0.0005) + 0.5
        assert 5 <= dim <= 10
        assert divergent <= 8
    for name, (_, largest, _, rate, _, _) in table.items():
        posterior = data.posteriordb(name)
        means = [mean_row(printed, f"  {name.split('-')[0]} {quantity} ") for quantity in posterior.names]
        mean, reference, z, rates = np.transpose(means)
        np.testing.assert_allclose(reference, posterior.reference.mean, rtol=6e-4)  # four digits are printed
        # an ESS above 50 makes it five standard errors
        assert np.all(np.abs(mean - reference) < 0.75 * np.std(posterior.reference.draws, axis=0))
        assert np.max(z) == largest and np.min(rates) == rate
    for name, height in ((PICTURE, 800), (moons.PICTURE, 380)):
        picture = image.imread(folder / name)
        assert picture.shape[0] > height
        assert np.ptp(picture[..., :3]) > 0.9  # there is something on it


def test_demo_without_matplotlib_and_arviz_still_prints_the_table(folder, capsys, monkeypatch):
    without(monkeypatch, "matplotlib", "arviz")
    assert main(["demo", "--draws", "100"]) == 0
    printed = capsys.readouterr().out
    assert tuple(rows(printed)) == data.NAMES
    assert "No picture: micropolis.plots needs matplotlib" in printed
    assert "pip install 'micropolis[arviz]'" in printed
    assert not list(folder.iterdir())


def test_demo_refuses_too_few_draws(folder, capsys):
    assert main(["demo", "--draws", "0"]) == 1
    assert "draws: expected an integer >= 4, got 0" in capsys.readouterr().err


def test_digits_compares_eight_settings(folder, capsys):
    pytest.importorskip("sklearn")
    image = pytest.importorskip("matplotlib.image")
    assert main(["digits", "--seconds", "0.1", "--out", "here.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    settings = [*digits.SETTINGS, digits.COLDER]
    shown = [line for line in lines if line.startswith(tuple(setting.name for setting in settings))]
    assert len(shown) == len(settings)
    for line, setting in zip(shown, settings, strict=True):
        name, (steps, microseconds, seen, accuracy, loss, acceptance) = line[:31].strip(), line[31:].split()
        assert name == setting.name
        assert int(steps) * (float(microseconds) + 0.05) >= 0.1e6  # 0.05: as printed
        assert int(seen.replace(",", "")) >= int(steps) * min(setting.batch_size, 64)
        assert 0.05 < float(accuracy) <= 1 and float(loss) > 0 and 0 < float(acceptance) < 1
    assert image.imread(folder / "here.png").shape[0] > 1000


def test_digits_says_what_is_missing_or_wrong(folder, capsys, monkeypatch):
    assert main(["digits", "--seconds", "0"]) == 1
    assert "seconds: expected a finite number > 0, got 0.0" in capsys.readouterr().err
    assert main(["digits", "--out", "no/such/folder/x.png"]) == 1
    assert "out: expected the path of a file in a folder that exists" in capsys.readouterr().err
    for wrong, why in (("", "path of a file"), (str(folder), "path of a file"), ("x.xyz", "ends in one of .png")):
        assert main(["digits", "--out", wrong]) == 1
        assert f"out: expected {'a name that ' if 'ends' in why else 'the '}{why}" in capsys.readouterr().err
    without(monkeypatch, "sklearn")
    assert main(["digits"]) == 1
    assert "pip install 'micropolis[sklearn]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["digits", "demo", "funnel"])
def test_ctrl_c_ends_the_command(command):
    pytest.importorskip("sklearn")
    arguments = {"digits": ("--seconds", "100"), "demo": ("--draws", "1000000"), "funnel": ("--draws", "1000000")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-u", "-m", "micropolis", command, *arguments[command]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = {"digits": "setting", "demo": "model", "funnel": " "}  # the table's head: sampling begins
    while not process.stdout.readline().startswith(lines[command]):
        assert process.poll() is None
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130 and errors.splitlines()[-1] == f"micropolis {command}: interrupted"


def test_info(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    assert f"micropolis    {__version__}" in printed
    assert re.search(r"SIMD level +(x86-64-v[34]|baseline)", printed)
    assert f"numpy         {np.__version__}" in printed
    for extra in ("numba", "matplotlib", "arviz"):
        assert re.search(rf"{extra} +(\d+\.|not installed: pip install 'micropolis\[)", printed)


def test_help_and_version(capsys):
    for argument, expected in (("--help", "demo"), ("--version", __version__)):
        with pytest.raises(SystemExit) as stop:
            main([argument])
        assert stop.value.code == 0
        assert expected in capsys.readouterr().out


def test_funnel_prints_both_experiments_and_writes_a_picture(folder, capsys):
    image = pytest.importorskip("matplotlib.image")
    assert main(["funnel", "--draws", "400", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    cells = [line.split() for line in printed.splitlines()]
    table = [
        line
        for line in cells
        if line and line[0] in ("HMC", "implicit", "midpoint", "explicit", "explicit_uncorrected")
    ]
    gaussian, funnel = table[:5], table[5:]
    for label, *_, x, y, z in gaussian:
        expected = 0.458 if label == "explicit_uncorrected" else 0.5
        assert abs(np.mean([float(x), float(y), float(z)]) - expected) < 0.03
    divergence = {line[0]: float(line[-1]) for line in funnel}
    assert set(divergence) == {"HMC", "implicit", "midpoint", "explicit"}
    # 39 / 800 of independent draws; HMC does not enter the neck
    assert all(divergence[name] < 0.15 < 2 * divergence["HMC"] for name in ("implicit", "midpoint", "explicit"))
    assert image.imread(folder / "micropolis_funnel.png").shape[0] > 800


def test_funnel_without_matplotlib(folder, capsys, monkeypatch):
    without(monkeypatch, "matplotlib")
    assert main(["funnel", "--draws", "20"]) == 0
    assert "No picture: micropolis.plots needs matplotlib" in capsys.readouterr().out
