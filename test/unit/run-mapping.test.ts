import { describe, expect, test } from '@jest/globals';
import type { RunSnapshot } from '../../src/core/run/snapshot.ts';
import {
  RunMapping,
  type AskedRun,
  type MappedRun,
  type MappingDeclaration,
} from '../../src/declared/mapping.ts';
import { ScalarReader, type PathTree } from '../../src/declared/scalar-reader.ts';
import { NOON } from '../support/builders.ts';

const GITHUB: MappingDeclaration = {
  run: {
    id: '$.id',
    status: ['$.conclusion', '$.status'],
    workflow: '$.workflow_id',
    workflow_name: '$.name',
    created: '$.created_at',
    started: '$.run_started_at',
    finished: '$.updated_at',
  },
  states: {
    queued: ['queued'],
    running: ['in_progress'],
    completed: ['success'],
    failed: ['failure'],
    awaiting_human_feedback: ['waiting'],
  },
};

const LANGGRAPH: MappingDeclaration = {
  run: { id: '$.run_id', status: ['$.status'], finished: '$.updated_at' },
  states: { running: ['running'], completed: ['success'], stopped: ['interrupted'] },
  also: {
    when: ['completed'],
    id: '$.metadata.run_id',
    status: ['$.tasks[0].interrupts[0].id', '$.next[0]'],
    states: { awaiting_human_feedback: ['*'] },
  },
};

function valuesOf(document: unknown, tree: PathTree) {
  const reader = new ScalarReader(tree);
  reader.push(Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)));
  const scalars = reader.end();
  if (scalars.is !== 'json') throw new Error(`the document is ${scalars.is}`);
  return scalars.values;
}

const ASKED: AskedRun = { runId: 'acme/shop/12', ownId: '12', before: null, now: NOON };

/** What a first answer, and a second one, are mapped to. */
function mapped(
  declaration: MappingDeclaration,
  document: unknown,
  { second, ...asked }: Partial<AskedRun> & { second?: unknown } = {},
): MappedRun | { problem: string } {
  const mapping = new RunMapping(declaration);
  const question = { ...ASKED, ...asked };
  const first = mapping.readFirst(valuesOf(document, mapping.tree), question);
  if ('problem' in first) return first;
  const seen = mapping.needsSecond(first)
    ? mapping.withSecond(first, valuesOf(second ?? {}, mapping.secondTree), question)
    : first;
  return mapping.runOf(seen, question);
}

function runOf(...args: Parameters<typeof mapped>): RunSnapshot {
  const result = mapped(...args);
  if ('problem' in result) throw new Error(result.problem);
  return result.run;
}

