"""The file that says how to recommend."""

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from worker.recommend.options import Options, read_options

FILE = """
[sources]
content = false
[filters]
blocked_tags = ["ad"]
max_age_days = 30
[blend]
learning_rate = 0.01
[blend.weights]
trending-1h = 0.5
[selection]
diversity = 0.4
[market.de]
filters.max_age_days = 7
[market.fr.selection]
explore_share = 0.0
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "recommend.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_hold() -> None:
    assert read_options(None) == Options()


def test_a_market_overrides_what_it_names(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    everywhere, german = read_options(path), read_options(path, "de")
    assert everywhere.sources_off == frozenset({"content"})
    assert everywhere.blend.weights == {"trending-1h": 0.5}
    assert everywhere.filters.max_age_days == 30 and german.filters.max_age_days == 7
    assert german.filters.blocked_tags == {"ad"} and german.selection.diversity == 0.4
    assert read_options(path, "fr").selection.explore_share == 0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[sources]\nmagic = true", "magic"),
        ("[blend.weights]\nmagic = 1.0", "magic"),
        ("[selection]\nmagic = 1.0", "magic"),
        ("[selection]\ndiversity = -1.0", "diversity"),
        ("[market.de.selection]\nexplore_share = 2.0", "market.de"),
        ("selection = [", "recommend.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_options(written(tmp_path, text))


def test_a_missing_file_or_market_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        read_options(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match=r"market\.at"):
        read_options(written(tmp_path, FILE), "at")
