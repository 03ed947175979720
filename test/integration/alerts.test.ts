import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Alerting } from '../../src/alert/alerting.ts';
import type { AlertEngine } from '../../src/alert/engine.ts';
import { OPEN_STATES } from '../../src/core/alert/alert.ts';
import { entriesOf, RuleBook } from '../../src/core/alert/entry.ts';
import { MOST_GROUPS, shareOfGroups } from '../../src/core/alert/judgement.ts';
import type { InhibitRule, Rule } from '../../src/core/alert/rule.ts';
import type { EventType } from '../../src/core/event/event.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { endWatch } from '../../src/watches/end.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import type { Poller } from '../../src/source/poller.ts';
import type { AlertStore } from '../../src/redis/stores/alert-store.ts';
import type { SilenceStore } from '../../src/redis/stores/silence-store.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';
import { aRule } from '../support/fake-alerts.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;

const rules = {
  book: new RuleBook([]),
  inhibitRules: [] as InhibitRule[],
  sources: ['default'],
  usual: (): number | null => null,
};
const stores = openStores(undefined, {
  isClockManual: true,
  entriesOf: (change) => entriesOf(rules.book, change, () => null),
});
const { redis, keys, alerts, silences, watches, deliveries } = stores;
afterAll(() => stores.close());

let now = NOON;
let runs = 0;
let judges = 0;

async function setClock(at: number): Promise<void> {
  now = at;
  await redis.set(keys.clock, now);
}

beforeEach(async () => {
  const all = await stores.keysLeft();
  if (all.length > 0) await redis.del(...all);
  await setClock(NOON);
  rules.sources = ['default'];
  use(aRule());
});

function use(...all: Rule[]): void {
  rules.inhibitRules = [];
  rules.book = new RuleBook(all);
}

/** What a test changes of a process: its store, its clock, what it knows of its sources and of others. */
interface Changes {
  alerts?: AlertStore;
  silences?: SilenceStore;
  watches?: typeof stores.watches;
  now?: () => number;
  measureClock?: () => Promise<void>;
  onOverflow?: (rule: string, events: number) => void;
  inDoubt?: Poller['inDoubt'];
  readSoon?: Poller['readSoon'];
  isMixed?: Alerting['isMixed'];
}

/** A group that is due again at once is a defect, which fails the test. */
const log = pino({
  hooks: {
    logMethod([fields, message]) {
      if (message === 'alerts.due_again') throw new Error(JSON.stringify(fields));
    },
  },
});

/** Alerts as another process judges them. */
function alertingOf(changes: Changes = {}): Alerting {
  const token = `judge-${(judges += 1)}.1`;
  const process = testProcess({
    stores: {
      ...stores,
      alerts: changes.alerts ?? alerts,
      silences: changes.silences ?? silences,
      watches: changes.watches ?? watches,
    },
    endpoints: Object.assign(endpointsOf({}), {
      wantingAlertEvent: (_type: string, named: readonly string[]) => [...named],
    }),
    newToken: () => token,
    now: changes.now ?? (() => now),
    clock: { measure: changes.measureClock ?? (async () => undefined) },
    metrics: { alertOverflow: changes.onOverflow ?? (() => undefined) },
    log,
  });
  const { inDoubt = async () => new Set<string>(), readSoon = async () => undefined } = changes;
  const alerting = new Alerting(process, { inDoubt, readSoon }, { configurations: async () => [] });
  const { isMixed } = changes;
  return Object.assign(alerting, { rules, ...(isMixed && { isMixed }) });
}

/** The engine of another process. */
async function engine(changes: Changes = {}): Promise<AlertEngine> {
  const opened = alertingOf(changes).engine;
  await opened.learn();
  return opened;
}

/** A store whose commits a test replaces. */
function committing(commit: AlertStore['commit']): AlertStore {
  return Object.assign(Object.create(alerts) as AlertStore, { commit });
}

/** Ends a new run of a workflow. */
async function end(
  type: EventType,
  workflowId = 'wf-1',
  runId = `run-${(runs += 1)}`,
  source = 'default',
) {
  const run = snapshot({ id: runId, workflow_id: workflowId, status: type.slice('run.'.length) });
  const before = newWatch({ runId, source });
  const after = { ...before, run, state: 'finished' as const, endedAt: now };
  const change = { before, after, now, newMark, nodes: null, linksOf: noLinks };
  const event = buildEvent(change, { type }, 1);
  await watches.commit({ before: null, after, events: [event], deliveries: [] });
}

/** Lets time pass, with a process that judges what becomes due. */
async function wait(ms: number, own?: AlertEngine, passMs = Infinity): Promise<void> {
  const judging = own ?? (await engine());
  const until = now + ms;
  for (;;) {
    const nextMs = Math.min((await judging.judge()) ?? Infinity, passMs);
    if (now + nextMs > until) break;
    await setClock(now + Math.max(1, nextMs));
  }
  await setClock(until);
  await judging.judge();
}

/** The same with the passes that a process makes: only in these does it see its sources. */
async function live(ms: number, own?: AlertEngine): Promise<void> {
  return wait(ms, own, 10 * SECOND);
}

/** The types of the events that were planned for an endpoint, in order. */
async function told(endpoint = 'chat'): Promise<string[]> {
  const { items } = await deliveries.list({ endpoint }, { limit: 200 });
  return items.map(({ eventType }) => eventType).toReversed();
}

async function expectSum(): Promise<void> {
  const { observed, lost, ...others } = await alerts.counts();
  expect(lost).toBeUndefined();
  expect(Object.values(others).reduce((sum, n) => sum + n, 0)).toBe(observed);
}

