import pino from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { emptyStatistics, learn, type Statistics } from '../../src/core/cadence/hazard.ts';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import { isoTime, type EventType, type OwnEvent } from '../../src/core/event/event.ts';
import { loggedTypes } from '../../src/core/event/patterns.ts';
import { noLinks } from '../../src/core/run/links.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { backlogNotices } from '../../src/watches/backlog-notices.ts';
import { Endpoints } from '../../src/deliver/endpoints.ts';
import { SystemEvents } from '../../src/daemon/system-events.ts';
import { endWatch } from '../../src/watches/end.ts';
import { newMark, newWatch, NOON, observeContext, snapshot, webhookTo } from './builders.ts';
import { testProcess } from './daemon.ts';
import { openStores } from './stores.ts';

const hook = webhookTo('https://example.com/hook');
const config = configSchema.parse({
  data_dir: '/tmp',
  endpoints: {
    ops: { type: 'webhook', url: 'https://ops.example' },
    other: { type: 'log', when: { workflow_id: ['another'] } },
    ends: { type: 'log', events: ['run.failed', 'run.stalled'] },
  },
});
export const endpoints = new Endpoints(config);
const SUBSCRIPTIONS = [
  ...['ops', 'other', 'ends'].map((endpoint) => ({ kind: 'endpoint' as const, endpoint })),
  hook,
];

/** A daemon on a store: what it writes, and with which words. */
export function startBacklogDaemon(target: Parameters<typeof openStores>[0]) {
  const stores = openStores(target);
  const learned = new Map<string | null, Statistics>();
  const log = pino({ level: 'silent' });
  const process = testProcess({ config, stores, now: () => NOON, log });
  stores.watches.noticeBacklogs(backlogNotices(process, new SystemEvents(process)));
  /** Writes what becomes of a run, again where another daemon was first. */
  async function write(runId: string, changes: Partial<Watch>, types: EventType[]): Promise<void> {
    for (;;) {
      const before = await stores.watches.get({ source: 'default', runId });
      const watch = before?.watch ?? newWatch({ runId }, SUBSCRIPTIONS);
      const after = { ...watch, ...changes };
      const context = { before: watch, after, now: NOON, newMark, nodes: null, linksOf: noLinks };
      const events = types.map((type, at) =>
        buildEvent(context, { type }, watch.sequence + at + 1),
      );
      const { wants } = endpoints;
      const deliveries = planDeliveries(after, events, after.subscriptions, { wants, now: NOON });
      const change = { before, after: { ...after, sequence: watch.sequence + types.length } };
      if (await stores.watches.commit({ ...change, events, deliveries })) return;
    }
  }
  /** Polls a run at a time by the daemon's own rules, and learns from it. */
  async function poll(runId: string, at: number, said: Partial<RunSnapshot>): Promise<void> {
    const before = await stores.watches.get({ source: 'default', runId });
    if (before === null) throw new Error(`${runId} is not watched`);
    const { watch, events, samples } = observe(
      before.watch,
      { kind: 'run', run: snapshot({ id: runId, observed_at: isoTime(at), ...said }) },
      { ...observeContext(at), statistics: (_source, _workflow, state) => learned.get(state) },
    );
    for (const sample of samples) {
      learned.set(sample.state, learn(learned.get(sample.state) ?? emptyStatistics(), sample));
    }
    const { wants } = endpoints;
    const deliveries = planDeliveries(watch, events, watch.subscriptions, { wants, now: at });
    const due = await stores.watches.commit({ before, after: watch, events, deliveries });
    if (due === null) throw new Error(`another process has written ${runId}`);
  }
  return {
    stores,
    poll,
    register: (runId: string) => write(runId, {}, []),
    stall: (runId: string, workflow = 'letters') =>
      write(
        runId,
        {
          run: snapshot({ id: runId, workflow_id: workflow, status: 'queued' }),
          dwell: { since: NOON - 60_000, stalled: true },
        },
        ['run.stalled'],
      ),
    move: (runId: string, workflow = 'letters') =>
      write(
        runId,
        {
          run: snapshot({ id: runId, workflow_id: workflow }),
          dwell: { since: NOON, stalled: false },
        },
        ['run.recovered'],
      ),
    cancel: (runId: string) => endWatch(process, { source: 'default', runId }),
  };
}

export type BacklogDaemon = ReturnType<typeof startBacklogDaemon>;

/** Ids of runs. */
export const named = (count: number, workflow = 'run') =>
  Array.from({ length: count }, (_, at) => `${workflow}-${at}`);

/** How many deliveries of each type a receiver has got. */
export async function deliveredTo(
  { stores }: BacklogDaemon,
  endpoint: string,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let cursor: string | undefined;
  do {
    const page = await stores.deliveries.list({ endpoint }, { limit: 200, cursor });
    for (const { eventType } of page.items) counts[eventType] = (counts[eventType] ?? 0) + 1;
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  return counts;
}

/** The notices of backlogs so far, the oldest first. */
export async function notices({ stores }: BacklogDaemon): Promise<OwnEvent[]> {
  const type = loggedTypes(['workflow.*']);
  const page = await stores.events.list({ type }, { limit: 200, order: 'oldest' });
  return page.items.map(({ event }) => event as OwnEvent);
}
