"""A receiver on PostgreSQL: the same end as on SQLite, once each, whoever is killed, with several receivers at once."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.batch import envelope
from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.region import dead_letters, postgresql, service
from gateway.region.intake import Intake, Message
from gateway.region.outbox import Outbox
from gateway.region.postgresql import PostgresqlStore
from gateway.region.reconcile import Report
from gateway.region.sink import Taken
from gateway.region.sink.postgresql import PostgresqlSink
from tests.support.batches import open_batch
from tests.support.postgresql import Postgresql
from tests.support.receiving import PREFIX, Region, StoppedClock, gap, message, sent, sent_gap
from tests.support.site import region_tls
from tests.support.waiting import wait_for

MESSAGES = [sent(number) for number in range(1, 41)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgresql]:
    folder = tmp_path_factory.mktemp("postgresql")
    write_pki(folder / "pki")
    with Postgresql(folder / "server", **region_tls(folder / "pki")) as made:
        yield made


@pytest.fixture
def options(server: Postgresql) -> schema.Postgresql:
    """A schema without anything in it; its name is always the same, so that the server's `rows` finds it."""
    server.do("DROP SCHEMA IF EXISTS edge CASCADE")
    return server.options


def intake(store: PostgresqlStore, *more: Outbox) -> Intake:
    return Intake(store, [PostgresqlSink(), *more], StoppedClock(), PREFIX)


def told(report: Report) -> tuple[object, ...]:
    """Return what must not depend on the database or the order."""
    lanes = [msgspec.structs.replace(lane, seen_ns=0, duplicates=0) for lane in report.lanes]
    return lanes, {name: number for name, number in report.rejected.items() if name != "fork"}


def values(server: Postgresql) -> list[tuple[object, ...]]:
    return sorted(server.rows("SELECT topic, field, time_ns, coalesce(number, integer) FROM reading"))


def test_it_comes_to_the_same_end_as_sqlite_in_any_order(
    tmp_path: Path, server: Postgresql, options: schema.Postgresql
) -> None:
    messages = [
        *MESSAGES,
        *random.Random(1).sample(MESSAGES, 10),
        sent_gap(gap(41, 45)),
        sent(43),
        sent(50),
        sent(7, salt=9.0),
        sent(51, epoch=101),
        Message(f"{PREFIX}/node/telemetry/batch", b"no batch"),
    ]
    random.Random(2).shuffle(messages)
    store = PostgresqlStore(options)
    receiver = intake(store)
    with Region(tmp_path) as region:
        for at in range(0, len(messages), 7):
            receiver.take(messages[at : at + 7])
            region.take(*messages[at : at + 7])
        assert told(postgresql.report(options)) == told(region.report())
        rows = region.rows("SELECT topic, field, time_ns, value FROM reading")
    store.close()
    assert values(server) == rows


def test_every_type_of_value_and_every_kind_of_text_comes_back(server: Postgresql, options: schema.Postgresql) -> None:
    texts = ["", "plain", "tab\tnew\nline\rback\\slash", r"\N", "\\.", "ü€😀", "'; DROP TABLE reading; --"]
    given: list[object] = [1.5, -0.0, float("inf"), 1e308, 2**63 - 1, -(2**63), True, False, b"\x00\xff", *texts]
    made = [
        open_batch({f"t/{number}": ([number + 1], [{"f\\o\to": value}])}, sequence=number + 1, readings_before=number)
        for number, value in enumerate([*given, "nul\0inside"])
    ]
    store = PostgresqlStore(options)
    intake(store).take([message(envelope.seal(one, "boot")) for one in made])
    store.close()
    rows = server.rows("SELECT topic, field, number, integer, text, bool, bytes, time, time_ns FROM reading")
    found = {row[0]: next((one for one in row[2:7] if one is not None), None) for row in rows}
    assert [found[f"t/{number}"] for number in range(len(given))] == given
    assert found[f"t/{len(given)}"] == b"nul\0inside"
    assert {row[1] for row in rows} == {"f\\o\to"}
    assert {row[8] for row in rows} == set(range(1, len(made) + 1))


