import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { planDeliveries } from '../../src/core/delivery/delivery.ts';
import type { EventType } from '../../src/core/event/event.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { buildEvent } from '../../src/core/run/transition.ts';
import {
  backlogMoves,
  backlogStep,
  MOST_SINGLE,
  withNotices,
  type Backlog,
  type BacklogNotice,
  type BacklogStep,
} from '../../src/core/watch/backlog.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import type { WatchChange } from '../../src/redis/watch-change.ts';
import { newMark, newWatch, NOON, snapshot, webhookTo } from '../support/builders.ts';

const MINUTE = 60_000;
const hook = webhookTo('https://example.com/hook');
const SUBSCRIPTIONS = [{ kind: 'endpoint' as const, endpoint: 'ops' }, hook];

function queued(runId: string, changes: Partial<Watch> = {}): Watch {
  const run = snapshot({ id: runId, status: 'queued' });
  const dwell = { since: NOON, stalled: false };
  return newWatch({ runId, run, dwell, ...changes }, SUBSCRIPTIONS);
}

const stalled = (watch: Watch, since = NOON): Watch => ({
  ...watch,
  dwell: { since, stalled: true },
});

/** A change of a watch, with deliveries to all of its subscriptions. */
function change(before: Watch, after: Watch, types: EventType[]): WatchChange {
  const context = { before, after, now: NOON, newMark, nodes: null, linksOf: noLinks };
  const events = types.map((type, at) => buildEvent(context, { type }, at + 1));
  const wants = () => true;
  const deliveries = planDeliveries(after, events, SUBSCRIPTIONS, { wants, now: NOON });
  return { before: { watch: before, version: 1, number: 1 }, after, events, deliveries };
}

const STEPS = {
  stall: (watch: Watch) => change(watch, stalled(watch), ['run.stalled']),
  move: (watch: Watch) => {
    const run = snapshot({ id: watch.runId });
    const after = { ...watch, run, dwell: { since: NOON, stalled: false } };
    return change(watch, after, isStalled(watch) ? ['run.recovered'] : []);
  },
  complete: (watch: Watch) => {
    const run = snapshot({ id: watch.runId, status: 'completed' });
    const after: Watch = { ...watch, run, state: 'finished', dwell: null };
    return change(watch, after, [
      ...(isStalled(watch) ? (['run.recovered'] as const) : []),
      'run.completed',
    ]);
  },
  fail: (watch: Watch) => {
    const run = snapshot({ id: watch.runId, status: 'failed' });
    return change(watch, { ...watch, run, state: 'finished', dwell: null }, ['run.failed']);
  },
  cancel: (watch: Watch) => change(watch, { ...watch, state: 'cancelled' }, []),
  expire: (watch: Watch) => change(watch, { ...watch, state: 'expired' }, ['watch.expired']),
  lose: (watch: Watch) => change(watch, { ...watch, state: 'gone' }, ['run.gone']),
  change: (watch: Watch) => {
    const workflow = watch.run?.workflow_id === 'workflow-1' ? 'workflow-2' : 'workflow-1';
    const run = snapshot({ id: watch.runId, status: 'queued', workflow_id: workflow });
    return change(watch, { ...watch, run }, []);
  },
};

const isStalled = (watch: Watch) => watch.dwell?.stalled === true;

/** The types of the events that go to a receiver. */
const sentTo = (receiver: string, { deliveries }: Pick<WatchChange, 'deliveries'>) =>
  deliveries.filter(({ endpoint }) => endpoint === receiver).map(({ eventType }) => eventType);

/** A backlog of so many other queued runs. */
function backlogOf(others: number): Backlog {
  const watches = Array.from({ length: others }, (_, at) =>
    stalled(queued(`run-${at}`), NOON - at * MINUTE),
  );
  return { others, watches, byStatus: new Map([['queued', 600]]) };
}

/** What a change does where so many other runs of its workflow are stalled. */
function judged(others: number, given: WatchChange) {
  const steps = backlogMoves(given).map((move) =>
    backlogStep(move, backlogOf(others), given.after),
  );
  return { steps, kept: withNotices(given, steps, (endpoint) => endpoint === 'ops') };
}

