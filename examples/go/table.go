package main

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	tables = `
		create table if not exists parcels (
			shipment_id text primary key, version bigint not null,
			status text not null, final boolean not null, personal jsonb not null);
		create table if not exists offsets (
			topic text, partition integer, next_offset bigint not null, primary key (topic, partition))`
	// What is not newer changes nothing: records may come again, and the state is ahead of the first events.
	upsert = `
		insert into parcels values ($1, $2, $3, $4, $5)
		on conflict (shipment_id) do update set version = excluded.version, status = excluded.status,
			final = excluded.final, personal = excluded.personal
		where parcels.version < excluded.version`
	forget = `delete from parcels where shipment_id = $1`
	store  = `
		insert into offsets values ($1, $2, $3)
		on conflict (topic, partition) do update set next_offset = excluded.next_offset`
	stored = `select partition, next_offset from offsets where topic = $1`
)

var known = map[string]bool{"shipment.status_changed": true, "shipment.updated": true,
	"shipment.history_added": true, "shipment.corrected": true}

type parcel struct {
	Type       string          `json:"type"` // of an event; a state has none
	ShipmentID string          `json:"shipment_id"`
	Version    int64           `json:"version"`
	Status     string          `json:"status"`
	Final      bool            `json:"final"`
	Personal   json.RawMessage `json:"personal"`
}

// A table holds the parcels, and beside them how far each partition is read.
type table struct{ *pgxpool.Pool }

func openTable(ctx context.Context, url string) (table, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return table{}, err
	}
	_, err = pool.Exec(ctx, tables)
	return table{pool}, err
}

func (t table) nextOffsets(ctx context.Context, topic string) (map[int32]int64, error) {
	offsets := map[int32]int64{}
	rows, _ := t.Query(ctx, stored, topic) // an error comes with the rows
	var partition int32
	var next int64
	_, err := pgx.ForEachRow(rows, []any{&partition, &next}, func() error {
		offsets[partition] = next
		return nil
	})
	return offsets, err
}

func position(read map[int32]int64, partition int32) kgo.Offset {
	if next, stored := read[partition]; stored {
		return kgo.NewOffset().At(next)
	}
	return kgo.NewOffset().AtStart()
}

// apply brings the parcels up to date and stores the offsets behind the records, in one transaction.
func (t table) apply(ctx context.Context, fetches kgo.Fetches) error {
	if err := fetches.Err(); err != nil {
		return err
	}
	batch, next := &pgx.Batch{}, map[string]map[int32]int64{state: {}, events: {}}
	for records := fetches.RecordIter(); !records.Done(); {
		record := records.Next()
		if err := queue(batch, record); err != nil {
			return err
		}
		next[record.Topic][record.Partition] = record.Offset + 1
	}
	for topic, partitions := range next {
		for partition, offset := range partitions {
			batch.Queue(store, topic, partition, offset)
		}
	}
	return pgx.BeginFunc(ctx, t, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
}

func queue(batch *pgx.Batch, record *kgo.Record) error {
	if record.Attrs.IsControl() {
		return nil
	}
	if record.Value == nil { // forgotten
		batch.Queue(forget, string(record.Key))
		return nil
	}
	var p parcel
	if err := json.Unmarshal(record.Value, &p); err != nil {
		return err
	}
	if record.Topic == state || known[p.Type] {
		batch.Queue(upsert, p.ShipmentID, p.Version, p.Status, p.Final, p.Personal)
	}
	return nil
}
