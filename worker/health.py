"""Tell whether this machine's worker is a live member of its consumer group: the health check.

    python -m worker.health

The worker sends its heartbeats from the event loop that does its work, so a worker that hangs
or has lost the brokers leaves the group one session timeout later and is unhealthy; a running
process alone says nothing. Made for a container: every worker on one host counts as one.
"""

import os
import socket
import sys

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import FrontpageError, UnavailableError
from worker.kafka_security import librdkafka_config
from worker.settings import Settings, read_settings

TIMEOUT_S = 10.0


def check_membership(settings: Settings, addresses: set[str]) -> None:
    """Fail unless the group has a member on one of the IP addresses.

    Raises:
        UnavailableError: says what the brokers know of the group, or that they do not answer.
    """
    admin = AdminClient({"log_level": 0, **librdkafka_config(settings)})
    try:
        groups = admin.describe_consumer_groups([settings.app_id], request_timeout=TIMEOUT_S)
        group = groups[settings.app_id].result(TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        raise UnavailableError(f"consumer group {settings.app_id}: no answer") from error
    # Brokers write a member's address as "/10.0.0.1".
    if not addresses & {member.host.lstrip("/") for member in group.members}:
        raise UnavailableError(
            f"consumer group {settings.app_id}: {len(group.members)} members, none on this host"
        )


def own_addresses() -> set[str]:
    """Return the IP addresses that this host's name stands for, and loopback."""
    found = socket.getaddrinfo(socket.gethostname(), None)
    return {"127.0.0.1"} | {str(address[0]) for *_, address in found}


def main() -> int:
    """Exit with 0 when healthy, else print the reason and exit with 1."""
    try:
        check_membership(read_settings(os.environ), own_addresses())
    except FrontpageError as error:
        click.echo(f"unhealthy: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
