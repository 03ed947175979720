import { setTimeout as delay } from 'node:timers/promises';
import { rounded, type BenchResult } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { startHostileReceivers, type HostileReceiver } from './support/hostile-receivers.ts';
import { settled, startSending, type Sending } from './support/sending.ts';

const DEADLINE_MS = 2_000;

const MEBIBYTE = 1_048_576;

/** Deliveries before the measurement, so that compiling and pooling are no growth. */
const WARM_UP = 2_000;

/** How long one receiver may keep its deliveries unsettled. */
const SETTLE_WITHIN_MS = 120_000;

const LOOK_EVERY_MS = 50;

interface HostileOptions {
  /** Deliveries to each of the receivers; four at a time are under way. */
  deliveries: number;
  profileDir: string | null;
}

interface Ordeal {
  name: string;
  connections: number;
  longestMs: number;
  growthBytes: number;
}

/**
 * What receivers can do to the daemon by answering slowly, without end, or with far too much. They
 * get deliveries in turn, with a deadline of 2 s. Measured: how long each could hold a connection,
 * from its request to its end, and the daemon's largest growth. Targets: cut within the deadline
 * and 1 s, less than 20 MB of growth.
 */
export async function benchHostile(options: HostileOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const receivers = await startHostileReceivers(context);
    const sending = await startSending(context, {
      endpoints: 1,
      timeout: `${DEADLINE_MS}ms`,
      others: receivers.map(({ url }) => url),
      profileDir: options.profileDir,
    });
    const [plain = '', ...hostile] = sending.endpoints;
    const warmUp = Array.from({ length: WARM_UP }, () => plain);
    await settled(sending, await sending.outbox.fill(warmUp));
    const ordeals: Ordeal[] = [];
    for (const [index, receiver] of receivers.entries()) {
      const endpoint = hostile[index] ?? '';
      ordeals.push(await face(sending, { receiver, endpoint, deliveries: options.deliveries }));
    }
    return { figures: ordeals.flatMap(figuresOf), details: { ordeals } };
  });
}

async function face(
  { daemon, outbox }: Sending,
  given: { receiver: HostileReceiver; endpoint: string; deliveries: number },
): Promise<Ordeal> {
  const { receiver, endpoint, deliveries } = given;
  const { rssBytes: before } = await daemon.usage();
  let most = before;
  await outbox.fill(Array.from({ length: deliveries }, () => endpoint));
  const deadline = Date.now() + SETTLE_WITHIN_MS;
  for (;;) {
    const counts = (await outbox.counts()).byEndpoint.get(endpoint);
    most = Math.max(most, (await daemon.usage()).rssBytes);
    if (counts !== undefined && counts.pending === 0) break;
    if (Date.now() > deadline) throw new Error(`void: ${receiver.name} keeps its deliveries`);
    await delay(LOOK_EVERY_MS);
  }
  return {
    name: receiver.name,
    connections: receiver.connections(),
    longestMs: receiver.longestMs(),
    growthBytes: most - before,
  };
}

function figuresOf({ name, longestMs, growthBytes }: Ordeal) {
  return [
    {
      name: `${name}: longest connection`,
      value: rounded(longestMs),
      unit: 'ms',
      target: { atMost: DEADLINE_MS + 1_000 },
    },
    {
      name: `${name}: growth of the daemon`,
      value: rounded(growthBytes / MEBIBYTE),
      unit: 'MiB',
      target: { atMost: 19 },
    },
  ];
}
