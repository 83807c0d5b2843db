from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.errors import BadSetting
from safelight.stack.files.values import Values, read_values, values_document


def written(folder: Path, text: str) -> Path:
    file = folder / "values.yaml"
    file.write_text(text)
    return file


def test_a_values_file_changes_only_what_it_names(tmp_path: Path) -> None:
    values = read_values(written(tmp_path, "replicas: 3\nmonitoring: {enabled: true}\n"))
    expected: dict[str, Any] = values_document(Values())
    expected["replicas"] = 3
    expected["monitoring"]["enabled"] = True
    assert values_document(values) == expected


def test_the_values_that_are_written_can_be_read_again(tmp_path: Path) -> None:
    values = Values.model_validate({"replicas": 1, "records": {"claim": "records"}})
    file = written(tmp_path, yaml.safe_dump(values_document(values)))
    assert read_values(file) == values


def test_an_empty_values_file_has_the_defaults(tmp_path: Path) -> None:
    assert read_values(written(tmp_path, "")) == read_values(None) == Values()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("replica: 3", "replica is not a value; see values.yaml of the exported chart"),
        ("replicas: three", "replicas: Input should be a valid integer, got 'three'"),
        ("replicas: 0", "replicas: Input should be greater than or equal to 1, got 0"),
        ("network: {prometheusNamespace: Obser_vability}", "network.prometheusNamespace: String"),
        ("network: {ingressNamespace: -x}", "network.ingressNamespace: String"),
        ("apiKeysSecret: My Secret", "apiKeysSecret: String should match"),
        ("monitoring: {scrapeIntervalSeconds: 300}", "less than or equal to 60"),
        ("monitoring: {operatorLabels: {a b: c}}", "monitoring.operatorLabels"),
        ("records: {kind: sqlite}", "records.kind: Input should be 'volume', 'postgresql'"),
        ("records: {kind: postgresql}", "records.secret is missing"),
        ("records: {secret: db}", "records.secret has no use with records.kind volume"),
        ("records: {kind: none, claim: x}", "records.claim has no use with records.kind none"),
        ("records: {claim: x}", "room for one pod: set replicas to 1, or use postgresql"),
        ("monitoring: {operatorLabels: {release: x}}", "operatorLabels cannot set release"),
        ("- a list", "the file must have names and values"),
        ("records:", "records must have names and values"),
        ("replicas: 16", "replicas: Input should be less than or equal to 15, got 16"),
        ("replicas: 2\nreplicas: 3", "'replicas' is written twice"),
        ("resources: {memoryGib: 32}", "resources.memoryGib is above resources.memoryLimitGib"),
        ("image: {repository: 'a:5000/b//c'}", "image.repository: String should match"),
        ("records: {kind: postgresql, secret: a..b}", "records.secret: String should match"),
        ("settings: {queue_limitt: '3'}", "settings.queue_limitt is not a setting; see docs"),
        ("settings: {queue_limit: 'many'}", "settings.queue_limit: Input should be a valid int"),
        ("settings: {queue_limit: '0'}", "settings.queue_limit: Input should be greater than"),
        ("settings: {queue_limit: 3}", "settings.queue_limit: Input should be a valid string"),
        ("settings: {port: '80'}", "settings.port cannot be set: the deployment decides it"),
        ("replicas: 2024-01-01", "replicas: Input should be a valid integer"),
        ("a: [", "is not YAML"),
        ("model: !!python/object:os.system x", "is not YAML"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_key(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting) as failure:
        read_values(written(tmp_path, text))
    assert message in str(failure.value)
    assert str(tmp_path / "values.yaml") in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_missing_values_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="cannot be read: No such file or directory"):
        read_values(tmp_path / "none.yaml")