describe('the backlog of a workflow', () => {
  test('five stalled runs have an event each, and the sixth a notice with state, count and time', () => {
    const sixth = STEPS.stall(queued('run-9'));
    expect(sentTo('ops', judged(4, sixth).kept)).toEqual(['run.stalled']);
    const { steps, kept } = judged(5, sixth);
    expect(steps.map(({ notice }) => notice)).toEqual([
      {
        type: 'workflow.stalled',
        workflow: { source: 'default', workflowId: 'workflow-1' },
        status: 'queued',
        count: 6,
        inStatus: 600,
        since: NOON - 4 * MINUTE,
      },
    ]);
    expect(sentTo('ops', kept)).toEqual([]);
    expect(sentTo(hook.receiver, kept)).toEqual(['run.stalled']);
    expect(kept.events).toEqual(sixth.events);
    expect(kept.after.dwell).toEqual({ since: NOON, stalled: true, isInNotice: true });
  });

  test('a further run in a backlog raises no second notice', () => {
    const { steps, kept } = judged(6, STEPS.stall(queued('run-9')));
    expect(steps.map(({ notice }) => notice)).toEqual([null]);
    expect(sentTo('ops', kept)).toEqual([]);
  });

  test('the notice ends with the run that leaves five, whether it moves, ends or is cancelled', () => {
    for (const step of ['move', 'complete', 'fail', 'cancel', 'expire', 'lose'] as const) {
      const given = STEPS[step](stalled(queued('run-9')));
      expect(judged(6, given).steps).toMatchObject([{ notice: null }]);
      expect(judged(5, given).steps).toMatchObject([
        { notice: { type: 'workflow.recovered', count: 5, status: 'queued' } },
      ]);
      expect(judged(4, given).steps).toMatchObject([{ notice: null }]);
    }
  });

  test('a run that a notice stands for recovers without an event to endpoints, and ends with one', () => {
    const inNotice = { since: NOON, stalled: true, isInNotice: true } as const;
    const { kept } = judged(3, STEPS.complete(queued('run-0', { dwell: inNotice })));
    expect(sentTo('ops', kept)).toEqual(['run.completed']);
    expect(sentTo(hook.receiver, kept)).toEqual(['run.recovered', 'run.completed']);
    const alone = judged(9, STEPS.complete(stalled(queued('run-0')))).kept;
    expect(sentTo('ops', alone)).toEqual(['run.recovered', 'run.completed']);
  });

  test('an endpoint that no notice reaches gets the event of each run', () => {
    const given = STEPS.stall(queued('run-9'));
    const steps = backlogMoves(given).map((move) => backlogStep(move, backlogOf(9), given.after));
    expect(
      sentTo(
        'ops',
        withNotices(given, steps, () => false),
      ),
    ).toEqual(['run.stalled']);
  });

  test('runs without a workflow, and those that have ended, are in no backlog', () => {
    const alone = queued('run-0', { run: snapshot({ workflow_id: null }) });
    expect(backlogMoves(STEPS.stall(alone))).toEqual([]);
    expect(backlogMoves(STEPS.cancel(queued('run-0')))).toEqual([]);
    const ended = stalled(queued('run-0', { state: 'expired' }));
    expect(backlogMoves(change(ended, queued('run-0'), []))).toEqual([]);
  });
});

/** A store with several processes, which judge a change by what they have read, perhaps long ago. */
class Model {
  readonly watches = new Map<string, Watch>();
  readonly notices: BacklogNotice[] = [];
  readonly toEndpoint: { runId: string; type: string; before: number }[] = [];
  readonly toHook: string[] = [];
  readonly raised: string[] = [];

  private in(workflowId: string): Watch[] {
    return [...this.watches.values()].filter(
      (watch) =>
        watch.state === 'active' && isStalled(watch) && watch.run?.workflow_id === workflowId,
    );
  }

  private othersIn(workflowId: string, { after }: WatchChange): Watch[] {
    return this.in(workflowId).filter(({ runId }) => runId !== after.runId);
  }

  count(workflowId: string): number {
    return this.in(workflowId).length;
  }

