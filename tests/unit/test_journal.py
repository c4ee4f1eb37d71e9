"""The journal keeps the last records, and passes each one to subscribers."""

from __future__ import annotations

from fcemu.journal import Journal, Notice, Record


def test_subscriber_gets_each_record_until_it_leaves() -> None:
    """A subscriber gets the records that are written while it is subscribed."""
    journal, got = Journal(), list[Record]()
    leave = journal.subscribe(got.append)
    journal.write(first := Notice(0.0, "info", "first"))
    leave()
    journal.write(Notice(0.0, "info", "second"))
    assert got == [first]


def test_journal_keeps_the_last_records_only() -> None:
    """The journal does not grow without bound."""
    journal = Journal(limit=2)
    for text in "abc":
        journal.write(Notice(0.0, "info", text))
    assert [record.text for record in journal.records if isinstance(record, Notice)] == ["b", "c"]
