import { setTimeout as delay } from 'node:timers/promises';
import { randomScripts } from '../src/simulator/stories.ts';
import { accountFor, comeToRest, type Account } from './support/account.ts';
import { sampleBalance, type BalanceSamples } from './support/balance.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext } from './support/context.ts';
import { excuseOf, killAtRandom } from './support/killer.ts';
import { letEverythingGo, operate, type OperatorLog } from './support/operator.ts';
import { killsAround, wasOpen } from './support/repeats.ts';
import { insist, setUpSoak, SOURCES, upDaemons, type SoakStage } from './support/soak-stage.ts';

/** How long runs last, ms: several kills fall within each. */
const RUNS_WITHIN_MS = 8_000;

/**
 * How long runs wait for a human, ms: a shorter wait could pass between polls that a takeover
 * delays.
 */
const PAUSES_MS = 1_500;

interface SoakOptions {
  minutes: number;
  /** Runs registered per second. */
  rate: number;
  seed: number;
}

interface Outcome {
  stage: SoakStage;
  operator: OperatorLog;
  samples: BalanceSamples;
  account: Account;
  restMs: number;
}

/** Long enough that a source is called unreachable although daemons are killed meanwhile, ms. */
const SOURCE_AWAY_MS = 40_000;

/**
 * A long mixed run with kills. Runs of the fake Noxus live and end; a client registers each, and
 * repeats the request until it succeeds. A third of them is read by the source of Noxus, and a third each
 * by one of type http, of which one reads runs twice. Endpoints are healthy, flaky or failing, hang now and
 * then, answer 429, and at some time 410. An operator pauses, resumes and enables them, and
 * redelivers. Two daemons on one Redis are killed by SIGKILL at random and started again, and Redis
 * with them now and then. For a while no source answers. All the time the equation of deliveries is
 * read from Redis and from the metrics. In the end every receiver is healthy, dead and skipped
 * deliveries are sent again, and all comes to rest. Targets: the equation holds in every sample.
 * Every event that an endpoint wanted has arrived or was superseded. At most as many came twice as
 * were under way at the kills without a recorded result. Each repeat follows from such a request,
 * from an answer that came too late, or from a redelivery.
 */
export async function benchSoak(options: SoakOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const stage = await setUpSoak(context, options.seed);
    const rest = new AbortController();
    const sampling = sampleBalance({
      redis: stage.redis.url,
      daemons: () => upDaemons(stage),
      subscribers: stage.receivers.all,
      excuse: (place, askedAt) => excuseOf(stage, place, askedAt),
      signal: rest.signal,
    });
    try {
      const until = Date.now() + options.minutes * 60_000;
      const [operator] = await Promise.all([
        operate(stage, until),
        registerRuns(stage, options, until),
        killAtRandom(stage, until),
        takeSourceAway(stage, options.minutes * 20_000),
      ]);
      const healedAt = Date.now();
      await settle(stage);
      const restMs = Date.now() - healedAt;
      rest.abort();
      const [samples, account] = [await sampling, await accountFor(stage, operator)];
      return resultOf({ stage, operator, samples, account, restMs });
    } finally {
      rest.abort();
    }
  });
}

async function registerRuns(stage: SoakStage, { rate, seed }: SoakOptions, until: number) {
  for (let second = 0; Date.now() < until; second += 1) {
    const scripts = randomScripts({
      count: rate,
      seed: seed + second,
      within_ms: RUNS_WITHIN_MS,
      min_pause_ms: PAUSES_MS,
    });
    for (const script of scripts) stage.noxus.add(script);
    const ids = scripts.map(({ id = '' }) => id);
    const watches = ids.map((id, at) => ({ run_id: id, source: SOURCES[at % SOURCES.length] }));
    await insist<{ results: { status: number }[] }>(
      stage,
      '/v1/watches/batch',
      { watches },
      ({ results }) => results.every(({ status }) => status < 300),
    );
    stage.registered.push(...ids);
    await delay(1_000);
  }
}

/** Waits, and has no source answer for a while: events about runwatch itself are sent then, too. */
async function takeSourceAway({ noxus }: SoakStage, afterMs: number): Promise<void> {
  await delay(afterMs);
  noxus.fault({ kind: 'status', status: 503 });
  await delay(SOURCE_AWAY_MS);
  noxus.clearFaults();
}

/** Makes every receiver healthy, and sends whatever was parked, dead or skipped. */
async function settle(stage: SoakStage): Promise<void> {
  stage.receivers.heal();
  await letEverythingGo(stage);
  await comeToRest(stage);
  await insist(stage, '/v1/deliveries/redeliver', {});
  await comeToRest(stage);
}

function resultOf({ stage, operator, samples, account, restMs }: Outcome): BenchResult {
  const { registered, kills } = stage;
  const killed = (isRedis: boolean) =>
    kills.filter(({ victim }) => (victim === 'redis') === isRedis).length;
  const again = [...operator.again.values()];
  return {
    figures: [
      info('runs', registered.length),
      info('deliveries', account.planned),
      info('kills of daemons', killed(false)),
      info('kills of Redis', killed(true)),
      info('endpoints paused and resumed', operator.pauses),
      info('endpoints enabled again', operator.enabled),
      info('dead and skipped deliveries sent again', operator.sentAgain),
      info('deliveries asked for again', again.length),
      ...balanceFigures(samples),
      none('lost', account.lost),
      none('runs without an event of their end, or with a gap', account.untold),
      none('asked for again and not come again', account.notAgain),
      none('forged', account.forged),
      info('requests without an answer yet at the kills', openAtKills(stage)),
      info('requests begun and not written at the kills', account.cutOff),
      none('requests not written without a kill', account.unrecorded.length),
      {
        name: 'came twice without being asked for',
        value: account.repeats,
        unit: '',
        target: { atMost: account.cutOff },
      },
      none('came twice for no reason', account.unexplained),
      { name: 'to come to rest', value: rounded(restMs / 1_000), unit: 's' },
    ],
    details: {
      by_state: account.byState,
      events_of_system: account.ofSystem,
      twice_for_no_reason: account.unexplainedStories.map((story) => ({
        ...story,
        kills: story.requests.flatMap((request) => killsAround(request, kills, 10_000)),
      })),
      unbalanced: samples.unbalanced,
      missed: samples.missed,
      failed: samples.failed,
      unrecorded: account.unrecorded.map((request) => ({
        ...request,
        kills: killsAround(request, kills, 10_000),
      })),
    },
  };
}

function balanceFigures({ balanced, unbalanced, missed, failed }: BalanceSamples): Figure[] {
  const missedAt = (place: 'redis' | 'metrics') =>
    Object.entries(missed[place]).map(([why, count]) =>
      info(`samples of ${place} not to be had since ${why}`, count),
    );
  return [
    info('samples of Redis in which deliveries add up', balanced.redis),
    info('samples of metrics in which deliveries add up', balanced.metrics),
    ...missedAt('redis'),
    ...missedAt('metrics'),
    none('samples that failed for no reason', failed.length),
    none('samples in which deliveries do not add up', unbalanced.length),
  ];
}

/** The sum over all kills of the killed process's requests without an answer. */
function openAtKills({ receivers, kills }: SoakStage): number {
  const requests = receivers.all.flatMap((one) => [...one.requests.values()].flat());
  return kills.reduce(
    (sum, kill) => sum + requests.filter((request) => wasOpen(request, kill)).length,
    0,
  );
}

function info(name: string, value: number): Figure {
  return { name, value, unit: '' };
}

function none(name: string, value: number): Figure {
  return { name, value, unit: '', target: { atMost: 0 } };
}
