"""What each role needs of its keys to be ready: see `service.key_health`."""

from collections.abc import Mapping

from vault import config
from vault.keys.key import KeyKind
from vault.keys.keyring import HARD_TTL, SOFT_TTL
from vault.names import BROKER
from vault.service.broker_trail import BrokerTrail
from vault.service.compartment import ServedCompartment
from vault.service.issue import Broker
from vault.service.key_health import KeyHealth
from vault.service.metrics import Metrics
from vault.service.signer import Signer
from vault.service.trail import AuditedTrail

# Nothing of a record opens without a KEK, nothing is written without a trail, and lookup keys tell
# the erased from those who never were.
_OF_A_WORKER = (KeyKind.KEK, KeyKind.AUDIT, KeyKind.LOOKUP)


def of_worker(
    served: ServedCompartment, section: config.Compartment, metrics: Metrics
) -> KeyHealth:
    """Look at a compartment's keys, by the canary."""
    rings = {served.name: served.keyring}
    return KeyHealth(
        f"worker-{served.name}",
        rings,
        _OF_A_WORKER,
        served.probe_key_server,
        soft=section.key_soft_ttl,
        hard=section.key_hard_ttl,
        metrics=metrics,
    )


def of_broker(broker: Broker, trail: BrokerTrail, metrics: Metrics) -> KeyHealth:
    """Look at the broker's keys, by using those that every request needs: nothing is cached."""
    rings = {BROKER: trail.keyring}
    trail_alone = [KeyKind.AUDIT]
    return KeyHealth("broker", rings, trail_alone, broker.probe, soft=0, hard=0, metrics=metrics)


def of_auditor(trails: Mapping[str, AuditedTrail], signer: Signer, metrics: Metrics) -> KeyHealth:
    """Look at the keys of all trails, by the one that signs checkpoints."""
    rings = {name: trail.keyring for name, trail in trails.items()}
    return KeyHealth(
        "auditor",
        rings,
        [KeyKind.AUDIT],
        signer.probe,
        soft=SOFT_TTL,
        hard=HARD_TTL,
        metrics=metrics,
        writes=False,  # and a trail may wait for its first worker
    )
