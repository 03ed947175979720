import { setTimeout as delay } from 'node:timers/promises';
import { declaredAt, sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { median, rounded, spread, type BenchResult, type Figure } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { runIdAt, startNoxus } from './support/noxus.ts';
import { createRawLoop, type LoopResult } from './support/raw-loop.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';

/** After a switch of sides, connections open anew. */
const SETTLE_MS = 1_000;

interface PollOptions {
  /** Rounds of each side: the raw loop, the daemon, and a daemon with a source of type http. */
  rounds: number;
  seconds: number;
  /** Polled runs; enough that some are always due and the daemon is never idle. */
  watches: number;
  concurrency: number;
  profileDir: string | null;
}

interface PollRound extends LoopResult {
  redisCpuUs: number;
  aofBytes: number;
  commands: Record<string, number>;
}

/** What each side did, one after the other. */
interface Round {
  raw: LoopResult;
  ours: PollRound;
  /** By a source of type http. */
  declared: PollRound;
}

interface PollingSide {
  options: PollOptions;
  redis: BenchRedis;
  /** As in the file of configuration. */
  source: object;
  /** Of its keys in Redis. */
  prefix: string;
}

/**
 * How many polls one process makes, and what each costs. The built daemon polls runs that never
 * change, as fast as it can: a minimum interval of 10 ms and practically no rate limit. It is
 * compared with a loop of got alone, in alternating rounds, so that a busy machine affects both.
 * While one side runs, the other is idle or stopped. The fake Noxus and Redis are separate
 * processes. Target: at least 0.7 of the polls of the loop, by the median of the rounds' ratios.
 * The ratio of CPU times shows the same without the machine's other load. A poll without a change
 * takes at most 25 commands and 1,000 bytes of append-only file. Another daemon reads the same runs by
 * a source of type http: its polls cost at most 1.15 of those of the first.
 */
export async function benchPoll(options: PollOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, options.watches);
    const raw = createRawLoop({ noxus, runs: options.watches, concurrency: options.concurrency });
    context.onEnd(async () => raw.close());
    const { url, apiKey } = noxus;
    const polling = { options, redis };
    const source = sourceAt({ url, apiKey }, 100_000, '100ms');
    const daemon = await startPolling(context, { ...polling, source, prefix: 'noxus' });
    const declared = await startPolling(context, {
      ...polling,
      source: declaredAt({ url, apiKey }, 100_000, '100ms'),
      prefix: 'declared',
    });
    await raw.run(SETTLE_MS * 2);

    const rounds: Round[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      await raw.run(SETTLE_MS / 2);
      const loop = await raw.run(options.seconds * 1_000);
      const ours = await measureThawed(daemon, redis, options.seconds);
      rounds.push({
        raw: loop,
        ours,
        declared: await measureThawed(declared, redis, options.seconds),
      });
    }
    return resultOf(rounds, redis.version);
  });
}

/** Starts a daemon that polls, and freezes it. */
async function startPolling(
  context: BenchContext,
  { options, redis, source, prefix }: PollingSide,
): Promise<BenchDaemon> {
  const daemon = await startDaemon(context, {
    profileDir: options.profileDir,
    config: {
      redis: { url: `unix://${redis.socket}`, prefix },
      sources: { default: source },
      polling: {
        min_interval: '10ms',
        max_interval: '10ms',
        // Here each run needs its own polls.
        lists: 'off',
        concurrency: options.concurrency,
      },
    },
  });
  await daemon.register(Array.from({ length: options.watches }, (_, at) => runIdAt(at)));
  await delay(SETTLE_MS * 2);
  daemon.freeze();
  return daemon;
}

async function measureThawed(
  daemon: BenchDaemon,
  redis: BenchRedis,
  seconds: number,
): Promise<PollRound> {
  daemon.thaw();
  await delay(SETTLE_MS);
  const round = await measure(daemon, redis, seconds);
  daemon.freeze();
  return round;
}

async function measure(
  daemon: BenchDaemon,
  redis: BenchRedis,
  seconds: number,
): Promise<PollRound> {
  await redis.takeCommands();
  const before = await look(daemon, redis);
  await delay(seconds * 1_000);
  const after = await look(daemon, redis);
  return {
    requests: after.polls - before.polls,
    elapsedMs: after.at - before.at,
    cpuUs: after.cpuUs - before.cpuUs,
    redisCpuUs: after.redisCpuUs - before.redisCpuUs,
    aofBytes: after.aofBytes - before.aofBytes,
    commands: await redis.takeCommands(),
  };
}

