import { afterAll, beforeEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { pino } from 'pino';
import { Alerting } from '../../src/alert/alerting.ts';
import type { AlertEngine } from '../../src/alert/engine.ts';
import { entriesOf, RuleBook } from '../../src/core/alert/entry.ts';
import { FAILURES, FAILURES_RULE } from '../../src/core/alert/failures.ts';
import { MOST_GROUPS } from '../../src/core/alert/judgement.ts';
import type { Rule } from '../../src/core/alert/rule.ts';
import type { Matchers, Silence } from '../../src/core/alert/silence.ts';
import { sum } from '../../src/core/arrays.ts';
import type { AttentionItem } from '../../src/core/attention.ts';
import type { EventType } from '../../src/core/event/event.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { AttentionService } from '../../src/http/attention.ts';
import type { AlertStore } from '../../src/redis/stores/alert-store.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';
import { testDaemon } from '../support/daemon.ts';
import { endpointsOf } from '../support/endpoints.ts';
import { aRule } from '../support/fake-alerts.ts';
import { openStores } from '../support/stores.ts';

const SECOND = 1_000;
const MINUTE = 60_000;
const DAY = 86_400_000;

const rules = {
  book: new RuleBook([], [FAILURES_RULE]),
  inhibitRules: [],
  sources: ['default', 'eu'],
  usual: (): number | null => null,
};
const stores = openStores(undefined, {
  isClockManual: true,
  entriesOf: (change) => entriesOf(rules.book, change, () => null),
});
const { redis, keys, alerts, watches } = stores;
afterAll(() => stores.close());

let now = NOON;
let runs = 0;
let judges = 0;

async function setClock(at: number): Promise<void> {
  now = at;
  await redis.set(keys.clock, now);
}

beforeEach(async () => {
  await redis.del(...(await stores.keysLeft()), 'none');
  await setClock(NOON);
  use();
});

function use(...all: Rule[]): void {
  rules.book = new RuleBook(all, [FAILURES_RULE]);
}

/** A process that judges, with what it shows. */
function open(given: AlertStore = alerts) {
  const token = `judge-${(judges += 1)}.1`;
  const own = { ...stores, alerts: given };
  const daemon = testDaemon({
    stores: own,
    endpoints: Object.assign(endpointsOf({}), {
      wantingAlertEvent: (_type: string, named: readonly string[]) => [...named],
    }),
    newToken: () => token,
    now: () => now,
    poller: { sources: [], overdue: () => [], discovery: { troubles: async () => null } },
    clock: { measure: async () => undefined },
    log: pino({ enabled: false }),
  });
  const others = { configurations: async () => [] };
  const poller = { inDoubt: async () => new Set<string>(), readSoon: async () => undefined };
  const alerting = Object.assign(new Alerting(daemon, poller, others), { rules });
  Object.assign(daemon, { alerting, alertRules: rules });
  return { engine: alerting.engine, attention: new AttentionService(daemon) };
}

/** Ends a new run. */
async function end(
  type: EventType,
  workflowId: string | null = 'wf-1',
  source = 'default',
): Promise<Watch> {
  const runId = `run-${(runs += 1)}`;
  const status = type.slice('run.'.length);
  const run = snapshot({ id: runId, workflow_id: workflowId, status });
  const before = newWatch({ runId, source });
  const after = { ...before, run, state: 'finished' as const, endedAt: now };
  const change = { before, after, now, newMark, nodes: null, linksOf: noLinks };
  const event = buildEvent(change, { type }, 1);
  await watches.commit({ before: null, after, events: [event], deliveries: [] });
  return after;
}

/** Lets time pass, with a process that judges what becomes due; one of before is found dead. */
async function wait(ms: number, judging: AlertEngine = open().engine): Promise<void> {
  for (const judge of [judges - 2, judges - 1, judges]) await alerts.lease.endOf(`judge-${judge}`);
  const until = now + ms;
  for (;;) {
    const nextMs = (await judging.judge()) ?? Infinity;
    if (now + nextMs > until) break;
    await setClock(now + Math.max(1, nextMs));
  }
  await setClock(until);
  await judging.judge();
}

const ACK = { by: 'ana', comment: null, until: null };
const WF_1 = { source: 'default', workflowId: 'wf-1' };

async function listed(query: { withAcknowledged?: boolean; sources?: string[] } = {}) {
  const { items, counts } = await open().attention.find({ withAcknowledged: false, ...query });
  expect(sum(Object.values(counts))).toBe(items.length);
  return items;
}

const shown = ({ kind, source, workflowId, count }: AttentionItem) =>
  `${kind} ${source}/${workflowId ?? '-'} ${count}`;

test('failures of a workflow are one entry without any rule, and of none one for their source', async () => {
  await end('run.failed');
  await setClock(NOON + MINUTE);
  await end('run.failed');
  await end('run.failed', null, 'eu');
  await end('run.completed', 'wf-2');
  await wait(SECOND);
  const items = await listed();
  expect(items.map(shown)).toEqual(['failed default/wf-1 2', 'failed eu/- 1']);
  expect(items[0]).toMatchObject({
    severity: 'error',
    since: NOON,
    message: '2 runs failed, and none has completed since',
    runs: [{ runId: `run-${runs - 2}` }, { runId: `run-${runs - 3}` }],
    acknowledged: null,
  });
  expect((await listed({ sources: ['eu'] })).map(shown)).toEqual(['failed eu/- 1']);
});

test('failures are over once a run completes and none has failed for five minutes, or after a week', async () => {
  await end('run.failed');
  await wait(4 * MINUTE);
  await end('run.completed');
  await wait(59 * SECOND);
  expect(await listed()).toHaveLength(1);
  await wait(SECOND);
  expect(await listed()).toEqual([]);
  await end('run.failed');
  await wait(7 * DAY - SECOND);
  expect(await listed()).toHaveLength(1);
  await wait(SECOND);
  expect(await listed()).toEqual([]);
});

test('failures leave no event, no count and no alert that users list, and nothing once they are over', async () => {
  const before = new Set(await stores.keysLeft());
  for (let run = 0; run < 3; run += 1) await end('run.failed');
  await wait(10 * MINUTE);
  expect((await alerts.list({ limit: 10 })).items).toEqual([]);
  expect((await alerts.list({ sources: ['default'], limit: 10 })).items).toEqual([]);
  expect(await alerts.counts()).toEqual({});
  await end('run.completed');
  await wait(10 * MINUTE);
  expect(await listed()).toEqual([]);
  expect((await alerts.list({ limit: 10, rule: FAILURES })).items).toEqual([]);
  const left = (await stores.keysLeft()).filter((key) => !before.has(key) && /alert/.test(key));
  const lasting = await Promise.all(left.map(async (key) => [key, await redis.pttl(key)]));
  const forever = lasting.filter(([, ttl]) => ttl === -1).map(([key]) => key);
  expect(forever).toEqual([keys.alertSeen]);
});

test('an alert of a rule about a workflow stands for its failures once it fires', async () => {
  use(aRule());
  await end('run.failed');
  await wait(SECOND);
  expect((await listed()).map(shown)).toEqual(['failed default/wf-1 1']);
  await wait(MINUTE);
  expect((await listed()).map(shown)).toEqual(['alert default/wf-1 1']);
});

test('alerts of single runs stand for failures where they are about all of them', async () => {
  const perRun = aRule({ groupBy: ['...'], groupWaitMs: 0, when: { metadata: { env: ['prod'] } } });
  use(perRun);
  await end('run.failed');
  await setClock(now + SECOND);
  use(aRule({ groupBy: ['...'], groupWaitMs: 0 }));
  await end('run.failed');
  await wait(SECOND);
  expect((await listed()).map(shown)).toEqual(['failed default/wf-1 2', 'alert default/wf-1 1']);
  await end('run.failed', 'wf-2');
  await wait(SECOND);
  expect((await listed()).map(shown)).toEqual([
    'failed default/wf-1 2',
    'alert default/wf-1 1',
    'alert default/wf-2 1',
  ]);
});

test('acknowledged failures are left out until the next ones, or until that expires', async () => {
  const { engine } = open();
  expect(await engine.acknowledgeFailures(WF_1, ACK)).toBeNull();
  await end('run.failed');
  await wait(SECOND);
  await engine.acknowledgeFailures(WF_1, ACK);
  await end('run.failed');
  await wait(10 * MINUTE);
  expect(await listed()).toEqual([]);
  expect(await listed({ withAcknowledged: true })).toMatchObject([
    { kind: 'failed', count: 2, acknowledged: { by: 'ana' } },
  ]);
  await engine.acknowledgeFailures(WF_1, null);
  expect(await listed()).toHaveLength(1);
  await engine.acknowledgeFailures(WF_1, { ...ACK, until: now + MINUTE });
  expect(await listed()).toEqual([]);
  await wait(MINUTE);
  expect(await listed()).toHaveLength(1);
  await end('run.completed');
  await wait(MINUTE);
  await end('run.failed');
  await wait(SECOND);
  expect(await listed()).toMatchObject([{ kind: 'failed', count: 1, acknowledged: null }]);
});

test('what a user does with an alert about a workflow holds for its failures, and the other way round', async () => {
  use(aRule({ groupWaitMs: 0 }));
  const { engine } = open();
  await end('run.failed');
  await wait(SECOND);
  await engine.acknowledgeFailures(WF_1, ACK);
  expect((await alerts.list({ limit: 10 })).items).toMatchObject([
    { state: 'acknowledged', acknowledged: { by: 'ana' } },
  ]);
  expect(await listed()).toEqual([]);
  await engine.acknowledgeFailures(WF_1, null);
  const [alert] = (await alerts.list({ limit: 10 })).items;
  expect(alert?.state).toBe('firing');
  await engine.resolve(alert?.id ?? '', { by: 'ana', comment: null });
  expect(await listed({ withAcknowledged: true })).toEqual([]);
});

/** A silence that begins now. */
function aSilence(matchers: Matchers, id = 'sil_1'): Silence {
  return {
    id,
    matchers,
    startsAt: now,
    until: now + MINUTE,
    by: 'ana',
    comment: 'upgrade',
    createdAt: now,
    key: null,
  };
}

test('a silence about a workflow leaves its failures out, as it does alerts', async () => {
  await end('run.failed');
  await wait(SECOND);
  await stores.silences.add(aSilence({ workflowId: ['wf-1'] }));
  expect(await listed()).toEqual([]);
  expect(await listed({ withAcknowledged: true })).toMatchObject([
    { suppressedBy: [{ kind: 'silence', id: 'sil_1' }] },
  ]);
  await wait(MINUTE);
  expect(await listed()).toHaveLength(1);
});

test('a silenced alert is in attention again as soon as its silence ends, by its time or by hand', async () => {
  use(aRule({ groupWaitMs: 0 }));
  await end('run.failed');
  await wait(SECOND);
  const firing = await listed();
  expect(firing.map(shown)).toEqual(['alert default/wf-1 1']);

  const silence = aSilence({ rule: ['failed-runs'] });
  await stores.silences.add(silence);
  expect(await listed()).toEqual([]);
  expect(await listed({ withAcknowledged: true })).toMatchObject([
    { kind: 'alert', suppressedBy: [{ kind: 'silence', id: 'sil_1' }] },
  ]);
  await setClock(silence.until - 1);
  expect(await listed()).toEqual([]);
  await setClock(silence.until);
  expect(await listed()).toEqual(firing);

  const longer = { ...aSilence({ workflowId: ['wf-1'] }, 'sil_2'), until: now + DAY };
  await stores.silences.add(longer);
  await end('run.failed');
  await wait(SECOND);
  expect(await listed()).toEqual([]);
  await stores.silences.replace(longer, { ...longer, until: now });
  expect((await listed()).map(shown)).toEqual(['alert default/wf-1 2']);
});

test('an alert that two silences match is in attention again once both have ended', async () => {
  use(aRule({ groupWaitMs: 0 }));
  await end('run.failed');
  await wait(SECOND);
  const [first, second] = [
    aSilence({ rule: ['failed-runs'] }),
    aSilence({ source: ['default'] }, 'sil_2'),
  ];
  await stores.silences.add(first);
  await stores.silences.add({ ...second, until: first.until + SECOND });
  await setClock(first.until);
  expect(await listed()).toEqual([]);
  await setClock(first.until + SECOND);
  expect(await listed()).toHaveLength(1);
});

test('failures of more workflows than are kept are one entry of their source', async () => {
  const share = MOST_GROUPS - MOST_GROUPS / 4;
  for (let at = 0; at < share; at += 1) await end('run.failed', `wf-${at}`);
  await setClock(now + SECOND);
  for (let at = 0; at < 20; at += 1) await end('run.failed', `another-${at}`);
  await wait(SECOND);
  const { items, counts } = await open().attention.find({ withAcknowledged: false });
  expect([items.length, counts.failed]).toEqual([200, share + 1]);
  const all = await alerts.list({ rule: FAILURES, order: 'newest', limit: 1 });
  expect(all.items).toMatchObject([{ labels: { overflow: 'true', source: 'default' }, count: 20 }]);
});

/** The alert of a rule about a workflow, as a reference has it. */
interface Alerted {
  runs: Set<string>;
  count: number;
  isAcknowledged: boolean;
  /** Since when its rule is off. */
  offSince: number;
}

interface Failures {
  runs: Set<string>;
  lastAt: number;
  isOver: boolean;
  isAcknowledged: boolean;
}

/** A workflow, with what attention says of it in a few lines. */
class Workflow {
  failures: Failures | null = null;
  alert: Alerted | null = null;
  isOn = false;
  readonly failed: Watch[] = [];

  constructor(readonly id: string) {}

  get key() {
    return { source: 'default', workflowId: this.id };
  }

  fails(runId: string): void {
    const isAcknowledged = false;
    this.failures ??= { runs: new Set(), lastAt: now, isOver: false, isAcknowledged };
    this.failures.runs.add(runId);
    Object.assign(this.failures, { lastAt: now, isOver: false });
    if (!this.isOn) return;
    this.alert ??= { runs: new Set(), count: 0, isAcknowledged, offSince: Infinity };
    this.alert.runs.add(runId);
    this.alert.count += 1;
  }

  completes(): void {
    if (this.failures !== null) this.failures.isOver = true;
    if (this.isOn) this.alert = null;
  }

  acknowledges(isAcknowledged: boolean): void {
    if (this.failures === null) return;
    this.failures.isAcknowledged = isAcknowledged;
    if (this.isOn && this.alert !== null) this.alert.isAcknowledged = isAcknowledged;
  }

  purges(runId: string): void {
    this.failures = withoutRun(this.failures, runId);
    if (this.isOn) this.alert = withoutRun(this.alert, runId);
  }

  turns(isOn: boolean): void {
    if (this.alert !== null && this.isOn !== isOn) this.alert.offSince = isOn ? Infinity : now;
    this.isOn = isOn;
  }

  passes(): void {
    const { failures, alert } = this;
    if (failures?.isOver === true && now >= failures.lastAt + 5 * MINUTE) this.failures = null;
    if (alert !== null && now >= alert.offSince + MINUTE) this.alert = null;
  }

  get said(): string[] {
    const { failures, alert, isOn } = this;
    const isCovered = isOn && alert !== null;
    const isFailed = failures !== null && !failures.isAcknowledged && !isCovered;
    return [
      ...(alert !== null && !alert.isAcknowledged ? [`alert ${alert.count}`] : []),
      ...(isFailed ? [`failed ${failures.runs.size}`] : []),
    ];
  }
}

function withoutRun<Kept extends { runs: Set<string> }>(kept: Kept | null, runId: string) {
  const isOfIt = kept?.runs.delete(runId) === true;
  return isOfIt && kept.runs.size === 0 ? null : kept;
}

type Opened = ReturnType<typeof open>;

const STEPS = {
  async fail(_, workflow) {
    const watch = await end('run.failed', workflow.id);
    workflow.failed.push(watch);
    workflow.fails(watch.runId);
  },
  async complete(_, workflow) {
    await end('run.completed', workflow.id);
    workflow.completes();
  },
  async acknowledge({ engine }, workflow) {
    await engine.acknowledgeFailures(workflow.key, ACK);
    workflow.acknowledges(true);
  },
  async withdraw({ engine }, workflow) {
    await engine.acknowledgeFailures(workflow.key, null);
    workflow.acknowledges(false);
  },
  async purge({ engine }, workflow) {
    const watch = workflow.failed.pop();
    if (watch === undefined) return;
    await engine.leave(watch);
    workflow.purges(watch.runId);
  },
  async ruleOn({ engine }, _, all) {
    use(aRule({ groupWaitMs: 0, groupIntervalMs: 0 }));
    for (const one of all) one.turns(true);
    await engine.apply();
  },
  async ruleOff({ engine }, _, all) {
    use();
    for (const one of all) one.turns(false);
    await engine.apply();
  },
  async die() {
    const commit: AlertStore['commit'] = async () => {
      throw new Error('killed before the commit');
    };
    const mortal = open(Object.assign(Object.create(alerts) as AlertStore, { commit }));
    await mortal.engine.judge().catch(() => undefined);
  },
} satisfies Record<
  string,
  (process: Opened, workflow: Workflow, all: readonly Workflow[]) => Promise<void>
>;

const names = Object.keys(STEPS) as (keyof typeof STEPS)[];

const life = fc.array(
  fc.record({
    step: fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom<keyof typeof STEPS>('fail', 'complete') },
      fc.constantFrom(...names),
    ),
    at: fc.nat(1),
    isRestart: fc.boolean(),
    ms: fc.constantFrom(0, 0, 1, 20, 50, 100, 290).map((s) => s * SECOND),
  }),
  { maxLength: 40 },
);

test('attention says of any life what a reference says', async () => {
  await fc.assert(
    fc.asyncProperty(life, async (steps) => {
      await redis.del(...(await stores.keysLeft()), 'none');
      await setClock(now + DAY);
      use();
      const all = [new Workflow('wf-0'), new Workflow('wf-1')] as const;
      let process = open();
      for (const { step, at, isRestart, ms } of steps) {
        await STEPS[step](process, at === 0 ? all[0] : all[1], all);
        if (isRestart) process = open();
        await wait(0, process.engine);
        for (const one of all) one.passes();
        for (let left = ms; left > 0; left -= 10 * SECOND) {
          await wait(Math.min(left, 10 * SECOND), process.engine);
          for (const one of all) one.passes();
        }
        const { items, counts } = await process.attention.find({ withAcknowledged: false });
        expect(sum(Object.values(counts))).toBe(items.length);
        const said = all.map(({ id }) =>
          items
            .filter(({ workflowId }) => workflowId === id)
            .map(({ kind, count }) => `${kind} ${count}`),
        );
        expect(said.map((one) => one.toSorted())).toEqual(all.map((one) => one.said.toSorted()));
      }
    }),
    { numRuns: 80 },
  );
});
