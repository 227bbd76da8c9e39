"""The Helm chart: what it renders fits Kubernetes, and says of the program what is true."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_support import (
    CHART,
    CI_VALUES,
    NEWEST,
    OLDEST,
    ROOT,
    Document,
    check,
    lint,
    one,
    pods,
    refused,
    rendered,
)

from pointstream.agents.app import _STOP_SECONDS
from pointstream.contracts.topics import topic_specs
from pointstream.operations.acls import Role, acls_of
from pointstream.operations.manifests import CHART_SETS, main
from pointstream.operations.settings import Settings

OFF = {
    "topics.create": False,
    "podDisruptionBudget.enabled": False,
    "networkPolicy.enabled": False,
    "serviceAccount.create": False,
    "persistence.enabled": False,
    "staticMembership": False,
    "topologySpread": False,
    "web.open": True,
}


def container(documents: list[Document]) -> Document:
    """The worker's."""
    (found,) = one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(container: Document) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


def settings_file(documents: list[Document]) -> dict[str, Any]:
    (config,) = (d for d in documents if d["kind"] == "ConfigMap" and "settings.yaml" in d["data"])
    return dict(yaml.safe_load(config["data"]["settings.yaml"]))


# -- it fits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("values", CI_VALUES)
def test_the_linter_finds_nothing(values: str) -> None:
    """helm lint, for which a warning is an error."""
    told = lint(values)

    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    ("values", "more"), [*((values, {}) for values in CI_VALUES), ("plain", OFF)]
)
def test_each_manifest_fits_the_schema_of_its_kind(
    values: str, more: Mapping[str, Any], version: str
) -> None:
    """Strictly, so that a field of the wrong name shows; and each is there once."""
    documents = rendered(values, more, version)
    for document in documents:
        check(document, version)

    names = [(d["kind"], d["metadata"]["name"]) for d in documents]
    assert len(names) == len({*names})
    assert all(len(name) <= 63 for _, name in names)


def test_everything_off_leaves_the_workers() -> None:
    """And what they cannot be without."""
    kinds = [document["kind"] for document in rendered("plain", OFF)]

    # The job is `helm test`'s.
    assert sorted(kinds) == ["ConfigMap", "Job", "Service", "Service", "StatefulSet"]


