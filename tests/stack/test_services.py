"""Which services a stack has, and what each is told."""

import pytest

from safelight.errors import BadSetting
from safelight.rules.files import rule_file
from safelight.settings import Settings, load
from safelight.stack.services import SERVICE, namespaces, program_of, services

DEMOS = ("demo-edit", "demo-generate", "demo-recognize")


def told(*models: str, **chosen: object) -> dict[str, Settings]:
    return services(load(**chosen), models)


def test_without_a_model_there_is_one_service_with_the_settings_own() -> None:
    only = told(model="a/b", port=9000)[SERVICE]
    assert (only.model, only.port, only.namespace) == ("a/b", 9000, "instructpix2pix")


def test_several_demos_have_their_families_names_and_ports_that_follow_each_other() -> None:
    started = told(*DEMOS, port=9000)
    assert [(name, own.namespace, own.port) for name, own in started.items()] == [
        ("instructpix2pix", "instructpix2pix", 9000),
        ("zimage", "zimage", 9001),
        ("recognition", "recognition", 9002),
    ]
    for (name, own), model in zip(started.items(), DEMOS, strict=True):
        command = program_of(name, own).command
        assert command[command.index("serve") + 1] == model
        assert command[command.index("--namespace") + 1] == own.namespace


@pytest.mark.parametrize(
    ("model", "namespace"),
    [
        ("org/My-Model.v2", "my_model_v2"),
        ("./here/", "here"),
        ("org/7b", "model_7b"),
        ("a/" + "x" * 60, "x" * 40),
    ],
)
def test_another_model_among_several_is_called_by_its_name(model: str, namespace: str) -> None:
    assert namespaces(told("demo-edit", model)) == ("instructpix2pix", namespace)
    load(namespace=namespace)  # and may be


def test_one_demo_has_its_familys_name_unless_another_was_chosen() -> None:
    assert told("demo-generate")[SERVICE].namespace == "zimage"
    assert told("demo-generate", namespace="mine")[SERVICE].namespace == "mine"


@pytest.mark.parametrize(
    ("models", "chosen", "said"),
    [
        (("demo-edit", "demo-generate"), {"namespace": "mine"}, "A namespace is one service's"),
        (("demo-edit", "demo-edit"), {}, "would both be instructpix2pix"),
        (DEMOS, {"port": 65534}, "no port for demo-recognize"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    models: tuple[str, ...], chosen: dict[str, object], said: str
) -> None:
    with pytest.raises(BadSetting, match=said):
        told(*models, **chosen)


def test_rules_of_the_machine_are_written_once_for_several_services() -> None:
    both = rule_file("instructpix2pix", "zimage")
    assert both.count("alert: HostFilesystemFull") == 1
    assert both.count("alert: RequestP95High") == 2
    assert both.count("zimage_request_duration") == rule_file("zimage").count(
        "zimage_request_duration"
    )
