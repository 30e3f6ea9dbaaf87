"""`frontpage import` of CSV and Parquet: what is read, what is not, and what is said of it."""

import gzip
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from schemas.errors import ReadingSetError
from schemas.reading_set import ReadingSet, split_of
from schemas.timestamps import to_ms
from tests.exported import export_csv
from worker.importing.cells import Times
from worker.importing.command import import_command
from worker.importing.options import Format, Options, read_map
from worker.importing.problems import UnreadableError
from worker.importing.run import Report, import_set

ARTICLES = "id,Headline,text,category,date\nn1,One,Body,sport|cup,2026-01-01T00:00:00Z\nn2,Two,,,\n"
CLICKS = "personId,newsId,time\nu1,n1,1767225600\nu2,n2,1767225601000\n"
USERS = "user,age,sex,income\nu1,34,F,2\nu2,,male,\n"


def write_source(
    tmp_path: Path, articles: str = ARTICLES, clicks: str = CLICKS, users: str = USERS
) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    for name, text in (("articles", articles), ("clicks", clicks), ("users", users)):
        (source / f"{name}.csv").write_text(text, encoding="utf-8")
    return source


def imported(source: Path, out: Path, **options: Any) -> tuple[ReadingSet, Report]:
    report = import_set(source, out, Options(**options))
    return ReadingSet(out), report


def reasons(report: Report) -> dict[tuple[str, str], tuple[int, list[int]]]:
    return {(each.file, each.reason): (each.count, each.lines) for each in report.unread}


def test_well_known_columns_are_found(tmp_path: Path) -> None:
    found, report = imported(write_source(tmp_path), tmp_path / "set")
    first, second = found.articles()
    assert (first.article_id, first.title, first.body) == ("n1", "One", "Body")
    assert first.tags == ["sport", "cup"] and to_ms(first.published_at or 0) == 1767225600000
    assert (second.body, second.tags, second.published_at) == (None, None, None)
    assert [(each.user_id, each.article_id, each.timestamp) for each in found.clicks()] == [
        ("u1", "n1", 1767225600000),
        ("u2", "n2", 1767225601000),
    ]
    one, two = found.readers()
    assert (one.age, one.gender, one.income_group, one.split) == (34.0, "female", 2, split_of("u1"))
    assert (two.age, two.gender, two.income_group) == (None, "male", None)
    assert report.unread == [] and report.left_out == {} and report.noticed == {}
    assert found.info.num_clicks == 2 and found.info.num_users == 2


def test_guesses_are_told_and_unused_columns_named(tmp_path: Path) -> None:
    source = write_source(tmp_path, clicks="uid,news_id,ts,device\nu1,n1,1767225600,phone\n")
    result = CliRunner().invoke(import_command, [str(source), str(tmp_path / "set")])
    assert result.exit_code == 0, result.output
    assert "user_id = uid (guessed)" in result.stderr
    assert "not used: device" in result.stderr
    assert "1 clicks" in result.stdout and "phone" not in result.output


def test_what_cannot_be_read_is_counted_by_line_and_never_quoted(tmp_path: Path) -> None:
    clicks = (
        "user_id,article_id,timestamp,consent\n"
        "u1,n1,2026-01-01T00:00:00Z,\n"
        "secret,n1,2026-01-01T00:00:00,\n"  # no offset
        "secret,n1,yesterday,\n"
        "secret,n1\n"
        ",n1,2026-01-01T00:00:00Z,\n"
        "secret,n1,,\n"
        "secret,n1,2999-01-01T00:00:00Z,\n"
        "secret,n1,1900-01-01T00:00:00Z,\n"
        f"{'secret' * 100},n1,2026-01-01T00:00:00Z,\n"
        "secret,n1,2026-01-01T00:00:00Z,no\n"
        '"u2","n1\n",2026-01-01T00:00:01Z,\n'  # a cell of two lines, and the same id
        "secret,n9,tomorrow,\n"
        "u1,n1,2026-01-01T00:00:00+00:00,\n"  # the second line again
        "u3,n9,2026-01-01T00:00:02Z,\n"
    )
    users = "user_id,age,gender,income_group\nu1,340,secret,11\nu2,34,,\nu2,35,,\nu9,20,,\nu8,,,\n"
    source = write_source(tmp_path, clicks=clicks, users=users)
    found, report = imported(source, tmp_path / "set")
    assert [each.user_id for each in found.clicks()] == ["u1", "u2", "u3"]
    assert reasons(report) == {
        ("clicks.csv", "time without an offset (see --time-zone)"): (1, [3]),
        ("clicks.csv", "time not understood (see --time-format)"): (2, [4, 14]),
        ("clicks.csv", "more or fewer cells than columns"): (1, [5]),
        ("clicks.csv", "no user_id"): (1, [6]),
        ("clicks.csv", "no timestamp"): (1, [7]),
        ("clicks.csv", "time more than a day ahead"): (1, [8]),
        ("clicks.csv", "time before 1970 or after 9999"): (1, [9]),
        ("clicks.csv", "id too long, or not valid Unicode"): (1, [10]),
        ("users.csv", "age left empty: no age of a human"): (1, [2]),
        ("users.csv", "gender left empty: neither female nor male"): (1, [2]),
        (
            "users.csv",
            "income_group left empty: none of the income groups (see --income-groups)",
        ): (1, [2]),
    }
    assert report.left_out == {
        "clicks without consent": 1,
        "repeated clicks": 1,
        "readers that came again later": 1,
        "readers without a label": 2,
    }
    assert report.noticed == {
        "clicks on articles that the set does not hold": 1,
        "labelled readers without a click": 1,
    }
    assert [(each.user_id, each.age) for each in found.readers()] == [("u2", 35.0), ("u9", 20.0)]
    output = CliRunner().invoke(import_command, [str(source), str(tmp_path / "set")]).output
    assert "line 4, 14" in output and "secret" not in output


