import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EVENT_TYPES, isoTime } from '../../src/core/event/event.ts';
import {
  RUN_FIELDS,
  RUN_FIELD_NAMES,
  type RunFieldKind,
  type RunSnapshot,
} from '../../src/core/run/snapshot.ts';
import { PROFILES, WATCH_STATES, type Watch } from '../../src/core/watch/watch.ts';
import {
  readWatch,
  withoutMetadata,
  writeDoc,
  writeHead,
  writeRest,
} from '../../src/redis/stores/watch-record.ts';
import { NO_POLLS, recordPoll, type PollHistory } from '../../src/core/watch/poll-history.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

/** A record has room for times that are up to 89 years, 36⁸ ms, from the registration. */
const time = fc.nat({ max: 36 ** 8 - 1 });
const timeOrNull = fc.option(time);
const text = fc.string();
const trouble = fc.record({
  kind: fc.constant('unavailable' as const),
  message: text,
  since: time,
});

/** Values of a run's fields, as strange as a record can hold. */
const VALUES = {
  id: fc.constantFrom('run-1', 'RUN-1'),
  status: text,
  text: fc.option(text),
  integer: fc.option(fc.integer()),
  time: fc.option(text),
  observed: time.map(isoTime),
} satisfies Record<RunFieldKind, fc.Arbitrary<unknown>>;

const given = fc.record(
  Object.fromEntries(RUN_FIELD_NAMES.map((name) => [name, VALUES[RUN_FIELDS[name].kind]])),
) as fc.Arbitrary<unknown> as fc.Arbitrary<RunSnapshot>;

/** With what only declared sources give. */
const declared = fc.record(
  { source_status: text, attempt: fc.integer({ min: 1 }) },
  { requiredKeys: [] },
);

const run = fc.tuple(given, declared).map(([one, more]): RunSnapshot => Object.assign(one, more));

const webhook = fc.record(
  {
    kind: fc.constant('webhook' as const),
    receiver: text,
    events: fc.array(text),
    sealed: text,
  },
  { requiredKeys: ['kind', 'receiver', 'sealed'] },
);

const subscription = fc.oneof(
  fc.record({ kind: fc.constant('endpoint' as const), endpoint: text }),
  webhook,
);

function historyOf(polls: number): PollHistory {
  const poll = { mode: 'single', outcome: 'run', durationMs: 40, lagMs: 0 } as const;
  let history = NO_POLLS;
  for (let at = 0; at < polls; at += 1)
    history = recordPoll(history, { ...poll, at: NOON + at }, NOON);
  return history;
}

const watches: fc.Arbitrary<Watch> = fc.record({
  source: fc.constant('default'),
  runId: fc.constant('run-1'),
  registeredBy: fc.array(fc.constantFrom('ci', 'ops'), { maxLength: 2 }),
  state: fc.constantFrom(...WATCH_STATES),
  run: fc.option(run),
  changedAt: time,
  acknowledged: fc.option(
    fc.record({ by: text, comment: fc.option(text), at: time, until: timeOrNull }),
  ),
  runAskedAt: timeOrNull,
  metadata: fc.dictionary(text, text, { noNullPrototype: true }),
  subscriptions: fc.array(subscription),
  formerWebhooks: fc.array(webhook),
  batches: fc.array(text, { maxLength: 3 }),
  sequence: fc.nat(),
  attempt: fc.option(fc.integer({ min: 1 })),
  restartedAt: timeOrNull,
  pastEnds: fc.array(fc.constantFrom(...EVENT_TYPES), { maxLength: 2 }),
  isReopened: fc.boolean(),
  held: fc.array(text, { maxLength: 2 }),
  polls: fc.nat(),
  pollHistory: fc.nat(130).map(historyOf),
  profile: fc.constantFrom(...PROFILES),
  maxDelayMs: timeOrNull,
  registeredAt: time,
  lastPolledAt: timeOrNull,
  // The schedule keeps this time.
  nextPollAt: fc.constant(null),
  timeoutAt: time,
  endedAt: timeOrNull,
  trouble: fc.option(trouble),
  unreachable: fc.boolean(),
  missing: fc.option(
    fc.record({
      count: fc.nat(),
      code: fc.constantFrom('not_found' as const, 'rejected' as const),
      message: fc.string(),
      since: time,
    }),
  ),
  gone: fc.option(
    fc.record({ code: fc.constantFrom('not_found', 'rejected'), message: text, since: time }),
  ),
  unknownStatuses: fc.array(text),
  unknownAt: fc.array(time, { maxLength: 3 }),
  notice: fc.option(fc.record({ eventId: text, type: fc.constantFrom(...EVENT_TYPES) })),
  waiting: fc.option(fc.record({ since: time, reminders: fc.nat(), reminderId: fc.option(text) })),
  foundWaiting: fc.boolean(),
  waits: fc.option(
    fc.record({
      place: fc.record({
        progress: fc.option(fc.integer()),
        startedAt: timeOrNull,
        executed: fc.option(fc.nat()),
      }),
      notifiedAt: fc.array(time, { maxLength: 3 }),
      pending: fc.option(fc.record({ since: time, isAgain: fc.boolean() })),
    }),
  ),
  doubt: fc.option(fc.record({ since: time, at: time, reads: fc.nat() })),
  dwell: fc.option(
    fc.oneof(
      fc.record({ since: time, stalled: fc.boolean() }),
      fc.record({
        since: time,
        stalled: fc.constant(true),
        isInNotice: fc.constant(true as const),
      }),
    ),
  ),
  phases: fc.array(
    fc.record({ state: text, since: time, seenAt: timeOrNull, secondMs: fc.nat() }),
    { maxLength: 12 },
  ),
  cadence: fc.record({ intervalMs: fc.nat(), failures: fc.nat() }),
});

