"""What was written yesterday is read today, and what tomorrow adds is ignored."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas import decode, history, records
from schemas.bundle import LearnedBlend, Manifest, TagAffinity, describe_files, version_of
from schemas.encoded import EncodedArticle
from schemas.errors import BundleError
from schemas.preferences import newest, pack_preferences, time_of, unpack_preferences
from schemas.showings import IMPRESSION_BYTES, pack_showings
from schemas.timestamps import to_ms
from worker.catalogue import Catalogue
from worker.model import load_model

FIXTURES = Path(__file__).parents[1] / "fixtures" / "evolution"
WRITTEN: dict[str, Any] = json.loads((FIXTURES / "first_written.json").read_text())
NOW_MS = 1_795_507_200_000 + 86_400_000

Decode = Callable[[bytes, int], Any]
DECODERS: dict[str, Decode] = {
    "articles": decode.decode_article,
    "clicks": decode.decode_click,
    "visits": decode.decode_visit,
    "impressions": decode.decode_impression,
    "preferences": decode.decode_preferences,
    "erasures": decode.decode_erasure,
    "reader_labels": lambda raw, _: decode.decode_reader_label(b"u", raw),
}
MESSAGES = [(topic, raw) for topic in DECODERS for raw in WRITTEN[topic]]
STORED: dict[str, type[msgspec.Struct]] = {
    "profile": records.Profile,
    "recommendation": records.Recommendation,
    "served_features": records.ServedFeatures,
    "stored_preferences": records.Preferences,
}


def test_there_is_something_of_every_record() -> None:
    others = {records.Profile, records.Recommendation, records.ServedFeatures, records.DeadLetter}
    read = {type(DECODERS[topic](raw.encode(), NOW_MS)) for topic, raw in MESSAGES}
    assert read | others == {*records.WIRE_RECORDS}


@pytest.mark.parametrize(("topic", "raw"), MESSAGES)
def test_yesterdays_messages_are_read_whole(topic: str, raw: str) -> None:
    found = DECODERS[topic](raw.encode(), NOW_MS)
    told, now = json.loads(raw), json.loads(msgspec.json.encode(found))
    assert {name: now[name] for name in told} == told
    # What is new since has the default that leaves it as it was.
    defaults = msgspec.json.decode(json.dumps(told), type=type(found))
    assert found == defaults


def with_tomorrows_fields(told: Any) -> Any:
    """Add fields at every depth, with names that nothing of today has."""
    if isinstance(told, list):
        return [with_tomorrows_fields(each) for each in told]
    if isinstance(told, dict):
        more = {"tomorrow": {"x": [1, None, {"y": 2.5}]}, "Ähnlich": "漢", "": False}
        return {**more, **{name: with_tomorrows_fields(each) for name, each in told.items()}}
    return told


@pytest.mark.parametrize(("topic", "raw"), MESSAGES)
def test_tomorrows_fields_of_messages_are_ignored(topic: str, raw: str) -> None:
    more = json.dumps(with_tomorrows_fields(json.loads(raw))).encode()
    assert len(more) > len(raw) + 40
    assert DECODERS[topic](more, NOW_MS) == DECODERS[topic](raw.encode(), NOW_MS)


@pytest.mark.parametrize("name", STORED)
def test_stored_json_of_yesterday_and_tomorrow_is_read(name: str) -> None:
    kind = STORED[name]
    found = msgspec.json.decode(WRITTEN[name], type=kind)
    told, now = json.loads(WRITTEN[name]), json.loads(msgspec.json.encode(found))
    for field in told.keys() - {"items"}:
        assert now[field] == told[field]
    more = with_tomorrows_fields(told)
    for mapping in ("tags", "features"):  # by names of tags and features, not of fields
        if mapping in told:
            more[mapping] = told[mapping]
    assert msgspec.json.decode(json.dumps(more), type=kind) == found


def test_yesterdays_preferences_allow_profiling_and_stand_for_themselves() -> None:
    held = WRITTEN["stored_preferences"].encode()
    found = unpack_preferences(held)
    assert found is not None and found.profiling and found.blocked_tags == ["football"]
    later = pack_preferences(msgspec.structs.replace(found, timestamp=time_of(held) + 1))
    assert newest(held, later) == newest(later, held) == later
    assert newest(held, None) == held


def test_yesterdays_dead_letters_are_read() -> None:
    headers = [(name, value.encode()) for name, value in WRITTEN["dead_letter_headers"]]
    letter = records.DeadLetter.from_headers(headers)
    assert (letter.topic, letter.partition, letter.offset, letter.size) == ("clicks", 3, 7, 5)
    more = [*headers, ("tomorrow", b"\xff"), ("tomorrow", None)]
    assert records.DeadLetter.from_headers(more) == letter


def test_yesterdays_histories_are_read_and_merged() -> None:
    held = bytes.fromhex(WRITTEN["history"])
    assert history.is_history(held) and history.num_clicks(held) == 3
    times_ms, refs = history.read_entries(history.unpack(held))
    assert times_ms.tolist() == [1_795_507_200_000 + i for i in (3, 2, 1)]
    assert refs.tolist() == [int.from_bytes(history.article_ref(f"a{i}"), "big") for i in (3, 2, 1)]
    # The same clicks, packed today, are the same bytes: nothing counts twice after an update.
    again = [
        history.pack_entry(1_795_507_200_000 + i, f"e{i}" if i % 2 else None, ref)
        for i, ref in ((i, history.article_ref(f"a{i}")) for i in (1, 2, 3))
    ]
    assert history.merge(held, again, 8) == held == history.merge(None, again, 8)


def test_yesterdays_showings_are_read() -> None:
    held = bytes.fromhex(WRITTEN["showings"])
    shown = pack_showings(1_795_507_200_000, "i3", ["a17", "a18"])
    assert history.merge(held, shown, 256) == held
    assert shown[0][:IMPRESSION_BYTES] in held


def test_articles_encoded_yesterday_and_tomorrow_are_read() -> None:
    raw = bytes.fromhex(WRITTEN["encoded"])
    found = msgspec.msgpack.decode(raw, type=EncodedArticle)
    assert (found.article_id, found.tags, found.terms) == ("a17", ["economy"], b"")
    catalogue = Catalogue(2, np.dtype("<f4"))
    catalogue.put(found)
    assert catalogue.rows[0].tolist() == [1.0, -0.5]
    fields = msgspec.msgpack.decode(raw)
    missing = len(EncodedArticle.__struct_fields__) - len(fields)
    more = msgspec.msgpack.encode([*fields, *[b""] * missing, {"tomorrow": 1}])
    assert msgspec.msgpack.decode(more, type=EncodedArticle) == found


@pytest.fixture
def first_bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    with tarfile.open(FIXTURES / "bundle-2026-11-23.tar.xz") as archive:
        archive.extractall(path, filter="data")
    return path


def test_the_first_bundles_estimates_are_what_they_were(first_bundle: Path) -> None:
    model = load_model(first_bundle)
    assert model.affinity is not None and model.blend is None and not model.manifest.reads_tags
    rows = np.asarray(model.encode(["Rates fall. The bank lowers them", "Ein Tor", "银行"]))
    size = model.windows[-1]
    gathered = np.zeros((2, size, rows.shape[1]), np.float32)
    mask, ages = np.zeros((2, size), np.float32), np.zeros((2, size), np.float32)
    gathered[0, :3], mask[0, :3], ages[0, :3] = rows, 1, [0, 1, 5]
    gathered[1, 0], mask[1, 0] = rows[1], 1
    found = model.estimate(gathered, ages, mask)
    assert np.allclose(found.age_years, [41.7095, 41.95404], atol=2e-3)
    assert np.allclose(found.age_sd, [15.08039, 15.17141], atol=2e-3)
    assert np.allclose(found.female, [0.54872, 0.54308], atol=1e-4)
    assert np.allclose(found.income[0, :4], [0.05212, 0.08947, 0.08415, 0.13846], atol=1e-4)


def test_a_manifest_of_tomorrow_is_read_and_another_format_is_not(first_bundle: Path) -> None:
    path = first_bundle / "manifest.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "tomorrow": {"x": [1]}, "training": {"new": 1}}))
    assert load_model(first_bundle).manifest.model_version == told["model_version"]
    path.write_text(json.dumps({**told, "format_version": 2}))
    with pytest.raises(BundleError, match="format 2 is not 1"):
        load_model(first_bundle)


def test_a_bundle_whose_files_changed_is_refused(first_bundle: Path) -> None:
    """Also where somebody made the version anew, but not each checksum; or nothing but one bit."""
    names = sorted(path.name for path in first_bundle.iterdir() if path.suffix != ".json")
    assert len(names) == 3
    for name in names:
        path = first_bundle / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
        with pytest.raises(BundleError, match="differs from the manifest's checksum"):
            load_model(first_bundle)
        path.write_bytes(whole)
    manifest = first_bundle / "manifest.json"
    told = json.loads(manifest.read_text())
    files = describe_files(first_bundle)
    assert version_of(files) == told["model_version"]
    manifest.write_text(json.dumps({**told, "model_version": "0" * 12}))
    with pytest.raises(BundleError, match="model_version does not match"):
        load_model(first_bundle)


@pytest.mark.parametrize("kind", [Manifest, TagAffinity, LearnedBlend])
def test_a_bundles_records_ignore_what_they_do_not_know(kind: type[msgspec.Struct]) -> None:
    assert not kind.__struct_config__.forbid_unknown_fields
    assert not kind.__struct_config__.array_like


def test_no_field_has_come_without_a_default() -> None:
    """What the first version wrote is all that today's records ask for."""
    for name, kind in STORED.items():
        required = {field.name for field in msgspec.structs.fields(kind) if field.required}
        assert required <= json.loads(WRITTEN[name]).keys()


def test_a_time_written_either_way_is_the_same_moment() -> None:
    one, other = (
        decode.decode_click(
            json.dumps({"user_id": "u", "article_id": "a", "timestamp": time}).encode(), NOW_MS
        )
        for time in ("2026-11-24T08:00:00Z", 1_795_507_200_000)
    )
    assert isinstance(one, records.Click) and isinstance(other, records.Click)
    assert to_ms(one.timestamp) == to_ms(other.timestamp) == 1_795_507_200_000
