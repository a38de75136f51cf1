"""The .npz container: damage is found and named, a failing disk leaves the old file."""

from __future__ import annotations

import errno
import os
import pickle
import resource

import numpy as np
import pytest

from micropolis import trace_files
from micropolis.errors import InputTypeError, MicropolisError, TraceFileError, TraceWriteError


def tree(seed=0, rows=50):
    rng = np.random.default_rng(seed)
    return {
        "draws": rng.standard_normal((2, rows, 3)),
        "states": [{"x": rng.standard_normal(3)}, None, (1, 2.5, {"empty": np.zeros((0, 2), "f4")})],
        "record": np.array((1.5, 2), [("a", "f8"), ("b", "i2")])[()],
        "big": -(2**127),
        "text": "\N{SNOWMAN} \ud800",
        "nan": [float("nan"), -0.0, float("-inf"), True],
    }


def assert_same(a, b):
    """Equal to the bit, with the types."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert repr(a) == repr(b)


def test_trees_are_equal_to_the_bit_and_files_reproducible(tmp_path):
    trace_files.write(tmp_path / "a.npz", tree())
    trace_files.write(str(tmp_path / "b.npz"), tree())
    assert_same(tree(), trace_files.read(tmp_path / "a.npz"))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_entries_with_equal_places_are_kept_apart(tmp_path):
    value = {"a/b": np.array(1), "a": {"b": np.array(2)}, "micropolis": np.array(3)}
    trace_files.write(tmp_path / "a.npz", value)
    assert_same(value, trace_files.read(tmp_path / "a.npz"))


def test_the_permissions_are_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        trace_files.write(tmp_path / "run.npz", tree())
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "run.npz").st_mode & 0o777 == 0o640


def test_cut_off_files_are_named(tmp_path):
    trace_files.write(tmp_path / "run.npz", tree(rows=9))
    content = (tmp_path / "run.npz").read_bytes()
    cut = tmp_path / "cut.npz"
    for length in [*range(0, len(content), 97), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(TraceFileError, match=r"cut\.npz: "):
            trace_files.read(cut)


def test_flipped_bits_are_found_or_harmless(tmp_path):
    trace_files.write(tmp_path / "run.npz", tree(rows=20))
    content = (tmp_path / "run.npz").read_bytes()
    rng, flipped, found = np.random.default_rng(0), tmp_path / "flipped.npz", 0
    for position in rng.integers(0, len(content), 400):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        flipped.write_bytes(damaged)
        try:
            assert_same(tree(rows=20), trace_files.read(flipped))
        except TraceFileError as error:
            assert "flipped.npz" in str(error)  # noqa: PT017 most flips raise, some are harmless
            found += 1
    assert found > 200  # most of the file is data under a checksum


def test_foreign_files_are_named(tmp_path):
    (tmp_path / "text.npz").write_text("mean,sd\n1,2\n")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"draws": 1}))
    np.savez(tmp_path / "objects.npz", micropolis=np.array([{}], dtype=object))
    (tmp_path / "folder.npz").mkdir()
    for name in ("text.npz", "other.npz", "array.npy", "pickle.npz", "objects.npz", "folder.npz", "nothing.npz"):
        with pytest.raises(TraceFileError, match=name):
            trace_files.read(tmp_path / name)
    with pytest.raises(InputTypeError, match="path"):
        trace_files.read(3)


# -- failing disks ---------------------------------------------------------------------------------------------------


def test_unwritable_paths(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run.npz", tmp_path / "no" / "run.npz", tmp_path, "/dev/null"):
        with pytest.raises(TraceWriteError, match=f"{path}: cannot be written: ") as caught:
            trace_files.write(path, tree())
        assert isinstance(caught.value, MicropolisError) and isinstance(caught.value, OSError)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    trace_files.write(path, tree(seed=1))
    before, new = path.read_bytes(), tree(seed=2, rows=5000)

    def full(target):
        temporary = target + ".tmp"
        open(temporary, "xb").close()
        return temporary, open("/dev/full", "wb")

    monkeypatch.setattr(trace_files, "_temporary", full)
    with pytest.raises(TraceWriteError, match=f"run.npz.*{os.strerror(errno.ENOSPC)}"):
        trace_files.write(path, new)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["run.npz"] and path.read_bytes() == before
    trace_files.write(path, new)
    assert_same(tree(seed=2, rows=5000), trace_files.read(path))


@pytest.mark.parametrize("room", [0, 100, 5_000, 100_000])
def test_writes_that_stop_anywhere_leave_the_old_file(tmp_path, room):
    path, new = tmp_path / "run.npz", tree(seed=2, rows=5000)
    trace_files.write(path, tree(seed=1))
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(TraceWriteError, match=os.strerror(errno.EFBIG)):
            trace_files.write(path, new)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["run.npz"] and path.read_bytes() == before


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    trace_files.write(path, tree(seed=1))
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trace_files.write(path, tree(seed=2))
    assert os.listdir(tmp_path) == ["run.npz"] and path.read_bytes() == before


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "link.npz").symlink_to(tmp_path / "run.npz")
    trace_files.write(tmp_path / "link.npz", tree())
    assert (tmp_path / "link.npz").is_symlink() and (tmp_path / "run.npz").is_file()