def test_options_go_before_the_map_and_the_map_before_guesses(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "docs.csv").write_text("id;title;kicker;desk;topic\nn1;One;Uno;sport;cup/final\n")
    (source / "clicks.tsv").write_text(
        "who\twhat\twhen\nu1\tn1\t31.01.2026 12:00\n", encoding="latin-1"
    )
    (source / "forms.csv").write_text("user,sex,income\nu1,Frau,high\n")
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        '[articles]\ntitle = "title"\ntags = ["desk", "topic"]\n'
        '[clicks]\nuser_id = "who"\narticle_id = "what"\ntimestamp = "when"\n'
        '[format]\ntime_format = "%d.%m.%Y %H:%M"\ntag_separator = ";"\nfemale = ["Frau"]\n'
    )
    arguments = [
        str(source), str(tmp_path / "set"), "--map", str(mapping), "--articles", "docs.csv",
        "--users", "forms.csv", "--column", "articles.title=kicker", "--tag-separator", "/",
        "--time-zone", "Europe/Berlin", "--income-groups", "low,high", "--language", "it",
    ]  # fmt: skip
    result = CliRunner().invoke(import_command, arguments)
    assert result.exit_code == 0, result.output
    found = ReadingSet(tmp_path / "set")
    (article,) = found.articles()
    assert (article.title, article.tags, article.language) == (
        "Uno",
        ["sport", "cup", "final"],
        "it",
    )
    assert [each.timestamp for each in found.clicks()] == [1769857200000]  # 11:00 UTC
    assert [(each.gender, each.income_group) for each in found.readers()] == [("female", 1)]
    assert found.income_labels == ["low", "high"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--column", "clicks.nonsense=a"], 2, "no such field"),
        (["--column", "nonsense"], 2, "TABLE.FIELD=NAME"),
        (["--column", "clicks.user_id=a", "--column", "clicks.user_id=b"], 2, "one column only"),
        (["--delimiter", "ab"], 2, "one character"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    source = write_source(tmp_path)
    result = CliRunner().invoke(import_command, [str(source), str(tmp_path / "set"), *arguments])
    assert result.exit_code == code and message in result.output


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"articles": "x,y\n1,2\n"}, "which column is the article_id"),
        ({"articles": ""}, "must name the columns"),
        ({"clicks": "user_id,user_id\n"}, "two columns have one name"),
        ({"clicks": "user_id,article_id,timestamp\nu,a,x\n"}, "no click could be read; clicks.csv"),
    ],
)
def test_a_source_of_no_use_leaves_what_was_there(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    source, out = write_source(tmp_path), tmp_path / "set"
    imported(source, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for name, text in files.items():
        (source / f"{name}.csv").write_text(text)
    with pytest.raises(ReadingSetError, match=message):
        imported(source, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "source"]


def test_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").touch()
    with pytest.raises(ReadingSetError, match="is not a reading set"):
        imported(write_source(tmp_path), tmp_path / "set")


def test_bytes_that_are_no_text_cost_a_row(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    (source / "articles.csv").write_bytes(b"id,title\nn1,caf\xe9\nn2,b\n")
    found, report = imported(source, tmp_path / "set")
    assert [each.article_id for each in found.articles()] == ["n2"]
    assert reasons(report) == {
        ("articles.csv", "text is not utf-8 (see --encoding)"): (1, [2]),
    }
    found, report = imported(source, tmp_path / "set", format=Format(encoding="latin-1"))
    assert next(found.articles()).title == "café" and not report.unread
    (source / "articles.csv").write_bytes("id,title\nn1,café\n".encode("utf-16"))
    assert next(imported(source, tmp_path / "set")[0].articles()).title == "café"


def test_a_cell_that_never_ends_costs_what_it_swallowed(tmp_path: Path) -> None:
    lines = "".join(f"n{number},{'word ' * 20}\n" for number in range(12_000))
    source = write_source(tmp_path, articles='id,title\nn1,"never closed\n' + lines)
    found, report = imported(source, tmp_path / "set")
    assert ("articles.csv", "no row of CSV") in reasons(report)
    assert 0 < sum(1 for _ in found.articles()) < 12_000


def test_a_newsroom_comes_back_as_it_was_whatever_fits_into_memory(
    newsroom: Path, tmp_path: Path
) -> None:
    export_csv(newsroom, tmp_path / "source")
    whole = import_set(tmp_path / "source", tmp_path / "set", Options())
    import_set(tmp_path / "source", tmp_path / "again" / "set", Options(), chunk_size=100)
    assert not whole.unread and not whole.left_out and not whole.noticed
    before, after = ReadingSet(newsroom), ReadingSet(tmp_path / "set")
    assert list(after.articles()) == list(before.articles())
    assert sorted(after.readers(), key=str) == sorted(before.readers(), key=str)
    assert {(each.event_id, each.user_id, each.article_id, to_ms(each.timestamp))
            for each in before.clicks()} == {
        (each.event_id, each.user_id, each.article_id, each.timestamp) for each in after.clicks()
    }  # fmt: skip
    for path in (tmp_path / "set").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "set" / path.name).read_bytes()


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "clicks").mkdir(parents=True)
    articles = {
        "item_id": pa.array([1, 2]),
        "title": ["One", "Two"],
        "tags": [["sport", "cup"], None],
        "published_at": pa.array([1767225600123456789, None], pa.timestamp("ns", "UTC")),
    }
    parquet.write_table(pa.table(articles), source / "articles.parquet")
    for part, rows in enumerate(([1.0, None], [2.0])):
        clicks = {
            "user_id": [f"u{part}"] * len(rows),
            "item_id": pa.array(rows, pa.float64()),  # as a table with a hole has it
            "timestamp": pa.array([1767225600] * len(rows)),
        }
        parquet.write_table(pa.table(clicks), source / "clicks" / f"part-{part}.parquet")
    found, report = imported(source, tmp_path / "set")
    one, two = found.articles()
    assert (one.article_id, one.tags, two.tags) == ("1", ["sport", "cup"], None)
    assert to_ms(one.published_at or 0) == 1767225600123
    assert [(each.user_id, each.article_id) for each in found.clicks()] == [
        ("u0", "1"),
        ("u1", "2"),
    ]
    assert reasons(report) == {("part-0.parquet", "no article_id"): (1, [2])}


def test_without_pyarrow_parquet_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path)
    (source / "articles.csv").rename(source / "articles.parquet")
    with pytest.raises(ReadingSetError, match="cannot be read as Parquet"):
        imported(source, tmp_path / "set")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ReadingSetError, match=r"pip install 'frontpage\[import\]'"):
        imported(source, tmp_path / "set")


