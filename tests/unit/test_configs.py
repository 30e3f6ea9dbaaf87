"""The recipes of the shipped results are files that training can read."""

from pathlib import Path

import pytest

import export
from export.encoders import ENCODERS
from export.options import TrainingOptions, load_options

CONFIGS = sorted((Path(export.__file__).parent / "configs").glob("*.toml"))


def test_there_is_a_recipe_for_each_set() -> None:
    names = {path.stem for path in CONFIGS}
    assert names == {"blog-authorship", "ml-100k", "nemig-de", "newsroom"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_recipe_can_be_read(path: Path) -> None:
    options = load_options(path)
    assert options.encoder in ENCODERS
    assert options.encoder == TrainingOptions().encoder  # one default for every set


def test_an_option_on_the_command_line_goes_before_the_recipe() -> None:
    assert load_options(CONFIGS[0], seed=7).seed == 7