  judge(given: WatchChange): BacklogStep[] {
    return backlogMoves(given).map((move) => {
      const watches = this.othersIn(move.workflow.workflowId, given);
      return backlogStep(
        move,
        { others: watches.length, watches, byStatus: new Map() },
        given.after,
      );
    });
  }

  /** The step of the script: all or nothing. */
  commit(given: WatchChange, steps: BacklogStep[]): boolean {
    const isAsRead = steps.every(({ workflow: { workflowId }, least, most }) => {
      const others = this.othersIn(workflowId, given).length;
      return others >= least && others <= most;
    });
    if (!isAsRead) return false;
    const { after, deliveries, events } = withNotices(given, steps, () => true);
    const before = this.count(after.run?.workflow_id ?? '');
    this.watches.set(after.runId, after);
    this.notices.push(...steps.flatMap(({ notice }) => notice ?? []));
    for (const { endpoint, eventType: type } of deliveries) {
      if (endpoint === 'ops') this.toEndpoint.push({ runId: after.runId, type, before });
      else this.toHook.push(`${after.runId} ${type}`);
    }
    this.raised.push(...events.map(({ type }) => `${after.runId} ${type}`));
    return true;
  }
}

const RUNS = 14;

/** What happens to a run, and how many other changes come between its reads and its write. */
const happening = fc.record({
  run: fc.nat(RUNS - 1),
  step: fc.constantFrom(
    ...([
      'stall',
      'stall',
      'stall',
      'stall',
      'move',
      'complete',
      'fail',
      'cancel',
      'expire',
      'lose',
      'change',
    ] as const),
  ),
  isAtOnce: fc.boolean(),
});

test('whatever happens to runs, and whichever process writes first, notices take turns and fit the count', () => {
  const script = fc.array(happening, { minLength: 20, maxLength: 150 });
  fc.assert(
    fc.property(script, (happenings) => {
      const model = new Model();
      for (let run = 0; run < RUNS; run += 1) model.watches.set(`run-${run}`, queued(`run-${run}`));
      const open: { given: WatchChange; steps: BacklogStep[] }[] = [];
      const settle = () => {
        for (const { given, steps } of open.splice(0)) {
          if (!model.commit(given, steps)) {
            expect(model.commit(given, model.judge(given))).toBe(true);
          }
        }
      };
      for (const { run, step, isAtOnce } of happenings) {
        const runId = `run-${run}`;
        if (open.some(({ given }) => given.after.runId === runId)) settle();
        const watch = model.watches.get(runId);
        if (watch === undefined) continue;
        // A run that has ended is registered anew.
        if (watch.state !== 'active') model.watches.set(runId, queued(runId));
        else if (step !== 'stall' || !isStalled(watch)) {
          const given = STEPS[step](watch);
          open.push({ given, steps: model.judge(given) });
        }
        if (isAtOnce) settle();
      }
      settle();
      for (const workflowId of ['workflow-1', 'workflow-2']) {
        const own = model.notices.filter(({ workflow }) => workflow.workflowId === workflowId);
        const types = own.map(({ type }) => type);
        expect(types).toEqual(
          types.map((_, at) => (at % 2 === 0 ? 'workflow.stalled' : 'workflow.recovered')),
        );
        const isOpen = types.at(-1) === 'workflow.stalled';
        expect(isOpen).toBe(model.count(workflowId) > MOST_SINGLE);
      }
      const stalls = model.toEndpoint.filter(({ type }) => type === 'run.stalled');
      expect(stalls.every(({ before }) => before < MOST_SINGLE)).toBe(true);
      // The recovery of a run goes only where its stall went.
      const pairs = model.toEndpoint.filter(({ type }) => /stalled|recovered/.test(type));
      for (const runId of new Set(pairs.map((one) => one.runId))) {
        const types = pairs.filter((one) => one.runId === runId).map(({ type }) => type);
        for (const [at, type] of types.entries()) {
          if (type === 'run.recovered') expect(types[at - 1]).toBe('run.stalled');
        }
      }
      expect(model.toHook).toEqual(model.raised);
    }),
    { numRuns: 150 },
  );
});