describe('mapping answers of a declared API', () => {
  test('an answer becomes a snapshot, with the word of the source', () => {
    const document = {
      id: 12,
      status: 'completed',
      conclusion: 'success',
      workflow_id: 'build (main)',
      name: 'Build',
      created_at: '2025-12-31T23:00:00Z',
      run_started_at: '2025-12-31T23:01:00+00:00',
      updated_at: '2025-12-31T23:59:59.1234Z',
      head_commit: { message: 'private' },
    };
    expect(mapped(GITHUB, document)).toEqual({
      workflowName: 'Build',
      run: {
        id: 'acme/shop/12',
        workflow_id: 'build%20(main)',
        group_id: null,
        workflow_version_id: null,
        status: 'completed',
        progress: null,
        created_at: '2025-12-31T23:00:00.000Z',
        started_at: '2025-12-31T23:01:00.000Z',
        finished_at: '2025-12-31T23:59:59.123Z',
        source: null,
        user_id: null,
        conversation_id: null,
        observed_at: '2026-01-01T00:00:00.000Z',
        source_status: 'success',
      },
    });
  });

  test.each([
    [2, 2],
    ['3', 3],
    [1, 1],
  ])('an attempt that stands there as %j is %j', (run_attempt, attempt) => {
    const declaration = { ...GITHUB, run: { ...GITHUB.run, attempt: '$.run_attempt' } };
    const document = { id: 12, status: 'queued', run_attempt };
    expect(runOf(declaration, document)).toMatchObject({ attempt });
    expect(runOf(GITHUB, document)).not.toHaveProperty('attempt');
  });

  test.each([undefined, null, 0, -1, 1.5, 'first', true, '', 1e12])(
    'an answer with %j for its attempt is invalid: attempts count from 1',
    (run_attempt) => {
      const declaration = { ...GITHUB, run: { ...GITHUB.run, attempt: '$.run_attempt' } };
      expect(mapped(declaration, { id: 12, status: 'queued', run_attempt })).toEqual({
        problem: '$.run_attempt (attempt): no whole number from 1 stands there',
      });
    },
  );

  test('the first path with a value gives the status: null and empty texts have none', () => {
    for (const conclusion of [null, undefined, '', {}]) {
      const { status } = runOf(GITHUB, { id: 12, conclusion, status: 'in_progress' });
      expect(status).toBe('running');
    }
  });

  test('a run that goes on has no end, whatever time the source gives', () => {
    const document = { id: 12, status: 'waiting', updated_at: '2025-12-31T23:59:59Z' };
    expect(runOf(GITHUB, document)).toMatchObject({
      status: 'awaiting_human_feedback',
      finished_at: null,
    });
  });

  test.each([
    ['paused', 'paused'],
    ['completed', 'unmapped_completed'],
    ['awaiting_rain', 'unmapped_awaiting_rain'],
    ['In Progress', 'In Progress'],
    ['x'.repeat(65), 'unmapped'],
    ['a\u0000\u202eb', 'a  b'],
  ])('a word that the configuration does not have is a status of its own: %j', (word, status) => {
    const run = runOf(GITHUB, { id: 12, status: word });
    expect(run.status).toBe(status);
    expect(run).not.toHaveProperty('source_status');
  });

  test('a star stands for all other words, which are not published', () => {
    const states = { completed: ['true'], failed: ['*'], running: ['false'] };
    const run = { id: '$.name', status: ['$.error.code', '$.done'] };
    const google: MappingDeclaration = { run, states, absent: 'running' };
    const statusOf = (document: object) => {
      const { status, source_status: word } = runOf(google, { name: '12', ...document });
      return [status, word];
    };
    expect(statusOf({})).toEqual(['running', undefined]);
    expect(statusOf({ done: false })).toEqual(['running', 'false']);
    expect(statusOf({ done: true })).toEqual(['completed', 'true']);
    expect(statusOf({ done: true, error: { code: 13 } })).toEqual(['failed', undefined]);
  });

  test('an answer without id or status, or about another run, is none', () => {
    expect(mapped(GITHUB, { status: 'queued' })).toEqual({
      problem: '$.id (id): nothing stands there',
    });
    expect(mapped(GITHUB, { id: 13, status: 'queued' })).toEqual({
      problem: '$.id (id): another run than the one that was asked for',
    });
    expect(mapped(GITHUB, { id: 12 })).toEqual({
      problem: '$.conclusion, $.status (status): nothing stands there',
    });
  });

  test('an id keeps its digits, and a UUID is the same in any case', () => {
    const ownId = '12345678901234567890123';
    expect(runOf(GITHUB, `{"id":${ownId},"status":"queued"}`, { ownId }).status).toBe('queued');
    const uuid = '5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11';
    const document = { id: uuid.toUpperCase(), status: 'queued' };
    expect(runOf(GITHUB, document, { ownId: uuid }).status).toBe('queued');
  });

  test.each([
    ['2025-12-31T23:00:00', '2025-12-31T23:00:00.000Z'],
    [1_767_225_600, '2026-01-01T00:00:00.000Z'],
    ['1767225600', '2026-01-01T00:00:00.000Z'],
    [1_767_225_600.5, '2026-01-01T00:00:00.500Z'],
    [1_767_225_600_123, '2026-01-01T00:00:00.123Z'],
    [0, null],
    [-1, null],
    [1e30, null],
    ['0001-01-01T00:00:00Z', null],
    ['yesterday', null],
    [true, null],
    [null, null],
  ])('a time is ISO 8601, or seconds or milliseconds since the epoch: %j', (given, time) => {
    const run = runOf(GITHUB, { id: 12, status: 'queued', created_at: given });
    expect(run.created_at).toBe(time);
  });

  test.each([
    [{ at: 41.9 }, 41],
    [{ at: '40' }, 40],
    [{ at: 140 }, 100],
    [{ at: -3 }, 0],
    [{ at: 'half' }, null],
    [{}, null],
  ])('progress is a number up to 100: %j', (document, progress) => {
    const run = { ...GITHUB.run, progress: '$.at' };
    const given = { id: 12, status: 'queued', ...document };
    expect(runOf({ ...GITHUB, run }, given).progress).toBe(progress);
  });

  test.each([
    [{ done: 1, total: 3 }, 33],
    [{ done: 5, total: 4 }, 100],
    [{ done: 0, total: 0 }, null],
    [{ done: 1 }, null],
  ])('progress is a share of a total: %j', (counts, progress) => {
    const run = { ...GITHUB.run, progress: { done: '$.counts.done', total: '$.counts.total' } };
    const given = { id: 12, status: 'queued', counts };
    expect(runOf({ ...GITHUB, run }, given).progress).toBe(progress);
  });
});

