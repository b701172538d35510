/** The table of parcels, and beside it how far each partition is read. */
import type { Batch, KafkaMessage } from "kafkajs";
import postgres, { type TransactionSql } from "postgres";

/** An event. A state has the same fields, but no type. */
interface Parcel {
  type?: string;
  shipment_id: string;
  version: number;
  status: string;
  final: boolean;
  personal: postgres.JSONValue;
}

const PREFIX = process.env.KAFKA_TOPIC_PREFIX ?? "";
export const STATE = `${PREFIX}shipment.state`;
export const EVENTS = `${PREFIX}shipment.events`;
const TYPES = ["shipment.status_changed", "shipment.updated", "shipment.history_added", "shipment.corrected"];

export const sql = postgres(setting("DATABASE_URL"), { onnotice: () => {} });

export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export async function makeTables(): Promise<void> {
  await sql`
    create table if not exists parcels (
      shipment_id text primary key, version bigint not null,
      status text not null, final boolean not null, personal jsonb not null)`;
  await sql`
    create table if not exists offsets (
      topic text, partition integer, next_offset bigint not null, primary key (topic, partition))`;
}

/** Brings the parcel of one record up to date. What is not newer changes nothing: records may come again. */
async function apply(tx: TransactionSql, topic: string, { key, value }: KafkaMessage): Promise<void> {
  if (value === null) {
    await tx`delete from parcels where shipment_id = ${String(key)}`; // forgotten
    return;
  }
  const { type = "", shipment_id, version, status, final, personal } = JSON.parse(value.toString()) as Parcel;
  if (topic !== STATE && !TYPES.includes(type)) return;
  await tx`
    insert into parcels values (${shipment_id}, ${version}, ${status}, ${final}, ${tx.json(personal)})
    on conflict (shipment_id) do update set version = excluded.version, status = excluded.status,
      final = excluded.final, personal = excluded.personal
    where parcels.version < excluded.version`;
}

/** Applies a batch and stores the offset behind it, in one transaction. */
export async function applyAll(batch: Batch): Promise<void> {
  const next = String(BigInt(batch.lastOffset()) + 1n);
  await sql.begin(async (tx) => {
    for (const message of batch.messages) await apply(tx, batch.topic, message);
    await tx`
      insert into offsets values (${batch.topic}, ${batch.partition}, ${next})
      on conflict (topic, partition) do update set next_offset = excluded.next_offset`;
  });
}
