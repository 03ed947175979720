import { setTimeout as delay } from 'node:timers/promises';
import { rounded, type Figure } from '../support/figures.ts';
import { withContext } from '../support/context.ts';
import { span, startStage, type Span } from './stage.ts';

const INTERVAL_MS = 5_000;
const SPREAD_MS = 2_500;

/** After this each run that was registered is polled at its interval, ms. */
const SETTLE_MS = 3_000;

const SPAN_MS = 6_000;

/** Polls a second, as many as are due. */
const PACES: Record<number, readonly number[]> = {
  1: [1, 5, 50, 500],
  2: [5, 50, 500],
  4: [5, 50, 500],
};

/** Where so many are due, the rate limit binds. */
const LIMITED_PER_S = 50;

/** Runs of a daemon that polls as fast as it can. */
const BUSY_RUNS = 1_500;

/** What a poll costs at any pace, without what daemons cost that have nothing to do. */
export async function playQuiet(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [daemons, paces] of Object.entries(PACES)) {
    figures.push(...(await playPaces(Number(daemons), paces)));
  }
  return [...figures, ...(await playBusy())];
}

function playPaces(daemons: number, paces: readonly number[]): Promise<Figure[]> {
  return withContext(async (context) => {
    const runs = (Math.max(...paces) * INTERVAL_MS) / 1_000;
    const stage = await startStage(context, {
      daemons,
      runs,
      perS: 10_000,
      intervalMs: INTERVAL_MS,
    });
    await delay(SETTLE_MS);
    const idle = await span(stage, SPAN_MS);
    const figures: Figure[] = [];
    let registered = 0;
    for (const pace of paces) {
      const wanted = (pace * INTERVAL_MS) / 1_000;
      await stage.register(wanted - registered, SPREAD_MS);
      registered = wanted;
      await delay(SETTLE_MS);
      figures.push(...costs(daemons, `${pace}/s`, net(await span(stage, SPAN_MS), idle)));
    }
    await stage.allow(LIMITED_PER_S);
    await delay(SETTLE_MS);
    const limited = net(await span(stage, SPAN_MS), idle);
    return [...figures, ...costs(daemons, `limit of ${LIMITED_PER_S}/s`, limited, true)];
  });
}

function playBusy(): Promise<Figure[]> {
  return withContext(async (context) => {
    const stage = await startStage(context, { runs: BUSY_RUNS, perS: 100_000, intervalMs: 10 });
    await delay(SETTLE_MS);
    const idle = await span(stage, SPAN_MS);
    await stage.register(BUSY_RUNS);
    await delay(SETTLE_MS);
    return costs(1, 'saturated', net(await span(stage, SPAN_MS), idle), true);
  });
}

function net(busy: Span, idle: Span): Span {
  const share = busy.seconds / idle.seconds;
  return {
    ...busy,
    claims: busy.claims - idle.claims * share,
    evalsha: busy.evalsha - idle.evalsha * share,
    commands: busy.commands - idle.commands * share,
  };
}

function costs(
  daemons: number,
  pace: string,
  { polls, seconds, claims, evalsha, commands }: Span,
  isFull = false,
): Figure[] {
  const name = `${daemons} ${daemons === 1 ? 'daemon' : 'daemons'}, ${pace}`;
  const each = (count: number) => rounded(count / polls);
  const atMost = (most: number) => ({ unit: '', target: { atMost: most } });
  return [
    { name: `${name}: polls`, value: rounded(polls / seconds), unit: '/s' },
    { name: `${name}: claims per poll`, value: each(claims), ...atMost(daemons === 1 ? 1.2 : 1.5) },
    { name: `${name}: commands per poll`, value: each(commands), ...atMost(isFull ? 30 : 36) },
    { name: `${name}: scripts per poll`, value: each(evalsha), ...atMost(2.8) },
  ];
}
