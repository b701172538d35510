"""Kafka and PostgreSQL for `waybill up` and the tests: named, embedded, or in Docker; no process outlives its run."""

from devstack.choice import Choice, Docker, Embedded, Named, for_run, for_tests
from devstack.errors import DevstackError, InUseError, MissingToolError, StartError, ToolError
from devstack.kafka_classes import keep_classes
from devstack.kafka_cluster import KafkaCluster, kafka_cluster
from devstack.progress import progress
from devstack.stack import Kafka, Postgres, Stack, services

__all__ = [
    "Choice",
    "DevstackError",
    "Docker",
    "Embedded",
    "InUseError",
    "Kafka",
    "KafkaCluster",
    "MissingToolError",
    "Named",
    "Postgres",
    "Stack",
    "StartError",
    "ToolError",
    "for_run",
    "for_tests",
    "kafka_cluster",
    "keep_classes",
    "progress",
    "services",
]
