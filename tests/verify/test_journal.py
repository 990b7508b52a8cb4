from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from hicache_model.configuration import Configuration
from hicache_model.operations import EvictDevice, Insert, Match, Operation
from hicache_verify.workers import journal as journals
from hicache_verify.workers.journal import Journal, JournalFull, JournalReader, Phase

SMALL, LARGE = Configuration(), Configuration(device_slots=16, host_slots=32)
OPERATIONS = (Insert((1, 2, 3), "a"), EvictDevice(2), Match((1,)), Insert((4, 5), priority=7))


@pytest.fixture
def fd() -> Iterator[int]:
    made = journals.make_file()
    yield made
    os.close(made)


@pytest.fixture
def journal(fd: int) -> Journal:
    return Journal(fd)


@pytest.fixture
def reader(fd: int) -> JournalReader:
    return JournalReader(fd)


def write(journal: Journal, configuration: Configuration, *performed: Operation) -> None:
    journal.begin(configuration)
    for op in performed:
        journal.perform(op)


def test_the_current_example_is_read_back(journal: Journal, reader: JournalReader) -> None:
    write(journal, LARGE, *OPERATIONS)
    entry = reader.entry()
    assert (entry.configuration, entry.operations) == (LARGE, OPERATIONS)
    assert entry.phase is Phase.PERFORMING
    assert (entry.examples, entry.operations_total) == (1, len(OPERATIONS))


def test_a_shorter_example_hides_the_longer_one_before_it(
    journal: Journal, reader: JournalReader
) -> None:
    write(journal, LARGE, *OPERATIONS, *OPERATIONS)
    write(journal, SMALL, Match((9,)))
    assert reader.entry().operations == (Match((9,)),)
    assert reader.pulse().operations == 2 * len(OPERATIONS) + 1


def test_before_the_first_example_there_is_none(reader: JournalReader) -> None:
    assert reader.entry().phase is Phase.STARTING
    assert reader.entry().configuration is None


def test_the_last_example_is_kept_while_idle(journal: Journal, reader: JournalReader) -> None:
    write(journal, SMALL, *OPERATIONS)
    journal.phase(Phase.IDLE)
    assert reader.entry().operations == OPERATIONS


def test_what_minimizes_is_marked_and_not_counted(journal: Journal, reader: JournalReader) -> None:
    write(journal, SMALL, *OPERATIONS)
    with journal.minimizing():
        write(journal, SMALL, Match((1,)))
        assert reader.entry().minimizing
        assert reader.entry().operations == (Match((1,)),)
    assert (reader.pulse().examples, reader.pulse().operations) == (1, len(OPERATIONS))
    write(journal, SMALL)
    assert not reader.entry().minimizing


@pytest.mark.parametrize("back", [1, 5, 20])
def test_a_torn_record_is_left_out(journal: Journal, reader: JournalReader, back: int) -> None:
    write(journal, SMALL, *OPERATIONS)
    journal._map[journal._end - back] ^= 0xFF
    assert reader.entry().operations == OPERATIONS[:-1]


def test_the_beats_show_every_operation(journal: Journal, reader: JournalReader) -> None:
    journal.begin(SMALL)
    before = reader.pulse().beats
    journal.perform(Match((1,)))
    assert reader.pulse().beats == before + 1
    journal.performed()
    assert reader.pulse().phase is Phase.BETWEEN


def test_an_example_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    monkeypatch.setattr(journals, "CAPACITY", 1000)
    with pytest.raises(JournalFull):
        write(journal, SMALL, *OPERATIONS * 10)


def test_a_forked_child_goes_on_where_the_parent_was(
    journal: Journal, reader: JournalReader
) -> None:
    write(journal, SMALL, *OPERATIONS)
    for number in range(3):
        child = os.fork()
        if child == 0:
            write(journal, SMALL, Match((number + 1,)))
            os._exit(0)
        os.waitpid(child, 0)
        assert reader.entry().operations == (Match((number + 1,)),)
    assert reader.pulse().examples == 4


def test_killed_at_any_moment_it_holds_a_prefix_of_the_example(
    journal: Journal, reader: JournalReader
) -> None:
    expected = tuple(Insert((n % 7, n % 5, n % 3)) for n in range(400))
    for attempt in range(12):
        child = os.fork()
        if child == 0:
            while True:
                write(journal, SMALL, *expected)
        time.sleep(0.004 + 0.0017 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        entry = reader.entry()
        if entry.configuration is not None:
            assert entry.operations == expected[: len(entry.operations)]
        else:
            assert entry.operations == ()
