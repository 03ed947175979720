import { setTimeout as delay } from 'node:timers/promises';
import { startReceiver } from '../../src/simulator/receiver.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './daemon.ts';
import type { BenchContext } from './context.ts';
import { movedTo, scriptOf, type LivedRun } from './lived-runs.ts';
import { startRedis } from './redis.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

/** How long after a run's end its webhook may arrive before the bench is void, ms. */
const TOLD_WITHIN_MS = 60_000;

const LOOK_EVERY_MS = 50;

/** A run's end by Noxus's time, and its webhook's arrival; ms since the epoch. */
interface Told {
  finishedAt: number;
  arrivedAt: number;
}

/** Daemon, Redis, fake Noxus and a receiver. */
export interface LiveStage {
  noxus: Simulator;
  /** Waits for the webhook of a run's end. */
  told(runId: string): Promise<Told>;
  /**
   * Starts every run when it is due, has it watched, and follows each. @returns the runs as they
   * happened
   */
  live(runs: LivedRun[], follow: (run: LivedRun) => Promise<void>): Promise<LivedRun[]>;
}

export async function setUpLive(
  context: BenchContext,
  polling: { minIntervalMs: number; maxIntervalMs: number },
): Promise<LiveStage> {
  const redis = await startRedis(context);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const ends = new Map<string, Told>();
  const receiver = await startReceiver({
    secrets: [SECRET],
    keep: 1,
    onReceived({ receivedAt, body }) {
      const { data } = JSON.parse(body) as EndEvent;
      const told = { finishedAt: Date.parse(data.run.finished_at), arrivedAt: receivedAt };
      if (!ends.has(data.run_id)) ends.set(data.run_id, told);
    },
  });
  context.onEnd(() => receiver.close());
  const daemon = await startDaemon(context, {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: {
        default: sourceAt(noxus),
      },
      polling: {
        min_interval: `${polling.minIntervalMs}ms`,
        max_interval: `${polling.maxIntervalMs}ms`,
        lists: 'off',
      },
      endpoints: {
        hook: {
          type: 'webhook',
          url: receiver.url,
          secret: SECRET,
          events: ['run.completed', 'run.failed'],
        },
      },
      egress: { allow: ['127.0.0.1/32'] },
    },
  });
  return {
    noxus,
    told: (runId) => toldOf(ends, runId),
    live: (runs, follow) => liveAll({ noxus, daemon }, runs, follow),
  };
}

interface EndEvent {
  data: { run_id: string; run: { finished_at: string } };
}

async function toldOf(ends: Map<string, Told>, runId: string): Promise<Told> {
  const deadline = Date.now() + TOLD_WITHIN_MS;
  for (;;) {
    const told = ends.get(runId);
    if (told !== undefined) return told;
    if (Date.now() > deadline)
      throw new Error(`void: no webhook of the end of run ${runId} arrived`);
    await delay(LOOK_EVERY_MS);
  }
}

async function liveAll(
  { noxus, daemon }: { noxus: Simulator; daemon: BenchDaemon },
  runs: LivedRun[],
  follow: (run: LivedRun) => Promise<void>,
): Promise<LivedRun[]> {
  const startedAt = Date.now();
  return Promise.all(
    runs.map(async (run) => {
      await delay(startedAt + run.created * 1_000 - Date.now());
      const createdAt = Date.parse(noxus.add(scriptOf(run)).created_at);
      await daemon.register([run.id]);
      await follow(run);
      return movedTo(run, (createdAt - startedAt) / 1_000);
    }),
  );
}
