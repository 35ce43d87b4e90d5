import pytest

from gateway.transport import address
from gateway.transport.contract import Message


def message(node: str, lane: str) -> Message:
    return Message("1", node, lane, node, "application/octet-stream", b"", {})


def test_an_address_is_filled_in_for_each_message() -> None:
    at = address.Address("edge/{node}/{lane}/{{x}}")
    assert at(message("press-7", "alarm")) == "edge/press-7/alarm/{x}"
    assert at(message("press-8", "alarm")) == "edge/press-8/alarm/{x}"


@pytest.mark.parametrize("template", ["", "plain", "{node}", "{node}.{lane}", "{{braces}}"])
def test_a_template_of_known_places_is_accepted(template: str) -> None:
    assert address.fault(template) == ""


@pytest.mark.parametrize(
    "template", ["{", "}", "{}", "{0}", "{topic}", "{node.real}", "{node!r}", "{node:>9}", "{lane[0]}"]
)
def test_a_template_with_anything_else_is_refused(template: str) -> None:
    assert "places are {node}, {lane}" in address.fault(template)
