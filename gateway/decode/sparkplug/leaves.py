"""The metrics of a payload, those inside of templates included, under whole names and with their types.

A metric inside of a template's instance is named `<metric>/<inner metric>`, and takes time and flags from the instance
where it has none. The template's own metric comes out as one without a value, so that its alias is learnt. Definitions
of templates hold no readings and nothing is taken from inside of them; parameters are settings and not taken either.

Source: Sparkplug 3.0.0, section 6.4.17 (templates) and 6.4.7 (aliases).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.decode.contract import FIELD_CHARACTERS_MAX
from gateway.decode.sparkplug.payload import (
    ALIAS,
    DATATYPE,
    IS_HISTORICAL,
    IS_TRANSIENT,
    METRICS_MAX,
    NAME,
    TEMPLATE,
    TIMESTAMP,
    Metric,
    metric_fields,
    template_of,
    text_of,
)
from gateway.decode.sparkplug.values import TEMPLATE_TYPE
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.decode.sparkplug.memory import Scope


class Leaves:
    """One walk over the metrics of one payload.

    `scope` is what the birth taught; None says that this is a birth, which must name everything itself.
    """

    def __init__(self, metrics: Sequence[bytes], scope: Scope | None, depth_max: int) -> None:
        self._metrics = metrics
        self._scope = scope
        self._depth_max = depth_max
        self._left = METRICS_MAX

    def __iter__(self) -> Iterator[Metric]:
        return self._walk(self._metrics, None, 1)

    def _walk(self, metrics: Sequence[bytes], outer: Metric | None, depth: int) -> Iterator[Metric]:
        if depth > self._depth_max:
            raise DecodeError("too_deep", f"templates are nested deeper than {self._depth_max}")
        for data in metrics:
            self._left -= 1
            if self._left < 0:
                raise DecodeError("too_many_fields", f"the payload has more than {METRICS_MAX} metrics")
            metric = self._metric(data, outer)
            if metric.datatype != TEMPLATE_TYPE and metric.tag != TEMPLATE:
                yield metric
                continue
            yield metric._replace(datatype=TEMPLATE_TYPE, tag=0, raw=b"")
            if metric.tag:
                yield from self._walk(_inside(metric), metric, depth + 1)

    def _metric(self, data: bytes, outer: Metric | None) -> Metric:
        found, tag, raw = metric_fields(data)
        name = self._name(found, outer)
        datatype: int = found.get(DATATYPE, 0)
        if not datatype and self._scope is not None:
            datatype = self._scope.types.get(name, 0)
            if not datatype and tag:
                raise DecodeError("birth_missing", f"no birth said what type {name[:80]!r} is of")
        time_ms = found.get(TIMESTAMP)
        is_historical, is_transient = bool(found.get(IS_HISTORICAL)), bool(found.get(IS_TRANSIENT))
        if outer is not None:
            time_ms = time_ms or outer.time_ms
            is_historical = is_historical or outer.is_historical
            is_transient = is_transient or outer.is_transient
        return Metric(name, found.get(ALIAS), time_ms, datatype, is_historical, is_transient, tag, raw)

    def _name(self, found: Mapping[int, Any], outer: Metric | None) -> str:
        """Return the whole name of a metric. Raises `DecodeError`."""
        sent: bytes = found.get(NAME, b"")
        if not sent:
            if self._scope is None:
                raise DecodeError("name_missing", "a birth has a metric without a name")
            alias = found.get(ALIAS)
            known = self._scope.by_alias.get(alias)
            if known is None:
                raise DecodeError("birth_missing", f"no birth said what the alias {alias} means")
            return known
        name = text_of(sent) if outer is None else f"{outer.name}/{text_of(sent)}"
        if len(name) > FIELD_CHARACTERS_MAX:
            raise DecodeError("field_name_too_long", f"a metric's name has more than {FIELD_CHARACTERS_MAX} characters")
        return name


def _inside(metric: Metric) -> Sequence[bytes]:
    if metric.tag != TEMPLATE or not isinstance(metric.raw, bytes):
        raise DecodeError("value_mismatch", f"the metric {metric.name[:80]!r} is a template, and its value is none")
    return template_of(metric.raw) or ()
