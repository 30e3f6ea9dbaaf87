"""The catalogue: rows stay where they are, references find them."""

import numpy as np
import pytest

from schemas.history import article_ref
from tests.unit.catalogues import article, catalogue
from worker.catalogue import MAX_LANGUAGES, NO_LANGUAGE, NO_TAG, UNPUBLISHED_MS
from worker.terms import MAX_TERMS, NO_TERM


def refs(*article_ids: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([int.from_bytes(article_ref(each), "big") for each in article_ids])


def test_references_find_rows_and_unknown_ones_do_not() -> None:
    found = catalogue(article("a", []), article("b", []))
    assert found.find(refs("b", "x", "a")).tolist() == [1, -1, 0]


def test_an_empty_catalogue_knows_nothing() -> None:
    assert catalogue().find(refs("a")).tolist() == [-1]


def test_rows_survive_growth() -> None:
    many = [article(str(i), [f"t{i % 7}"], value=float(i), language="en") for i in range(3000)]
    found = catalogue(*many)
    rows = found.find(refs(*(str(i) for i in range(3000))))
    assert rows.tolist() == list(range(3000))
    assert found.rows[:3000, 0].tolist() == list(range(3000))
    assert found.languages[:3000].tolist() == [0] * 3000


def test_a_later_article_replaces_the_earlier_in_its_row() -> None:
    found = catalogue(article("a", ["x", "y"], language="de"), article("b", []))
    found.put(article("a", ["z"], age_h=None, value=5.0))
    assert len(found) == 2
    assert found.rows[0, 0] == 5.0
    assert [found.tag_names[t] for t in found.tags[0] if t != NO_TAG] == ["z"]
    assert found.published_ms[0] == UNPUBLISHED_MS
    assert found.languages[0] == NO_LANGUAGE


def test_the_same_article_again_is_no_change() -> None:
    found = catalogue(article("a", ["x"]))
    before = found.num_changes
    found.put(article("a", ["x"]))
    assert found.num_changes == before


def test_a_row_that_does_not_fit_the_model_is_refused() -> None:
    wrong = article("a", [])
    wrong = type(wrong)("a", "v1", wrong.row + wrong.row, [], None)
    with pytest.raises(ValueError, match="does not fit"):
        catalogue(wrong)


def test_other_words_are_a_change() -> None:
    found = catalogue(article("a", ["x"], title="one"))
    before, terms = found.num_changes, found.terms[0].copy()
    found.put(article("a", ["x"], title="another"))
    assert found.num_changes == before + 1
    assert not np.array_equal(found.terms[0], terms)


def test_facts_of_known_articles_and_none_of_others() -> None:
    many_tags = [f"t{number}" for number in range(20)]
    found = catalogue(article("a", many_tags), article("b", ["x"], title="one"))
    wanted = refs("b", "unknown", "a", "b")
    assert [list(tags) for tags in found.tags_of(wanted)] == [["x"], [], many_tags, ["x"]]
    terms = found.terms_of(wanted)
    assert np.array_equal(terms[[0, 2, 3]], found.terms[[1, 0, 1]])
    assert (terms[1] == NO_TERM).all()
    assert found.terms_of(wanted[:0]).shape == (0, MAX_TERMS)


def test_a_language_of_its_own_for_every_article_stops_nothing() -> None:
    news = catalogue(*(article(f"a{i}", [], language=f"l{i}") for i in range(33_000)))
    assert news.num_languages == MAX_LANGUAGES
    assert news.languages[[0, MAX_LANGUAGES - 1]].tolist() == [0, MAX_LANGUAGES - 1]
    assert set(news.languages[MAX_LANGUAGES : len(news)].tolist()) == {NO_LANGUAGE}
    news.put(article("later", [], language="l7"))
    assert news.languages[len(news) - 1] == 7
