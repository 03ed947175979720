import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import type { Attempt, Delivery } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { NO_POLLS, recordPoll } from '../../src/core/watch/poll-history.ts';
import { packHistory } from '../../src/redis/history-codec.ts';
import { INDEXES } from '../../src/redis/indexes.ts';
import { answerKeys, createKeys } from '../../src/redis/keys.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { writeDoc, writeHead, writePolls } from '../../src/redis/stores/watch-record.ts';
import { newWatch, NOON, observeContext, snapshot, webhookTo } from '../support/builders.ts';

/** A watch with a value in each field of its record. */
const watch: Watch = newWatch({
  registeredBy: ['ci'],
  run: snapshot({
    id: 'RUN-1',
    workflow_version_id: 'version-1',
    status: 'awaiting_human_feedback',
    progress: 40,
    started_at: '2026-01-01T00:00:01.000Z',
    finished_at: '2026-01-01T00:00:02.000Z',
    source: 'api',
    user_id: 'user-1',
    conversation_id: 'conversation-1',
    source_status: 'busy',
    attempt: 35,
  }),
  changedAt: NOON + 3,
  acknowledged: { by: 'ada', comment: 'mine', at: NOON + 4, until: NOON + 5 },
  runAskedAt: NOON + 6,
  metadata: { team: 'ml' },
  subscriptions: [
    { ...webhookTo('https://example.com/hook', ['run.failed']), registeredBy: ['ci'] },
  ],
  formerWebhooks: [webhookTo('https://example.com/old')],
  batches: ['bat_1'],
  sequence: 7,
  attempt: 35,
  restartedAt: NOON + 36,
  pastEnds: ['run.failed'],
  isReopened: true,
  held: ['ops'],
  polls: 8,
  pollHistory: recordPoll(
    NO_POLLS,
    { at: NOON, mode: 'single', outcome: 'run', durationMs: 9, lagMs: 10 },
    NOON,
  ),
  profile: 'urgent',
  maxDelayMs: 11,
  lastPolledAt: NOON + 12,
  endedAt: NOON + 13,
  trouble: { kind: 'unavailable', message: 'status 502', since: NOON + 14 },
  unreachable: true,
  missing: { code: 'not_found', message: 'status 404', since: NOON + 15, count: 16 },
  gone: { code: 'not_found', message: 'status 404', since: NOON + 17 },
  unknownStatuses: ['odd'],
  unknownAt: [NOON + 18],
  notice: { eventId: 'evt_1', type: 'run.awaiting_human_feedback' },
  waiting: { since: NOON + 19, reminders: 20, reminderId: 'evt_2' },
  waits: {
    place: { progress: 21, startedAt: NOON + 22, executed: 23 },
    notifiedAt: [NOON + 24],
    pending: { since: NOON + 25, isAgain: true },
  },
  foundWaiting: true,
  doubt: { since: NOON + 26, at: NOON + 27, reads: 28 },
  dwell: { since: NOON + 29, stalled: true, isInNotice: true },
  phases: [{ state: 'queued', since: NOON + 30, seenAt: NOON + 31, secondMs: 32 }],
  cadence: { intervalMs: 33, failures: 34 },
});

/** Arguments of a key that is one of many. */
const part = {
  source: '<source>',
  runId: '<run>',
  workflowId: '<workflow>',
  endpoint: '<endpoint>',
  rule: '<rule>',
  toString: () => '<part>',
};

const keys = createKeys('p');

const attempt: Required<Attempt> = {
  at: NOON,
  status: 204,
  error: null,
  durationMs: 1,
  response: '',
  phases: [null, 2, 3],
};

