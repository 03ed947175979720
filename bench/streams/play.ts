import { setTimeout as delay } from 'node:timers/promises';
import { sum } from '../../src/core/arrays.ts';
import type { FaultInput } from '../../src/simulator/fault.ts';
import type { ScriptInput } from '../../src/simulator/script.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { configOf, sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import type { BenchContext } from '../support/context.ts';
import { startRedis } from '../support/redis.ts';

/** What streams do. */
export type Behaviour = 'all' | 'ends' | 'nothing' | 'lies' | 'breaks' | '404' | 'hangs';

export interface Cell {
  runs: number;
  /** How long each lasts. */
  lifeS: number;
  /** State events of a run each second. */
  eventsPerS: number;
  does: Behaviour;
  /** Without runs before it, from which streams are known. */
  isCold?: boolean;
  /** Requests each second that are allowed. */
  limit: number;
  /** Bytes of padding in each state event. */
  eventBytes?: number;
  /** How many workflows the runs belong to; all are registered at once where it is above one. */
  workflows?: number;
}

/** What a cell came to. Delays in seconds, from a run's end to its event. */
export interface Played {
  requestsPerRun: number;
  /** Of these, openings of streams and pages of lists. */
  openingsPerRun: number;
  pagesPerRun: number;
  /** Streams that were open at the end. */
  open: number;
  p50: number;
  p95: number;
  max: number;
  /** The longest time from registration to the first read, s. */
  firstRead: number;
  rssMb: number;
  /** What the process holds after a collection; null where it was not asked. */
  heldMb: number | null;
  /** Of one core. */
  cpuShare: number;
  /** Runs that ended in the time that was measured, and those of them that caused an event. */
  ended: number;
  told: number;
  /** The time that was measured, in parts. */
  spells: Spell[];
}

/** What came in a part of the time that was measured: delays of the runs that ended in it, s. */
export interface Spell {
  requests: number;
  delays: number[];
}

const MEBIBYTE = 1_048_576;

const STEP_MS = 250;
const MEASURED_MS = 20_000;
const SPELL_MS = 1_000;
/** Runs that end in the time that is measured, at least: of few, the requests of one count for much. */
const MEASURED_RUNS = 80;
const WARM_RUNS = 30;
const WARM_MS = 2_000;

/** Until as many streams may be open as there are runs, ms: from five, the number doubles every 5 s. */
const SETTLE_MS = { few: 15_000, some: 35_000, many: 50_000 };

/** After the last end, ms: until all events are there, up to so long. */
const LAST_MS = 30_000;

const SILENT: Partial<Record<Behaviour, string[]>> = {
  ends: ['queued', 'running', 'stopped', 'awaiting_human_feedback'],
  nothing: ['*'],
};

const FAULTS: Partial<Record<Behaviour, FaultInput>> = {
  lies: { kind: 'claim', status: 'completed', on: 'stream' },
  breaks: { kind: 'drop', after_ms: 2_000, on: 'stream' },
  '404': { kind: 'status', status: 404, on: 'stream' },
  hangs: { kind: 'silence', on: 'stream' },
};

/** The daemon on a fake Noxus of its own. */
export interface Stage {
  simulator: Simulator;
  daemon: BenchDaemon;
  /** The configuration of the daemon. */
  config: Record<string, unknown>;
}

export async function openStage(
  context: BenchContext,
  { limit, does }: Pick<Cell, 'limit' | 'does'>,
  { hints, isGrown = false }: { hints: 'auto' | 'off'; isGrown?: boolean },
): Promise<Stage> {
  const redis = await startRedis(context);
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const fault = FAULTS[does];
  if (fault !== undefined) simulator.fault(fault);
  const config = configOf(redis, sourceAt(simulator, limit), { hints });
  const options = { config, profileDir: null, isGrown, inspect: isGrown };
  const daemon = await startDaemon(context, options);
  return { simulator, daemon, config };
}

