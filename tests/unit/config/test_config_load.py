from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import schema
from gateway.config.load import FILE_BYTES_MAX, load, parse
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config.load import Loaded

NODE = '[node]\nid = "node-1"\n'
LANE = '[[spool.lanes]]\nname = "telemetry"\n'
ROUTE = '[[route]]\nname = "sensors"\ntopics = ["sensors/#"]\nlane = "telemetry"\n'
GOOD = NODE + LANE + ROUTE
REGION = '[[region]]\nname = "centre"\nhost = "h"\ntls_ca = "ca"\ntls_certificate = "c"\ntls_key = "k"\n'
RECEIVER = '[receiver]\ntls_ca = "ca.pem"\ntls_certificate = "receiver.pem"\ntls_key = "receiver.key"\n'


def read(text: str) -> Loaded:
    return parse(text, "gateway.toml", Path("/etc/edge"))


def faults(text: str) -> list[str]:
    """Return the faults of a file, each without the file's name."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [fault.removeprefix("gateway.toml:") for fault in caught.value.faults]


def fault(text: str) -> str:
    """Return the only fault of a file."""
    (one,) = faults(text)
    return one


def test_a_small_file_is_read_and_the_rest_are_defaults() -> None:
    config = read(GOOD).config
    assert config.node == schema.Node(id="node-1")
    assert config.spool.lanes == (schema.Lane(name="telemetry"),)
    assert config.route[0].time == schema.Time()
    assert config.broker == schema.Broker()


def test_values_are_read_in_the_units_of_the_schema() -> None:
    text = GOOD + '[route.window]\nsize = "1m"\n[journal]\ncommit_interval = "5ms"\ncommit_bytes = 2048\n'
    config = read(text + 'segment_bytes = "1MiB"\ncheckpoint_growth = 2\n').config
    assert config.route[0].window == schema.Window(size_ns=60 * 10**9)
    assert config.journal.commit_interval_ns == 5_000_000
    assert (config.journal.commit_bytes, config.journal.segment_bytes) == (2048, 1 << 20)
    assert config.journal.checkpoint_growth == 2.0


def test_a_receiver_alone_is_enough() -> None:
    config = read(RECEIVER).config
    assert config.node is None
    assert config.receiver is not None
    assert config.receiver.tls_ca == "/etc/edge/ca.pem"


def test_relative_paths_start_at_the_folder_of_the_file() -> None:
    config = read(
        GOOD.replace('id = "node-1"', 'id = "node-1"\nstate_folder = "state"\nstatus_socket = "/run/g.sock"')
    ).config
    assert config.node is not None
    assert config.node.state_folder == "/etc/edge/state"
    assert config.node.status_socket == "/run/g.sock"
    assert config.broker.tls_ca == ""


def test_the_origin_of_every_value_is_known() -> None:
    loaded = read(GOOD)
    assert loaded.origin(("node", "id")) == "gateway.toml:2"
    assert loaded.origin(("spool", "lanes", 0, "name")) == "gateway.toml:4"
    assert loaded.origin(("spool", "lanes", 0, "linger")) == "default"


def test_all_faults_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = '[node]\nid = "node 1"\nstaet_folder = "x"\n[broker]\nport = 0\n' + LANE + "linger = 1\n" + ROUTE
    assert [line.partition(": ")[2].partition(":")[0] for line in faults(text + "region = 3\n")] == [
        "node.id",
        "node.staet_folder",
        "broker.port",
        "spool.lanes[0].linger",
        "route[0].region",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "[jurnal]\n", '9: jurnal: unknown key; did you mean "journal"?'),
        (
            GOOD + "[journal]\nlinger = 1\n",
            "10: journal.linger: unknown key here; did you mean spool.lanes.linger or region.kafka.linger or ",
        ),
        (GOOD + "[journal]\nzzz = 1\n", "10: journal.zzz: unknown key: remove it; known here are commit_interval, "),
        (GOOD + "qos = 3\n", "9: route[0].qos: found the integer 3, expected a value from 0 to 2"),
        (GOOD + "qos = true\n", "9: route[0].qos: found the boolean true, expected an integer"),
        (GOOD + "qos = 1979-05-27\n", "9: route[0].qos: found a date or time, expected an integer"),
        (GOOD + "keep = 5\n", "9: route[0].keep: found the integer 5, expected a text in quotes"),
        (GOOD + 'decoder = "jsn"\n', '"avro"; did you mean "json"?'),
        (GOOD + 'fields = "t"\n', '9: route[0].fields: found the text "t", expected an array of texts'),
        (GOOD + 'fields = ["t", "t"]\n', '9: route[0].fields: "t" stands in the array twice: remove one'),
        (GOOD + 'fields = ["t", 1]\n', "9: route[0].fields: found the integer 1, in an array of texts"),
        (GOOD + "[route.sample]\ndeadband = {t = nan}\n", '10: route[0].sample.deadband: "t": found the number nan'),
        (GOOD + "[route.sample]\ndeadband = {t = 'x'}\n", '"t": found the text "x", expected a number'),
        (
            GOOD + '[[region]]\nname = "a"\nhost = "b"\ntls_certificate = "c"\ntls_key = "d"\n',
            "9: region[0].tls_ca: is missing: PEM file of the only CA",
        ),
        (GOOD + "[[route.field]]\n", "9: route[0].field[0].name: is missing: path of the field as it was decoded."),
        (GOOD + "[journal]\ncommit_bytes = '1GB'\n", 'found the text "1GB", expected a value from 1KiB to 16MiB'),
        (GOOD + "[broker]\nkeep_alive = 30\n", 'a duration without its unit: write "30s" or "30ms"'),
        (GOOD + "[broker]\nkeep_alive = '30'\n", 'a duration without its unit: write "30" with one of ns, us'),
        (GOOD + "[broker]\nhost = ''\n", "10: broker.host: found an empty text"),
        (GOOD + '[broker]\nhost = "a\\u0000"\n', "10: broker.host: found a control character"),
        (GOOD + "[journal]\ncheckpoint_growth = inf\n", "found the number inf, expected a finite number"),
        ("node = 3\n" + LANE + ROUTE, "1: node: found the integer 3, expected a table: write [node]"),
        (
            NODE + ROUTE + "[spool]\nlanes = 1\n",
            "8: spool.lanes: found the integer 1, expected tables: write [[spool.lanes]]",
        ),
        (NODE + ROUTE + "[spool]\nlanes = [1]\n", "8: spool.lanes[0]: found the integer 1, expected a table"),
        ("[node]\n" + LANE + ROUTE, "1: node.id: is missing: name of this box, unique in the fleet"),
    ],
)
def test_a_fault_names_line_key_what_was_found_and_what_to_write(text, expected) -> None:
    assert expected in fault(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "neither [node] nor [receiver] is there"),
        (NODE + ROUTE, "1: spool.lanes: a node needs at least one [[spool.lanes]]"),
        (NODE + LANE, "a node needs at least one [[route]]"),
        (RECEIVER + REGION, "[[region]] means nothing without [node]"),
        (
            GOOD.replace('lane = "telemetry"', 'lane = "telemetri"'),
            '8: route[0].lane: no lane is named "telemetri"; did you',
        ),
        (GOOD + LANE, '"telemetry" is the name of another lane as well'),
        (
            GOOD + ROUTE.replace("sensors/#", "other"),
            '10: route[1].name: "sensors" is the name of another route as well',
        ),
        (GOOD + ROUTE.replace('"sensors"', '"b"'), '"sensors/#" is taken by the route "sensors" before this one'),
        (GOOD + REGION + REGION, '16: region[1].name: "centre" is the name of another region as well'),
        (
            GOOD + "[spool]\nsegment_bytes = '1MiB'\n",
            "a batch of 1MiB and 16KiB for its header does not fit a segment of 1MiB",
        ),
        (GOOD + "[spool]\nbytes_max = '255MiB'\n", "spool.lanes[0].bytes_max: 256MiB is more than all lanes may have"),
        (
            NODE + LANE + "bytes_reserved = '90MiB'\n" + LANE.replace("telemetry", "b") + "bytes_reserved = '90MiB'\n"
            "bytes_max = '128MiB'\n" + ROUTE + "[spool]\nbytes_max = '128MiB'\n",
            "the lanes' bytes_reserved make 180MiB together, more than 128MiB",
        ),
        (
            NODE + LANE + "bytes_max = '64MiB'\nbytes_reserved = '65MiB'\n" + ROUTE,
            "6: spool.lanes[0].bytes_reserved: 65MiB is more than the lane may have, 64MiB",
        ),
        (
            NODE + LANE + "policy = 'thin'\n" + LANE.replace("telemetry", "telemetry.thin1") + ROUTE,
            '"telemetry.thin1" is the name of the lane that its coarser batches go to',
        ),
        (GOOD + REGION + "lag_bytes_max = '1GiB'\n", "bounds what an optional region may hold back, and this one is"),
        (
            NODE + LANE + "bytes_max = '15MiB'\n" + ROUTE,
            "5: spool.lanes[0].bytes_max: a ring of 15MiB holds fewer than 2",
        ),
        (GOOD.replace("sensors/#", "a/#/b"), "route[0].topics: the topic filter"),
        (GOOD + 'keep = "a >"\n', "9: route[0].keep: column "),
        (GOOD + "[broker]\ntls_ca = 'a'\ntls_key = 'k'\n", "11: broker.tls_key: is set and tls_certificate is not"),
        (GOOD + "[broker]\ntls_ca = 'a'\ntls_certificate = 'c'\n", "is set and tls_key is not"),
        (GOOD + "[broker]\ntls_certificate = 'c'\ntls_key = 'k'\n", "is set and tls_ca is not"),
        (GOOD + "[broker]\npacket_bytes_max = '512KiB'\n", "512KiB is less than payload_bytes_max, 1MiB"),
        (GOOD + "[route.sample]\nsilence = '1s'\n", "10: route[0].sample.silence: does nothing without a deadband"),
        (GOOD + "[route.sample]\ndeadband = {t = 0}\n", 'the deadband of "t" is 0: give a change above 0'),
        (GOOD + "fields = ['a']\n[route.sample]\ndeadband = {t = 1}\n", '"t" is not among the route\'s fields'),
        (
            GOOD + "[route.sample]\ninterval = '2m'\n[route.window]\nsize = '1m'\n",
            "one row in 2m leaves windows of 1m empty",
        ),
        (
            GOOD + "[route.sample]\ndeadband = {t = 1}\n[route.window]\nsize = '1m'\n",
            "would compute count, mean of what the",
        ),
        (
            GOOD + "[route.sample]\non_change = ['t']\npercent = {t = 1}\n",
            '"t" is in percent as well, and one of them must decide',
        ),
        (GOOD + "[route.sample]\nfloor = {t = 1}\n", '"t" has a floor and no percent'),
        (GOOD + "[route.sample]\nevery_silence = '1m'\n", "sample.every_silence: does nothing while every row goes on"),
        (
            GOOD + "[route.sample]\nswinging_door = {t = 1}\n[route.window]\nsize = '1m'\n",
            "holds readings back until they are too late for a window",
        ),
        (GOOD + "fields = ['a']\n[route.duplicates]\nkey = 't'\n", '"t" is not among the route\'s fields'),
        (GOOD + "[route.duplicates]\n", "route[0].duplicates: need a key, or a time in the payload"),
        (
            GOOD + "[[route.field]]\nname = 't'\nprotect = 'hash'\n",
            'field[0].protect: to hash "t" the route needs a key: set key_file',
        ),
        (GOOD + "decoder = 'senml-json'\nrows = 'a'\n", "a payload of the decoder senml-json has no arrays of rows"),
        (GOOD + "decoder = 'scalar'\nschema_file = 'a'\n", "is no document that a JSON Schema is about"),
        (GOOD + "decoder = 'senml-json'\n[route.time]\nfield = 't'\n", "states its times itself"),
        (GOOD + "[route.senml]\nunit = true\n", "a payload of the decoder json is no SenML"),
        (GOOD + "[route.window]\nsize = '1m'\ngap = '1m'\n", "a session has no fixed length"),
        (GOOD + "[route.window]\n", "a window needs a size of at least 1ms"),
        (GOOD + "[route.window]\nsize = '1m'\nhop = '1s'\n", "must lie between the size, 1m, and 16th of it"),
        (GOOD + "[route.window]\nsize = '1m'\nhop = '25s'\n", "the size must be a multiple of the hop"),
        (GOOD + "decoder = 'raw'\nfields = ['t']\n", "a payload of the decoder raw has no fields to take"),
        (GOOD + "[route.csv]\ndelimiter = ';'\n", "a payload of the decoder json is no CSV"),
        (GOOD + "[route.line]\nprecision = 's'\n", "a payload of the decoder json is no line protocol"),
        (GOOD + "decoder = 'csv'\n[route.csv]\ndelimiter = '::'\n", "must be one ASCII character"),
        (GOOD + "decoder = 'csv'\n[route.csv]\ncolumns = ['a']\nseries = ['b']\n", '"b" is not among the columns'),
        (
            GOOD + "decoder = 'protobuf'\n[route.protobuf]\nmessage = 'a.B'\n",
            "protobuf.descriptor_file: is needed by the decoder protobuf",
        ),
        (GOOD + "decoder = 'avro'\n", "avro.schema_file: is needed by the decoder avro"),
        (GOOD + "[route.avro]\nschema_file = 'a'\n", "a payload of the decoder json is no Avro"),
        (GOOD + "[route.sparkplug]\nrebirth = false\n", "a payload of the decoder json is no Sparkplug"),
        (GOOD + "decoder = 'scalar'\n[route.time]\nfield = 't'\n", "a payload of the decoder scalar has no time field"),
        (GOOD + "decoder = 'scalar'\nfields = ['t']\n", "a payload of the decoder scalar has no fields to take"),
        (GOOD + REGION + "backoff_min = '10s'\nbackoff_max = '5s'\n", "10s is more than backoff_max, 5s"),
        (
            GOOD + REGION + "topic_prefix = 'a/#'\n",
            'region[0].topic_prefix: "a/#" cannot begin a topic, it holds a wildcard',
        ),
        (GOOD.replace('"node-1"', f'"node-1"\nstatus_socket = "/{"x" * 120}"'), "has 121 bytes and Unix takes 107"),
    ],
)
def test_what_cannot_be_together_is_a_fault(text, expected) -> None:
    assert any(expected in one for one in faults(text)), faults(text)


def test_a_fault_is_not_followed_by_what_only_follows_from_it() -> None:
    assert "policy" in fault(GOOD.replace(LANE, LANE + 'policy = "evict"\n'))
    assert "spool.lanes[0].name" in fault(GOOD.replace('name = "telemetry"', 'name = "tele metry"'))
    assert "segment_bytes" in fault(GOOD + "[spool]\nsegment_bytes = '1KiB'\n")


def test_text_that_is_not_toml_is_one_fault_with_its_line() -> None:
    assert fault(GOOD + "x y\n").startswith("9: is not TOML: Expected '=' after a key")
    assert "is not TOML" in fault('x = "open\n')
    assert "nested too deeply" in fault("x = " + "[" * 100_000)
    assert "is not TOML" in fault("x = " + "9" * 5000)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path) -> None:
    path = tmp_path / "gateway.toml"
    with pytest.raises(ConfigError, match="No such file") as caught:
        load(path)
    assert isinstance(caught.value.__cause__, OSError)
    path.write_bytes(b"x = 1\ny = '\xff'\n")
    with pytest.raises(ConfigError, match="toml:2: is not UTF-8"):
        load(path)
    path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(path)


def test_a_file_is_loaded_with_paths_from_its_own_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "gateway.toml").write_text(RECEIVER, "utf-8")
    monkeypatch.chdir(tmp_path)
    loaded = load(Path("gateway.toml"))
    assert loaded.config.receiver is not None
    assert loaded.config.receiver.tls_ca == f"{tmp_path}/ca.pem"
    assert loaded.file == "gateway.toml"


@pytest.mark.parametrize(
    "text",
    ["[route.duplicates]\n[route.time]\nfield = 't'\n", "decoder = 'line'\n[route.duplicates]\n"],
)
def test_duplicates_by_time_are_taken_where_the_payload_has_one(text) -> None:
    assert parse(GOOD + text, "gateway.toml", Path("/")).config.route[0].duplicates == schema.Duplicates()


def test_every_option_that_names_a_file_is_resolved() -> None:
    ends = ("folder", "_file", "_socket", "tls_ca", "tls_certificate", "tls_key")
    sections = {
        "node": schema.Node,
        "broker": schema.Broker,
        "console": schema.Console,
        "route": schema.Route,
        "region": schema.Region,
        "region.kafka.registry": schema.Registry,
        "region.webhook": schema.Webhook,
        "receiver": schema.Receiver,
        "receiver.postgresql": schema.Postgresql,
        "receiver.kafka": schema.KafkaSource,
        "receiver.kafka.sink": schema.KafkaSink,
        "receiver.kafka.sink.registry": schema.Registry,
        "receiver.parquet": schema.Parquet,
        "receiver.forward": schema.Forward,
        "receiver.forward.kafka.registry": schema.Registry,
        "receiver.forward.webhook": schema.Webhook,
        "route.avro": schema.Avro,
        "route.protobuf": schema.Protobuf,
        "trace": schema.Trace,
    }
    named = {
        f"{name}.{key}" for name, section in sections.items() for key in section.__struct_fields__ if key.endswith(ends)
    }
    assert named == schema.PATH_OPTIONS


KEYS = st.sampled_from(["node", "spool", "lanes", "route", "region", "id", "name", "topics", "time", "receiver", "zz"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(one) for one in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(sign):08x}" for sign in value if not 0xD800 <= ord(sign) < 0xE000) + '"'
    return "true" if value is None else str(value).lower()


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_the_file_holds_the_answer_is_a_configuration_or_faults(document) -> None:
    text = "".join(f"{key} = {as_toml(value)}\n" for key, value in document.items())
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert all(one.startswith("gateway.toml") for one in caught.value.faults)
