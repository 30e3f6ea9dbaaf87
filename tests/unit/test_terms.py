"""What an article is about, as numbers: the same in every process, alike for alike articles."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.terms import (
    MAX_TERMS,
    NO_TERM,
    NUM_TERMS,
    TEXT_WIDTH,
    article_terms,
    rarity_of,
    text_vectors,
    unpack_terms,
)

texts = st.one_of(st.none(), st.text(max_size=300))


@given(texts, texts, st.lists(st.text(max_size=20), max_size=40))
def test_any_text_has_at_most_so_many_distinct_terms(
    title: str | None, body: str | None, tags: list[str]
) -> None:
    packed = article_terms(title, body, tags)
    terms = unpack_terms(packed)
    held = terms[terms != NO_TERM]
    assert len(packed) == 2 * len(held) <= 2 * MAX_TERMS
    assert len(set(held.tolist())) == len(held)
    assert ((held >= 0) & (held < NUM_TERMS)).all()
    assert (
        packed[: 2 * min(len(set(tags)), 3)]
        == article_terms(None, None, tags)[: 2 * min(len(set(tags)), 3)]
    )


def test_words_count_once_whatever_their_case_and_tags_are_not_words() -> None:
    one = unpack_terms(article_terms("Rates fall", "rates FALL again", None))
    assert (one != NO_TERM).sum() == 3
    assert not set(unpack_terms(article_terms("economy", None, None)).tolist()).intersection(
        unpack_terms(article_terms(None, None, ["economy"]))[:1].tolist()
    )


def test_text_without_spaces_is_cut_into_pairs() -> None:
    one = set(unpack_terms(article_terms("央行下调利率", None, None)).tolist()) - {NO_TERM}
    other = set(unpack_terms(article_terms("利率下调", None, None)).tolist()) - {NO_TERM}
    assert len(one) == 5 and len(one & other) == 2


def test_articles_about_the_same_have_alike_vectors() -> None:
    subjects = [[f"{subject}-{word}" for word in range(12)] for subject in range(8)]
    random = np.random.default_rng(0)
    words = [random.choice(subjects[i % 8], 8, replace=False).tolist() for i in range(160)]
    terms = np.stack(
        [
            unpack_terms(article_terms(" ".join(each).replace("-", "x"), None, None))
            for each in words
        ]
    )
    vectors = text_vectors(terms, rarity_of(terms))
    assert vectors.shape == (160, TEXT_WIDTH)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    likeness = vectors @ vectors.T
    same = np.equal.outer(np.arange(160) % 8, np.arange(160) % 8)
    np.fill_diagonal(likeness, np.nan)
    assert np.nanmean(likeness[same]) > 0.5
    assert abs(np.nanmean(likeness[~same])) < 0.1


def test_nothing_has_no_direction() -> None:
    terms = np.stack([unpack_terms(b""), unpack_terms(article_terms("a b", None, None))])
    vectors = text_vectors(terms, rarity_of(terms))
    assert not vectors[0].any()
    assert np.linalg.norm(vectors[1]) > 0.999


def test_other_processes_find_the_same() -> None:
    code = (
        "import numpy as np; from worker.terms import *;"
        "packed = [article_terms(f'w{i} news', 'x y', ['t']) for i in range(5)];"
        "terms = np.stack([unpack_terms(each) for each in packed]);"
        "print(text_vectors(terms, rarity_of(terms)).tobytes().hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 1
