"""What may be committed: only what is stored, only in order, partition by partition."""

from hypothesis import given
from hypothesis import strategies as st

from worker.chunks import Account, Chunk, Record, place_of


def chunk(*places: tuple[int, int], topic: str = "clicks") -> Chunk:
    """Return a chunk of messages, by partition and offset."""
    return Chunk(topic, [Record(topic, number, offset, 0, b"", b"") for number, offset in places])


def handed_out(*chunks: Chunk) -> Account:
    account = Account()
    for each in chunks:
        account.hand_out(each)
    return account


def test_nothing_stored_is_nothing_to_commit() -> None:
    assert handed_out(chunk((0, 0), (0, 9))).due() == {}


def test_the_longest_run_of_stored_chunks_is_committed() -> None:
    chunks = [
        chunk((0, first), (0, last)) for first, last in ((0, 9), (10, 14), (15, 20), (21, 30))
    ]
    account = handed_out(*chunks)
    assert account.has_unstored("clicks") and not account.has_unstored("articles")
    for number in (0, 1, 3):
        chunks[number].set_stored()
    assert account.due() == {("clicks", 0): 15}
    assert not account.is_settled()
    chunks[2].set_stored()
    assert account.is_settled()
    assert account.due() == {("clicks", 0): 31}
    assert not account.has_unstored("clicks")


def test_a_chunk_counts_in_each_of_its_partitions() -> None:
    first, second = chunk((0, 4), (2, 7)), chunk((2, 8), (1, 0))
    account = handed_out(first, second)
    second.set_stored()
    assert account.due() == {("clicks", 1): 1}
    first.set_stored()
    assert account.due() == {("clicks", 0): 5, ("clicks", 1): 1, ("clicks", 2): 9}


def test_what_could_not_be_committed_stays_due() -> None:
    first, second = chunk((0, 0)), chunk((0, 1))
    account = handed_out(first, second)
    first.set_stored()
    tried = account.due()
    assert account.due() == tried == {("clicks", 0): 1}
    second.set_stored()
    later = account.due()
    account.committed(tried)  # it arrived after all, while more came
    assert account.due() == later == {("clicks", 0): 2}
    account.committed(later)
    assert account.due() == {}


def test_after_a_rebalance_old_chunks_count_no_more() -> None:
    old = chunk((0, 0))
    account = handed_out(old)
    account.forget()
    old.set_stored()
    assert account.due() == {}


def test_a_stored_chunk_lets_go_of_its_messages() -> None:
    stored = chunk((3, 5))
    stored.set_stored()
    assert (
        stored.records == ()
        and stored.ends == {3: 6}
        and place_of([stored]) == "clicks[3] up to offset 5"
    )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=12), st.data())
def test_whatever_is_stored_nothing_before_what_is_due_is_not(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    ends = dict.fromkeys(range(4), 0)
    chunks = []
    for partition, size in sizes:
        chunks.append(chunk(*((partition, ends[partition] + at) for at in range(size))))
        ends[partition] += size
    account = handed_out(*chunks)
    unstored = {number: list(range(end)) for number, end in ends.items()}
    for index in data.draw(st.permutations(range(len(chunks)))):
        for record in chunks[index].records:
            unstored[record.partition].remove(record.offset)
        chunks[index].set_stored()
        due = account.due()
        for number, left in unstored.items():
            first = left[0] if left else ends[number]
            assert due.get(("clicks", number), 0) <= first
    assert account.due() == {("clicks", number): end for number, end in ends.items() if end}
