from __future__ import annotations

from gateway.health.sentence import node_sentence, receiver_sentence

STATUS = {
    "rates": {"message.received": 812.4, "reading.sealed": 1640.0},
    "lanes": [
        {"name": "alarm", "regions": {"centre": {"backlog_batches": 0}}},
        {"name": "telemetry", "regions": {"centre": {"backlog_batches": 1412}}},
    ],
    "regions": {"centre": {"connected": True}},
    "disk": {"state": "ok"},
    "ingest": {"connected": True},
    "refusing": "",
    "pressure": [],
}


def test_a_node_at_work_is_told_in_one_line() -> None:
    assert node_sentence(STATUS) == (
        "812 messages/s in, 1,640 readings/s sealed; backlog in batches: centre 1,412; disk ok"
    )


def test_what_is_not_as_it_should_be_is_told_as_well() -> None:
    bad = {
        **STATUS,
        "regions": {"centre": {"connected": False}},
        "disk": {"state": "full"},
        "ingest": {"connected": False},
        "refusing": "telemetry",
        "pressure": ["link"],
    }
    said = node_sentence(bad)
    for words in ("away: centre", "disk full", "no local broker", "lane telemetry refuses", "under pressure: link"):
        assert words in said


def test_a_node_without_regions_has_no_backlog() -> None:
    assert "backlog" not in node_sentence({**STATUS, "regions": {}, "lanes": []})


def test_a_receiver_is_told_in_one_line() -> None:
    counts = {"messages": 1000, "readings": 123456, "groups": 10}
    taken = "1,000 messages and 123,456 readings in 10 commits"
    assert receiver_sentence(counts, "") == taken
    assert receiver_sentence(counts, "stopping") == f"{taken}; stopping"
