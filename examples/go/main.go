// Command parcels keeps a table of parcels up to date from Waybill's topics: a subscriber to start from.
//
// Settings: KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL; KAFKA_GROUP_ID and KAFKA_TOPIC_PREFIX where they are not the usual
// ones; KAFKA_USERNAME, KAFKA_PASSWORD and SSL_CERT_FILE for brokers that ask who you are (SCRAM over TLS).
package main

import (
	"cmp"
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var (
	state  = os.Getenv("KAFKA_TOPIC_PREFIX") + "shipment.state"
	events = os.Getenv("KAFKA_TOPIC_PREFIX") + "shipment.events"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	parcels, err := openTable(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer parcels.Close()
	read, err := parcels.nextOffsets(ctx, events)
	if err == nil && len(read) == 0 {
		err = readState(ctx, parcels)
	}
	if err != nil {
		return err
	}
	return follow(ctx, parcels)
}

// readState reads shipment.state, from where an earlier start got to, up to the end that it has now.
func readState(ctx context.Context, parcels table) error {
	client, err := newClient(kgo.KeepControlRecords()) // the last record is the marker of a transaction's end
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, state)
	if err := cmp.Or(err, ends.Error()); err != nil {
		return err
	}
	read, err := parcels.nextOffsets(ctx, state)
	if err != nil {
		return err
	}
	unread := map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		if read[end.Partition] < end.Offset {
			unread[end.Partition] = position(read, end.Partition)
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{state: unread})
	for len(unread) > 0 {
		fetches := client.PollRecords(ctx, 500)
		if err := parcels.apply(ctx, fetches); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if end, _ := ends.Lookup(state, record.Partition); record.Offset+1 >= end.Offset {
				delete(unread, record.Partition)
			}
		})
	}
	log.Print("read the state; following the events")
	return nil
}

// follow reads shipment.events until the context ends, each assigned partition from the offset that the database has.
func follow(ctx context.Context, parcels table) error {
	place := func(ctx context.Context, assigned map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
		read, err := parcels.nextOffsets(ctx, events)
		for partition := range assigned[events] {
			assigned[events][partition] = position(read, partition)
		}
		return assigned, err
	}
	client, err := newClient(kgo.ConsumerGroup(cmp.Or(os.Getenv("KAFKA_GROUP_ID"), "parcels")), kgo.ConsumeTopics(events),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.AdjustFetchOffsetsFn(place))
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for {
		if err := parcels.apply(ctx, client.PollRecords(ctx, 500)); err != nil {
			return err
		}
		client.AllowRebalance()
	}
}

func newClient(more ...kgo.Opt) (*kgo.Client, error) {
	options := append(more, kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ",")...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset())) // an offset that is gone is an error: nothing is skipped in silence
	if user := os.Getenv("KAFKA_USERNAME"); user != "" {
		login := scram.Auth{User: user, Pass: os.Getenv("KAFKA_PASSWORD")}
		options = append(options, kgo.DialTLS(), kgo.SASL(login.AsSha512Mechanism()))
	}
	return kgo.NewClient(options...)
}
