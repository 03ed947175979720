import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { RUN_FIELDS, RUN_FIELD_NAMES, type RunFieldKind } from '../../src/core/run/snapshot.ts';
import { readTimestamp } from '../../src/core/run/timestamp.ts';
import { toSnapshot, wireRunSchema } from '../../src/noxus/run.ts';

const OBSERVED_AT = Date.parse('2025-03-01T10:00:00.250Z');

const MINIMAL = {
  id: '3f1c9a52-7d7e-4a8e-9b53-0c1d2e3f4a5b',
  group_id: 'g-1',
  workflow_id: 'w-1',
  status: 'running',
  created_at: '2025-03-01T09:00:00.123456',
};

/** The fields of a run of a kind. */
const fieldsOf = (kind: RunFieldKind) =>
  RUN_FIELD_NAMES.filter((name) => RUN_FIELDS[name].kind === kind);

const snapshotOf = (body: object) => toSnapshot(wireRunSchema.parse(body), OBSERVED_AT);

const isText = (value: unknown) => typeof value === 'string' && value !== '';

describe('a run as Noxus sends it', () => {
  test('a run from Noxus becomes a snapshot with all fields of the contract and nothing else', () => {
    const snapshot = snapshotOf({
      ...MINIMAL,
      workflow_version_id: 'v-1',
      progress: 40,
      started_at: '2025-03-01T10:00:01+01:00',
      finished_at: '2025-03-01T09:30:00Z',
      source: 'api',
      user_id: 'u-1',
      conversation_id: 'c-1',
      single_node_id: 'canary',
      input: { secret: 'canary' },
      definitions: { secret: 'canary' },
      node_ids: ['canary'],
      meta: { secret: 'canary' },
      api_key_id: 'canary',
      field_of_tomorrow: 'canary',
    });
    expect(snapshot).toEqual({
      id: MINIMAL.id,
      workflow_id: 'w-1',
      group_id: 'g-1',
      workflow_version_id: 'v-1',
      status: 'running',
      progress: 40,
      created_at: '2025-03-01T09:00:00.123Z',
      started_at: '2025-03-01T09:00:01.000Z',
      finished_at: '2025-03-01T09:30:00.000Z',
      source: 'api',
      user_id: 'u-1',
      conversation_id: 'c-1',
      observed_at: '2025-03-01T10:00:00.250Z',
    });
    expect(Object.keys(snapshot)).toEqual(RUN_FIELD_NAMES);
  });

  test('a run from Noxus may lack every optional field', () => {
    expect(snapshotOf(MINIMAL)).toMatchObject({
      workflow_version_id: null,
      progress: null,
      started_at: null,
      finished_at: null,
      source: null,
      user_id: null,
      conversation_id: null,
    });
  });

  test.each(fieldsOf('text'))(
    "a run's %s becomes null unless it is text of a sane length",
    (field) => {
      for (const value of [null, 7, true, {}, ['x'], 'x'.repeat(1_025)]) {
        expect(snapshotOf({ ...MINIMAL, [field]: value })[field]).toBeNull();
      }
    },
  );

  test.each(fieldsOf('time'))("a run's %s becomes null unless it is a time", (field) => {
    for (const value of [null, 1_700_000_000, 'soon', '', '2025-13-01T00:00:00Z', {}]) {
      expect(snapshotOf({ ...MINIMAL, [field]: value })[field]).toBeNull();
    }
  });

  test.each([
    [0, 0],
    [100, 100],
    [-5, -5],
    [1e300, 1e300],
    [99.9, 99],
    [-0.5, 0],
    [null, null],
    [undefined, null],
    ['50', null],
    [Number.POSITIVE_INFINITY, null],
    [{}, null],
  ])('progress %p is read as %p', (progress, expected) => {
    expect(snapshotOf({ ...MINIMAL, progress }).progress).toBe(expected);
  });

  test('an undocumented status is kept', () => {
    expect(snapshotOf({ ...MINIMAL, status: 'hibernating' }).status).toBe('hibernating');
  });

  test.each(['group_id', 'workflow_id', 'created_at'] as const)(
    "a run's %s may be absent or of any type",
    (field) => {
      for (const value of [undefined, null, '', 5, {}, 'x'.repeat(1_025)]) {
        expect(snapshotOf({ ...MINIMAL, [field]: value })[field]).toBeNull();
      }
    },
  );

  test("a run's id is put in lower case if it is a UUID, and kept if not", () => {
    expect(snapshotOf({ ...MINIMAL, id: MINIMAL.id.toUpperCase() }).id).toBe(MINIMAL.id);
    expect(snapshotOf({ ...MINIMAL, id: 'Run-1' }).id).toBe('Run-1');
  });

  test.each(['id', 'status'])('a run without a valid %s is refused', (field) => {
    for (const value of [undefined, null, '', 5, {}, 'x'.repeat(1_025)]) {
      const { error } = wireRunSchema.safeParse({ ...MINIMAL, [field]: value });
      expect(error?.issues.map(({ path }) => path)).toEqual([[field]]);
    }
  });

  test('reading a run never throws on any JSON value, and needs id and status', () => {
    const nearlyRun = fc.record(
      {
        id: fc.jsonValue(),
        group_id: fc.constantFrom<unknown>('g', '', null, 1),
        workflow_id: fc.constantFrom<unknown>('w', '', null, {}),
        status: fc.constantFrom<unknown>('queued', 'odd', '', null, []),
        created_at: fc.constantFrom<unknown>(MINIMAL.created_at, 'never', null, 3),
        progress: fc.jsonValue(),
        started_at: fc.jsonValue(),
        user_id: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), nearlyRun), (value) => {
        const parsed = wireRunSchema.safeParse(value);
        if (!parsed.success) return;
        const fields = value as Record<string, unknown>;
        expect([fields['id'], fields['status']].every(isText)).toBe(true);
        const snapshot = toSnapshot(parsed.data, OBSERVED_AT);
        expect(Object.keys(snapshot)).toEqual(RUN_FIELD_NAMES);
        expect(snapshot.progress === null || Number.isInteger(snapshot.progress)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a timestamp', () => {
  test.each([
    ['2025-03-01T09:00:00Z', '2025-03-01T09:00:00.000Z'],
    ['2025-03-01T09:00:00', '2025-03-01T09:00:00.000Z'],
    ['2025-03-01 09:00:00', '2025-03-01T09:00:00.000Z'],
    ['2025-03-01t09:00:00z', '2025-03-01T09:00:00.000Z'],
    ['2025-03-01T09:00', '2025-03-01T09:00:00.000Z'],
    ['2025-03-01', '2025-03-01T00:00:00.000Z'],
    ['2025-03-01T09:00:00.5', '2025-03-01T09:00:00.500Z'],
    ['2025-03-01T09:00:00.999999', '2025-03-01T09:00:00.999Z'],
    ['2025-03-01T09:00:00.123456789+00:00', '2025-03-01T09:00:00.123Z'],
    ['2025-03-01T09:00:00+05:30', '2025-03-01T03:30:00.000Z'],
    ['2025-03-01T09:00:00-0330', '2025-03-01T12:30:00.000Z'],
    ['2025-03-01T09:00:00+02', '2025-03-01T07:00:00.000Z'],
  ])('the timestamp %s is read as %s', (text, expected) => {
    expect(readTimestamp(text)).toBe(expected);
  });

  test.each([
    '',
    'yesterday',
    '2025',
    '2025-13-01T00:00:00Z',
    '2025-03-01T25:00:00Z',
    '2025-03-01T09:00:00 CET',
    'Sat, 01 Mar 2025 09:00:00 GMT',
    1_740_819_600,
    null,
    undefined,
    {},
  ])('%p is no timestamp', (value) => {
    expect(readTimestamp(value)).toBeNull();
  });

  test('a timestamp keeps its instant to the millisecond in any zone and precision', () => {
    const instants = fc.date({
      min: new Date('1970-01-02T00:00:00Z'),
      max: new Date('9999-12-30T00:00:00Z'),
      noInvalidDate: true,
    });
    const offsets = fc.integer({ min: -14 * 60, max: 14 * 60 });
    fc.assert(
      fc.property(instants, offsets, fc.constantFrom('', '7', '789'), (instant, offset, finer) => {
        const local = new Date(instant.getTime() + offset * 60_000).toISOString().slice(0, -1);
        const hours = String(Math.trunc(Math.abs(offset) / 60)).padStart(2, '0');
        const minutes = String(Math.abs(offset) % 60).padStart(2, '0');
        const zone = `${offset < 0 ? '-' : '+'}${hours}:${minutes}`;
        expect(readTimestamp(`${local}${finer}${zone}`)).toBe(instant.toISOString());
      }),
    );
  });

  test('reading a timestamp never throws, and its result reads back unchanged', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.jsonValue()), (value) => {
        const time = readTimestamp(value);
        if (time !== null) expect(readTimestamp(time)).toBe(time);
      }),
    );
  });
});
