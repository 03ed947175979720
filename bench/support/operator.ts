import { setTimeout as delay } from 'node:timers/promises';
import { randomInteger } from '../../src/simulator/seeded-random.ts';
import type { DeliveryJson } from '../../test/support/daemon-listings.ts';
import type { Mood } from './moody-receivers.ts';
import { ask, insist, type SoakStage } from './soak-stage.ts';

const PAUSE_EVERY_MS = { least: 3_000, most: 8_000 };
const PAUSE_FOR_MS = { least: 1_000, most: 4_000 };
const AGAIN_EVERY_MS = 1_500;
const ENABLE_EVERY_MS = 10_000;

/** Endpoints that get disabled, or lose deliveries, until an operator acts. */
const NEEDY: Mood[] = ['leaving', 'failing'];

/** The operator's calls during a soak. */
export interface OperatorLog {
  pauses: number;
  /**
   * How often the operator enabled endpoints, and redelivered their dead and skipped deliveries.
   */
  enabled: number;
  /** The number of those deliveries. */
  sentAgain: number;
  /** Redeliveries of arrived deliveries, each once, by {@link pairOf}. */
  again: Map<string, { wasAnswered: boolean }>;
}

/** Names one event at one endpoint. */
export function pairOf(endpoint: string, eventId: string): string {
  return `${endpoint} ${eventId}`;
}

/** Pauses, resumes and enables endpoints, and redelivers, until it is over. */
export async function operate(stage: SoakStage, until: number): Promise<OperatorLog> {
  const log: OperatorLog = { pauses: 0, enabled: 0, sentAgain: 0, again: new Map() };
  await Promise.all([
    pauseAtRandom(stage, log, until),
    enableTheNeedy(stage, log, until),
    sendAgain(stage, log, until),
  ]);
  return log;
}

async function pauseAtRandom(stage: SoakStage, log: OperatorLog, until: number): Promise<void> {
  const { random, receivers } = stage;
  const pause = ({ least, most }: typeof PAUSE_FOR_MS) => delay(randomInteger(random, least, most));
  for (;;) {
    await pause(PAUSE_EVERY_MS);
    if (Date.now() > until) return;
    const mood = receivers.all[randomInteger(random, 0, receivers.all.length - 1)]?.mood;
    await insist(stage, `/v1/endpoints/${mood}/pause`, {});
    await pause(PAUSE_FOR_MS);
    await insist(stage, `/v1/endpoints/${mood}/resume`, {});
    log.pauses += 1;
  }
}

async function enableTheNeedy(stage: SoakStage, log: OperatorLog, until: number): Promise<void> {
  for (let turn = 0; Date.now() + ENABLE_EVERY_MS < until; turn += 1) {
    await delay(ENABLE_EVERY_MS);
    const endpoint = NEEDY[turn % NEEDY.length];
    await insist(stage, `/v1/endpoints/${endpoint}/resume`, {});
    const range = { endpoint, until: new Date().toISOString() };
    const answer = await insist<{ count: number }>(stage, '/v1/deliveries/redeliver', range);
    log.enabled += 1;
    log.sentAgain += answer.count;
  }
}

/** Redelivers deliveries that have arrived, each at most once. */
async function sendAgain(stage: SoakStage, log: OperatorLog, until: number): Promise<void> {
  const { random, receivers } = stage;
  while (Date.now() < until) {
    await delay(AGAIN_EVERY_MS);
    const mood = receivers.all[randomInteger(random, 0, receivers.all.length - 1)]?.mood;
    const query = `/v1/deliveries?state=delivered&endpoint=${mood}&limit=50`;
    const page = await ask<{ data: DeliveryJson[] }>(stage, query);
    const fresh = (page?.data ?? []).filter(
      ({ endpoint, event_id }) => !log.again.has(pairOf(endpoint, event_id)),
    );
    const one = fresh[randomInteger(random, 0, fresh.length - 1)];
    if (one === undefined) continue;
    const answer = await ask(stage, `/v1/deliveries/${one.id}/redeliver`, {});
    log.again.set(pairOf(one.endpoint, one.event_id), { wasAnswered: answer !== null });
  }
}

/** Redelivers everything that is dead or was skipped. */
export async function letEverythingGo(stage: SoakStage): Promise<void> {
  for (const { mood } of stage.receivers.all) {
    await insist(stage, `/v1/endpoints/${mood}/resume`, {});
    // Breakers probe at once.
    await insist(stage, `/v1/endpoints/${mood}/retry`, {});
  }
}