def test_everything_on_has_every_kind() -> None:
    """No template is left out by a condition that never holds."""
    everything = {d["kind"] for d in (*rendered("everything"), *rendered("secured"))}

    assert everything == {
        "ConfigMap",
        "Job",
        "KafkaTopic",
        "KafkaUser",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kafka.bootstrapServers": ""}, "/kafka/bootstrapServers': '' does not match pattern"),
        ({"settings.partitons": 4}, "/settings': additional properties 'partitons' not allowed"),
        ({"settings.partitions": 0}, "/settings/partitions': minimum: got 0, want 1"),
        ({"settings.kafka_password": "x"}, "additional properties 'kafka_password' not allowed"),
        ({"settings.topic_prefix": "a/b"}, "/settings/topic_prefix': 'a/b' does not match"),
        ({"kafka.sasl.mechanism": "SCRAM"}, "/kafka/sasl/mechanism': value must be one of"),
        ({"kafka.sasl.mechanism": "PLAIN"}, "kafka.sasl.password.secret is needed for PLAIN"),
        ({"kafka.sasl.mechanism": "OAUTHBEARER"}, "kafka.sasl.oauth.secret is needed"),
        ({"kafka.sasl.password": "x"}, "/kafka/sasl/password': got string, want object"),
        ({"web.token.secret": ""}, "web.token.secret is needed, or web.open: true"),
        ({"web.token.value": "x"}, "/web/token': additional properties 'value' not allowed"),
        ({"persistence.size": "lots"}, "/persistence/size': 'lots' does not match pattern"),
        ({"persistence.accessMode": "ReadWriteMany"}, "/persistence/accessMode': value must be"),
        ({"terminationGracePeriodSeconds": 5}, "minimum: got 5, want 20"),
        ({"extraEnv": [{"name": "POINTSTREAM_PARTITIONS"}]}, "/extraEnv/0/name': 'not' failed"),
        ({"keda.enabled": True, "keda.maxReplicas": 13}, "maxReplicas is 13, but there are 12"),
        ({"keda.enabled": True, "keda.minReplicas": 20}, "minReplicas is 20, more than the most"),
        ({"strimzi.enabled": True}, "strimzi.cluster is needed"),
        ({"strimzi.users": [{"name": "a", "roles": ["root"]}]}, "/roles/0': value must be one of"),
        (
            {
                "strimzi.enabled": True,
                "strimzi.cluster": "events",
                "strimzi.users": [{"name": "pos", "roles": ["upstream"], "only": ["rules"]}],
            },
            "pos is confined to rules, with which its roles have nothing to do",
        ),
        ({"replica": 3}, "additional properties 'replica' not allowed"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(values: dict[str, Any], words: str) -> None:
    """Before anything is installed, and so that one finds the line."""
    assert words in refused("plain", values)


# -- it is true ------------------------------------------------------------------------------


@pytest.mark.parametrize("values", CI_VALUES)
def test_every_variable_and_line_is_a_setting(values: str) -> None:
    """A name that is none would be passed over, or end the start."""
    documents = rendered(values)
    known = {f"POINTSTREAM_{name.upper()}" for name in Settings.model_fields} - {
        "POINTSTREAM_BOOTSTRAP_SERVERS"
    }
    seen = set()
    for spec in pods(documents).values():
        for each in spec["containers"]:
            names = {name for name in environment(each) if name.startswith("POINTSTREAM_")}
            assert names - {"POINTSTREAM_CONFIG_FILE"} <= known
            seen |= names

    assert seen > {"POINTSTREAM_ADVERTISED_URL", "POINTSTREAM_PARTITIONS"}
    assert settings_file(documents).keys() <= Settings.model_fields.keys()


@pytest.mark.parametrize("values", CI_VALUES)
def test_a_pod_is_told_settings_that_go_together(
    values: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Read as a worker reads them, from variables and the file."""
    documents = rendered(values)
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings_file(documents)))
    for name, value in environment(container(documents)).items():
        monkeypatch.setenv(name, value.replace("$(POD_NAME)", "points-3"))
    monkeypatch.setenv("POINTSTREAM_CONFIG_FILE", str(file))

    settings = Settings()

    assert settings.web_exposed() is None
    assert settings.group_instance_id == "points-3"
    assert settings.advertised_url is not None
    assert settings.advertised_url.startswith("http://points-3.")
    assert f"-workers.shops.svc:{settings.web_port}" in settings.advertised_url
    assert settings.session_timeout_ms == 45_000


def test_a_rolled_pod_is_back_within_its_session() -> None:
    """A stop is given its time, and the session outlasts it by as much again, for the start."""
    documents = rendered()
    spec = one(documents, "StatefulSet")["spec"]
    grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]

    assert grace > _STOP_SECONDS + 5
    assert settings_file(documents)["session_timeout_ms"] >= 2 * (_STOP_SECONDS * 1000)
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}


@pytest.mark.parametrize(
    ("role", "only", "group"),
    [
        *((role, (), None) for role in Role),
        *((role, (), "readers.") for role in Role),
        (Role.UPSTREAM, ("orders", "check-ins"), None),
        (Role.DOWNSTREAM, ("crm-sync",), "crm."),
    ],
)
def test_users_may_what_their_role_may(
    role: Role, only: tuple[str, ...], group: str | None
) -> None:
    """Just what `pointstream topics acls --json` says, for other names of topics and group, too."""
    user = {"name": "someone", "roles": [role.value], "only": list(only)}
    values = {
        "strimzi.users": [user | ({"group": group} if group else {})],
        "settings.topic_prefix": "chain-7.",
        "settings.app_id": "seven",
    }

    found = one(rendered("secured", values), "KafkaUser")["spec"]["authorization"]["acls"]

    wanted = acls_of(role, prefix="chain-7.", app_id="seven", group=group, only=only)
    assert found == [acl.as_json() for acl in wanted]


def test_topics_are_the_programs() -> None:
    """With their settings, kept when the release goes, and no job makes them too."""
    documents = rendered("secured")
    topics = [d for d in documents if d["kind"] == "KafkaTopic"]

    assert {d["spec"]["topicName"]: d["spec"]["config"] for d in topics} == {
        spec.name: {**spec.config, "min.insync.replicas": "2"} for spec in topic_specs("points.")
    }
    for topic in topics:
        assert topic["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert topic["metadata"]["labels"]["strimzi.io/cluster"] == "events"
        assert (topic["spec"]["partitions"], topic["spec"]["replicas"]) == (12, 3)
    assert [d["metadata"]["name"] for d in documents if d["kind"] == "Job"] == [
        "points-pointstream-test"
    ]


def test_topics_of_another_prefix_are_other_resources() -> None:
    """The topic of one cannot be changed: those beside the old ones need names of their own."""

    def names(prefix: str) -> set[str]:
        documents = rendered("secured", {"settings.topic_prefix": prefix})
        return {d["metadata"]["name"] for d in documents if d["kind"] == "KafkaTopic"}

    assert len(names("Chain_7.")) == len(topic_specs(""))
    assert "points-pointstream-chain-7-internal-changelog" in names("Chain_7.")
    assert not names("Chain_7.") & names("points.")


def test_topics_are_made_as_another_user_than_the_workers() -> None:
    """Workers are not allowed to create topics; what the job is not told is as theirs."""
    documents = rendered("everything")
    job = pods(documents)["Job/chain-7-topics"]
    (made,) = job["containers"]
    own, workers = environment(made), environment(container(documents))

    assert made["args"] == ["topics", "create"]
    assert own["POINTSTREAM_KAFKA_OAUTH_CLIENT_ID"] == "operator"
    assert workers["POINTSTREAM_KAFKA_OAUTH_CLIENT_ID"] == "worker"
    secrets = {each["name"]: each.get("secret", {}).get("secretName") for each in job["volumes"]}
    assert secrets == {
        "tmp": None,
        "kafka-ca": "brokers",
        "kafka-client": "operator-certificate",
        "kafka-oauth": "operator-oauth",
    }
    assert own["POINTSTREAM_PARTITIONS"] == "48"


def test_rules_and_dashboards_are_those_of_deploy() -> None:
    """Prometheus' and Grafana's files, as they stand there, but for the runbooks' address."""
    documents = rendered("everything")
    for file in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"):
        text = file.read_text().replace("runbook_url: ", "runbook_url: https://git.example/points/")
        found = one(documents, "PrometheusRule", f"chain-7-{file.stem}")
        assert found["spec"] == yaml.safe_load(text)
        assert found["metadata"]["labels"]["release"] == "prometheus"
    dashboards = [*(ROOT / "deploy" / "dashboards").glob("*.json")]
    assert dashboards
    for file in dashboards:
        found = one(documents, "ConfigMap", f"chain-7-dashboard-{file.stem}")
        assert json.loads(found["data"][file.name]) == json.loads(file.read_text())
        assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_prometheus_asks_with_the_token_and_calls_the_job_as_the_rules_do() -> None:
    """Rules look for jobs whose name begins so."""
    documents = rendered("everything")
    (endpoint,) = one(documents, "PodMonitor")["spec"]["podMetricsEndpoints"]

    assert endpoint["authorization"]["credentials"] == {"name": "pages", "key": "value"}
    assert endpoint["relabelings"] == [
        {"targetLabel": "job", "replacement": "pointstream/shops/chain-7"}
    ]
    rules = "".join(p.read_text() for p in (ROOT / "deploy" / "prometheus").rglob("*.yml"))
    assert 'job=~"pointstream.*"' in rules


def test_versions_and_settings_of_the_chart_are_the_programs() -> None:
    """appVersion is the image's tag; every setting is either a release's or the chart's."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]

    assert chart["appVersion"] == project["version"]
    assert container(rendered())["image"] == f"pointstream:{project['version']}"
    assert {*schema["properties"]} == Settings.model_fields.keys() - CHART_SETS


def test_a_chart_that_has_fallen_behind_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the name of the file; written anew, it is well again."""
    deploy = tmp_path / "deploy"
    shutil.copytree(CHART, deploy / "helm" / "pointstream")
    assert main([str(deploy), "--check"]) == 0
    (deploy / "helm" / "pointstream" / "files" / "kafka.yaml").write_text("topics: []\n")

    assert main([str(deploy), "--check"]) == 1

    assert "kafka.yaml is not what `make manifests` writes" in capsys.readouterr().err
    assert main([str(deploy)]) == 0
    assert main([str(deploy), "--check"]) == 0


# -- it is closed ----------------------------------------------------------------------------


@pytest.mark.parametrize("values", CI_VALUES)
def test_pods_may_next_to_nothing(values: str) -> None:
    """Not root, nothing to write but volumes, no capability, no token, no variables of services."""
    documents = rendered(values)
    for spec in pods(documents).values():
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (each,) = spec["containers"]
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["resources"]["limits"]["memory"]
        mounted = {mount["name"] for mount in each["volumeMounts"]}
        claimed = {"state"} if spec.get("terminationGracePeriodSeconds") else set()
        assert mounted == {volume["name"] for volume in spec["volumes"]} | claimed
    assert "Secret" not in {document["kind"] for document in documents}


def test_the_user_is_the_images() -> None:
    """Its directory in the image and the volume's group are of one number."""
    spec = one(rendered(), "StatefulSet")["spec"]["template"]["spec"]
    user = spec["securityContext"]

    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"\nUSER {user['runAsUser']}:{user['runAsGroup']}\n" in dockerfile
    assert user["fsGroup"] == user["runAsGroup"]
    assert "POINTSTREAM_DATA_DIR=/var/lib/pointstream\n" in dockerfile
    assert environment(spec["containers"][0])["POINTSTREAM_DATA_DIR"].startswith(
        "/var/lib/pointstream/"
    )


def test_selectors_find_the_workers_and_no_job() -> None:
    """A job's pod behind the service would answer nothing, and would count for the budget."""
    documents = rendered()
    workers = one(documents, "StatefulSet")["spec"]
    labels = workers["template"]["metadata"]["labels"]
    jobs = [d["spec"]["template"]["metadata"]["labels"] for d in documents if d["kind"] == "Job"]
    selectors = [
        workers["selector"]["matchLabels"],
        one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(d["spec"]["selector"] for d in documents if d["kind"] == "Service"),
    ]

    assert len(jobs) == 2
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not [job for job in jobs if selector.items() <= job.items()]
    assert one(documents, "Service", "-workers")["metadata"]["name"] == workers["serviceName"]


def test_only_what_a_worker_reads_rolls_it() -> None:
    """A new setting or programme does; a new chart version or more workers do not."""

    def template(values: Mapping[str, Any]) -> Document:
        return dict(one(rendered("plain", values), "StatefulSet")["spec"]["template"])

    before = template({})

    assert template({"settings.max_batch_records": 500}) != before
    assert template({"programme": "id: other\n"}) != before
    assert template({"replicas": 7, "keda.enabled": False}) == before
    assert "helm.sh/chart" not in before["metadata"]["labels"]
