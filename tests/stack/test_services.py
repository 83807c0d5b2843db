"""The services of a stack, and their settings."""

import pytest

from safelight.errors import BadSetting
from safelight.rules.files import rule_file
from safelight.settings import Settings, load
from safelight.stack.services import SERVICE, namespaces, service_program, services

DEMOS = ("demo-edit", "demo-generate", "demo-recognize")


def services_of(*models: str, **chosen: object) -> dict[str, Settings]:
    return services(load(**chosen), models)


def test_without_a_model_there_is_one_service_with_the_settings_model() -> None:
    only = services_of(model="a/b", port=9000)[SERVICE]
    assert (only.model, only.port, only.namespace) == ("a/b", 9000, "instructpix2pix")


def test_several_demos_have_their_family_names_and_consecutive_ports() -> None:
    started = services_of(*DEMOS, port=9000)
    assert [(name, own.namespace, own.port) for name, own in started.items()] == [
        ("instructpix2pix", "instructpix2pix", 9000),
        ("zimage", "zimage", 9001),
        ("recognition", "recognition", 9002),
    ]
    for (name, own), model in zip(started.items(), DEMOS, strict=True):
        command = service_program(name, own).command
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
def test_another_model_is_named_after_its_last_part(model: str, namespace: str) -> None:
    assert namespaces(services_of("demo-edit", model)) == ("instructpix2pix", namespace)
    load(namespace=namespace)  # it is a valid namespace


def test_one_demo_has_its_familys_namespace_unless_one_is_set() -> None:
    assert services_of("demo-generate")[SERVICE].namespace == "zimage"
    assert services_of("demo-generate", namespace="mine")[SERVICE].namespace == "mine"


def test_a_familys_namespace_alone_has_the_demo_of_the_family() -> None:
    assert services_of(namespace="zimage")[SERVICE].model == "demo-generate"
    assert services_of(namespace="mine")[SERVICE].model == "demo-edit"
    assert services_of("a/b", namespace="zimage")[SERVICE].model == "a/b"


@pytest.mark.parametrize(
    ("models", "chosen", "message"),
    [
        (("demo-edit",), {"namespace": "zimage"}, "demo-edit belongs to the namespace"),
        ((), {"model": "demo-edit", "namespace": "zimage"}, "demo-edit belongs to the namespace"),
        (
            ("demo-edit", "demo-generate"),
            {"namespace": "mine"},
            "A namespace belongs to one service",
        ),
        (("demo-edit", "demo-edit"), {}, "would have the same namespace instructpix2pix"),
        (DEMOS, {"port": 65534}, "no free port for demo-recognize"),
    ],
)
def test_impossible_settings_are_reported_in_one_line(
    models: tuple[str, ...], chosen: dict[str, object], message: str
) -> None:
    with pytest.raises(BadSetting, match=message):
        services_of(*models, **chosen)


def test_rules_of_the_machine_are_written_once_for_several_services() -> None:
    both = rule_file("instructpix2pix", "zimage")
    assert both.count("alert: HostFilesystemFull") == 1
    assert both.count("alert: RequestP95High") == 2
    assert both.count("zimage_request_duration") == rule_file("zimage").count(
        "zimage_request_duration"
    )
