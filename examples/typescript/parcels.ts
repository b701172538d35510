/**
 * Keeps a table of parcels up to date from Waybill's topics: a subscriber to start from.
 *
 * Settings: KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL; KAFKA_GROUP_ID and KAFKA_TOPIC_PREFIX where they are not the usual
 * ones; KAFKA_USERNAME and KAFKA_PASSWORD for brokers that ask who you are (SCRAM over TLS; NODE_EXTRA_CA_CERTS names
 * their authority, where Node does not know it).
 */
import { type Consumer, Kafka, logLevel } from "kafkajs";
import { applyAll, EVENTS, makeTables, setting, sql, STATE } from "./table.js";

const { env } = process;
const GROUP = env.KAFKA_GROUP_ID ?? "parcels";

const kafka = new Kafka({
  brokers: setting("KAFKA_BOOTSTRAP_SERVERS").split(","),
  logLevel: logLevel.ERROR,
  ...(env.KAFKA_USERNAME && {
    ssl: true,
    sasl: { mechanism: "scram-sha-512", username: env.KAFKA_USERNAME, password: setting("KAFKA_PASSWORD") },
  }),
});

const admin = kafka.admin();
let running: Consumer | undefined;

/** Moves to where the database says that each assigned partition is read to; the group's own offsets mean nothing. */
async function place(consumer: Consumer, assigned: number[]): Promise<void> {
  const ends = await admin.fetchTopicOffsets(EVENTS);
  const earliest = new Map(ends.map(({ partition, low }) => [partition, BigInt(low)]));
  for (const { partition, next_offset } of await sql`select * from offsets where topic = ${EVENTS}`) {
    if (!assigned.includes(partition)) continue;
    // kafkajs itself would go on from the beginning, and skip what is gone in silence.
    if (BigInt(next_offset) < (earliest.get(partition) ?? 0n)) throw new Error(`${EVENTS}: ${next_offset} is gone`);
    consumer.seek({ topic: EVENTS, partition, offset: next_offset });
  }
}

/** Runs a consumer. What it fetched before it was placed is stale. Of aborted transactions kafkajs shows nothing. */
async function run(topic: string, consumer: Consumer, placed: () => Promise<void>): Promise<void> {
  running = consumer;
  consumer.on(consumer.events.CRASH, ({ payload }) => fail(payload.error));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, isStale }) => {
      await placed();
      if (!isStale()) await applyAll(batch);
    },
  });
}

/** Reads `shipment.state` from its beginning to the end that it has now. */
async function readState(): Promise<void> {
  const ends = (await admin.fetchTopicOffsets(STATE)).filter(({ low, high }) => low !== high);
  const unread = new Map(ends.map(({ partition, high }) => [partition, BigInt(high)]));
  const consumer = kafka.consumer({ groupId: `${GROUP}.state` });
  const ended = new Promise<void>((resolve) => {
    if (unread.size === 0) resolve();
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      if (BigInt(lastOffset) + 1n >= (unread.get(partition) ?? 0n)) unread.delete(partition);
      if (unread.size === 0) resolve();
    });
  });
  await run(STATE, consumer, async () => {});
  await ended;
  await consumer.disconnect();
  console.log("read the state; following the events");
}

/** Follows `shipment.events` until the process is told to end. */
async function follow(): Promise<void> {
  const consumer = kafka.consumer({ groupId: GROUP });
  let placed = Promise.resolve();
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    placed = place(consumer, payload.memberAssignment[EVENTS] ?? []);
    placed.catch(fail);
  });
  await run(EVENTS, consumer, () => placed);
}

function fail(error: unknown): never {
  console.error(error);
  process.exit(1);
}

async function stop(): Promise<void> {
  await running?.disconnect();
  await Promise.all([admin.disconnect(), sql.end()]);
  process.exit(0);
}

for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop().catch(fail));
await admin.connect();
await makeTables();
if ((await sql`select from offsets where topic = ${EVENTS}`).count === 0) await readState();
await follow();
