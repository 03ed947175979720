import { setTimeout as delay } from 'node:timers/promises';
import type { Simulator } from '../../src/simulator/server.ts';
import { percentile, rounded, type Figure } from '../support/figures.ts';
import { withContext } from '../support/context.ts';
import { setUpPolling, until, type PolledSource, type PollStage } from './polled.ts';

const REQUESTS_PER_S = 200;
const MEASURED_MS = 10_000;

/** Request rate to a Noxus with this answer time, while runs wait for polls. */
async function askedOf(answerMs: number, watches: number): Promise<{ perS: number; most: number }> {
  return withContext(async (context) => {
    const { sources } = await setUpPolling(context, {
      runs: watches,
      polling: { min_interval: '250ms', max_interval: '1s' },
      requestsPerS: REQUESTS_PER_S,
    });
    const [{ simulator }] = sources as [PolledSource];
    if (answerMs > 0) simulator.fault({ kind: 'stall', ms: answerMs });
    await delay(2 * answerMs + 2_000);
    const from = Date.now();
    await delay(MEASURED_MS);
    const { requests } = simulator;
    const perS = requests.requestsBetween(from, from + MEASURED_MS) / (MEASURED_MS / 1_000);
    return { perS: rounded(perS), most: requests.mostWithin(1_000) };
  });
}

/** A slow Noxus gets requests nearly as often as a fast one. */
async function slowNoxus(): Promise<Figure[]> {
  const quick = await askedOf(0, 600);
  const slow = { '1 s': await askedOf(1_000, 600), '3 s': await askedOf(3_000, 1_200) };
  const asked = (name: string, value: number): Figure => ({ name, value, unit: '/s' });
  return [
    asked(`a quick Noxus, ${REQUESTS_PER_S}/s allowed: requests`, quick.perS),
    ...Object.entries(slow).flatMap(([name, { perS, most }]) => [
      {
        ...asked(`a Noxus of ${name} an answer: requests`, perS),
        target: { atLeast: 0.8 * quick.perS },
      },
      {
        name: `a Noxus of ${name} an answer: most in any second`,
        value: most,
        unit: '',
        target: { atMost: REQUESTS_PER_S },
      },
    ]),
  ];
}

export const ENDS = 40;
const END_EVERY_MS = 250;

/** Delays below this are machine noise, ms. */
const NOISE_MS = 100;

/** The effect of a hanging source on another one's delay. */
async function besideHanging(): Promise<Figure[]> {
  return withContext(async (context) => {
    const stage = await setUpPolling(context, { sources: 2, runs: 100, timeout: '10s' });
    const [well, hanging] = stage.sources as [PolledSource, PolledSource];
    const quiet = await delaysOf(stage, well, well.runs.slice(0, ENDS));
    hanging.simulator.fault({ kind: 'stall', ms: 600_000 });
    await delay(2_000);
    const beside = await delaysOf(stage, well, well.runs.slice(ENDS, 2 * ENDS));
    const figure = (share: number): Figure => ({
      name: `beside a source that hangs: p${share * 100}`,
      value: percentile(beside, share),
      unit: `ms (quiet ${percentile(quiet, share)})`,
      target: { atMost: 2 * Math.max(NOISE_MS, percentile(quiet, share)) },
    });
    return [figure(0.5), figure(0.9)];
  });
}

/** Ends runs one after the other. @returns how long it took until each was delivered, ms */
export async function delaysOf(
  { receiver }: Pick<PollStage, 'receiver'>,
  { simulator }: { simulator: Pick<Simulator, 'setStatus'> },
  runs: readonly string[],
): Promise<number[]> {
  const endedAt = new Map<string, number>();
  for (const runId of runs) {
    endedAt.set(runId, Date.now());
    simulator.setStatus(runId, 'failed');
    await delay(END_EVERY_MS);
  }
  const toldAt = () => {
    const told = new Map<string, number>();
    for (const { type, body, receivedAt } of receiver.received) {
      if (type !== 'run.failed') continue;
      const { data } = JSON.parse(body) as { data: { run_id: string } };
      if (!told.has(data.run_id)) told.set(data.run_id, receivedAt);
    }
    return told;
  };
  await until(() => runs.every((runId) => toldAt().has(runId)), 20_000);
  const told = toldAt();
  return runs.map((runId) => (told.get(runId) ?? Infinity) - (endedAt.get(runId) ?? 0));
}

export const slowCells = {
  'slow-noxus': slowNoxus,
  'beside-hanging': besideHanging,
};