/** The record as the script writes it. */
function recordOf(watch: Watch, { version, number }: { version: number; number: number }): string {
  const [first, second] = [version, number].map((one) => String(one).padStart(12, '0'));
  return `${first} ${second}${writeRest(watch)}`;
}

describe('a record', () => {
  test('a watch record changes in its head alone where a poll saw no change', () => {
    const watch = newWatch({ run: snapshot() });
    const polled = {
      ...watch,
      run: snapshot({ observed_at: isoTime(watch.registeredAt + 5_000) }),
      polls: 1_000,
      lastPolledAt: watch.registeredAt + 4_000,
      runAskedAt: watch.registeredAt + 4_000,
      cadence: { intervalMs: 60_000, failures: 0 },
    };
    expect(writeDoc(polled)).toBe(writeDoc(watch));
    expect(writeHead(polled)).toHaveLength(writeHead(watch).length);
  });

  test('a watch record gives back every watch as it was written', () => {
    fc.assert(
      fc.property(watches, fc.nat(), fc.nat(), (watch, version, number) => {
        const stored = readWatch(watch, recordOf(watch, { version, number }));
        expect(stored).toEqual({ version, number, watch, doc: writeDoc(watch) });
      }),
    );
  });

  test('what a later version adds to a watch record is kept by this one', () => {
    const later = fc.dictionary(
      fc.string().filter((name) => !(name in newWatch())),
      fc.jsonValue().filter((value) => value !== null),
    );
    fc.assert(
      fc.property(watches, watches, later, (one, other, added) => {
        const before = JSON.stringify({ ...JSON.parse(writeDoc(one)), ...added });
        const after = { ...other, source: one.source, runId: one.runId };
        expect(JSON.parse(writeDoc(after, before))).toEqual(
          JSON.parse(JSON.stringify({ ...JSON.parse(writeDoc(after)), ...added })),
        );
      }),
    );
  });

  test('a watch record that is read without metadata is that of a watch without any', () => {
    // In a string, the beginning of metadata is escaped.
    const misleading = fc.constant(',"metadata":{"a":"b"}');
    const odd = fc.oneof(text, misleading);
    fc.assert(
      fc.property(watches, odd, fc.nat(), (one, said, number) => {
        const identity = { version: 1, number };
        const ofRun = one.run === null ? null : { ...one.run, status: said };
        const watch = { ...one, run: ofRun, metadata: { ...one.metadata, [said]: said } };
        const record = Buffer.from(recordOf(watch, identity));
        const bare = { ...watch, metadata: {} };
        expect(withoutMetadata(record)).toBe(recordOf(bare, identity));
      }),
    );
  });

  test('a watch record gives back a run with its fields in the published order', () => {
    const watch = newWatch({ run: snapshot() });
    const stored = readWatch(watch, recordOf(watch, { version: 1, number: 1 }));
    expect(JSON.stringify(stored?.watch.run)).toBe(JSON.stringify(watch.run));
  });

  test('the record of a watch that was never polled holds only unusual values', () => {
    const watch = newWatch();
    const said = Object.keys(JSON.parse(writeDoc(watch)) as object);
    expect(said).toEqual(['registeredAt', 'timeoutAt']);
  });
});