def test_gzipped_files_and_a_byte_order_mark(tmp_path: Path) -> None:
    source = write_source(tmp_path)
    (source / "clicks.csv").unlink()
    (source / "clicks.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + CLICKS.encode()))
    found, _ = imported(source, tmp_path / "set")
    assert sum(1 for _ in found.clicks()) == 2
    (source / "clicks.csv").write_text(CLICKS)
    with pytest.raises(ReadingSetError, match="which are the clicks"):
        imported(source, tmp_path / "set")


@pytest.mark.parametrize(
    ("kind", "zone", "text", "expected"),
    [
        ("auto", None, "1767225600.5", 1767225600500),
        ("auto", None, "2026-01-01 01:00:00+01:00", 1767225600000),
        ("auto", "UTC", "2026-01-01", 1767225600000),
        ("auto", "Asia/Shanghai", "2026-01-01T08:00:00", 1767225600000),
        ("s", None, "200000000000", 200000000000000),
        ("ms", None, "1767225600", 1767225600),
        ("%Y%m%d %z", None, "20260101 +0000", 1767225600000),
    ],
)
def test_times(kind: str, zone: str | None, text: str, expected: int) -> None:
    assert Times(kind, zone).read(text) == expected


@pytest.mark.parametrize("text", ["1e999", "nan", "2026-13-01T00:00:00Z", "12 o'clock"])
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UnreadableError):
        Times().read(text)


def test_a_map_with_a_spelling_mistake_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text('[clicks]\nuser = "a"\n')
    with pytest.raises(ReadingSetError, match=r"clicks\.user: no such field"):
        read_map(path)