const delivery: Required<Delivery> = {
  source: 'default',
  runId: 'run-1',
  id: 'dlv_1',
  eventId: 'evt_1',
  eventType: 'run.failed',
  alertId: 'alt_1',
  subject: 'source',
  batchId: 'bat_1',
  sources: ['default', 'other'],
  endpoint: 'ops',
  state: 'pending',
  attemptCount: 1,
  step: 2,
  requested: false,
  urgent: false,
  foldMost: 3,
  nextAttemptAt: NOON,
  createdAt: NOON,
  deliveredAt: null,
  last: attempt,
};

const PAGE = readFileSync('docs/store.md', 'utf8');

/** The form of the store as its page has it. */
function written(): string {
  return /## The form in full\n[^]*?```text\n([^]*?)\n```/.exec(PAGE)?.[1] ?? '';
}

/** The form of the store as text. */
function form(): string {
  const failed = snapshot({ status: 'failed' });
  const { events } = observe(newWatch(), { kind: 'run', run: failed }, observeContext(NOON));
  const { watch: ofWatch, event: ofEvent, delivery: ofDelivery } = INDEXES;
  return [
    ...Object.entries({ ...keys, ...answerKeys(keys) }).flatMap(([name, key]) =>
      namesOf(key).map((text) => `key ${name}: ${text}`),
    ),
    ...ofWatch.map(({ serves, keysOf }) => indexLine('watch', serves, keysOf(keys, watch))),
    ...ofEvent.map(({ serves, keysOf }) =>
      indexLine(
        'event',
        serves,
        events.flatMap((event) => keysOf(keys, event)),
      ),
    ),
    ...ofDelivery.map(({ serves, keysOf }) =>
      indexLine('delivery', serves, keysOf(keys, delivery)),
    ),
    `fields of a watch: ${Object.keys(watch).sort().join(' ')}`,
    `head of a watch: ${JSON.stringify(writeHead(watch))}`,
    ...Object.entries(JSON.parse(writeDoc(watch)) as object).map(
      ([name, value]) => `document of a watch, ${name}: ${JSON.stringify(value)}`,
    ),
    `polls of a watch: ${JSON.stringify(writePolls(watch))}`,
    `record of a delivery: ${JSON.stringify(delivery)}`,
    `form of a packed record: ${packHistory({ rest: '', events: [], deliveries: [] })[0]}`,
  ].join('\n');
}

function indexLine(kind: string, serves: string, indexes: readonly string[]): string {
  return `index of ${kind}, ${serves}: ${indexes.join(', ')}`;
}

/** The names of a key, or of keys that are made from parts. */
function namesOf(key: unknown): string[] {
  if (typeof key === 'string') return [key];
  if (typeof key === 'function')
    return namesOf((key as (...parts: unknown[]) => unknown)(part, part));
  return Object.values(key as object).flatMap(namesOf);
}

test('keys, indexes and fields of records are those of the form that SCHEMA names', () => {
  const [is, was] = [form().split('\n'), written().split('\n')];
  const changed = [
    ...was.filter((line) => !is.includes(line)).map((line) => `- ${line}`),
    ...is.filter((line) => !was.includes(line)).map((line) => `+ ${line}`),
  ];
  if (changed.length === 0) return;
  throw new Error(
    `the store is not of form ${SCHEMA} any more: where a record of that form would be misread, or an index lack ` +
      'records that are there, add a migration to src/redis/migrations.ts; write the new form in docs/store.md' +
      `\n${changed.join('\n')}`,
  );
});

test('each index of the table has a key for the records that stand for all', () => {
  expect(form()).not.toMatch(/^index .*: $/m);
});

test('docs/store.md has the number of the form, and a row for each kind of key', () => {
  expect(PAGE).toContain(`whose number is **${SCHEMA}**`);
  const named = Object.values({ ...keys, ...answerKeys(keys) }).flatMap(namesOf);
  const kinds = new Set(named.flatMap((name) => /^\{p\}:([\w-]+)/.exec(name)?.[1] ?? []));
  const rows = new Set([...PAGE.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, kind]) => kind));
  expect([...kinds].filter((kind) => !rows.has(kind))).toEqual([]);
});
