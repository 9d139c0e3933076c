"""What the chart makes of several sets of values: held against Kubernetes' schemas, and against streamer itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from streamer.config import Config, load_config
from streamer.model import EntityType
from streamer.service.replica import DRAIN_SECONDS, LEAVE_SECONDS
from tests.deploy.charts import CHART, ROOT, Manifest, RefusedError, Render

VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
MINIMAL = CHART / "ci/minimal-values.yaml"
MOUNT = "/run/secrets/streamer"
KUBERNETES_VERSIONS = ("1.27", "1.33")


def kinds(manifests: list[Manifest]) -> dict[str, Manifest]:
    found = {manifest["kind"]: manifest for manifest in manifests}
    assert len(found) == len(manifests)
    return found


def pod(manifests: list[Manifest]) -> dict[str, Any]:
    spec: dict[str, Any] = kinds(manifests)["Deployment"]["spec"]["template"]["spec"]
    return spec


def settings(manifests: list[Manifest], directory: Path, **environ: str) -> Config:
    """What streamer reads of the rendered settings, where every file that they name is there."""
    text = kinds(manifests)["ConfigMap"]["data"]["config.toml"].replace(MOUNT, str(directory))
    for word in text.split('"'):
        if word.startswith(str(directory)):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            # Each its own: two connections with one token are an error.
            Path(word).write_text(f"content of {word}")
    (directory / "config.toml").write_text(text)
    return load_config(directory / "config.toml", environ=environ)


def test_there_are_sets_of_values_for_every_way_to_log_in_and_for_privacy() -> None:
    assert [path.name.removesuffix("-values.yaml") for path in VALUES] == [
        "certificate",
        "minimal",
        "msk",
        "oauth",
        "password",
        "privacy",
    ]


@pytest.mark.parametrize("kubernetes", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_what_is_rendered_is_right_by_the_schemas_of_kubernetes(values: Path, kubernetes: str, render: Render) -> None:
    manifests = render(values, kubernetes=f"{kubernetes}.0")
    for manifest in manifests:
        # The one kind that is no part of Kubernetes.
        if manifest["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(manifest, kubernetes, strict=True)
    assert {"ConfigMap", "Deployment", "Service"} <= kinds(manifests).keys()


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_streamer_takes_the_settings_and_finds_each_secret_where_it_is_mounted(
    values: Path, render: Render, tmp_path: Path
) -> None:
    manifests = render(values)
    config = settings(manifests, tmp_path, MEWS_CLIENT_TOKEN="client", MEWS_ACCESS_TOKEN="access")
    assert config.http.port == 8080
    spec = pod(manifests)
    (container,) = spec["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    wanted = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()} - {"config.toml"}
    assert mounted.keys() == {"/etc/streamer", *(f"{MOUNT}/{name}" for name in wanted)}
    for name in wanted:
        assert volumes[mounted[f"{MOUNT}/{name}"]]["secret"]["secretName"] == name


def test_settings_of_each_kind_arrive_as_they_were_meant(render: Render, tmp_path: Path) -> None:
    manifests = render(CHART / "ci/certificate-values.yaml")
    config = settings(manifests, tmp_path, MEWS_CLIENT_TOKEN="client", MEWS_ACCESS_TOKEN="access")
    assert config.topics.create is False
    assert config.topics.config == {"property-data.exports": {"retention.ms": "604800000"}}
    assert config.exports.update_interval is None
    assert config.exports.transaction_bytes == 8_000_000
    assert config.exports.transaction_seconds == 1.5
    assert config.kafka.ssl_key_file == tmp_path / "streamer-tls/tls.key"


def test_what_may_not_be_published_arrives_with_the_keys_of_its_hashes(render: Render, tmp_path: Path) -> None:
    config = settings(render(CHART / "ci/privacy-values.yaml"), tmp_path)
    customer = config.entity[EntityType.CUSTOMER]
    assert customer.drop_fields == ("Notes", "Passport", "IdentityCard")
    assert customer.hash_fields == ("Email", "Phone")
    assert config.entity[EntityType.COMPANY].drop_fields == ("Notes",)
    erasure_key, hash_key = (key.reveal() for key in config.hash_keys())
    assert erasure_key.endswith("privacy/erasure-key")
    assert hash_key.endswith("privacy/hash-key")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_pods_have_no_rights_and_write_nowhere(values: Path, render: Render) -> None:
    spec = pod(render(values))
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert spec["automountServiceAccountToken"] is False
    # Variables of services would be taken for settings.
    assert spec["enableServiceLinks"] is False
    assert container["resources"]["limits"]["memory"]


def test_a_roll_out_never_leaves_the_work_to_nobody_and_waits_for_the_drain(render: Render) -> None:
    manifests = kinds(render(MINIMAL))
    deployment = manifests["Deployment"]["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert pod(list(manifests.values()))["terminationGracePeriodSeconds"] > DRAIN_SECONDS + LEAVE_SECONDS
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_new_settings_are_new_pods(render: Render) -> None:
    def checksum(*changes: str) -> str:
        template = kinds(render(MINIMAL, *changes))["Deployment"]["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum("replicas=3") != checksum("config.topics.partitions=3")


def test_traffic_goes_to_names_kafka_and_https_alone(render: Render) -> None:
    egress = kinds(render(CHART / "ci/password-values.yaml"))["NetworkPolicy"]["spec"]["egress"]
    assert sorted({port["port"] for rule in egress for port in rule["ports"]}) == [53, 443, 9093]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("replicas=two", "replicas"),
        ("replica=3", "replica"),
        ("connections[0].access_token=plain-canary", "access_token"),
        ("config.kafka.sasl_password=plain-canary", "sasl_password"),
        ("config.exports.erasure_key=plain-canary", "erasure_key"),
        ("config.entity.Customer.hash_key=plain-canary", "hash_key"),
        ("config.kafka.bootstrap_servers={kafka}", "bootstrap_servers"),
        ("terminationGracePeriodSeconds=5", "terminationGracePeriodSeconds"),
    ],
)
def test_values_that_can_not_be_meant_are_refused(change: str, why: str, render: Render) -> None:
    with pytest.raises(RefusedError, match=why):
        render(MINIMAL, change)


def test_the_plain_manifests_are_what_the_chart_makes(helm: Path, tmp_path: Path) -> None:
    """After a change of the chart: scripts/render-kubernetes."""
    committed = (ROOT / "deploy/kubernetes/streamer.yaml").read_text()
    work = tmp_path / "project"
    for folder in ("scripts", "deploy"):
        shutil.copytree(ROOT / folder, work / folder)
    subprocess.run([work / "scripts/render-kubernetes"], env={"HELM": str(helm), "PATH": "/usr/bin:/bin"}, check=True)
    assert (work / "deploy/kubernetes/streamer.yaml").read_text() == committed
