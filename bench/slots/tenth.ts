import { setTimeout as delay } from 'node:timers/promises';
import { limitToTenth } from '../support/cpu-limit.ts';
import { rounded, type Figure } from '../support/figures.ts';
import { withContext, type BenchContext } from '../support/context.ts';
import { span, startStage, type SlotsStage } from './stage.ts';

const RUNS = 1_500;
const ALLOWED_PER_S = 2_000;

/** With this interval more is due than a tenth of a core can poll. */
const INTERVAL_MS = 1_000;

/** Fixed numbers of requests under way that `auto` is compared with. */
const FIXED = [16, 32, 64, 128];

const SETTLE_MS = 5_000;
const SPAN_MS = 12_000;

const FALLEN_PER_S = 50;

/** By now a change of the rate limit, or of the host, shows in full, ms. */
const CHANGED_MS = 5_000;

/**
 * Daemons with a tenth of a core each, at the same time: one with `auto`, the others with a fixed number
 * of requests under way, each with a store of its own. Then the rate falls for the first one, and at last its host
 * is as quick as before.
 */
export function playTenth(): Promise<Figure[]> {
  return withContext(async (context) => {
    const auto = await started(context, 'auto');
    const quick = await span(auto, CHANGED_MS);
    const fixed: SlotsStage[] = [];
    for (const concurrency of FIXED) fixed.push(await started(context, concurrency));
    const all = [auto, ...fixed];
    const pids = all.flatMap(({ daemons }) => daemons.map(({ pid }) => pid));
    const limit = await limitToTenth(context, pids);
    await delay(SETTLE_MS);
    const [ours, ...theirs] = await Promise.all(all.map((stage) => span(stage, SPAN_MS)));
    const rates = theirs.map(({ polls, seconds }) => polls / seconds);
    const rate = ours === undefined ? 0 : ours.polls / ours.seconds;
    const most = await mostWaiting(auto, 2_000);
    const unwritten = await unwrittenShare(auto);
    const ends = fixed.flatMap(({ daemons }) => daemons.map((daemon) => daemon.kill()));
    await Promise.all(ends);

    await auto.allow(FALLEN_PER_S);
    await delay(CHANGED_MS);
    const left = await auto.waiting();
    const fallen = await span(auto, CHANGED_MS);
    await limit.lift();
    await auto.allow(ALLOWED_PER_S);
    await delay(CHANGED_MS - 1_000);
    const again = await span(auto, 2_000);
    const perS = { unit: '/s' };
    return [
      { name: `a tenth of a core (${limit.by}): polls`, value: rounded(rate), ...perS },
      ...rates.map((value, at) => ({
        name: `with ${FIXED[at]} requests under way`,
        value: rounded(value),
        ...perS,
      })),
      {
        name: 'polls per poll of the best of these',
        value: rounded(rate / Math.max(...rates)),
        unit: '',
        target: { atLeast: 0.9 },
      },
      {
        name: 'answers read and not written',
        value: rounded(100 * unwritten),
        unit: '%',
        target: { atMost: 1 },
      },
      { name: 'slots waiting', value: most, unit: '', target: { atMost: 50 } },
      {
        name: '5 s after the rate fell to 50/s: slots waiting',
        value: left,
        unit: '',
        target: { atMost: 1 },
      },
      {
        name: '5 s after the rate fell to 50/s: claims per poll',
        value: rounded(fallen.claims / fallen.polls),
        unit: '',
        target: { atMost: 1.5 },
      },
      {
        name: '5 s after the host is quick again: polls per poll before',
        value: rounded(again.polls / again.seconds / (quick.polls / quick.seconds)),
        unit: '',
        target: { atLeast: 0.7 },
      },
    ];
  });
}

async function started(context: BenchContext, concurrency: number | 'auto'): Promise<SlotsStage> {
  const asked = { runs: RUNS, perS: ALLOWED_PER_S, intervalMs: INTERVAL_MS, concurrency };
  const stage = await startStage(context, asked);
  await stage.register(RUNS, 1_000);
  await delay(3_000);
  return stage;
}

/** The most slots that wait at any moment of a span of time. */
async function mostWaiting(stage: SlotsStage, ms: number): Promise<number> {
  let most = 0;
  for (const until = performance.now() + ms; performance.now() < until; await delay(50)) {
    most = Math.max(most, await stage.waiting());
  }
  return most;
}

async function unwrittenShare({ daemons }: SlotsStage): Promise<number> {
  const usages = await Promise.all(daemons.map((daemon) => daemon.usage()));
  const answers = usages.reduce((sum, usage) => sum + usage.answers, 0);
  const polls = usages.reduce((sum, usage) => sum + usage.polls, 0);
  return (answers - polls) / answers;
}
