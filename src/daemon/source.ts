import { randomUUID } from 'node:crypto';
import type { Config, SourceConfig } from '../config/schema.ts';
import { startPace, type RateLimit } from '../core/budget.ts';
import { createNoxusClient, type NoxusClient } from '../noxus/client.ts';
import { createSourceBudget, type SourceBudget } from '../poll/source-budget.ts';
import type { JobQueue, QueueWorker } from '../queue/job-queue.ts';
import type { Hints } from '../poll/hints.ts';
import type { BudgetStore } from '../redis/budget-store.ts';
import type { HintStore } from '../redis/hint-store.ts';
import type { SourceStore } from '../redis/source-store.ts';
import type { WatchStore } from '../redis/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { faultLog } from './faults.ts';
import { openHints } from './source-hints.ts';
import { startPeriodic, type Periodic } from './periodic.ts';
import type { QueueFactory } from './queues.ts';

/** How often a process looks how many watches a source has, ms. */
const COUNT_EVERY_MS = 2_000;

/** How often leases of streams are extended: several times before they lapse, ms. */
const TEND_EVERY_MS = 5_000;

/** How exactly other processes know when a source answered last, ms. */
const NOTE_EVERY_MS = 1_000;

/** How often a source is asked for its list at the most, only to learn whether it answers, ms. */
const ASK_EVERY_MS = 5_000;

/** Before all deadlines, which are times. */
const AT_ONCE = 1;

/** The poll jobs of a source, in the order of their deadlines. */
export type PollJobs = Pick<JobQueue, 'ensure' | 'hasten' | 'reschedule' | 'drop' | 'withoutJob'>;

/** One Noxus workspace: how it is asked, by which jobs, and within what budget. */
export interface Source {
  client: NoxusClient;
  budget: SourceBudget;
  jobs: PollJobs;
  /** Null where they are off. */
  hints: Hints | null;
  isRunning(): boolean;
  start(...work: Parameters<JobQueue['work']>): void;
  /** @param force does not wait for polls that run */
  stop(force: boolean): Promise<void>;
  /** Gives up reads that are under way. */
  giveUp(): void;
  /** Asks for the source's list, to learn whether it answers at all. */
  askList(): void;
  close(): Promise<void>;
}

export interface SourceDependencies {
  config: Config;
  watches: WatchStore;
  sources: SourceStore;
  budgets: BudgetStore;
  hints: HintStore;
  queueOf: QueueFactory;
  userAgent: string;
  metrics: Metrics;
  now: () => number;
  log: Logger;
}

export function openSource(deps: SourceDependencies, name: string, source: SourceConfig): Source {
  const queue = deps.queueOf(`poll-${name}`);
  const onError = faultLog(deps.log, 'budget', { source: name });
  const limit = { requests: source.rate_limit.requests, perMs: source.rate_limit.per };
  const budget = createSourceBudget({
    source: name,
    limit,
    store: deps.budgets,
    hold: (ms) => void queue.hold(ms).catch(onError),
    clock: () => performance.now(),
    newId: requestNames(),
    onError,
  });
  const client = createNoxusClient({
    baseUrl: source.base_url,
    apiKey: source.api_key,
    timeoutMs: source.timeout,
    maxSockets: deps.config.polling.concurrency,
    userAgent: deps.userAgent,
    now: deps.now,
    mayRetry: async () => (await budget.claim().catch(() => null)) !== null,
    onRequest: (request) => deps.metrics.request(name, request),
    onValid: answered(deps, name),
    onUnreadField: (field) => deps.log.warn({ source: name, field }, 'source.field_unread'),
  });
  const jobs = pollJobs(queue, budget, deps.now);
  const hints = openHints(deps, name, { source, budget, jobs });
  return {
    client,
    budget,
    jobs,
    hints,
    askList: listAsker(deps, name, { client, budget }),
    ...workerOn({ queue, client, budget, hints, limit, onError }),
  };
}

/** Jobs that somebody asks for without a deadline get that of a watch like most others. */
function pollJobs(queue: JobQueue, budget: SourceBudget, now: () => number): PollJobs {
  return {
    ensure(ids, deadlineOf) {
      budget.joined(ids.length);
      return queue.ensure(ids, deadlineOf ?? (() => now() + budget.load().roundMs));
    },
    hasten: (id, deadline = AT_ONCE) => queue.hasten(id, deadline),
    reschedule: (id, move) => queue.reschedule(id, move),
    drop: (id) => queue.drop(id),
    withoutJob: (ids) => queue.withoutJob(ids),
  };
}

interface WorkGround extends Pick<Source, 'client' | 'budget' | 'hints'> {
  queue: JobQueue;
  limit: RateLimit;
  onError: (error: unknown) => void;
}

function workerOn({ queue, client, budget, hints, limit, onError }: WorkGround) {
  const workers: QueueWorker[] = [];
  const chores: Periodic[] = [];
  return {
    isRunning: () => workers.some((worker) => worker.isRunning()),
    start(...[run, options]: Parameters<JobQueue['work']>) {
      workers.push(queue.work(run, { ...options, limiter: startPace(limit) }));
      const count = async () => budget.watched(await queue.count());
      chores.push(startPeriodic(count, { everyMs: COUNT_EVERY_MS, onError }));
      if (hints === null) return;
      chores.push(startPeriodic(() => hints.tend(), { everyMs: TEND_EVERY_MS, onError }));
    },
    async stop(force: boolean) {
      for (const chore of chores) await chore.stop();
      // Others go on with what this process streamed, or will when its leases lapse.
      if (!force) await hints?.stop();
      for (const worker of workers) await worker.close(force);
    },
    giveUp: () => client.close(),
    close: () => queue.close(),
  };
}

/** Notes for all processes that a source answers. */
function answered({ sources, now, log }: SourceDependencies, name: string): () => void {
  const onError = faultLog(log, 'source', { source: name });
  let notedAt = -Infinity;
  return () => {
    const at = now();
    if (at - notedAt < NOTE_EVERY_MS) return;
    notedAt = at;
    sources.answered(name, at).catch(onError);
  };
}

/** One at a time, and not again and again: it is one answer that is wanted. */
function listAsker(
  { sources, log, now }: SourceDependencies,
  name: string,
  { client, budget }: Pick<Source, 'client' | 'budget'>,
): () => void {
  const onError = faultLog(log, 'source', { source: name });
  let notBefore = 0;
  const ask = async () => {
    const permit = await budget.claim();
    if (permit === null) return;
    const { kind } = await client.readPage({ workflowId: null, page: 1, size: 1 });
    permit.settle();
    if (kind === 'page') await sources.answered(name, now());
  };
  return () => {
    if (now() < notBefore) return;
    notBefore = now() + ASK_EVERY_MS;
    ask().catch(onError);
  };
}

/** Short names that no other process gives. */
function requestNames(): () => string {
  const process = randomUUID().slice(0, 8);
  let requests = 0;
  return () => `${process}-${(requests += 1).toString(36)}`;
}
