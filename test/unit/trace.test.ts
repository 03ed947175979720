import { expect, test } from '@jest/globals';
import { noLinks } from '../../src/core/run/links.ts';
import { spansOfChange } from '../../src/telemetry/spans.ts';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const at = (seconds: number) => new Date(NOON + seconds * 1_000).toISOString();
const run = (status: string, changes: Partial<RunSnapshot> = {}) =>
  snapshot({ status, created_at: at(0), started_at: at(10), ...changes });
const ended = (status: string) => run(status, { finished_at: at(30) });

const links = noLinks({ source: 'default', runId: 'run-1', run: null });

/** Name, start and end of each span, in seconds; the change is seen after 31 s. */
function spans(before: Partial<Watch>, after: Partial<Watch>) {
  const change = { before: newWatch(before), after: newWatch({ ...before, ...after }), links };
  return spansOfChange(change, NOON + 31_000).map(({ name, startedAt, endedAt }) => [
    name,
    (startedAt - NOON) / 1_000,
    (endedAt - NOON) / 1_000,
  ]);
}

const phase = (state: string) => ({ state, since: NOON, seenAt: NOON, secondMs: 1_000 });

test.each<[string, Partial<Watch>, Partial<Watch>, unknown[]]>([
  ['a run found in its queue ends no state', {}, { run: run('queued', { started_at: null }) }, []],
  ['a run found running has left its queue', {}, { run: run('running') }, [['queued', 0, 10]]],
  [
    'a run found at its end has left queue and work',
    {},
    { run: ended('completed'), state: 'finished' },
    [
      ['queued', 0, 10],
      ['running', 10, 30],
      ['RUN', 0, 30],
    ],
  ],
  [
    'a run without dates of Noxus has the times of its polls',
    { run: run('running', { created_at: null, started_at: null }), changedAt: NOON + 5_000 },
    {
      run: run('failed', { created_at: null, started_at: null }),
      state: 'finished',
      registeredAt: NOON + 1_000,
    },
    [
      ['running', 5, 31],
      ['RUN', 1, 31],
    ],
  ],
  [
    'the first work of a run begins when Noxus says so',
    { run: run('running'), changedAt: NOON + 12_000, phases: [phase('running/10')] },
    { run: run('awaiting_human_feedback') },
    [['running', 10, 31]],
  ],
  [
    'the first work of a run begins at the end of its queue, though a clock that lags saw it before',
    { run: run('running'), changedAt: NOON + 9_000, phases: [phase('running/10')] },
    { run: ended('completed'), state: 'finished' },
    [
      ['running', 10, 30],
      ['RUN', 0, 30],
    ],
  ],
  [
    'the work after a wait begins when a poll saw it',
    { run: run('running'), changedAt: NOON + 20_000, phases: [phase('resumed')] },
    { run: ended('completed'), state: 'finished' },
    [
      ['running', 20, 30],
      ['RUN', 0, 30],
    ],
  ],
  [
    'progress ends no state',
    { run: run('running') },
    { run: run('running', { progress: 50 }) },
    [],
  ],
  [
    'no state ends before it begins, however the clocks differ',
    { run: run('awaiting_human_feedback'), changedAt: NOON + 40_000 },
    { run: ended('completed') },
    [['awaiting_human_feedback', 40, 40]],
  ],
])('%s', (_, before, after, expected) => {
  expect(spans(before, after)).toEqual(expected);
});

test('each attempt that ends has a span, a later one below that of the run; going back to an end has none', () => {
  const first = { run: ended('failed'), attempt: 1, isReopened: true };
  const again = newWatch({ ...first, state: 'finished', isReopened: false });
  expect(spansOfChange({ before: newWatch(first), after: again, links }, NOON)).toEqual([]);
  const going = { ...run('running', { started_at: at(20) }), attempt: 2 };
  const before = newWatch({ attempt: 2, restartedAt: NOON + 20_000, run: going });
  const over = { ...going, status: 'completed', finished_at: at(30) };
  const after = { ...before, run: over, state: 'finished' as const };
  const [root] = spansOfChange(
    { before: newWatch({ run: run('running') }), after: again, links },
    NOON,
  ).slice(-1);
  const [span] = spansOfChange({ before, after, links }, NOON + 31_000).slice(-1);
  expect(span).toMatchObject({
    parentId: root?.spanId,
    traceId: root?.traceId,
    startedAt: NOON + 20_000,
    endedAt: NOON + 30_000,
    attributes: { 'runwatch.run.attempt': 2 },
  });
  expect(root).toMatchObject({ parentId: null });
});

const gone = { code: 'not_found' as const, message: 'Noxus has no such run', since: NOON };

test.each<[Partial<Watch>, string | null, string | null]>([
  [{ state: 'finished', run: ended('completed') }, 'success', null],
  [{ state: 'finished', run: ended('failed') }, 'failure', 'run_failed'],
  [{ state: 'finished', run: ended('stopped') }, 'cancellation', null],
  [{ state: 'expired', run: run('running') }, 'timeout', null],
  [{ state: 'gone', run: run('running'), gone }, 'error', 'not_found'],
  [{ state: 'cancelled', run: run('running') }, null, null],
])('the span of a run has the result of its watch: %j', (after, result, type) => {
  const before = newWatch({ run: run('running') });
  const found = spansOfChange({ before, after: newWatch(after), links }, NOON + 31_000).at(-1);
  expect(found?.attributes).toMatchObject({
    'cicd.pipeline.result': result,
    'error.type': type,
  });
  expect(found?.error === null).toBe(type === null);
});
