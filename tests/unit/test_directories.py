"""Directories that are replaced as a whole."""

import threading
from pathlib import Path

import pytest

from schemas import directories
from schemas.directories import place, staged


def directory(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


@pytest.mark.parametrize("exchanges", [True, False])
def test_names_are_exchanged(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:  # as on a system or file system that cannot
        monkeypatch.setattr(directories, "_exchange", lambda *_: False)
    new, out = directory(tmp_path / "new", "new"), directory(tmp_path / "out", "old")
    assert place(new, out)
    assert ((out / "file").read_text(), (new / "file").read_text()) == ("new", "old")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]
    assert not place(new, tmp_path / "other")
    assert (tmp_path / "other" / "file").read_text() == "old"


def test_what_is_replaced_is_never_missing(tmp_path: Path) -> None:
    new, out = directory(tmp_path / "new", "a"), directory(tmp_path / "out", "b")
    seen, done = set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add((out / "file").read_text())
            except OSError as error:
                seen.add(str(error))

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(100_000):
        place(new, out)
        # On a busy machine the other thread may not look for a while.
        if number >= 300 and len(seen) > 1:
            break
    done.set()
    looking.join()
    assert seen == {"a", "b"}


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    out = directory(tmp_path / "out", "old")
    with pytest.raises(RuntimeError), staged(out) as staging:
        (staging / "file").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "file").read_text() == "old"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = directory(tmp_path / "target", "old"), tmp_path / "link"
    link.symlink_to(target)
    with staged(link) as staging:
        (staging / "file").write_text("new")
    assert link.is_symlink()
    assert (target / "file").read_text() == "new"