def test_a_cut_connection_costs_an_error_and_the_group_comes_again(
    server: Postgresql, options: schema.Postgresql
) -> None:
    store = PostgresqlStore(options)
    receiver = intake(store)
    receiver.take(MESSAGES[:5])
    server.cut_connections()
    with pytest.raises(StoreError, match="PostgreSQL: "):
        receiver.take(MESSAGES[5:10])
    assert receiver.take(MESSAGES[5:10]).decided == {"fresh": 5}
    server.kill()
    with pytest.raises(StoreError, match="PostgreSQL: "):
        receiver.take(MESSAGES[10:15])
    server.start()
    assert receiver.take(MESSAGES[5:15]).decided == {"fresh": 5, "duplicate": 5}
    store.close()
    (lane,) = postgresql.report(options).lanes
    assert (lane.batches, lane.missing, lane.unaccounted) == (15, 0, 0)
    assert len(server.rows("SELECT 1 FROM reading")) == lane.received


def test_two_receivers_share_the_batches_of_a_node_and_each_is_written_once(
    server: Postgresql, options: schema.Postgresql
) -> None:
    stores = [PostgresqlStore(options), PostgresqlStore(options)]
    receivers = [intake(store) for store in stores]
    decided: dict[str, int] = {}
    faults: list[StoreError] = []

    def work(receiver: Intake, seed: int) -> None:
        order = random.Random(seed).sample(MESSAGES, len(MESSAGES))
        for at in range(0, len(order), 3):
            try:
                for name, number in receiver.take(order[at : at + 3]).decided.items():
                    decided[name] = decided.get(name, 0) + number
            except StoreError as error:
                faults.append(error)

    threads = [threading.Thread(target=work, args=(one, seed)) for seed, one in enumerate(receivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.close()
    assert not faults, faults
    (lane,) = postgresql.report(options).lanes
    assert (lane.batches, lane.missing, lane.unaccounted, lane.forks) == (len(MESSAGES), 0, 0, 0)
    assert decided == {"fresh": len(MESSAGES), "duplicate": len(MESSAGES)}
    assert len(server.rows("SELECT 1 FROM reading")) == lane.received


def test_a_receiver_killed_at_any_moment_has_written_each_batch_once_or_not(
    tmp_path: Path, server: Postgresql, options: schema.Postgresql
) -> None:
    program = tmp_path / "receiver.py"
    program.write_text(
        textwrap.dedent(f"""
        import pathlib, sys
        sys.path.insert(0, {str(Path.cwd())!r})
        from gateway.config import schema
        from tests.integration.test_postgresql_store import MESSAGES, intake
        from gateway.region.postgresql import PostgresqlStore
        receiver = intake(PostgresqlStore(schema.Postgresql(connect={options.connect!r},
                                                            password_file={options.password_file!r})))
        for at in range(0, 40, 2):
            receiver.take(MESSAGES[at : at + 2])
            print(at, flush=True)
        """),
        "utf-8",
    )
    for lines in (1, 4, 9, 20):
        process = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    (lane,) = postgresql.report(options).lanes
    assert (lane.batches, lane.missing, lane.unaccounted) == (40, 0, 0)
    assert len(server.rows("SELECT 1 FROM reading")) == lane.received


async def test_a_receiver_that_starts_before_its_database_waits_for_it(
    server: Postgresql, options: schema.Postgresql
) -> None:
    nowhere = schema.Receiver(
        host="127.0.0.1", port=1, tls_ca="", tls_certificate="", tls_key="", sinks=("postgresql",), postgresql=options
    )
    server.kill()
    task = asyncio.create_task(service.run(nowhere, schema.Health(), Disk(), Clock(), random.Random(1), lambda: None))
    await asyncio.sleep(1.5)
    assert not task.done()
    server.start()
    async with asyncio.timeout(20.0):
        while not server.rows("SELECT 1 FROM information_schema.tables WHERE table_name = 'reading'"):  # noqa: ASYNC110  # no event tells
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_server_that_may_forget_is_refused(server: Postgresql, options: schema.Postgresql) -> None:
    store = PostgresqlStore(options)
    server.do("ALTER SYSTEM SET fsync = off")
    server.do("SELECT pg_reload_conf()")
    wait_for(lambda: server.rows("SHOW fsync") == [("off",)], "the server has read its file")
    with pytest.raises(StoreError, match="runs with fsync = off"), store.transaction():
        pass
    server.do("ALTER SYSTEM RESET fsync")
    server.do("SELECT pg_reload_conf()")
    wait_for(lambda: server.rows("SHOW fsync") == [("on",)], "the server has read its file")
    with store.transaction():
        pass
    store.close()


def test_dead_letters_are_marked_and_removed_beside_a_receiver(options: schema.Postgresql) -> None:
    store = PostgresqlStore(options)
    intake(store).take([Message(f"{PREFIX}/node/telemetry/batch", b"garbage")])
    with postgresql.editing(options) as transaction:
        (letter,) = dead_letters.listed(transaction)
        assert (letter.reason, letter.why_not) == ("no_batch", "")
        dead_letters.mark(transaction, [letter.id])
    with store.transaction() as transaction:
        assert dead_letters.claimed(transaction, 10) == [(letter.id, letter.topic, b"garbage")]
        assert not dead_letters.claimed(transaction, 10)
        dead_letters.remove(transaction, [letter.id])
    store.close()
    with postgresql.editing(options) as transaction:
        assert not dead_letters.listed(transaction)


NUL_IN_TOPIC = Message("edge/v1/a\0b/telemetry/batch", b"junk")
FIRST_MOMENT = message(
    envelope.seal(open_batch({"t": ([-(2**63)], [{"f": 1.0}])}, sequence=1, readings_before=0), "boot")
)


@pytest.mark.parametrize("poison", [NUL_IN_TOPIC, sent_gap(gap(1, 2, reason="ev\0icted")), FIRST_MOMENT])
def test_no_message_stops_the_others(options: schema.Postgresql, poison: Message) -> None:
    store = PostgresqlStore(options)
    outcome = intake(store).take([poison, sent(3)])
    assert outcome.messages == 2
    store.close()


async def test_what_the_database_does_not_take_is_found_and_buried_alone(
    options: schema.Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = PostgresqlSink.write

    def write(sink: PostgresqlSink, transaction: postgresql.Session, taken: Sequence[Taken]) -> None:
        written(sink, transaction, taken)
        if any(one.payload == MESSAGES[4].payload for one in taken):
            transaction.execute("SELECT ?::bigint", ("no number",))

    monkeypatch.setattr(PostgresqlSink, "write", write)
    made = schema.Receiver(tls_ca="", tls_certificate="", tls_key="", sinks=("postgresql",), postgresql=options, port=1)
    running = service.Service(made, Disk(), Clock(), random.Random(1))
    left = MESSAGES[:10]
    while left:
        left = left[running._take(left).messages :]
    running.close()
    report = postgresql.report(options)
    assert (report.lanes[0].batches, report.rejected) == (9, {"unstorable": 1})
    assert report.dead_letters[0]["detail"].startswith("PostgreSQL: invalid input syntax")


def test_only_one_receiver_of_a_name_hands_on(options: schema.Postgresql) -> None:
    first, second, other = (PostgresqlStore(options, name) for name in ("one", "one", "two"))
    for store in (first, other):
        with store.transaction():
            pass
    with (
        pytest.raises(StoreError, match="another receiver of the name one works on this database"),
        second.transaction(),
    ):
        pass
    first.close()
    with second.transaction():
        pass
    for store in (second, other):
        store.close()


def test_an_outbox_in_postgresql_gives_back_what_its_own_receiver_put_in(options: schema.Postgresql) -> None:
    store = PostgresqlStore(options)
    outbox, other = (Outbox(receiver, "away", 1 << 20) for receiver in ("one", "two"))
    intake(store, outbox).take(MESSAGES[:3])
    intake(store, other).take(MESSAGES[3:4])
    with store.transaction() as transaction:
        waiting = outbox.oldest(transaction, 10, 1 << 20)
        outbox.remove_to(transaction, waiting[1].id)
    assert [one.envelope for one in waiting] == [one.payload for one in MESSAGES[:3]]
    store.close()
    assert postgresql.report(options).outboxes == {
        "one/away": {"messages": 1, "bytes": len(MESSAGES[2].payload)},
        "two/away": {"messages": 1, "bytes": len(MESSAGES[3].payload)},
    }