async function look(daemon: BenchDaemon, redis: BenchRedis) {
  const { polls, cpuUs } = await daemon.usage();
  const at = performance.now();
  const { used_cpu_user: user = 0, used_cpu_sys: system = 0 } = await redis.info('cpu');
  const { aof_current_size: aofBytes = NaN } = await redis.info('persistence');
  return {
    polls,
    cpuUs,
    at,
    redisCpuUs: (user + system) * 1e6,
    aofBytes,
  };
}

function resultOf(rounds: Round[], redis: string): BenchResult {
  const ours = rounds.map((round) => round.ours);
  const raw = rounds.map((round) => round.raw);
  const perPoll = (value: (round: PollRound) => number) =>
    rounded(median(ours.map((round) => value(round) / round.requests)));
  const commands = totalOf(ours.map((round) => round.commands));
  const polls = ours.reduce((sum, round) => sum + round.requests, 0);
  const perPollOf = (name: string) => rounded((commands[name] ?? 0) / polls);
  return {
    figures: [
      { name: 'polls', value: rounded(median(ours.map(rate))), unit: '/s' },
      { name: 'requests of the raw loop', value: rounded(median(raw.map(rate))), unit: '/s' },
      {
        name: 'polls per raw request',
        value: rounded(median(rounds.map((round) => rate(round.ours) / rate(round.raw)))),
        unit: '',
        target: { atLeast: 0.7 },
      },
      { name: 'CPU of the daemon per poll', value: perPoll(({ cpuUs }) => cpuUs), unit: 'µs' },
      {
        name: 'CPU of the raw loop per request',
        value: rounded(median(raw.map(cpuEach))),
        unit: 'µs',
      },
      {
        name: 'CPU of a raw request per CPU of a poll',
        value: rounded(median(rounds.map((round) => cpuEach(round.raw) / cpuEach(round.ours)))),
        unit: '',
      },
      { name: 'Redis CPU per poll', value: perPoll(({ redisCpuUs }) => redisCpuUs), unit: 'µs' },
      {
        name: 'Redis commands per poll, those in scripts included',
        value: perPoll(commandsIn),
        unit: '',
        target: { atMost: 25 },
      },
      {
        name: 'append-only file per poll',
        value: perPoll(({ aofBytes }) => aofBytes),
        unit: 'bytes',
        target: { atMost: 1_000 },
      },
      { name: 'scripts per poll', value: perPollOf('evalsha'), unit: '' },
      ...declaredFigures(rounds),
      {
        name: 'share of a core that the daemon had',
        value: rounded(median(ours.map(share))),
        unit: '',
      },
      {
        name: 'share of a core that the raw loop had',
        value: rounded(median(raw.map(share))),
        unit: '',
      },
      { name: 'spread of the raw rounds', value: rounded(spread(raw.map(rate))), unit: '' },
    ],
    details: {
      redis,
      commands_per_poll: Object.fromEntries(
        Object.keys(commands).map((name) => [name, perPollOf(name)]),
      ),
      rounds: rounds.map((round) => ({
        raw: rate(round.raw),
        ours: rate(round.ours),
        declared: rate(round.declared),
      })),
    },
  };
}

/** What a poll by a source of type http costs, as a share of one by the source of Noxus. */
function declaredFigures(rounds: Round[]): Figure[] {
  const ratio = (name: string, costOf: (side: PollRound) => number): Figure => {
    const each = (side: PollRound) => costOf(side) / side.requests;
    return {
      name: `${name} of a poll by type http, as a share of one of Noxus`,
      value: rounded(median(rounds.map(({ ours, declared }) => each(declared) / each(ours)))),
      unit: '',
      target: { atMost: 1.15 },
    };
  };
  return [
    ratio('CPU', ({ cpuUs }) => cpuUs),
    ratio('Redis CPU', ({ redisCpuUs }) => redisCpuUs),
    ratio('commands', commandsIn),
    ratio('bytes written', ({ aofBytes }) => aofBytes),
  ];
}

function commandsIn({ commands }: PollRound): number {
  return Object.values(commands).reduce((sum, calls) => sum + calls, 0);
}

function rate({ requests, elapsedMs }: LoopResult): number {
  return (requests / elapsedMs) * 1_000;
}

function cpuEach({ requests, cpuUs }: LoopResult): number {
  return cpuUs / requests;
}

/** Near 1 where a side had a core for itself; less on a busy machine. */
function share({ cpuUs, elapsedMs }: LoopResult): number {
  return cpuUs / elapsedMs / 1_000;
}

function totalOf(counts: Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const [name, count] of counts.flatMap((one) => Object.entries(one))) {
    total[name] = (total[name] ?? 0) + count;
  }
  return total;
}