describe('alerts in Redis', () => {
  test('an alert fires after group_wait, is listed, and resolves by a success', async () => {
    for (let run = 0; run < 3; run += 1) await end('run.failed');
    await wait(MINUTE);
    const [alert] = (await alerts.list({ limit: 10 })).items;
    expect(alert).toMatchObject({ state: 'firing', count: 3, rule: 'failed-runs' });
    await end('run.completed');
    await wait(SECOND);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    expect(await alerts.get(alert?.id ?? '')).toMatchObject({ state: 'resolved', count: 3 });
    expect((await alerts.list({ state: ['firing'], limit: 10 })).items).toEqual([]);
    await expectSum();
  });

  test('a process that stops leaves the rest of a long inbox to the next one', async () => {
    await Promise.all(Array.from({ length: 501 }, () => end('run.failed')));
    const stopping: AlertEngine = await engine({
      alerts: committing((commit) => {
        stopping.stop();
        return alerts.commit(commit);
      }),
    });
    expect(await stopping.judge()).toBeNull();
    expect(await redis.llen(keys.alertInbox)).toBe(1);
    await wait(MINUTE);
    const [alert] = (await alerts.list({ limit: 10 })).items;
    expect(alert).toMatchObject({ state: 'firing', count: 501 });
    await expectSum();
  });

  test('a process that stops while it claims leaves what it claimed to the next one', async () => {
    await end('run.failed');
    const claiming = Object.assign(Object.create(alerts) as AlertStore, {
      async take(...given: Parameters<AlertStore['take']>) {
        const work = await alerts.take(...given);
        stopping.engine.stop();
        return work;
      },
    });
    const stopping: Alerting = alertingOf({ alerts: claiming });
    expect(await stopping.engine.judge()).toBeNull();
    expect(await redis.llen(keys.alertInbox)).toBe(1);
    await stopping.stop({ force: false });
    await wait(MINUTE);
    expect(await told()).toEqual(['alert.firing']);
    await expectSum();
  });

  test('alerts are counted by state, of a rule and of sources where these are asked for', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const none = { pending: 0, firing: 0, acknowledged: 0, resolved: 0 };
    const firing = { ...none, firing: 1 };
    expect(await alerts.countByState({})).toEqual(firing);
    expect(await alerts.countByState({ sources: ['default', 'other'] })).toEqual(firing);
    expect(await alerts.countByState({ sources: ['other'] })).toEqual(none);
    expect(await alerts.countByState({ rule: 'other' })).toEqual(none);
    await end('run.completed');
    await wait(SECOND);
    expect(await alerts.countByState({ rule: 'failed-runs' })).toEqual({ ...none, resolved: 1 });
  });

  test('an event of an alert has the alert, and its deliveries are in the order of the alert', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const [delivery] = (await deliveries.list({ endpoint: 'chat' }, { limit: 1 })).items;
    const event = JSON.parse((await stores.events.body(delivery?.eventId ?? '')) ?? '{}');
    expect(event).toMatchObject({
      type: 'alert.firing',
      data: {
        alert: {
          rule: 'failed-runs',
          labels: { source: 'default', workflow_id: 'wf-1' },
          count: 1,
          runs: [{ status: 'failed', workflow_id: 'wf-1' }],
        },
        repeat: false,
      },
    });
    expect(delivery).toMatchObject({ alertId: event.data.alert.id, runId: '' });
    const [alert] = (await alerts.list({ limit: 1 })).items;
    expect(alert?.notified).toEqual([{ endpoint: 'chat', at: NOON + 30_000, eventId: event.id }]);
  });

  test('processes that die at any commit of a batch lose and double nothing', async () => {
    let commits = 0;
    /** Every third process dies before a commit, every third after it. */
    const deadly = () => {
      const commit: AlertStore['commit'] = async (one) => {
        commits += 1;
        if (commits % 3 === 0) throw new Error('killed before the commit');
        const pools = await alerts.commit(one);
        if (commits % 3 === 1) throw new Error('killed after the commit');
        return pools;
      };
      return engine({ alerts: committing(commit) });
    };
    for (let round = 0; round < 60; round += 1) {
      for (let run = 0; run < 5; run += 1) await end('run.failed', `wf-${run % 2}`);
      await setClock(now + 6 * SECOND);
      const mortal = await deadly();
      await mortal.judge().catch(() => undefined);
    }
    await wait(20 * MINUTE);
    for (const workflow of ['wf-0', 'wf-1']) await end('run.completed', workflow);
    await wait(MINUTE);
    const { items } = await alerts.list({ limit: 10 });
    const byWorkflow = items.toSorted((a, b) => a.count - b.count);
    expect(byWorkflow).toMatchObject([
      { count: 120, state: 'resolved' },
      { count: 180, state: 'resolved' },
    ]);
    const kinds = await told();
    expect(kinds.filter((type) => type === 'alert.firing')).toHaveLength(2);
    expect(kinds.filter((type) => type === 'alert.resolved')).toHaveLength(2);
    expect(await alerts.counts()).toMatchObject({ observed: 300, waiting: 0 });
    await expectSum();
  });

  test('two processes that judge at once write each alert once', async () => {
    for (let run = 0; run < 20; run += 1) await end('run.failed');
    await setClock(now + MINUTE);
    const both = [await engine(), await engine()];
    await Promise.all(both.map((one) => one.judge()));
    await setClock(now + MINUTE);
    await Promise.all(both.map((one) => one.judge()));
    await wait(MINUTE);
    expect(await told()).toEqual(['alert.firing']);
    expect((await alerts.list({ limit: 10 })).items).toMatchObject([{ count: 20 }]);
  });

  test('a claim of a dead process is free once its lease ends, or when it is found dead', async () => {
    await end('run.failed');
    const options = { leaseMs: 5_000, entries: 10, groups: 10, seen: [] };
    expect((await alerts.take('dead.1', options)).claimed).not.toBeNull();
    expect((await alerts.take('other.1', options)).claimed).toBeNull();
    await alerts.lease.endOf('dead');
    expect((await alerts.take('other.1', options)).claimed).not.toBeNull();
    await setClock(now + 6_000);
    expect((await alerts.take('third.1', options)).claimed).not.toBeNull();
  });

  test('a step forward of the clock is taken out before due times are written', async () => {
    await end('run.failed');
    const rightTime = now;
    await redis.set(keys.clock, now + 5 * MINUTE);
    const measureClock = async () => setClock(rightTime);
    await (await engine({ measureClock })).judge();
    const [, dueAt] = await redis.zrange(keys.alertsDue, '0', '0', 'WITHSCORES');
    expect(Number(dueAt)).toBe(rightTime + 30 * SECOND);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    expect(alert).toMatchObject({ state: 'pending', startedAt: rightTime });
  });

  test('a process with a slow clock judges once it has measured', async () => {
    await end('run.failed');
    await wait(MINUTE, await engine({ now: () => now - 5 * MINUTE }));
    expect(await told()).toEqual(['alert.firing']);
  });

  test('an acknowledged alert is listed as such, and its deliveries say so', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    const own = await engine();
    const by = { by: 'ana', comment: null, until: null };
    expect(await own.acknowledge(alert?.id ?? '', by)).toMatchObject({ state: 'acknowledged' });
    expect(await own.acknowledge('alr_0123456789abcdef0123_0123456789', by)).toBe('not_found');
    await wait(12 * HOUR);
    expect(await told()).toEqual(['alert.firing', 'alert.acknowledged']);
    await end('run.completed');
    await wait(SECOND);
    expect(await own.acknowledge(alert?.id ?? '', by)).toBe('over');
    expect(await told()).toEqual(['alert.firing', 'alert.acknowledged', 'alert.resolved']);
  });

  test('an acknowledgement whose process dies at its commit takes effect once when it is repeated', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    const by = { by: 'ana', comment: null, until: null };
    for (const dies of ['before', 'after']) {
      const commit: AlertStore['commit'] = async (one) => {
        if (dies === 'after') await alerts.commit(one);
        throw new Error(`killed ${dies} the commit`);
      };
      const mortal = await engine({ alerts: committing(commit) });
      await expect(mortal.acknowledge(alert?.id ?? '', by)).rejects.toThrow(dies);
    }
    const again = await engine();
    expect(await again.acknowledge(alert?.id ?? '', by)).toMatchObject({ state: 'acknowledged' });
    expect(await told()).toEqual(['alert.firing', 'alert.acknowledged']);
  });

  test('alerts are listed by state and rule, in pages', async () => {
    use(aRule(), aRule({ name: 'other', events: ['run.stopped'] }));
    for (let workflow = 0; workflow < 5; workflow += 1) {
      await end('run.failed', `wf-${workflow}`);
      await end('run.stopped', `wf-${workflow}`);
      await setClock(now + SECOND);
    }
    await wait(MINUTE);
    const first = await alerts.list({ rule: 'other', limit: 3 });
    const cursor = first.nextCursor ?? undefined;
    const second = await alerts.list({ rule: 'other', limit: 3, cursor });
    const found = [...first.items, ...second.items].map(({ labels }) => labels['workflow_id']);
    expect(found).toEqual(['wf-4', 'wf-3', 'wf-2', 'wf-1', 'wf-0']);
    expect(second.nextCursor).toBeNull();
    expect(await alerts.countByRule(['other'])).toContainEqual({
      rule: 'other',
      state: 'firing',
      count: 5,
    });
  });

  test('pages of the alerts of a source are as full as if it were alone, and so are their cursors', async () => {
    for (let workflow = 0; workflow < 5; workflow += 1) {
      await end('run.failed', `wf-${workflow}`);
      for (const other of ['other', 'third']) {
        await end('run.failed', `wf-${workflow}`, `run-${other}-${workflow}`, other);
      }
      await setClock(now + SECOND);
    }
    await wait(MINUTE);
    const ofSource = { sources: ['default'], limit: 3 };
    const first = await alerts.list(ofSource);
    const cursor = first.nextCursor ?? undefined;
    const cursorText = Buffer.from(cursor ?? '', 'base64url').toString();
    expect(cursorText).toContain(first.items.at(-1)?.id);
    const second = await alerts.list({ ...ofSource, cursor });
    const found = [...first.items, ...second.items].map(({ labels }) => labels);
    expect(found).toEqual(
      [4, 3, 2, 1, 0].map((at) => ({ source: 'default', workflow_id: `wf-${at}` })),
    );
    expect(second.nextCursor).toBeNull();
    const ofTwo = await alerts.list({
      sources: ['other', 'third'],
      rule: 'failed-runs',
      limit: 20,
    });
    expect(ofTwo.items).toHaveLength(10);
    expect((await alerts.list({ ...ofSource, rule: 'other' })).items).toEqual([]);
  });

  test('the groups of a rule are bounded, and events of further ones are counted together', async () => {
    use(aRule({ groupBy: ['...'], groupWaitMs: 0 }));
    const key = (at: number) => `group-${at}`;
    const there = Array.from({ length: MOST_GROUPS - 1 }, (_, at) => ['inf', key(at)]);
    await redis.zadd(keys.alertGroups('failed-runs'), ...there.flat());
    const overflowed: [string, number][] = [];
    const onOverflow = (rule: string, events: number) => void overflowed.push([rule, events]);
    for (let run = 0; run < 3; run += 1) await end('run.failed');
    await wait(MINUTE, await engine({ onOverflow }));
    const { items } = await alerts.list({ limit: 10 });
    const byCount = items.toSorted((a, b) => a.count - b.count);
    expect(byCount).toMatchObject([{ count: 1 }, { count: 2, labels: { overflow: 'true' } }]);
    expect(overflowed).toEqual([['failed-runs', 2]]);
    await expectSum();
    await wait(2 * HOUR);
    expect((await alerts.list({ state: ['firing'], limit: 10 })).items).toHaveLength(1);
  });

  test('groups that another source fills leave a source alerts of its own', async () => {
    use(aRule({ groupBy: ['metadata.team', 'workflow_id'], groupWaitMs: 0 }));
    rules.sources = ['default', 'other'];
    const share = shareOfGroups(rules.sources.length);
    const there = Array.from({ length: share }, (_, at) => ['inf', `group-${at}`]);
    for (const owner of ['failed-runs', 'failed-runs other']) {
      await redis.zadd(keys.alertGroups(owner), ...there.flat());
    }
    await end('run.failed', 'wf-other', 'run-other', 'other');
    await end('run.failed', 'wf-1');
    await wait(MINUTE);
    const { items } = await alerts.list({ limit: 10 });
    const labels = items.map((alert) => alert.labels);
    expect(labels).toContainEqual({ overflow: 'true', source: 'other' });
    expect(labels).toContainEqual({ 'metadata.team': '', workflow_id: 'wf-1' });
    const owners = ['failed-runs', 'failed-runs default', 'failed-runs other'];
    const counts = await alerts.groupCounts(owners);
    expect([...counts.values()]).toEqual([share + 2, 1, share + 1]);
  });

  /** Gives a rule as many groups as it may have. */
  async function fillGroups(): Promise<void> {
    const there = Array.from({ length: MOST_GROUPS }, (_, at) => ['inf', `group-${at}`]);
    await redis.zadd(keys.alertGroups('failed-runs'), ...there.flat());
  }

  /** An engine that stops where it would judge the same for ever. */
  async function impatient(): Promise<AlertEngine> {
    let conflicts = 0;
    const commit: AlertStore['commit'] = async (step) => {
      const pools = await alerts.commit(step);
      if (pools === null && (conflicts += 1) >= 5) throw new Error('the same is judged for ever');
      return pools;
    };
    return engine({ alerts: committing(commit) });
  }

  async function openLabels() {
    const { items } = await alerts.list({ state: OPEN_STATES, limit: 10 });
    return items.map(({ labels, count }) => Object.assign({ count }, labels));
  }

  test('an alert that ends and begins again at once keeps its place among those of its rule', async () => {
    use(aRule({ groupWaitMs: 0 }));
    rules.sources = ['default', 'other'];
    const fail = (workflow: string, source: string) =>
      end('run.failed', workflow, undefined, source);
    const judging = await impatient();
    await fail('wf-2', 'other');
    await wait(SECOND, judging);
    await fillGroups();
    await fail('wf-3', 'other');
    await wait(SECOND, judging);
    await end('run.completed', 'wf-2', undefined, 'other');
    await fail('wf-2', 'other');
    await fail('wf-new', 'default');
    await wait(SECOND, judging);
    const open = await openLabels();
    expect(open).toHaveLength(3);
    expect(open).toContainEqual({ source: 'other', workflow_id: 'wf-2', count: 1 });
    expect(open).toContainEqual({ source: 'other', overflow: 'true', count: 1 });
    expect(open).toContainEqual({ source: 'default', overflow: 'true', count: 1 });
    await expectSum();
  });

  test('events of several sources that would share one more group are counted by their sources', async () => {
    use(aRule({ groupBy: ['workflow_id'], groupWaitMs: 0 }));
    rules.sources = ['default', 'other'];
    await fillGroups();
    const judging = await impatient();
    for (const workflow of ['wf-1', 'wf-2']) {
      for (const source of rules.sources) await end('run.failed', workflow, undefined, source);
      await wait(SECOND, judging);
    }
    const open = await openLabels();
    expect(open).toHaveLength(2);
    expect(open).toContainEqual({ source: 'default', overflow: 'true', count: 2 });
    expect(open).toContainEqual({ source: 'other', overflow: 'true', count: 2 });
    await expectSum();
  });

  test('groups that are gone make way for others', async () => {
    await end('run.failed');
    await wait(MINUTE);
    expect(await alerts.groupCounts(['failed-runs'])).toEqual(new Map([['failed-runs', 1]]));
    await end('run.completed');
    await wait(2 * HOUR);
    await setClock(now + 31 * 24 * HOUR);
    await end('run.failed', 'wf-2');
    await wait(MINUTE);
    expect(await alerts.groupCounts(['failed-runs'])).toEqual(new Map([['failed-runs', 1]]));
  });

  test('a process that has lost the claim of the work writes nothing', async () => {
    await end('run.failed');
    await setClock(now + MINUTE);
    const commit: AlertStore['commit'] = async (one) => {
      await setClock(now + 6 * SECOND);
      await alerts.take('other.1', { leaseMs: 5_000, entries: 10, groups: 10, seen: [] });
      return alerts.commit(one);
    };
    await (await engine({ alerts: committing(commit) })).judge();
    expect((await alerts.list({ limit: 10 })).items).toEqual([]);
    expect(await redis.llen(keys.alertInbox)).toBe(1);
    await setClock(now + 6 * SECOND);
    await wait(MINUTE);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('a cursor of a store that was replaced since is stale, and a wrong one invalid', async () => {
    for (const workflow of ['wf-1', 'wf-2']) await end('run.failed', workflow);
    await wait(MINUTE);
    await redis.set(keys.epochs, 'epoch001');
    const { nextCursor: cursor } = await alerts.list({ limit: 1 });
    if (cursor === null) throw new Error('there is one page only');
    expect((await alerts.list({ limit: 1, cursor })).items).toHaveLength(1);
    await redis.set(keys.epochs, 'epoch002 epoch001');
    const code = 'stale_cursor';
    await expect(alerts.list({ limit: 1, cursor })).rejects.toMatchObject({ code });
    await expect(alerts.list({ limit: 1, cursor: 'x' })).rejects.toMatchObject({
      code: 'invalid_cursor',
    });
  });

  test('nothing is kept of a rule that is gone, whatever state its alerts were in', async () => {
    const rule = aRule({ when: { workflow_id: ['wf-1'] } });
    const absent = { kind: 'absent' as const, event: 'run.completed', withinMs: 40 * 24 * HOUR };
    use(rule, { ...rule, name: 'missing', condition: absent });
    await (await engine()).apply();
    await end('run.failed');
    await wait(MINUTE);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    const by = { by: 'ana', comment: null, until: null };
    await (await engine()).acknowledge(alert?.id ?? '', by);
    use();
    await (await engine()).apply();
    await wait(11 * MINUTE);
    expect(await alerts.get(alert?.id ?? '')).toMatchObject({ state: 'resolved' });
    await wait(41 * 24 * HOUR);
    await alerts.forget({ before: now, keep: 0 });
    const left = (await stores.keysLeft()).map((key) => key.slice(key.indexOf('}:') + 2));
    expect(left.filter((key) => /^alert(s|-groups?|s-due|:|$)/.test(key))).toEqual([]);
    expect(await told()).toEqual(['alert.firing', 'alert.acknowledged', 'alert.resolved']);
  });

  test('a rule that is missing for a moment holds its alert back for a minute at most', async () => {
    await end('run.failed');
    await wait(SECOND);
    expect(await told()).toEqual([]);
    use();
    await (await engine()).apply();
    await wait(10 * SECOND);
    use(aRule());
    await wait(MINUTE);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('an alert of a source that is gone is notified once and then ends by itself', async () => {
    await end('run.failed');
    rules.sources = ['other'];
    await (await engine()).apply();
    await wait(12 * HOUR);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    expect((await alerts.list({ limit: 1 })).items).toMatchObject([
      { state: 'resolved', reason: 'rule_changed' },
    ]);
  });

  test('a group that waits for an event is kept however long that is', async () => {
    const within = 40 * 24 * HOUR;
    const condition = { kind: 'absent' as const, event: 'run.completed', withinMs: within };
    use(aRule({ condition, when: { workflow_id: ['wf-1'] }, groupWaitMs: 0 }));
    await (await engine()).apply();
    const [group = ''] = await redis.zrange(keys.alertsDue, '0', '0');
    expect(await redis.pttl(keys.alertGroup(group))).toBe(-1);
  });

  test('resolved alerts are forgotten by age and by number', async () => {
    for (let workflow = 0; workflow < 4; workflow += 1) {
      await end('run.failed', `wf-${workflow}`);
      await wait(MINUTE);
      await end('run.completed', `wf-${workflow}`);
      await wait(SECOND);
    }
    expect(await alerts.forget({ before: 0, keep: 3 })).toBe(1);
    expect((await alerts.list({ limit: 10 })).items).toHaveLength(3);
    expect(await alerts.forget({ before: now + 1, keep: 3 })).toBe(3);
    expect((await alerts.list({ limit: 10 })).items).toEqual([]);
    expect((await alerts.list({ sources: ['default'], limit: 10 })).items).toEqual([]);
    expect(await redis.exists(keys.alerts('resolved', { source: 'default' }))).toBe(0);
    expect(await alerts.countByRule(['failed-runs'])).toContainEqual(
      expect.objectContaining({ state: 'resolved', count: 0 }),
    );
  });

  test('a rule that is configured no more ends its alerts, and notifies each endpoint that knew', async () => {
    await end('run.failed');
    await wait(MINUTE);
    use();
    await (await engine()).apply();
    await wait(50 * SECOND);
    expect(await told()).toEqual(['alert.firing']);
    await wait(MINUTE);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    expect((await alerts.list({ limit: 1 })).items).toMatchObject([
      { state: 'resolved', reason: 'rule_changed' },
    ]);
  });

  test('while another process has the rule, its alerts wait ten minutes for it', async () => {
    await end('run.failed');
    await wait(MINUTE);
    use();
    const isMixed = async () => true;
    await (await engine()).apply();
    await wait(9 * MINUTE, await engine({ isMixed }));
    expect(await told()).toEqual(['alert.firing']);
    await wait(2 * MINUTE, await engine({ isMixed }));
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
  });
});

/** What users do with silences. */
function openSilences(store = silences) {
  const all = alertingOf({ silences: store }).silences;
  return {
    list: () => all.list(),
    expire: (id: string) => all.expire(id),
    preview: (matchers: Parameters<typeof all.preview>[0]) => all.preview(matchers),
    async add(request: Parameters<typeof all.add>[0]) {
      const added = await all.add(request);
      if (typeof added === 'string') throw new Error(added);
      return added;
    },
  };
}

/** Reads runs that go on, as often as they are asked for. */
function reads(asked: string[] = []): Poller['readSoon'] {
  return async (source, runIds) => {
    asked.push(...runIds);
    for (const runId of runIds) {
      const before = await watches.get({ source, runId });
      if (before === null) continue;
      const after = { ...before.watch, runAskedAt: now };
      await watches.commit({ before, after, events: [], deliveries: [] });
    }
  };
}

describe('silences, absence and deadlines in Redis', () => {
  test('a silence with a key is created once, suppresses and expires', async () => {
    const all = openSilences();
    const request = {
      matchers: { workflowId: ['wf-1'] },
      startsAt: now,
      until: now + HOUR,
      by: 'ana',
      comment: 'upgrade',
      key: 'upgrade-1',
    };
    const first = await all.add(request);
    expect(first).toMatchObject({ isNew: true });
    expect(await all.add({ ...request, comment: 'again' })).toMatchObject({
      isNew: false,
      silence: { id: first?.silence.id, comment: 'upgrade' },
    });
    await end('run.failed');
    await wait(10 * MINUTE);
    expect(await told()).toEqual([]);
    expect((await all.preview({ rule: ['failed-runs'] })).alerts).toHaveLength(1);
    expect(await all.expire(first?.silence.id ?? '')).toBe(true);
    expect(await all.expire('sil_unknown')).toBe(false);
    await wait(2 * MINUTE);
    expect(await told()).toEqual(['alert.firing']);
    await silences.forget(now + 1);
    expect(await all.list()).toEqual([]);
  });

  test('a silence with a key is another one for tokens that are limited to other sources', async () => {
    const all = openSilences();
    const until = now + HOUR;
    const request = { matchers: {}, startsAt: now, until, by: 'ana', comment: 'x', key: 'shared' };
    const add = async (sources?: string[]) => {
      const added = await all.add({ ...request, sources });
      return [added?.silence.id, added?.isNew];
    };
    const [id] = await add(['a', 'b']);
    expect(await add(['b', 'a'])).toEqual([id, false]);
    const others = [await add(), await add(['a']), await add(['b'])];
    expect(others.map(([, isNew]) => isNew)).toEqual([true, true, true]);
    expect(new Set([id, ...others.map(([one]) => one)]).size).toBe(4);
    expect(await all.list()).toHaveLength(4);
  });

  test('silences count until they expire, a quarter of them for one token', async () => {
    const all = openSilences();
    const request = { matchers: {}, startsAt: now, by: 'ana', comment: 'x', key: null };
    const add = (token: string, ms = HOUR) => all.add({ ...request, token, until: now + ms });
    const fill = async (token: string) => {
      await Promise.all(Array.from({ length: 250 }, () => add(token)));
    };
    await fill('tenant');
    await expect(add('tenant')).rejects.toThrow('share');
    const { silence } = await add('ops');
    expect(await all.expire(silence.id)).toBe(true);
    await fill('two');
    await fill('three');
    await fill('four');
    await expect(add('ops')).rejects.toThrow('full');
    now += 2 * HOUR;
    await fill('tenant');
    await expect(add('tenant')).rejects.toThrow('share');
    for (const name of ['two', 'three', 'four']) await fill(name);
    expect(await all.list()).toHaveLength(2_000);
    await silences.forget(Infinity);
  });

  test('a silence whose process dies at its commit is one silence when it is asked for again', async () => {
    const request = {
      matchers: { rule: ['failed-runs'] },
      startsAt: now,
      until: now + HOUR,
      by: 'ana',
      comment: 'upgrade',
      key: 'upgrade-2',
    };
    const add: typeof silences.add = async (one) => {
      await silences.add(one);
      throw new Error('killed after the commit');
    };
    const mortal = Object.assign(Object.create(silences), { add });
    await expect(openSilences(mortal).add(request)).rejects.toThrow();
    const all = openSilences();
    expect(await all.add(request)).toMatchObject({ isNew: false });
    expect(await all.list()).toHaveLength(1);
  });

  test('of requests at once for a silence with one key, one creates it', async () => {
    const all = openSilences();
    const request = { matchers: {}, startsAt: now, until: now + HOUR, by: 'ana', comment: 'x' };
    const added = await Promise.all(
      Array.from({ length: 5 }, () => all.add({ ...request, key: 'race' })),
    );
    expect(added.filter((one) => one?.isNew)).toHaveLength(1);
    expect(new Set(added.map((one) => one?.silence.id)).size).toBe(1);
  });

  test('a preview of a silence shows the alerts that it would keep back, and no others', async () => {
    use(aRule({ groupBy: ['source'] }));
    await end('run.failed');
    await wait(MINUTE);
    const { preview } = openSilences();
    const shown = async (matchers: Parameters<typeof preview>[0]) =>
      (await preview(matchers)).alerts.length;
    expect(await shown({ workflowId: ['wf-1'], event: ['run.failed'] })).toBe(1);
    expect(await shown({ event: ['run.*'] })).toBe(1);
    expect(await shown({ event: ['run.stopped'] })).toBe(0);
    expect(await shown({ workflowId: ['wf-2'] })).toBe(0);
    expect(await shown({ metadata: { env: ['prod'] } })).toBe(0);
  });

  test('an event that never came fires for a workflow that the rule names', async () => {
    const condition = { kind: 'absent', event: 'run.completed', withinMs: HOUR } as const;
    use(aRule({ condition, events: [], when: { workflow_id: ['wf-1'] }, groupWaitMs: 0 }));
    await (await engine()).apply();
    await live(55 * MINUTE);
    expect(await told()).toEqual([]);
    await live(10 * MINUTE);
    expect(await told()).toEqual(['alert.firing']);
    await end('run.completed');
    await wait(SECOND);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
  });

  test('every workflow that a new rule names is waited for, though an event of one comes as the rule is taken', async () => {
    const condition = { kind: 'absent', event: 'run.completed', withinMs: HOUR } as const;
    const when = { workflow_id: ['wf-1', 'wf-2'] };
    use(aRule({ condition, events: [], when, groupWaitMs: 0 }));
    let isFirst = true;
    const disturbed = committing(async (step) => {
      if (isFirst) {
        isFirst = false;
        await end('run.completed', 'wf-1');
        await wait(SECOND);
      }
      return alerts.commit(step);
    });
    await (await engine({ alerts: disturbed })).apply();
    await live(30 * MINUTE);
    await end('run.completed', 'wf-1');
    await live(40 * MINUTE);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('idle seconds before a rule was taken do not make up for those in which its source was in doubt', async () => {
    await end('run.failed');
    await live(2 * MINUTE);
    await setClock(now + 14 * SECOND);
    const condition = { kind: 'absent', event: 'run.completed', withinMs: MINUTE } as const;
    const when = { workflow_id: ['wf-2'] };
    use(aRule({ name: 'missing', condition, events: [], when, groupWaitMs: 0, notify: ['late'] }));
    const judging = await engine();
    await judging.apply();
    await live(20 * SECOND, judging);
    await live(12 * SECOND, await engine({ inDoubt: async () => new Set(['default']) }));
    await live(35 * SECOND, judging);
    expect(await told('late')).toEqual([]);
    await live(10 * SECOND, judging);
    expect(await told('late')).toEqual(['alert.firing']);
  });

  test('an absence is waited for across a restart, and the time between does not count', async () => {
    const condition = { kind: 'absent', event: 'run.completed', withinMs: HOUR } as const;
    use(aRule({ condition, events: [], when: { workflow_id: ['wf-1'] }, groupWaitMs: 0 }));
    await (await engine()).apply();
    await live(30 * MINUTE);
    await setClock(now + 5 * HOUR);
    await (await engine()).apply();
    await live(25 * MINUTE);
    expect(await told()).toEqual([]);
    await live(10 * MINUTE);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('an escalation that is due while no process runs is taken by the next', async () => {
    const escalate = [{ afterMs: 30 * MINUTE, unlessAcknowledged: true, notify: ['pager'] }];
    use(aRule({ escalate }));
    await end('run.failed');
    await wait(MINUTE);
    await setClock(now + HOUR);
    expect(await told('pager')).toEqual([]);
    await wait(SECOND);
    await wait(10 * MINUTE);
    expect(await told('pager')).toEqual(['alert.firing']);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('an alert in Redis is inhibited while one of another rule goes on', async () => {
    const stopped = { ...aRule().resolve, events: ['run.resumed'] };
    use(aRule(), aRule({ name: 'stops', events: ['run.stopped'], resolve: stopped }));
    rules.inhibitRules = [{ sourceRule: 'stops', targetRule: 'failed-runs', equal: ['source'] }];
    await end('run.stopped', 'wf-2');
    await wait(MINUTE);
    await end('run.failed');
    await wait(10 * MINUTE);
    const firing = await alerts.list({ rule: 'failed-runs', limit: 1 });
    expect(firing.items).toMatchObject([{ state: 'firing', notified: [] }]);
    expect(await told()).toEqual(['alert.firing']);
    expect(await alerts.counts()).toMatchObject({ inhibited: 1 });
    await expectSum();
  });

  test('a run that goes on beyond its deadline fires, and resolves when it ends', async () => {
    const limit = { kind: 'interval', ms: HOUR } as const;
    const condition = { kind: 'deadline', reference: 'created_at', limit } as const;
    use(aRule({ condition, events: [], groupWaitMs: 0 }));
    const run = snapshot({ id: 'run-late', workflow_id: 'wf-1' });
    const after = { ...newWatch({ runId: 'run-late' }), run };
    await watches.commit({ before: null, after, events: [], deliveries: [] });
    await wait(59 * MINUTE);
    expect(await told()).toEqual([]);
    await wait(2 * MINUTE, await engine({ readSoon: reads() }));
    expect(await told()).toEqual(['alert.firing']);
    const ended = { ...after, state: 'finished' as const, endedAt: now };
    const before = await watches.get(after);
    const event = buildEvent(
      { before: after, after: ended, now, newMark, nodes: null, linksOf: noLinks },
      { type: 'run.completed' },
      1,
    );
    await watches.commit({ before, after: ended, events: [event], deliveries: [] });
    await wait(SECOND);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
  });

  test('a run that ended in time while no process ran is never notified of as late', async () => {
    const rule = lateRule();
    use(rule);
    await watches.commit({ before: null, after: goingOn('run-a'), events: [], deliveries: [] });
    await wait(MINUTE);
    await setClock(now + 2 * HOUR);
    const asked: string[] = [];
    const judging = await engine({ readSoon: async (_, runIds) => void asked.push(...runIds) });
    await judging.judge();
    expect(asked).toEqual(['run-a']);
    await endRun('run-a', NOON + 50 * MINUTE);
    await wait(5 * MINUTE, judging);
    expect(await told()).toEqual([]);
    expect(await alerts.counts()).toEqual({});
  });

  test('a run beyond its deadline that stays unread for a minute is notified of as one that nobody can judge', async () => {
    use(lateRule());
    await watches.commit({ before: null, after: goingOn('run-a'), events: [], deliveries: [] });
    const judging = await engine();
    await wait(60 * MINUTE + 50 * SECOND, judging);
    expect(await told()).toEqual([]);
    await wait(20 * SECOND, judging);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    expect(alert?.annotations['summary']).toMatch(/^Cannot tell whether the run has ended/);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('nothing is said of deadlines while their source is in doubt', async () => {
    use(lateRule());
    await watches.commit({ before: null, after: goingOn('run-a'), events: [], deliveries: [] });
    const inDoubt = new Set(['default']);
    const judging = await engine({ inDoubt: async () => inDoubt, readSoon: reads() });
    await wait(3 * HOUR, judging);
    expect(await told()).toEqual([]);
    inDoubt.clear();
    await wait(MINUTE, judging);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('a deadline rule that is added sees the runs that go on', async () => {
    use();
    await watches.commit({ before: null, after: goingOn('run-a'), events: [], deliveries: [] });
    await setClock(now + 2 * HOUR);
    use(lateRule());
    const judging = await engine({ readSoon: reads() });
    await judging.apply();
    await wait(MINUTE, judging);
    expect(await told()).toEqual(['alert.firing']);
    use({ ...lateRule(), name: 'slow' });
    await judging.apply();
    await wait(2 * MINUTE, judging);
    const open = await alerts.list({ state: ['firing'], limit: 10 });
    expect(open.items.map(({ rule }) => rule)).toEqual(['slow']);
  });

  /** Alerts of another process that has rules of its own. */
  function withRules(all: Rule[], changes: Changes = {}): Alerting {
    const own = { ...rules, book: new RuleBook(all) };
    return Object.assign(alertingOf({ readSoon: reads(), ...changes }), { rules: own });
  }

  const onlyOf = (workflow: string): Rule => ({
    ...lateRule(),
    when: { workflow_id: [workflow] },
  });

  const within = (ms: number): Rule => ({
    ...lateRule(),
    condition: { kind: 'deadline', reference: 'created_at', limit: { kind: 'interval', ms } },
  });

  async function watchRun(runId: string): Promise<void> {
    await watches.commit({ before: null, after: goingOn(runId), events: [], deliveries: [] });
  }

  test('a run that a daemon without a deadline rule reads has a deadline once it gets the rule', async () => {
    use();
    await withRules([lateRule()], { isMixed: async () => true }).engine.apply();
    await watchRun('run-b');
    const last = withRules([lateRule()]).engine;
    await last.apply();
    await wait(2 * HOUR, last);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('a run that a daemon without a deadline rule reads has a deadline once that daemon is gone', async () => {
    use();
    let isMixed = true;
    const other = withRules([lateRule()], { isMixed: async () => isMixed });
    await other.engine.apply();
    await watchRun('run-b');
    isMixed = false;
    other.loop.start();
    const member = 'failed-runs default/run-b';
    await waitFor(async () => (await redis.zscore(keys.alertDeadlines, member)) !== null);
    await waitFor(async () => Object.keys(await alerts.appliedDeadlines()).length === 1);
    await other.loop.stop();
  });

  test('a deadline rule that a daemon takes back while others differ is new when it comes again', async () => {
    use();
    const isMixed = async () => true;
    await withRules([lateRule()]).engine.apply();
    await withRules([], { isMixed }).engine.apply();
    await watchRun('run-b');
    const last = withRules([lateRule()]).engine;
    await last.apply();
    await wait(2 * HOUR, last);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('once daemons agree, a late run is not notified of again after a user ended its alert, and one that had no deadline is', async () => {
    use();
    await watchRun('run-a');
    let isMixed = true;
    const other = withRules([lateRule()], { isMixed: async () => isMixed }).engine;
    await other.apply();
    await watchRun('run-b');
    await wait(61 * MINUTE, other);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    await other.resolve(alert?.id ?? '', { by: 'ana', comment: null });
    await wait(24 * HOUR, other);
    isMixed = false;
    await other.settleDeadlines();
    await wait(2 * MINUTE, other);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved', 'alert.firing']);
    expect((await alerts.list({ state: OPEN_STATES, limit: 10 })).items).toMatchObject([
      { count: 1, runs: [{ runId: 'run-b' }] },
    ]);
    await expectSum();
  });

  test('a stop waits for one page of the runs that deadlines are set of, and another process sets them all', async () => {
    use();
    await watchRun('run-a');
    await watchRun('run-b');
    await alerts.noteDeadlines({ 'failed-runs': 'as it was' });
    let stopped: Promise<void> | undefined;
    const pages: typeof watches.active = async function* () {
      yield [{ source: 'default', runId: 'run-a' }];
      stopped = own.stop({ force: false });
      yield [{ source: 'default', runId: 'run-b' }];
    };
    const paged = Object.assign(Object.create(watches) as typeof watches, { active: pages });
    const own = withRules([lateRule()], { watches: paged, isMixed: async () => false });
    own.loop.start();
    await waitFor(() => stopped !== undefined);
    await stopped;
    const members = () => redis.zrange(keys.alertDeadlines, '0', '-1');
    expect(await members()).toEqual(['failed-runs default/run-a']);
    expect(await alerts.appliedDeadlines()).toEqual({});
    await withRules([lateRule()]).engine.settleDeadlines();
    expect(await members()).toHaveLength(2);
  });

  test.each([
    { what: 'is about other runs', old: onlyOf('wf-2') },
    { what: 'gives more time', old: within(3 * HOUR) },
  ])('a deadline is left to other daemons where the old rule $what', async ({ old }) => {
    use();
    await watchRun('run-a');
    await setClock(now + 2 * HOUR);
    const isMixed = async () => true;
    const other = withRules([lateRule()], { isMixed }).engine;
    await other.apply();
    await withRules([old], { isMixed }).engine.judge();
    await setClock(now + 10 * SECOND);
    await wait(2 * MINUTE, other);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('a deadline by a new rule is kept, though it is judged by the old rule as it is set', async () => {
    use(onlyOf('wf-2'));
    await watchRun('run-a');
    await setClock(now + 2 * HOUR);
    await alerts.setDeadlines(new Map([['failed-runs default/run-a', now]]));
    const own: AlertEngine[] = [];
    let applying: Promise<void> | undefined;
    const reloaded = committing(async (step) => {
      if (applying === undefined) {
        use(lateRule());
        applying = own[0]?.apply();
        // Long enough for what it would write by then.
        for (let turn = 0; turn < 100; turn += 1) await redis.ping();
      }
      return alerts.commit(step);
    });
    const judging = await engine({ alerts: reloaded, readSoon: reads() });
    own.push(judging);
    await judging.judge();
    await applying;
    await wait(MINUTE, judging);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('a run whose status changes while runs are gone through has the deadline of a new rule', async () => {
    use();
    await watchRun('run-a');
    const awaiting = goingOn('run-b');
    const after = { ...awaiting, run: { ...awaiting.run, status: 'awaiting_human_feedback' } };
    await watches.commit({ before: null, after, events: [], deliveries: [] });
    use(lateRule());
    const setDeadlines: AlertStore['setDeadlines'] = async (deadlines) => {
      await alerts.setDeadlines(deadlines);
      const before = await watches.get(awaiting);
      if (before === null || before.watch.run?.status === 'running') return;
      await watches.commit({ before, after: awaiting, events: [], deliveries: [] });
    };
    await (
      await engine({ alerts: Object.assign(Object.create(alerts) as AlertStore, { setDeadlines }) })
    ).apply();
    const found = await redis.zrange(keys.alertDeadlines, '0', '-1');
    expect(found.toSorted()).toEqual(['failed-runs default/run-a', 'failed-runs default/run-b']);
  });

  test('a deadline by what is usual is set once that is known', async () => {
    let usualMs: number | null = null;
    rules.usual = () => usualMs;
    const limit = { kind: 'usual', percentile: 95, times: 2 } as const;
    use({ ...lateRule(), condition: { kind: 'deadline', reference: 'created_at', limit } });
    await watches.commit({ before: null, after: goingOn('run-a'), events: [], deliveries: [] });
    const judging = await engine({ readSoon: reads() });
    await wait(HOUR, judging);
    expect(await told()).toEqual([]);
    usualMs = 10 * MINUTE;
    await wait(10 * MINUTE, judging);
    rules.usual = () => null;
    expect(await told()).toEqual(['alert.firing']);
  });

  test('the last late run that is cancelled ends its alert in the same step', async () => {
    use(lateRule());
    await watches.commit({ before: null, after: goingOn('run-a'), events: [], deliveries: [] });
    await wait(61 * MINUTE, await engine({ readSoon: reads() }));
    expect(await told()).toEqual(['alert.firing']);
    await endWatch(testProcess({ stores, now: () => now }), { source: 'default', runId: 'run-a' });
    await wait(SECOND);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    expect(await redis.zcard(keys.alertDeadlines)).toBe(0);
  });

  test('a run that is purged leaves the alerts that list it', async () => {
    await end('run.failed', 'wf-1', 'run-a');
    await end('run.failed', 'wf-1', 'run-b');
    await wait(MINUTE);
    const stored = await watches.get({ source: 'default', runId: 'run-b' });
    if (stored !== null) await (await engine()).leave(stored.watch);
    await wait(SECOND);
    expect((await alerts.list({ limit: 1 })).items).toMatchObject([
      { state: 'firing', runsTotal: 1, runs: [{ runId: 'run-a' }] },
    ]);
  });

  test('down times of half a minute do not count as absence, nor does the time before lists were read', async () => {
    const condition = { kind: 'absent', event: 'run.completed', withinMs: 20 * SECOND } as const;
    use(aRule({ condition, events: [], when: { workflow_id: ['wf-1'] }, groupWaitMs: 0 }));
    await (await engine()).apply();
    await live(10 * SECOND);
    await setClock(now + 32 * SECOND);
    await live(SECOND);
    expect(await told()).toEqual([]);
    const unread = new Set(['default']);
    const restarted = await engine({ inDoubt: async () => unread });
    await live(MINUTE, restarted);
    expect(await told()).toEqual([]);
    await end('run.completed');
    unread.clear();
    await live(10 * SECOND, restarted);
    expect(await told()).toEqual([]);
    await live(30 * SECOND, restarted);
    expect(await told()).toEqual(['alert.firing']);
  });

  test('the doubt of a source is read right before an absence fires', async () => {
    const condition = { kind: 'absent', event: 'run.completed', withinMs: MINUTE } as const;
    use(aRule({ condition, events: [], when: { workflow_id: ['wf-1'] }, groupWaitMs: 0 }));
    const inDoubt = new Set<string>();
    const judging = await engine({ inDoubt: async () => new Set(inDoubt) });
    await judging.apply();
    await live(50 * SECOND, judging);
    // No pass of the daemon reads it in between.
    inDoubt.add('default');
    await live(5 * MINUTE, judging);
    expect(await told()).toEqual([]);
  });

  test('a silence with a key takes the place of one that has expired', async () => {
    const all = openSilences();
    const request = { matchers: {}, startsAt: now, by: 'ana', comment: 'nightly', key: 'nightly' };
    await all.add({ ...request, until: now + HOUR });
    await setClock(now + 24 * HOUR);
    const again = await all.add({ ...request, startsAt: now, until: now + HOUR });
    expect(again).toMatchObject({ isNew: true, silence: { until: now + HOUR } });
    expect(await all.list()).toHaveLength(1);
    await silences.forget(Infinity);
  });

  test('an alert is ended by hand once, in one step that notifies', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const [alert] = (await alerts.list({ limit: 1 })).items;
    const judging = await engine();
    const resolvedBy = { by: 'ana', comment: null };
    expect(await judging.resolve(alert?.id ?? '', resolvedBy)).toMatchObject({
      state: 'resolved',
      resolvedBy,
    });
    expect(await judging.resolve(alert?.id ?? '', resolvedBy)).toMatchObject({ resolvedBy });
    expect(await judging.resolve('alr_0123456789abcdef0123_0123456789', resolvedBy)).toBeNull();
    await wait(HOUR);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    await expectSum();
  });
});

describe('ending alerts by hand', () => {
  const BY_ANA = { by: 'ana', comment: 'the provider is up again' };
  const unknown = 'alr_0123456789abcdef0123_0123456789';
  const newest = async () => (await alerts.list({ limit: 1 })).items[0]?.id ?? '';

  test('an alert that a user ends is notified as resolved once and names the user; the next failure opens another', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const id = await newest();
    const own = await engine();
    const resolve = (...about: Parameters<AlertEngine['resolve']>) => own.resolve(...about);
    const ended = { state: 'resolved', resolvedAt: now, resolvedBy: BY_ANA };
    expect(await resolve(id, BY_ANA)).toMatchObject(ended);
    expect(await resolve(id, { by: 'bob', comment: null })).toMatchObject(ended);
    expect(await resolve(unknown, BY_ANA)).toBeNull();
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    const [delivery] = (await deliveries.list({ endpoint: 'chat' }, { limit: 1 })).items;
    const event = JSON.parse((await stores.events.body(delivery?.eventId ?? '')) ?? '{}');
    expect(event.data.alert).toMatchObject({ id, state: 'resolved', resolved_by: BY_ANA });
    await end('run.failed');
    await wait(MINUTE);
    expect(await newest()).not.toBe(id);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved', 'alert.firing']);
    await expectSum();
  });

  test('a pending alert that a user ends is never notified', async () => {
    await end('run.failed');
    await wait(SECOND);
    expect(await (await engine()).resolve(await newest(), BY_ANA)).toMatchObject({ count: 1 });
    await wait(HOUR);
    expect(await told()).toEqual([]);
    await expectSum();
  });

  test('an alert ends once where the process dies at its commit and the user asks again', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const id = await newest();
    for (const dies of ['before', 'after']) {
      const commit: AlertStore['commit'] = async (one) => {
        if (dies === 'after') await alerts.commit(one);
        throw new Error(`killed ${dies} the commit`);
      };
      const mortal = await engine({ alerts: committing(commit) });
      await expect(mortal.resolve(id, BY_ANA)).rejects.toThrow(dies);
    }
    const again = await (await engine()).resolve(id, { by: 'bob', comment: null });
    expect(again).toMatchObject({ state: 'resolved', resolvedBy: BY_ANA });
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
  });

  test('an alert of a rule that is gone ends by hand, and endpoints that have its firing get its end', async () => {
    await end('run.failed');
    await wait(MINUTE);
    const id = await newest();
    use();
    expect(await (await engine()).resolve(id, BY_ANA)).toMatchObject({ state: 'resolved' });
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    await wait(12 * HOUR);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    expect(await alerts.groupCounts(['failed-runs'])).toEqual(new Map([['failed-runs', 0]]));
    await expectSum();
  });

  test('an absence that a user ends fires again only after as long an absence again', async () => {
    const condition = { kind: 'absent' as const, event: 'run.completed', withinMs: HOUR };
    use(aRule({ condition, when: { workflow_id: ['wf-1'] }, groupWaitMs: 0 }));
    await (await engine()).apply();
    const up = async (minutes: number) => live(minutes * MINUTE);
    await up(62);
    expect(await told()).toEqual(['alert.firing']);
    await (await engine()).resolve(await newest(), BY_ANA);
    await up(50);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved']);
    await up(15);
    expect(await told()).toEqual(['alert.firing', 'alert.resolved', 'alert.firing']);
  });

  test('an alert that a user ends in a mute is notified as resolved at the end of the mute', async () => {
    const times = [{ from: 60, to: 3 * 60 }];
    use(aRule({ mute: [{ name: 'nights', times, location: 'UTC' }] }));
    await end('run.failed', 'wf-1');
    await wait(MINUTE);
    const id = await newest();
    await wait(HOUR);
    await end('run.failed', 'wf-2');
    await wait(MINUTE);
    await (await engine()).resolve(id, BY_ANA);
    expect(await told()).toEqual(['alert.firing']);
    await wait(2 * HOUR);
    expect((await told()).toSorted()).toEqual(['alert.firing', 'alert.firing', 'alert.resolved']);
    await expectSum();
  });
});

describe('what suppresses an alert', () => {
  /** What suppresses each alert that goes on, by its rule. */
  async function suppressors(sources?: readonly string[]) {
    const { items } = await alerts.list({ limit: 10 });
    const found = await alertingOf().suppressorsOf(items, sources);
    return Object.fromEntries(items.map(({ id, rule }) => [rule, found.get(id)]));
  }

  test('a silence is named with its user and its end, and no longer once it has ended', async () => {
    await end('run.failed');
    await wait(MINUTE);
    expect(await suppressors()).toEqual({ 'failed-runs': [] });
    const silence = {
      id: 'sil_1',
      matchers: { workflowId: ['wf-1'] },
      startsAt: now,
      until: now + HOUR,
      by: 'ana',
      comment: 'upgrade',
      createdAt: now,
      key: null,
    };
    await silences.add(silence);
    await silences.add({ ...silence, id: 'sil_2', matchers: { workflowId: ['wf-2'] } });
    const until = silence.until;
    expect(await suppressors()).toEqual({
      'failed-runs': [{ kind: 'silence', id: 'sil_1', by: 'ana', until }],
    });
    const hidden = { kind: 'silence', id: null, by: null, until };
    expect(await suppressors(['default'])).toEqual({ 'failed-runs': [hidden] });
    await setClock(until);
    expect(await suppressors()).toEqual({ 'failed-runs': [] });
  });

  test('a mute is named by its interval, with its end', async () => {
    const nights = { times: [{ from: 0, to: 2 * 60 }], location: 'UTC' };
    use(aRule({ mute: [{ ...nights, name: 'nights' }] }));
    await end('run.failed');
    await wait(MINUTE);
    const until = NOON + 2 * HOUR;
    expect(await suppressors()).toEqual({
      'failed-runs': [{ kind: 'mute', id: 'nights', by: null, until }],
    });
    await setClock(until);
    expect(await suppressors()).toEqual({ 'failed-runs': [] });
  });

  test('an alert that inhibits is named by its id and rule, as long as it goes on', async () => {
    use(aRule(), aRule({ name: 'down', events: ['run.stopped'] }));
    rules.inhibitRules = [
      { sourceRule: 'down', targetRule: 'failed-runs', equal: ['workflow_id'] },
    ];
    await end('run.failed');
    await end('run.stopped', 'wf-2');
    await wait(MINUTE);
    expect(await suppressors()).toEqual({ 'failed-runs': [], down: [] });
    await end('run.stopped');
    await wait(MINUTE);
    const [inhibitor] = (await alerts.list({ rule: 'down', limit: 1 })).items;
    const inhibited = { kind: 'inhibit', id: inhibitor?.id, by: 'down', until: null };
    expect(await suppressors()).toEqual({ 'failed-runs': [inhibited], down: [] });
    expect(await suppressors(['other'])).toEqual({
      'failed-runs': [{ ...inhibited, id: null }],
      down: [],
    });
    await (await engine()).resolve(inhibitor?.id ?? '', { by: 'ana', comment: null });
    expect((await suppressors())['failed-runs']).toEqual([]);
  });
});

function lateRule(): Rule {
  const limit = { kind: 'interval', ms: HOUR } as const;
  const condition = { kind: 'deadline', reference: 'created_at', limit } as const;
  return aRule({ condition, events: [], groupWaitMs: 0 });
}

/** A watch of a run that was created and read at noon. */
function goingOn(runId: string) {
  const run = snapshot({ id: runId, workflow_id: 'wf-1' });
  return { ...newWatch({ runId }), run, runAskedAt: NOON };
}

/** The end of a run, by Noxus's account at a time. */
async function endRun(runId: string, finishedAt: number): Promise<void> {
  const before = await watches.get({ source: 'default', runId });
  if (before === null) throw new Error(`${runId} is not watched`);
  const finished = new Date(finishedAt).toISOString();
  const run = snapshot({
    id: runId,
    workflow_id: 'wf-1',
    status: 'completed',
    finished_at: finished,
  });
  const after = { ...before.watch, run, state: 'finished' as const, endedAt: now };
  const change = { before: before.watch, after, now, newMark, nodes: null, linksOf: noLinks };
  const event = buildEvent(change, { type: 'run.completed' }, 1);
  await watches.commit({ before, after, events: [event], deliveries: [] });
}
