"""The manifests of receivers on Kubernetes: valid by the published schemas, and true of our own program.

Kubernetes' own kinds are held against the schemas that the package kubernetes-validate carries, strictly, for an old
and a new release; KEDA's against `tests/fixtures/keda.json`, which says where it comes from.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from gateway.cli import command_line
from gateway.config import schema
from gateway.config.load import parse

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "images" / "kubernetes"
KEDA = jsonschema_rs.validator_for(json.loads((ROOT / "tests" / "fixtures" / "keda.json").read_text("utf-8")))
RELEASES = ("1.30.0", "1.37.0")
WAYS = ("kafka-postgresql", "mqtt-postgresql", "mqtt-sqlite")
MOUNTED = "/etc/edge-region"

Object = dict[str, Any]


def objects(path: Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one]


def manifests() -> list[tuple[str, Object]]:
    return [
        (f"{path.parent.name}/{path.name}, {one['kind']}", one)
        for path in sorted(FOLDER.rglob("*.yaml"))
        if path.name != "kustomization.yaml"
        for one in objects(path)
    ]


MANIFESTS = manifests()


def of_way(way: str, kind: str) -> list[Object]:
    return [one for name, one in MANIFESTS if name.startswith(f"{way}/") and one["kind"] == kind]


def work(way: str) -> Object:
    """Return the specification of the pods of one way to run receivers."""
    (found,) = of_way(way, "Deployment") + of_way(way, "StatefulSet")
    return found["spec"]["template"]["spec"]


def containers(way: str) -> list[Object]:
    return [*work(way).get("initContainers", ()), *work(way)["containers"]]


def text_of(way: str) -> str:
    return (FOLDER / way / "receiver.toml").read_text("utf-8")


def receiver(way: str) -> schema.Receiver:
    found = parse(text_of(way), "receiver.toml", Path("/")).config.receiver
    assert found is not None
    return found


def sources(way: str) -> list[Object]:
    (volume,) = [one for one in work(way)["volumes"] if one["name"] == "configuration"]
    return volume["projected"]["sources"]


def mounted(way: str) -> set[str]:
    """Return the files that pods find below `MOUNTED`."""
    paths = {item["path"] for one in sources(way) if "secret" in one for item in one["secret"]["items"]}
    return {f"{MOUNTED}/{path}" for path in paths}


def refused(one: Object, release: str) -> bool:
    try:
        kubernetes_validate.validate(one, release, strict=True)
    except kubernetes_validate.ValidationError:
        return True
    return False


@pytest.mark.parametrize("one", [one for _, one in MANIFESTS], ids=[name for name, _ in MANIFESTS])
def test_a_manifest_is_valid_by_its_published_schema(one: Object) -> None:
    if one["apiVersion"].startswith("keda.sh/"):
        assert [error.message for error in KEDA.iter_errors(one)] == []
        return
    for release in RELEASES:
        kubernetes_validate.validate(one, release, strict=True)


def test_a_wrong_word_in_a_manifest_is_refused() -> None:
    for _, one in MANIFESTS:
        wrong = {**one, "spek": {}}
        if one["apiVersion"].startswith("keda.sh/"):
            assert not KEDA.is_valid(wrong)
        else:
            assert all(refused(wrong, release) for release in RELEASES)


@pytest.mark.parametrize("way", [*WAYS, "namespace"])
def test_a_kustomization_names_all_files_of_its_folder_and_no_other(way: str) -> None:
    (found,) = objects(FOLDER / way / "kustomization.yaml")
    generated = [name for one in found.get("configMapGenerator", ()) for name in one["files"]]
    resources = [name for name in found["resources"] if not name.startswith("..")]
    folders = [name for name in found["resources"] if name.startswith("..")]
    there = {path.name for path in (FOLDER / way).iterdir()} - {"kustomization.yaml"}
    assert {*generated, *resources} == there
    assert all((FOLDER / way / name / "kustomization.yaml").exists() for name in folders)


@pytest.mark.parametrize("way", WAYS)
def test_commands_and_probes_are_ones_that_the_program_has(way: str) -> None:
    (box,) = work(way)["containers"]
    for command, action in ((box["command"], "run"), (box["readinessProbe"]["exec"]["command"], "status")):
        assert command[0] == "gateway"
        arguments = command_line().parse_args(command[1:])
        assert (arguments.verb, arguments.action) == ("region", action)


def test_the_image_starts_a_command_that_the_program_has() -> None:
    lines = (ROOT / "images" / "receiver" / "Dockerfile").read_text("utf-8").splitlines()
    words = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines if line.startswith(("ENTRYPOINT", "CMD"))}
    command = [*json.loads(words["ENTRYPOINT"]), *json.loads(words["CMD"])]
    assert command_line().parse_args(command[1:]).config == Path(MOUNTED) / "receiver.toml"
    copied = [shlex.split(line)[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert all((ROOT / name).exists() for names in copied for name in names)
    extras = {name.split("=")[0].strip() for name in (ROOT / "pyproject.toml").read_text("utf-8").splitlines()}
    assert {"kafka", "postgresql"} <= extras
    assert "[kafka,postgresql]" in "".join(lines)


@pytest.mark.parametrize("way", WAYS)
def test_the_configuration_is_taken_and_its_files_are_mounted(way: str) -> None:
    options = receiver(way)
    named = {options.tls_ca, options.tls_certificate, options.tls_key}
    if "postgresql" in options.sinks:
        named |= {options.postgresql.password_file, options.postgresql.connect.rpartition("sslrootcert=")[2]}
    assert named == mounted(way)
    (config,) = [one["configMap"]["name"] for one in sources(way) if "configMap" in one]
    (found,) = objects(FOLDER / way / "kustomization.yaml")
    assert [one["name"] for one in found["configMapGenerator"]] == [config]


@pytest.mark.parametrize("way", ["mqtt-postgresql", "mqtt-sqlite"])
def test_each_pod_reads_a_configuration_with_its_own_name(way: str, tmp_path: Path) -> None:
    (naming,) = work(way)["initContainers"]
    script = (
        naming["command"][-1].replace("/etc/edge-region", str(FOLDER / way)).replace("/run/edge-region", str(tmp_path))
    )
    prefixes = set()
    for pod in ("receiver-0", "receiver-11"):
        subprocess.run([*naming["command"][:-1], script], check=True, env={"POD_NAME": pod, "PATH": "/usr/bin:/bin"})
        made = parse((tmp_path / "receiver.toml").read_text("utf-8"), "receiver.toml", tmp_path).config.receiver
        assert made is not None
        assert made.name == pod
        prefixes.add(made.topic_prefix)
    assert len(prefixes) == (2 if way == "mqtt-sqlite" else 1)
    (stateful,) = of_way(way, "StatefulSet")
    (service,) = of_way(way, "Service")
    assert stateful["metadata"]["name"] == stateful["spec"]["serviceName"] == service["metadata"]["name"] == "receiver"


def test_a_receiver_with_sqlite_keeps_its_state_on_a_volume_of_its_own_and_is_not_scaled() -> None:
    (stateful,) = of_way("mqtt-sqlite", "StatefulSet")
    (claim,) = stateful["spec"]["volumeClaimTemplates"]
    (box,) = work("mqtt-sqlite")["containers"]
    mounts = {one["name"]: one["mountPath"] for one in box["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == receiver("mqtt-sqlite").state_folder
    assert not of_way("mqtt-sqlite", "ScaledObject")


@pytest.mark.parametrize("way", WAYS)
def test_pods_are_confined(way: str) -> None:
    pod = work(way)
    assert pod["automountServiceAccountToken"] is False
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]["type"]) == (
        True,
        "RuntimeDefault",
    )
    for box in containers(way):
        confined = box["securityContext"]
        assert (confined["allowPrivilegeEscalation"], confined["readOnlyRootFilesystem"]) == (False, True)
        assert confined["capabilities"]["drop"] == ["ALL"]
        assert "memory" in box["resources"]["limits"]
        assert {one["name"] for one in box["volumeMounts"]} <= {
            *(volume["name"] for volume in pod["volumes"]),
            *claims(way),
        }


def claims(way: str) -> Iterator[str]:
    for stateful in of_way(way, "StatefulSet"):
        for claim in stateful["spec"].get("volumeClaimTemplates", ()):
            yield claim["metadata"]["name"]


def test_the_scaler_looks_at_the_group_and_the_topic_that_the_receivers_consume() -> None:
    (scaled,) = of_way("kafka-postgresql", "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    options = receiver("kafka-postgresql")
    servers = [f"{options.host}:{options.usual_port}", *options.kafka.servers]
    wanted = {
        "bootstrapServers": ",".join(servers),
        "consumerGroup": options.share_group,
        "topic": options.kafka.topic,
        "offsetResetPolicy": "earliest",
    }
    assert wanted.items() <= trigger["metadata"].items()
    (login,) = of_way("kafka-postgresql", "TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
    shown = {(one["name"], one["key"]) for one in login["spec"]["secretTargetRef"]}
    (tls,) = [
        one["secret"] for one in sources("kafka-postgresql") if one.get("secret", {}).get("name", "").endswith("tls")
    ]
    assert shown == {(tls["name"], item["key"]) for item in tls["items"]}


@pytest.mark.parametrize("way", ["kafka-postgresql", "mqtt-postgresql"])
def test_the_scaler_scales_what_is_there_and_nothing_else_sets_the_number(way: str) -> None:
    (scaled,) = of_way(way, "ScaledObject")
    target = scaled["spec"]["scaleTargetRef"]
    (found,) = of_way(way, target["kind"])
    assert (found["apiVersion"], found["metadata"]["name"]) == (target["apiVersion"], target["name"])
    assert "replicas" not in found["spec"]
    assert scaled["spec"]["minReplicaCount"] >= 1, "with none, nobody would say what is missing"


def test_a_node_of_the_page_publishes_where_its_receiver_listens() -> None:
    page = (ROOT / "docs" / "receivers" / "kubernetes.md").read_text("utf-8")
    (prefix,) = re.findall(r'^topic_prefix = "(.*)"$', page, re.MULTILINE)
    assert prefix == receiver("mqtt-sqlite").topic_prefix.replace("receiver-0", "receiver-1")
    (script,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (stateful,) = of_way("mqtt-sqlite", "StatefulSet")
    pods = {f"receiver-{number}" for number in range(stateful["spec"]["replicas"])}
    chosen = [
        subprocess.run(
            ["sh", "-ec", script],
            check=True,
            capture_output=True,
            text=True,
            env={"node": name, "PATH": "/usr/bin:/bin"},
        ).stdout.strip()
        for name in map("site-{}".format, range(30))
    ]
    assert set(chosen) == pods