describe('a second read', () => {
  const success = { run_id: '12', status: 'success', updated_at: '2025-12-31T23:00:00Z' };
  const interrupted = { metadata: { run_id: '12' }, tasks: [{ interrupts: [{ id: 'secret' }] }] };

  test('only a state of when needs it', () => {
    const mapping = new RunMapping(LANGGRAPH);
    const needs = (status: string) => {
      const values = valuesOf({ run_id: '12', status }, mapping.tree);
      const first = mapping.readFirst(values, ASKED);
      return 'problem' in first ? null : mapping.needsSecond(first);
    };
    expect(['running', 'success', 'interrupted', 'other'].map(needs)).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });

  test('a wait that it shows stands, with the word of the first answer', () => {
    expect(runOf(LANGGRAPH, success, { second: interrupted })).toMatchObject({
      status: 'awaiting_human_feedback',
      source_status: 'success',
      finished_at: null,
    });
  });

  test.each([
    { metadata: { run_id: '13' }, next: ['node'] },
    { metadata: {}, next: ['node'] },
    { metadata: { run_id: '12' }, next: [] },
    {},
  ])('where it says nothing of the run, the first answer stands: %j', (second) => {
    expect(runOf(LANGGRAPH, success, { second })).toMatchObject({
      status: 'completed',
      finished_at: '2025-12-31T23:00:00.000Z',
    });
  });

  test('after a wait that only it showed, the time of the end is not known', () => {
    const before = runOf(LANGGRAPH, success, { second: interrupted });
    const after = runOf(LANGGRAPH, success, { before });
    expect(after).toMatchObject({ status: 'completed', finished_at: null });
    const goesOn = runOf(LANGGRAPH, { ...success, status: 'running' }, { before });
    const ended = runOf(LANGGRAPH, success, { before: goesOn });
    expect(ended.finished_at).toBe('2025-12-31T23:00:00.000Z');
  });

  test('after a wait that the first read showed, the time of the end counts', () => {
    const states = { ...LANGGRAPH.states, awaiting_human_feedback: ['paused'] };
    const declaration = { ...LANGGRAPH, states };
    const before = runOf(declaration, { run_id: '12', status: 'paused' });
    const after = runOf(declaration, success, { before });
    expect(after.finished_at).toBe('2025-12-31T23:00:00.000Z');
  });
});
