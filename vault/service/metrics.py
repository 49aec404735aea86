"""What this process counts, for Prometheus: written into a file, since there is no plaintext port.

The node exporter's textfile collector reads it. No label holds a value, a pseudonym, a request id
or anything that a caller chose: labels are methods, reasons, compartments, outcomes and the kinds
of alarms, all of them known beforehand.
"""

import logging
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    write_to_textfile,
)
from prometheus_client.registry import Collector

from vault.audit.event import Event, SameSaid
from vault.sealed.v1 import sealed_pb2

log = logging.getLogger("piivault.app")

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


class Metrics:
    """All counts of one process; `worker` is its number, if it is one of several on a port."""

    def __init__(self, worker: int = 0) -> None:
        self._worker = worker
        self._registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector("piivault", registry=registry)  # its memory, processor time, descriptors
        self._requests = Counter(
            "piivault_requests", "Calls answered.", ("method", "reason"), registry=registry
        )
        self._seconds = Histogram(
            "piivault_request_seconds",
            "Seconds until the answer, streams left out.",
            ("method",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._events = Counter(
            "piivault_audit_events",
            "Requests in the trail, as this process wrote them durably.",
            ("compartment", "outcome"),
            registry=registry,
        )
        self._trail_writable = Gauge(
            "piivault_trail_writable",
            "Whether the trail can be written: 0 means not ready.",
            ("compartment",),
            registry=registry,
        )
        self._requests_overdue = Gauge(
            "piivault_subject_requests_overdue",
            "Requests of subjects that are open past their day: `piivault requests` lists them.",
            ("compartment",),
            registry=registry,
        )
        self._key_server_answers = Gauge(
            "piivault_key_server_answers",
            "Whether the key server did as asked, last: 0 while keys serve from memory at best.",
            ("login",),
            registry=registry,
        )
        self._keys_unusable = Gauge(
            "piivault_keys_unusable",
            "Keys that can't be used now; what they open can't be read.",
            ("login",),
            registry=registry,
        )
        self._read = Counter(
            "piivault_audited_events",
            "Requests in the trail, as the auditor read them.",
            ("compartment", "outcome"),
            registry=registry,
        )
        self._alarms = Counter(
            "piivault_alarms", "Alarms raised.", ("compartment", "kind"), registry=registry
        )
        self._checkpoint_age = Gauge(
            "piivault_checkpoint_age_seconds",
            "Seconds since a checkpoint was shipped, or since the auditor started.",
            ("compartment",),
            registry=registry,
        )

        # Looked up for each call: few there are, and finding one takes longer than counting.
        self._requests_of = cache(self._requests.labels)
        self._seconds_of = cache(self._seconds.labels)
        self._events_of = cache(self._events.labels)

    def answered(self, method: str, reason: str, seconds: float | None) -> None:
        """Count a call; `seconds` is None for a stream."""
        self._requests_of(method, reason).inc()
        if seconds is not None:
            self._seconds_of(method).observe(seconds)

    def wrote(self, compartment: str) -> Callable[[Sequence[Event | SameSaid]], None]:
        """Return what counts the events of a compartment that became durable."""

        def count(events: Sequence[Event | SameSaid]) -> None:
            counts: Counts[sealed_pb2.Outcome.ValueType] = Counts()
            for event in events:
                counts[event.said.outcome] += event.said.count
            for outcome, times in counts.items():
                self._events_of(compartment, _word(outcome)).inc(times)

        return count

    def writable(self, compartment: str, *, is_so: bool) -> None:
        """Say whether a compartment's trail can be written."""
        self._trail_writable.labels(compartment).set(is_so)

    def requests_overdue(self, compartment: str, count: int) -> None:
        """Say how many requests of subjects are open past their day."""
        self._requests_overdue.labels(compartment).set(count)

    def keys(self, login: str, *, answers: bool, unusable: int) -> None:
        """Say whether the key server answers a login, and how many of its keys can't be used."""
        self._key_server_answers.labels(login).set(answers)
        self._keys_unusable.labels(login).set(unusable)

    def read(self, compartment: str, outcome: sealed_pb2.Outcome.ValueType, times: int) -> None:
        """Count an event that the auditor read."""
        self._read.labels(compartment, _word(outcome)).inc(times)

    def alarmed(self, compartment: str, kind: str) -> None:
        """Count an alarm."""
        self._alarms.labels(compartment, kind).inc()

    def checkpoint_age(self, compartment: str, seconds: float) -> None:
        """Say how old the last checkpoint is."""
        self._checkpoint_age.labels(compartment).set(seconds)

    def write(self, file: Path) -> None:
        """Write all counts into a file, in the place of what it held. Raises OSError."""
        counted = _OfWorker(self._registry, self._worker) if self._worker else self._registry
        write_to_textfile(str(file), counted)


class _OfWorker(Collector):
    """The counts, each with its worker's number: so that several files can be read together."""

    def __init__(self, counted: Collector, worker: int) -> None:
        self._counted = counted
        self._worker = str(worker)

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        for metric in self._counted.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker})
                for sample in metric.samples
            ]
            yield metric


_WORDS = {
    number: name.removeprefix("OUTCOME_").lower() for name, number in sealed_pb2.Outcome.items()
}


def _word(outcome: sealed_pb2.Outcome.ValueType) -> str:
    return _WORDS.get(outcome, "unknown")  # a newer release's
