"""The picture of a node: rates and times from one status to the next, and what needs a person."""

from __future__ import annotations

from gateway.health.picture import Watch
from tests.support.node_status import lane, region, status


def test_rates_and_the_time_a_ring_has_room_follow_from_two_looks() -> None:
    watch = Watch()
    first = watch.look(10.0, status(lanes=[lane("a", bytes=0, bytes_max=1000)]))
    assert first["lanes"][0]["room_s"] is None
    second = watch.look(12.0, status(lanes=[lane("a", bytes=400, bytes_max=1000, bytes_written=400)]))
    assert second["lanes"][0]["bytes_per_second"] == 200
    assert second["lanes"][0]["share"] == 0.4
    assert second["lanes"][0]["room_s"] == 3


def test_a_daemon_that_was_started_anew_is_counted_from_the_beginning() -> None:
    watch = Watch()
    watch.look(1.0, status(lanes=[lane("a", bytes_written=10**9)]))
    anew = watch.look(2.0, status(pid=2, lanes=[lane("a", bytes_written=5)]))
    assert anew["lanes"][0]["bytes_per_second"] == 0.0
    assert watch.look(3.0, status(pid=2, lanes=[lane("a", bytes_written=7)]))["lanes"][0]["bytes_per_second"] == 2


def test_how_far_a_region_is_behind_is_the_sum_over_its_lanes() -> None:
    place = {"cursor": 1, "backlog_batches": 2, "backlog_readings": 30, "gap_batches": 1, "gap_readings": 4}
    lanes = [lane("a", regions={"centre": place}), lane("b", regions={"centre": place}), lane("c", regions={})]
    (one,) = Watch().look(0.0, status(lanes=lanes))["regions"]
    assert (one["behind_batches"], one["behind_readings"], one["lost_readings"]) == (4, 60, 8)


def test_the_share_of_a_budget_is_told_only_where_there_is_one() -> None:
    line = {"open": True, "budget_spent": False, "day_bytes": 250, "bytes_per_day": 1000, "month_bytes": 9}
    (one,) = Watch().look(0.0, status(regions={"centre": region(line=line)}))["regions"]
    assert (one["line"]["day_share"], one["line"]["month_share"]) == (0.25, None)


def test_what_needs_a_person_is_named_and_else_all_is_ok() -> None:
    assert Watch().look(0.0, status())["state"] == "ok"
    away = region(connected=False, last_fault="refused")
    picture = Watch().look(0.0, status(residual={"messages": -2, "readings": 1}, regions={"centre": away}))
    assert picture["state"] == "needs attention"
    assert [sentence.partition(":")[0] for sentence in picture["attention"]] == [
        "unaccounted",
        "region centre is not connected",
    ]
    assert picture["unaccounted"] == 3


def test_fates_beside_the_whole_way_are_listed_with_their_rates() -> None:
    books = {"message.received": 10, "message.decoded": 8, "message.quarantined.not_json": 2}
    watch = Watch()
    watch.look(0.0, status(ledger=books))
    picture = watch.look(2.0, status(ledger={**books, "message.quarantined.not_json": 6}))
    assert picture["fates"] == [{"fate": "message.quarantined.not_json", "total": 6, "per_second": 2.0}]


def test_the_age_of_the_oldest_and_the_time_until_a_ring_is_full_are_told_where_they_are_known() -> None:
    behind = region(oldest_s={"a": 3.5, "b": 90.0})
    picture = Watch().look(0.0, status(lanes=[lane("a", hours_left=0.5)], regions={"centre": behind}))
    assert (picture["lanes"][0]["full_in_s"], picture["regions"][0]["oldest_s"]) == (1800, 90.0)
    picture = Watch().look(0.0, status(lanes=[lane("a", hours_left=None)]))
    assert (picture["lanes"][0]["full_in_s"], picture["regions"][0]["oldest_s"]) == (None, None)


def test_bytes_by_topic_have_their_share_of_the_lane() -> None:
    picture = Watch().look(0.0, status(topics={"a": {"plant/x": 300, "": 100}, "b": {"": 0}}))
    assert picture["topics"] == [
        {"lane": "a", "topic": "plant/x", "bytes": 300, "share": 0.75},
        {"lane": "a", "topic": "", "bytes": 100, "share": 0.25},
    ]
