import type { Random } from '../../src/core/backoff.ts';
import { startReceiver, type ReceivedWebhook } from '../../src/simulator/receiver.ts';
import type { Ground } from './ground.ts';

const SECRET = `whsec_${Buffer.alloc(32, 11).toString('base64')}`;

/** Longer than any deadline: whoever waits for this is cut. */
const NEVER_MS = 600_000;

type Answer = { status: number; headers?: Record<string, string>; delayMs?: number };

/** What a receiver answers as long as it is not well. */
const MOODS = {
  healthy: () => ({ status: 204, delayMs: 5 }),
  flaky: (random) => ({ status: random() < 0.4 ? 500 : 204, delayMs: random() * 50 }),
  hanging: (random) => ({ status: 204, delayMs: random() < 0.3 ? NEVER_MS : 5 }),
  throttling: (random) =>
    random() < 0.2 ? { status: 429, headers: { 'retry-after': '1' } } : { status: 204 },
  leaving: (random) => ({ status: random() < 0.02 ? 410 : 204 }),
} satisfies Record<string, (random: Random) => Answer>;

type Mood = keyof typeof MOODS;

/** A receiver of the soak, and what it took. */
export interface MoodyReceiver {
  mood: Mood;
  /** The endpoint as in the configuration. */
  endpoint: Record<string, unknown>;
  /** How often each event was answered with success, by its id. */
  accepted: Map<string, number>;
  /** Webhooks whose signature did not fit. */
  forged(): number;
}

export interface MoodyReceivers {
  all: MoodyReceiver[];
  /** From now on every one of them is healthy, so that all comes to rest. */
  heal(): void;
}

export async function startMoodyReceivers(ground: Ground, random: Random): Promise<MoodyReceivers> {
  let healed = false;
  const moods = Object.keys(MOODS) as Mood[];
  const all = await Promise.all(
    moods.map((mood) =>
      startMoodyReceiver(ground, mood, () => MOODS[healed ? 'healthy' : mood](random)),
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
  ground: Ground,
  mood: Mood,
  answer: () => Answer,
): Promise<MoodyReceiver> {
  const accepted = new Map<string, number>();
  let forged = 0;
  const receiver = await startReceiver({
    secrets: [SECRET],
    keep: 1,
    respond(webhook: ReceivedWebhook) {
      if (!webhook.verified) forged += 1;
      const given = answer();
      const isTaken = given.status === 204 && (given.delayMs ?? 0) < NEVER_MS;
      const { id } = webhook;
      if (isTaken && id !== null) accepted.set(id, (accepted.get(id) ?? 0) + 1);
      return given;
    },
  });
  ground.onEnd(() => receiver.close());
  const retry = Array.from({ length: 50 }, () => '500ms');
  const endpoint = {
    type: 'webhook',
    url: receiver.url,
    secret: SECRET,
    events: ['*'],
    timeout: '1s',
    retry,
  };
  return { mood, endpoint, accepted, forged: () => forged };
}