/** Plays a cell: as many runs as there are, of which each that ends is followed by a new one. */
export async function play(cell: Cell, { simulator, daemon }: Stage): Promise<Played> {
  const crowd = new Crowd(cell, simulator, daemon);
  if (cell.isCold !== true) await crowd.warmUp();
  await crowd.begin();
  if (!isOnce(cell)) await crowd.goOn(settleMs(cell));
  const [from, before, usage] = [Date.now(), countRequests(simulator), await daemon.usage()];
  await crowd.goOn(measuredMs(cell));
  const requests = countRequests(simulator);
  const { open } = simulator.streams;
  const after = await daemon.usage();
  const usedMs = Date.now() - from;
  const held = cell.eventBytes === undefined ? null : await daemon.inspect();
  const until = from + usedMs - (usedMs % SPELL_MS);
  const ended = crowd.endedIn(from, until);
  const delays = await crowd.delaysOf(ended);
  const delayOf = new Map(ended.map((id, at) => [id, delays[at] ?? Infinity]));
  const spells = Array.from({ length: (until - from) / SPELL_MS }, (_, at) => {
    const span = [from + at * SPELL_MS, from + (at + 1) * SPELL_MS] as const;
    return {
      requests: simulator.requests.requestsBetween(...span),
      delays: crowd.endedIn(...span).map((id) => delayOf.get(id) ?? Infinity),
    };
  });
  return {
    requestsPerRun: requestsPerRun(spells),
    openingsPerRun: (requests.opened - before.opened) / ended.length,
    pagesPerRun: (requests.lists - before.lists) / ended.length,
    open,
    p50: percentile(delays, 0.5),
    p95: percentile(delays, 0.95),
    max: Math.max(...delays),
    firstRead: crowd.longestFirstReadS(),
    rssMb: after.rssBytes / MEBIBYTE,
    heldMb: held && (held.heapBytes + held.nativeBytes) / MEBIBYTE,
    cpuShare: (after.cpuUs - usage.cpuUs) / 1_000 / usedMs,
    ended: ended.length,
    told: delays.filter((one) => one < Infinity).length,
    spells,
  };
}

/** Requests for each run that ended in these parts. */
export function requestsPerRun(spells: readonly Spell[]): number {
  const ended = sum(spells.map(({ delays }) => delays.length));
  return sum(spells.map(({ requests }) => requests)) / ended;
}

function countRequests({ requests: { total, lists }, streams: { opened } }: Simulator) {
  return { total, lists, opened };
}

/** Runs that are all registered at the beginning, and not followed by others. */
function isOnce({ workflows = 1, isCold = false }: Cell): boolean {
  return workflows > 1 || isCold;
}

/** At least until each run had a read and a stream, by the limit. */
function settleMs({ runs, limit }: Cell): number {
  const opened = 1_000 * 4 * (runs / limit);
  if (runs >= 1_000) return Math.max(SETTLE_MS.many, opened);
  return Math.max(runs < 100 ? SETTLE_MS.few : SETTLE_MS.some, opened);
}

function measuredMs(cell: Cell): number {
  const { runs, lifeS, eventBytes } = cell;
  if (isOnce(cell)) return 1_500 * lifeS;
  // Of runs that are there to be held, none needs to end.
  if (eventBytes !== undefined) return MEASURED_MS;
  return Math.max(MEASURED_MS, (1_000 * lifeS * MEASURED_RUNS) / runs);
}

class Crowd {
  /** When runs end, and when they were registered, ms since the epoch. */
  private readonly runs = new Map<string, { endsAt: number; registeredAt: number }>();
  private readonly random = seededRandom(1);

  constructor(
    private readonly cell: Cell,
    private readonly simulator: Simulator,
    private readonly daemon: BenchDaemon,
  ) {}

  async warmUp(): Promise<void> {
    await this.add(Array.from({ length: WARM_RUNS }, () => ({ lifeMs: WARM_MS, ageMs: 0 })));
    await delay(2 * WARM_MS);
    this.runs.clear();
  }

