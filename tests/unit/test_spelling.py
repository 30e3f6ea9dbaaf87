"""Pieces that are spelled alike share evidence."""

import os
import subprocess
import sys

import numpy as np

from export.spelling import spelling_of


def likeness(*pieces: str) -> list[list[float]]:
    shared = spelling_of(pieces)
    return (shared @ shared.T).toarray().round(6).tolist()  # type: ignore[no-any-return]


def test_pieces_with_common_letters_are_alike() -> None:
    same, other = likeness("▁walking", "▁walked", "▁house")[0][1:]
    assert same > 0.5 and other == 0.0


def test_rare_letters_bind_more_than_common_ones() -> None:
    table = likeness("qwe-x", "qwe-y", "ing-x", "ing-y", "ing-z", "ing-w")
    assert table[0][1] > table[2][3] > 0.0


def test_one_chinese_character_is_enough_and_two_latin_letters_are_not() -> None:
    assert likeness("经济学", "经营")[0][1] > 0.0
    assert likeness("able", "abode")[0][1] == 0.0


def test_pieces_that_stand_for_bytes_are_numbers_and_not_spelled() -> None:
    assert not np.any(likeness("<0x0A>", "<0x0B>", "0x0A", "<unk>"))


def test_pieces_without_anything_in_common_have_no_letters() -> None:
    assert spelling_of(["a", "bc", ""]).shape == (3, 0)


def test_the_order_of_letters_is_the_same_in_every_process() -> None:
    """Sums follow it, and the same seed must give the same model."""
    code = (
        "from export.spelling import spelling_of; found = spelling_of("
        "['walking', 'talking', 'walked', 'talker']); print(found.indices.tolist())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
