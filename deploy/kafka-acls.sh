#!/bin/sh
# Gives each process of Waybill, and each subscriber, what it needs at Kafka and no more. Only adds; doing it again
# does nothing. The brokers must have an authorizer, and no `allow.everyone.if.no.acl.found`.
#
#   kafka-acls.sh --bootstrap-server HOST:PORT --command-config FILE [--prefix PREFIX] [--group GROUP] [--subscriber USER]...
#
#   --bootstrap-server, --command-config   as Kafka's own kafka-acls.sh takes them: an administrator's
#   --prefix       WAYBILL_TOPIC_PREFIX (default: empty)
#   --group        WAYBILL_PROCESSOR_GROUP_ID (default: waybill-processor)
#   --subscriber   a user who reads the events with consumer groups named `<prefix><user>.…`; may be repeated
#
# KAFKA_ACLS names Kafka's tool where it is not on the PATH. Without --bootstrap-server this text is printed.
#
#   user                is                                     may
#   waybill-topics      `waybill topics`                       make the five topics and set their configs
#   waybill-ingest      `waybill ingest`                       append to the raw topic, ask the brokers for the time
#   waybill-reconcile   `waybill reconcile`                    append to the raw topic
#   waybill-processor   `waybill processor`, `recover`         read raw, write the other four in transactions
#   waybill-operator    every other command                    read everything, append to the raw topic (replays,
#                                                              commands), republish to topics named `<prefix>replay.…`,
#                                                              ask the brokers for the time
#   waybill-console     `waybill console` that only looks      read everything, ask the brokers for the time
#   <subscriber>        somebody else's service                read events, state and anomalies
#
# Raw and dead letters hold personal data: no subscriber reads them. Read and Write imply Describe. A producer that may
# write any topic may be idempotent: the only cluster-wide permission is to describe the cluster, for the brokers' time.
set -eu

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

tool=${KAFKA_ACLS:-kafka-acls.sh}
bootstrap= config= prefix= group=waybill-processor subscribers=
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || usage
    case $1 in
        --bootstrap-server) bootstrap=$2 ;;
        --command-config) config=$2 ;;
        --prefix) prefix=$2 ;;
        --group) group=$2 ;;
        --subscriber) subscribers="$subscribers $2" ;;
        *) usage ;;
    esac
    shift 2
done
[ -n "$bootstrap" ] || usage

raw=${prefix}courier.webhooks.raw
dlq=$raw.dlq
events=${prefix}shipment.events
state=${prefix}shipment.state
anomalies=${prefix}shipment.anomalies

for user in $subscribers; do
    case $group in "$user."*)
        echo "kafka-acls.sh: the group $group would belong to the subscriber $user: name one of them otherwise" >&2
        exit 2
        ;;
    esac
done

allow() {
    if ! said=$("$tool" --bootstrap-server "$bootstrap" ${config:+--command-config "$config"} --add "$@" 2>&1); then
        printf '%s\n' "$said" >&2
        exit 1
    fi
}

allow --allow-principal User:waybill-topics \
    --operation Create --operation Describe --operation DescribeConfigs --operation AlterConfigs \
    --topic "$raw" --topic "$dlq" --topic "$events" --topic "$state" --topic "$anomalies"

allow --allow-principal User:waybill-ingest --allow-principal User:waybill-reconcile \
    --allow-principal User:waybill-operator \
    --operation Write --topic "$raw"

# The time stands in the description of the brokers' quorum. Without it a door goes on, by its own clock alone.
allow --allow-principal User:waybill-ingest --allow-principal User:waybill-operator \
    --allow-principal User:waybill-console \
    --operation Describe --cluster

# `waybill recover` compares with the published state.
allow --allow-principal User:waybill-processor \
    --operation Read --topic "$raw" --topic "$state" --group "$prefix$group"
allow --allow-principal User:waybill-processor \
    --operation Write --topic "$dlq" --topic "$events" --topic "$state" --topic "$anomalies"
allow --allow-principal User:waybill-processor \
    --operation Write --transactional-id "$prefix$group-" --resource-pattern-type prefixed

allow --allow-principal User:waybill-operator --allow-principal User:waybill-console \
    --operation Read --operation DescribeConfigs \
    --topic "$raw" --topic "$dlq" --topic "$events" --topic "$state" --topic "$anomalies"
allow --allow-principal User:waybill-operator --allow-principal User:waybill-console \
    --operation Describe --group "$prefix$group"
# `waybill doctor` looks whether brokers make topics by themselves.
allow --allow-principal User:waybill-operator --allow-principal User:waybill-console \
    --operation DescribeConfigs --cluster
# A republish publishes in transactions and keeps its place as a group's offsets, both under the job's name.
allow --allow-principal User:waybill-operator \
    --operation Write --topic "${prefix}replay." --transactional-id "${prefix}replay-" --resource-pattern-type prefixed
allow --allow-principal User:waybill-operator \
    --operation Read --group "${prefix}replay-" --resource-pattern-type prefixed

for user in $subscribers; do
    allow --allow-principal "User:$user" \
        --operation Read --topic "$events" --topic "$state" --topic "$anomalies"
    allow --allow-principal "User:$user" \
        --operation Read --group "$prefix$user." --resource-pattern-type prefixed
done
