import { describe, expect, test } from '@jest/globals';
import { Alerting } from '../../src/alert/alerting.ts';
import { RuleBook } from '../../src/core/alert/entry.ts';
import type { Rule } from '../../src/core/alert/rule.ts';
import type { AnyEvent, EventType } from '../../src/core/event/event.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { aRule } from '../support/fake-alerts.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const iso = (at: number) => new Date(at).toISOString();

/** An event of a run that began before, as it is stored. */
function stored(type: EventType, at: number, { lasted = MINUTE, runId = 'run-1' } = {}): AnyEvent {
  const began = iso(at - lasted);
  const run = snapshot({ id: runId, workflow_id: 'wf-1', status: type.slice('run.'.length) });
  const watch = newWatch({
    runId,
    run: { ...run, created_at: began, started_at: began, finished_at: iso(at) },
    registeredAt: at - lasted,
  });
  const change = { before: watch, after: watch, now: at, newMark, nodes: null, linksOf: noLinks };
  return buildEvent(change, { type }, 1);
}

function ofSystem(type: AnyEvent['type'], at: number): AnyEvent {
  const about = { id: `evt_${at}`, timestamp: iso(at), data: { source: 'default' } };
  return { ...about, type } as AnyEvent;
}

interface Stage {
  events?: AnyEvent[];
  active?: Watch[];
  /** Since when events are stored. */
  from?: number;
  since?: number;
  now?: number;
  usualMs?: number | null;
}

async function rehearse(rule: Rule, stage: Stage = {}) {
  const { events = [], active = [], from = 0, usualMs = null, now = NOON } = stage;
  const process = testProcess({ now: () => now });
  const none = async () => new Set<string>();
  const poller = { inDoubt: none, readSoon: async () => undefined };
  const { rehearsals, durations } = new Alerting(process, poller, {
    configurations: async () => [],
  });
  Object.assign(durations, { refreshIfDue: async () => undefined });
  Object.assign(rehearsals, {
    historySince: async (since: number) => ({
      events: events.filter(({ timestamp }) => Date.parse(timestamp) >= since),
      from: Math.max(from, since),
    }),
    activeWatches: async () => ({ watches: active, isCut: false }),
  });
  const rules = { book: new RuleBook([rule]), inhibitRules: [], sources: ['default'] };
  const live = { ...rules, usual: () => usualMs };
  const since = stage.since ?? NOON - DAY;
  const { notifications, limits, ...found } = await rehearsals.rehearse(since, live);
  return {
    ...found,
    sent: notifications.map(({ kind, at }) => `${kind} ${Math.round((at - since) / MINUTE)}`),
    limit: limits.get(rule.name) ?? null,
  };
}

describe('a rehearsal of deadlines', () => {
  const condition = {
    kind: 'deadline' as const,
    reference: 'started_at' as const,
    limit: { kind: 'interval' as const, ms: 2 * HOUR },
  };
  const late = aRule({ condition, groupWaitMs: 0, events: [] });

  test('names a run that took longer, and its end, and no run that ended in time', async () => {
    const slow = stored('run.completed', NOON - HOUR, { lasted: 5 * HOUR, runId: 'slow' });
    const quick = stored('run.completed', NOON - 2 * HOUR, { lasted: HOUR, runId: 'quick' });
    expect(await rehearse(late, { events: [quick, slow] })).toMatchObject({
      sent: [`firing ${20 * 60}`, `resolved ${23 * 60}`],
      limit: null,
    });
  });

  test('names a run that goes on beyond its deadline, and none that was late before', async () => {
    const started = (ago: number): Watch => {
      const run = snapshot({ workflow_id: 'wf-1', status: 'running' });
      const at = iso(NOON - ago);
      return newWatch({
        runId: `run-${ago}`,
        registeredAt: NOON - ago,
        run: { ...run, id: `run-${ago}`, created_at: at, started_at: at },
      });
    };
    const active = [started(HOUR), started(3 * HOUR), started(3 * DAY)];
    expect(await rehearse(late, { active })).toMatchObject({
      sent: [`firing ${23 * 60}`],
      limit: null,
    });
  });

  test('by the usual time says of a workflow with too few runs that it was not rehearsed', async () => {
    const limit = { kind: 'usual' as const, percentile: 95, times: 2 };
    const usual = { ...late, condition: { ...condition, limit } };
    const events = [stored('run.completed', NOON - HOUR, { lasted: 5 * HOUR })];
    expect(await rehearse(usual, { events })).toMatchObject({
      sent: [],
      limit: 'needs more runs that have ended, to know how long those of a workflow usually take',
    });
    const known = await rehearse(usual, { events, usualMs: HOUR });
    expect(known).toMatchObject({
      sent: [`firing ${20 * 60}`, `resolved ${23 * 60}`],
      limit: null,
    });
  });
});

describe('a rehearsal of absence', () => {
  const condition = { kind: 'absent' as const, event: 'run.completed', withinMs: 26 * HOUR };
  const when = { workflow_id: ['wf-1'] };
  const missing = aRule({ condition, when, groupWaitMs: 0, events: [] });

  test('counts from the last event before its time, and ends with the next', async () => {
    const events = [
      stored('run.completed', NOON - 30 * HOUR),
      stored('run.completed', NOON - HOUR),
    ];
    expect(await rehearse(missing, { events })).toMatchObject({
      events: 1,
      sent: [`firing ${20 * 60}`, `resolved ${23 * 60}`],
      limit: null,
    });
  });

  test('says from when on it waits where no older events are stored', async () => {
    const from = NOON - 2 * HOUR;
    expect(await rehearse(missing, { from })).toMatchObject({
      sent: [],
      limit: `needs stored events of 26h before; it waits from ${iso(from)} on`,
    });
    expect(await rehearse(missing, { from: Infinity })).toMatchObject({
      sent: [],
      limit: 'needs stored events',
    });
  });

  test('says nothing while the source gave no answer, and fires soon after', async () => {
    const events = [
      stored('run.completed', NOON - 30 * HOUR),
      ofSystem('source.unreachable', NOON - 5 * HOUR),
      ofSystem('source.recovered', NOON - 2 * HOUR),
    ];
    const { sent } = await rehearse(missing, { events });
    expect(sent).toHaveLength(1);
    expect(Number(sent[0]?.slice('firing '.length))).toBeGreaterThanOrEqual(22 * 60);
  });

  test('says that nothing names its groups where no event did', async () => {
    const ofAny = aRule({ condition, events: [] });
    expect((await rehearse(ofAny)).limit).toBe(
      'needs an event that names a group in which something could be absent',
    );
    const events = [stored('run.failed', NOON - HOUR)];
    expect((await rehearse(ofAny, { events })).limit).toBeNull();
  });
});
