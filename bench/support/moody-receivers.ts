import type { Random } from '../../src/core/backoff.ts';
import { startReceiver, type ReceivedWebhook } from '../../src/simulator/receiver.ts';
import type { BenchContext } from './context.ts';
import type { SeenRequest } from './repeats.ts';

const SECRET = `whsec_${Buffer.alloc(32, 11).toString('base64')}`;

/** Names the daemon of a request. */
const DAEMON_HEADER = 'x-bench-daemon';

/** The deadline of an attempt, ms: long for a receiver that answers, short for one that hangs. */
const TIMEOUT_MS = 2_000;

/** Longer than any deadline: a sender that waits for this is cut off. */
const NEVER_MS = 600_000;

type Answer = { status: number; headers?: Record<string, string>; delayMs?: number };

interface Manner {
  /** Its answer while it is unhealthy. */
  answer: (random: Random) => Answer;
  /** Event types as in the configuration. */
  events: string[];
  /** How many attempts may fail before a delivery is dead. */
  retries: number;
}

const PATIENT = { events: ['*'], retries: 50 };

const MOODS = {
  healthy: { ...PATIENT, answer: () => ({ status: 204, delayMs: 5 }) },
  flaky: {
    ...PATIENT,
    answer: (random) => ({ status: random() < 0.4 ? 500 : 204, delayMs: random() * 50 }),
  },
  hanging: {
    ...PATIENT,
    answer: (random) => ({ status: 204, delayMs: random() < 0.3 ? NEVER_MS : 5 }),
  },
  throttling: {
    ...PATIENT,
    answer: (random) =>
      random() < 0.2 ? { status: 429, headers: { 'retry-after': '1' } } : { status: 204 },
  },
  leaving: { ...PATIENT, answer: (random) => ({ status: random() < 0.02 ? 410 : 204 }) },
  // Few events and few attempts, so that some deliveries die before all receivers are healthy
  // again.
  failing: {
    answer: () => ({ status: 500 }),
    events: ['run.failed', 'run.stopped'],
    retries: 3,
  },
} satisfies Record<string, Manner>;

export type Mood = keyof typeof MOODS;

/** A receiver of the soak, and its requests. */
export interface MoodyReceiver {
  mood: Mood;
  events: string[];
  /** The endpoint as in the configuration of one of the daemons. */
  endpointOf(daemon: number): Record<string, unknown>;
  /** Every webhook that came in, by the id of its event. */
  requests: Map<string, SeenRequest[]>;
  /** Webhooks with an invalid signature. */
  forged(): number;
}

export interface MoodyReceivers {
  all: MoodyReceiver[];
  /** Makes all of them healthy, so that all comes to rest. */
  heal(): void;
}

export async function startMoodyReceivers(
  context: BenchContext,
  random: Random,
): Promise<MoodyReceivers> {
  let healed = false;
  const moods = Object.keys(MOODS) as Mood[];
  const all = await Promise.all(
    moods.map((mood) =>
      startMoodyReceiver(context, mood, () => MOODS[healed ? 'healthy' : mood].answer(random)),
    ),
  );
  return {
    all,
    heal() {
      healed = true;
    },
  };
}

async function startMoodyReceiver(
  context: BenchContext,
  mood: Mood,
  answer: () => Answer,
): Promise<MoodyReceiver> {
  const requests: MoodyReceiver['requests'] = new Map();
  const { events, retries } = MOODS[mood];
  let forged = 0;
  const receiver = await startReceiver({
    secrets: [SECRET],
    keep: 1,
    respond(webhook) {
      if (!webhook.verified) forged += 1;
      const given = answer();
      const id = webhook.id ?? '';
      requests.set(id, [...(requests.get(id) ?? []), seen(webhook, given)]);
      return given;
    },
  });
  context.onEnd(() => receiver.close());
  return {
    mood,
    events,
    requests,
    forged: () => forged,
    endpointOf: (daemon) => ({
      type: 'webhook',
      url: receiver.url,
      secret: SECRET,
      events,
      headers: { [DAEMON_HEADER]: String(daemon) },
      timeout: `${TIMEOUT_MS}ms`,
      retry: Array.from({ length: retries }, () => '500ms'),
    }),
  };
}

function seen({ headers, receivedAt }: ReceivedWebhook, answer: Answer): SeenRequest {
  const { status, delayMs = 0 } = answer;
  return {
    daemon: Number(headers[DAEMON_HEADER]),
    at: receivedAt,
    until: receivedAt + Math.min(delayMs, TIMEOUT_MS),
    taken: status === 204 && delayMs < TIMEOUT_MS,
  };
}