  /** In the middle of things: the runs are of every age. */
  async begin(): Promise<void> {
    const { runs, lifeS } = this.cell;
    const lives = Array.from({ length: runs }, () => {
      const lifeMs = this.lifeMs();
      return isOnce(this.cell)
        ? { lifeMs: 1_000 * lifeS * (0.8 + 0.4 * this.random()), ageMs: 0 }
        : { lifeMs, ageMs: lifeMs * this.random() };
    });
    await this.add(lives);
  }

  /** Runs that end are followed by others. */
  async goOn(ms: number): Promise<void> {
    const until = Date.now() + ms;
    let checkedAt = Date.now();
    while (Date.now() < until) {
      await delay(STEP_MS);
      const ended = this.endedIn(checkedAt, Date.now()).length;
      checkedAt = Date.now();
      if (isOnce(this.cell)) continue;
      await this.add(Array.from({ length: ended }, () => ({ lifeMs: this.lifeMs(), ageMs: 0 })));
    }
  }

  endedIn(from: number, until: number): string[] {
    return [...this.runs]
      .filter(([, { endsAt }]) => endsAt >= from && endsAt < until)
      .map(([id]) => id);
  }

  /** Seconds from end to event; Infinity for a run that has none after half a minute. */
  async delaysOf(runIds: readonly string[]): Promise<number[]> {
    const until = Date.now() + LAST_MS;
    for (;;) {
      const delays = await this.delaysSoFar(runIds);
      if (delays.every((one) => one < Infinity) || Date.now() > until) return delays;
      await delay(1_000);
    }
  }

  private async delaysSoFar(runIds: readonly string[]): Promise<number[]> {
    const seen = new Map<string, number>();
    for (const type of ['run.completed', 'run.failed', 'run.stopped']) {
      for (const { data } of await this.daemon.events(type)) {
        seen.set(data.run_id, (data.detection_delay_ms ?? Infinity) / 1_000);
      }
    }
    return runIds.map((id) => seen.get(id) ?? Infinity);
  }

  longestFirstReadS(): number {
    const times = [...this.runs].map(([id, { registeredAt }]) => {
      return (this.simulator.requests.run(id).times[0] ?? registeredAt) - registeredAt;
    });
    return Math.max(0, ...times) / 1_000;
  }

  private lifeMs(): number {
    return 1_000 * this.cell.lifeS * (0.7 + 0.6 * this.random());
  }

  private async add(lives: readonly { lifeMs: number; ageMs: number }[]): Promise<void> {
    if (lives.length === 0) return;
    const { does, eventsPerS, eventBytes = 0, workflows = 1 } = this.cell;
    const stream: ScriptInput['stream'] = {
      state_every_ms: Math.round(1_000 / eventsPerS),
      content_every_ms: 0,
      state_bytes: eventBytes,
      silent_on: SILENT[does] ?? [],
    };
    const ids = lives.map(({ lifeMs, ageMs }) => {
      const workflow = Math.floor(this.random() * workflows);
      const steps = [
        { after_ms: 0, status: 'running', progress: 0 },
        { after_ms: Math.round(lifeMs), status: this.end(), progress: 100 },
      ];
      const { id } = this.simulator.add({
        workflow_id: `0b9e6f74-25c1-4d0e-8a5b-${workflow.toString(16).padStart(12, '0')}`,
        age_ms: Math.round(ageMs),
        private_bytes: 0,
        steps,
        stream,
      });
      const now = Date.now();
      this.runs.set(id, { endsAt: now + lifeMs - ageMs, registeredAt: now });
      return id;
    });
    await this.daemon.register(ids);
  }

  private end(): string {
    const roll = this.random();
    if (this.cell.does === 'ends' && roll < 0.1) return 'stopped';
    return roll < 0.9 ? 'completed' : 'failed';
  }
}
