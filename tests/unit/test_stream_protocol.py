"""The protocols of the stream evaluation: what is scored, on what, and what was learned by then."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from schemas.errors import FrontpageError
from schemas.reading_set import ReadingSet
from tests.tiny_streams import HOUR_MS, Recorder, stream_of
from worker.stream_evaluation.audience import Audience
from worker.stream_evaluation.command import evaluate_stream
from worker.stream_evaluation.measure import (
    known_at_split,
    last_click,
    measure,
    prequential,
    time_split,
)
from worker.stream_evaluation.model import build_recommender
from worker.stream_evaluation.plot import plot
from worker.stream_evaluation.protocol import LoadedStream, Shown, load_stream
from worker.stream_evaluation.report import as_document, figures_of, over_time
from worker.stream_evaluation.table import as_table


def test_the_page_is_asked_for_before_the_click_is_learned() -> None:
    recorder = Recorder()
    prequential(stream_of([(0, 1, 100), (0, 2, 200)], num_articles=3), recorder)
    assert recorder.calls == [
        ("rank", 0, 100),
        ("learn", 0, 1, 100),
        ("rank", 0, 200),
        ("learn", 0, 2, 200),
    ]


def test_the_first_tenth_of_the_clicks_is_learned_and_not_scored() -> None:
    clicks = [(user, 0, user) for user in range(29)]
    recorder = Recorder()
    prequential(stream_of(clicks, num_articles=1), recorder)
    assert len(recorder.of("learn")) == 29
    assert [user for user, _ in recorder.of("rank")] == list(range(2, 29))


def test_a_repeated_click_is_learned_and_not_scored() -> None:
    recorder = Recorder()
    measured = prequential(stream_of([(0, 1, 1), (0, 1, 2), (1, 1, 3)], num_articles=2), recorder)
    assert measured.users.tolist() == [0, 1]
    assert len(recorder.of("learn")) == 3


def test_an_audience_counts_a_reader_and_an_article_once() -> None:
    audience = Audience(np.full(40, -1))
    added = [audience.add(0, article) for article in (*range(30, 0, -1), 7)]
    assert added == [True] * 30 + [False]
    assert audience.history(0).tolist() == list(range(30, 0, -1))
    assert audience.num_clicked(0) == audience.num_pairs == 30
    assert audience.num_readers[7] == 1


@pytest.mark.parametrize(
    ("published_ms", "num_scored"),
    [
        (-1, 2),  # not known when: it always was there
        (99, 2),
        (100, 1),  # published at the very time of the first click: nobody could have foreseen it
        (500, 1),  # but once clicked it is there, whatever it says
    ],
)
def test_only_clicks_on_known_articles_are_scored(published_ms: int, num_scored: int) -> None:
    stream = stream_of([(0, 0, 100), (1, 0, 100)], num_articles=1, published_ms=[published_ms])
    assert len(prequential(stream, Recorder()).ranks) == num_scored


def test_ranks_are_places_on_the_served_page() -> None:
    stream = stream_of([(0, 3, 1), (0, 1, 2), (0, 9, 3)], num_articles=10)
    measured = prequential(stream, Recorder(page=[1, 2, 3]))
    assert measured.ranks.tolist() == [2.0, 0.0, np.inf]
    assert measured.num_before.tolist() == [0, 1, 2]
    assert measured.pages[0].tolist() == [1, 2, 3, *[-1] * 7]


@pytest.mark.parametrize("page", [[1, 1], list(range(11))])
def test_a_page_that_would_gain_by_its_length_or_by_repeats_is_refused(page: list[int]) -> None:
    class Greedy(Recorder):
        def rank(self, user: int, now_ms: int, k: int) -> list[int]:  # noqa: ARG002
            return page

    with pytest.raises(ValueError, match="at most 10 articles, each once"):
        prequential(stream_of([(0, 0, 1)], num_articles=11), Greedy())


def test_impressions_are_scored_before_they_are_learned_and_before_clicks_of_their_time() -> None:
    shown = Shown(0, 200, (0, 1), (1,))
    stream = stream_of([(0, 2, 100), (0, 1, 200)], num_articles=3, impressions=[shown])
    recorder = Recorder(scores=[0.0, 1.0, 0.0])
    measured = prequential(stream, recorder)
    kinds = [call[0] for call in recorder.calls]
    # The click at 200 is not ranked: the impression has told of it.
    assert kinds == ["rank", "learn", "score", "shown", "learn"]
    assert measured.impression_figures.tolist() == [[1.0, 1.0, 1.0, 1.0]]
    assert recorder.of("shown") == [(0, (0, 1), (1,), 200)]


def test_a_click_that_an_impression_has_told_of_is_not_scored() -> None:
    shown = Shown(0, 250, (1, 2), (1,))
    clicks = [(1, 1, 100), (0, 0, 200), (0, 1, 300), (1, 0, 400)]
    recorder = Recorder(page=[1, 0], scores=[0.0, 1.0, 0.0])
    prequential(stream_of(clicks, num_articles=3, impressions=[shown]), recorder)
    served = [call[1:] for call in recorder.calls if call[0] == "rank"]
    # Reader 0's click on 1 has been told; reader 1's on 0 has not.
    assert served == [(1, 100), (0, 200), (1, 400)]


def test_impressions_of_the_warm_up_are_learned_and_not_scored() -> None:
    impressions = [
        Shown(0, 5, (0, 1), (1,)),
        Shown(0, 50, (0, 1), (1,)),
        Shown(0, 999, (0, 1), (0,)),
    ]
    clicks = [(0, 0, 10 * number) for number in range(1, 21)]
    recorder = Recorder(scores=[0.0, 1.0])
    prequential(stream_of(clicks, num_articles=2, impressions=impressions), recorder)
    assert [now_ms for _, now_ms in recorder.of("score")] == [50, 999]
    assert len(recorder.of("shown")) == 3


@pytest.mark.parametrize("clicked", [(), (0, 1)])
def test_impressions_that_are_clicked_whole_or_not_at_all_are_only_learned(
    clicked: tuple[int, ...],
) -> None:
    stream = stream_of([(0, 0, 1)], num_articles=2, impressions=[Shown(0, 5, (0, 1), clicked)])
    recorder = Recorder()
    assert prequential(stream, recorder).impression_figures.shape == (0, 4)
    assert recorder.of("shown") == [(0, (0, 1), clicked, 5)]


def test_last_click_holds_out_all_clicks_on_the_last_new_article() -> None:
    # Reader 0's last new article is 4, at 5; reader 1 has too few to hold one out.
    clicks = [(0, number, number + 1) for number in range(5)]
    clicks += [(0, 4, 7), (0, 0, 8), (1, 3, 9), (1, 2, 10)]
    recorder = Recorder(page=[4])
    measured = last_click(stream_of(clicks, num_articles=6), recorder)
    assert [article for _, article, _ in recorder.of("learn")] == [0, 1, 2, 3, 0, 3, 2]
    assert recorder.calls[-1] == ("rank", 0, 5)
    assert measured.ranks.tolist() == [0.0]


def test_time_split_freezes_and_serves_each_later_reader_once() -> None:
    clicks = [(0, number % 3, number) for number in range(18)]
    clicks += [(0, 1, 20), (0, 5, 21)]  # 20 clicks: the split is before these two
    recorder = Recorder(page=[5])
    measured = time_split(stream_of(clicks, num_articles=6), recorder)
    assert len(recorder.of("learn")) == 18
    assert recorder.of("rank") == [(0, 21)]  # what they had clicked before is passed by
    assert measured.ranks.tolist() == [0.0]


def test_time_split_counts_targets_unknown_at_the_split_as_misses() -> None:
    clicks = [(0, 0, number) for number in range(18)] + [(1, 1, 30), (2, 2, 31)]
    stream = stream_of(clicks, num_articles=3, published_ms=[-1, 30, 29])
    measured = time_split(stream, Recorder(page=[1, 2]))
    assert measured.ranks.tolist() == [np.inf, 1.0]


def test_what_is_known_at_the_split_is_all_that_a_frozen_recommender_offers() -> None:
    clicks = [(number, 0, HOUR_MS + number) for number in range(18)]
    clicks += [(1, 1, 2 * HOUR_MS), (2, 2, 3 * HOUR_MS)]
    stream = stream_of(clicks, num_articles=3, published_ms=[1, 2, 2 * HOUR_MS])
    for offered, known in ((stream, 2), (known_at_split(stream), 1)):
        measured = time_split(offered, build_recommender(offered, None))
        assert np.count_nonzero(measured.pages[1] >= 0) == known
    assert stream.published_ms.tolist() == [1, 2, 2 * HOUR_MS]


def test_figures_by_group_of_hand_computed_ranks() -> None:
    # The same page for all: a hit at place 2, then misses; the sixth article is no beginning.
    clicks = [(0, number, number + 1) for number in range(6)]
    measured = prequential(stream_of(clicks, num_articles=6), Recorder(page=[5, 0]))
    figures = figures_of(measured)
    assert figures["overall"]["hr@10"]["value"] == pytest.approx(2 / 6, abs=1e-5)
    assert figures["first_five"]["hr@10"]["value"] == 0.2
    assert figures["first_five"]["mrr@10"]["value"] == 0.1
    assert figures["later"]["ndcg@10"]["value"] == 1.0
    assert figures["coverage@10"]["value"] == pytest.approx(2 / 6, abs=1e-5)
    assert figures["tag_calibration"]["value"] is None
    assert "impressions" not in figures


def test_figures_over_time_are_of_the_last_scored_clicks() -> None:
    clicks = [(user, 0, user) for user in range(10)] + [(user, 1, user) for user in range(10, 30)]
    measured = prequential(stream_of(clicks, num_articles=2), Recorder(page=[0]))
    points = over_time({"model": measured}, sliding=5)
    assert [point["num_scored"] for point in points] == list(range(5, 28))
    assert points[0]["ndcg@10"]["model"] == 1.0
    assert points[3]["ndcg@10"]["model"] == 0.8  # 7 hits, of which the first 3 are gone; a miss
    assert points[-1]["ndcg@10"]["model"] == 0.0
    assert points[0]["time_ms"] == 7  # three of thirty warm up


def write_set(directory: Path, impressions: bool = False) -> Path:
    directory.mkdir()
    times = [1000, 2000, 3000, 3000, 5000, 6000, 7000, 8000]
    readers = "xyxxyxzx"
    files: dict[str, list[dict[str, Any]]] = {
        "articles": [
            {"article_id": f"a{number}", "tags": ["t", "t"], "published_at": number}
            for number in range(4)
        ],
        "users": [],
        "clicks": [
            {"user_id": reader, "article_id": f"a{at % 4}", "timestamp": time_ms}
            for at, (reader, time_ms) in enumerate(zip(readers, times, strict=True))
        ],
    }
    files["clicks"].append({"user_id": "x", "article_id": "gone", "timestamp": 9000})
    files["clicks"].append(
        {"user_id": "x", "article_id": "a0", "timestamp": 9000, "consent": False}
    )
    if impressions:
        files["impressions"] = [
            {
                "impression_id": "i",
                "user_id": "new",
                "timestamp": time_ms,
                "candidates": ["a1", "gone", "a0", "a1"],
                "clicked": ["a0"],
            }
            for time_ms in (2500, 8500)
        ]
    for name, rows in files.items():
        with gzip.open(directory / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    (directory / "dataset.json").write_text('{"name": "tiny"}')
    return directory


def by_reader(stream: LoadedStream, column: np.ndarray[Any, Any]) -> list[Counter[int]]:
    return [Counter(column[stream.users == user].tolist()) for user in range(len(stream.user_ids))]


def test_a_set_is_loaded_in_order_without_what_it_does_not_hold(tmp_path: Path) -> None:
    stream = load_stream(ReadingSet(write_set(tmp_path / "set", impressions=True)))
    assert stream.user_ids == ("x", "y", "z", "new")
    assert stream.users.tolist() == [0, 1, 0, 0, 1, 0, 2, 0]
    assert stream.articles.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert stream.tags[0] == ("t",)
    assert stream.num_left_out == 2
    assert stream.impressions[0] == Shown(3, 2500, (1, 0), (0,))


def test_a_limit_keeps_the_first_clicks_and_the_impressions_until_then(tmp_path: Path) -> None:
    stream = load_stream(ReadingSet(write_set(tmp_path / "set", impressions=True)), limit=3)
    assert stream.times_ms.tolist() == [1000, 2000, 3000]
    assert [each.time_ms for each in stream.impressions] == [2500]


def test_shuffling_keeps_each_readers_articles_and_times(tmp_path: Path) -> None:
    reading_set = ReadingSet(write_set(tmp_path / "set"))
    plain = load_stream(reading_set)
    shuffled = [load_stream(reading_set, shuffle_within_reader=seed) for seed in range(8)]
    for each in shuffled:
        assert each.times_ms.tolist() == plain.times_ms.tolist()
        assert each.users.tolist() == plain.users.tolist()
        assert by_reader(each, each.articles) == by_reader(plain, plain.articles)
    assert len({tuple(each.articles.tolist()) for each in shuffled}) > 2
    again = load_stream(reading_set, shuffle_within_reader=3)
    assert again.articles.tolist() == shuffled[3].articles.tolist()


def test_the_command_prints_a_document_with_every_baseline(tmp_path: Path) -> None:
    directory = write_set(tmp_path / "set", impressions=True)
    done = CliRunner().invoke(
        evaluate_stream, [str(directory), "--json", "--limit", "6"], catch_exceptions=False
    )
    document = json.loads(done.stdout)
    assert (document["dataset"], document["protocol"]) == ("tiny", "prequential")
    assert {"random", "popularity 1 h", "newest", "co-clicks", "click-through"} <= set(
        document["baselines"]
    )
    for figures in (document["model"], *document["baselines"].values()):
        assert set(figures["overall"]["ndcg@10"]) == {"value", "low", "high"}
        assert set(figures["impressions"]) == {"auc", "mrr", "ndcg@5", "ndcg@10"}
    assert document["ablations"] == {}


def test_the_command_refuses_an_empty_set_and_a_plot_of_no_time(tmp_path: Path) -> None:
    directory = write_set(tmp_path / "set")
    done = CliRunner().invoke(
        evaluate_stream, [str(directory), "--protocol", "last-click", "--plot", "x.png"]
    )
    assert done.exit_code == 2
    with gzip.open(directory / "clicks.jsonl.gz", "wt"):
        pass
    with pytest.raises(FrontpageError, match="no clicks"):
        CliRunner().invoke(evaluate_stream, [str(directory)], catch_exceptions=False)


def test_the_table_marks_the_best_of_each_column() -> None:
    stream = stream_of([(0, 0, 1), (1, 0, 2), (2, 1, 3)], num_articles=2)
    good, bad = (prequential(stream, Recorder(page=page)) for page in ([0, 1], [1]))
    table = as_table(as_document("tiny", "prequential", good, {"bad": bad}, {"tags": good}))
    rows = {line.split("  ")[0]: line for line in table.split("\n\n")[1].splitlines()}
    assert "1.000*" in rows["model"]
    assert "1.000*" in rows["without tags"]
    assert "0.333 " in rows["bad"]
    assert "*" not in rows["bad"]
    assert "impressions" not in table


def test_a_plot_is_drawn_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of([(0, 0, 1), (1, 0, 2)], num_articles=1)
    document = as_document("tiny", "prequential", prequential(stream, Recorder()), {}, {})
    plot(document, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FrontpageError, match="nothing to plot"):
        plot({**document, "over_time": []}, tmp_path / "none.png")
    with pytest.raises(FrontpageError, match="No such file"):
        plot(document, tmp_path / "missing" / "plot.png")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(FrontpageError, match="needs matplotlib"):
        plot(document, tmp_path / "plot.png")


def test_every_protocol_tells_of_every_click() -> None:
    stream = stream_of([(0, 0, 1), (1, 0, 2), (0, 1, 3)], num_articles=2)
    for protocol in ("prequential", "last-click", "time-split"):
        told: list[int] = []
        measure(stream, Recorder(), protocol, told.append)
        assert sum(told) == 3
