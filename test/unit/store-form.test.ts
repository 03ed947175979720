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

/** The form of the store by its number: keys, what indexes serve, and the fields of records. */
const FORMS: Readonly<Record<string, string>> = {
  '11': String.raw`
key queuePrefix: {p}
key schema: {p}:schema
key form: {p}:form
key migrationLease: {p}:migration-lease
key epochs: {p}:epochs
key damage: {p}:damage
key watchChannel: {p}:watch-channel
key memoryNotes: {p}:memory-notes
key audit: {p}:audit
key writeProbe: {p}:write-probe
key rightsProbe: {p}:rights-probe
key clock: {p}:clock
key clockSteps: {p}:clock-steps
key processes: {p}:processes
key processInfo: {p}:process-info
key requestsDue: {p}:requests:<part>:prompt
key requestsDue: {p}:requests:<part>:first
key requestsDue: {p}:requests:<part>:watch
key requestsDue: {p}:requests:<part>:frugal
key requestsDue: {p}:requests:<part>:list
key requestsDue: {p}:requests:<part>:stream
key requestsDue: {p}:requests:<part>:plan
key requestsDue: {p}:requests:<part>:spare
key schedule: {p}:clock
key schedule: {p}:request-claims:<part>
key requestShares: {p}:request-shares:<part>
key requestClaims: {p}:request-claims:<part>
key pollsOverdue: {p}:polls-overdue:<part>
key wake: {p}:wake
key watch: {p}:watch:<source>/<run>
key watchNumber: {p}:watch-number
key watchNames: {p}:watch-names:
key watches: {p}:watches:<part>:<part>
key watchSources: {p}:watch-sources
key watchesEnded: {p}:watches-ended
key watchesChanged: {p}:watches-changed
key packDue: {p}:pack-due
key packed: {p}:packed
key statistics: {p}:statistics:<part>
key workflows: {p}:workflows:<part>:<part>
key workflowsUsed: {p}:workflows-used
key workflowClock: {p}:workflow-clock
key watchesOfTokens: {p}:watches-of-tokens
key activeRuns: {p}:active-runs
key workflowNames: {p}:workflow-names:<part>
key workflowNamesRead: {p}:workflow-names-read:<part>
key runFigures: {p}:run-figures:<part>:<part>
key tablesKnown: {p}:tables-known
key listPlan: {p}:list-plan:<part>
key list: {p}:list:<source>:<workflow>
key listHints: {p}:list-hints:<part>
key discoveryCursor: {p}:discovery-cursor:<source>:<workflow>
key discoveryTrouble: {p}:discovery-trouble:<source>:<workflow>
key sourceAdmission: {p}:source:<part>
key sourceAdmission: {p}:source-probe:<part>
key sourceAdmission: {p}:source-open:<part>
key sourceConsistency: {p}:source-consistency:<part>
key sourceAnswered: {p}:answered:<part>
key goneChecks: {p}:gone-checks
key budget: {p}:budget:<part>
key pace: {p}:pace:<part>
key streams: {p}:streams:<part>
key streamState: {p}:stream-state:<part>
key nodeNames: {p}:node-names:<part>
key streamTrust: {p}:stream-trust:<part>
key sealingKeys: {p}:sealing-keys
key endpointSecrets: {p}:endpoint-secrets
key endedSessions: {p}:ended-sessions:<part>
key sourceNames: {p}:source-names
key event: {p}:event:<part>
key eventPlace: {p}:event-place
key eventLog: {p}:event-log:
key events: {p}:events:<part>:<part>
key liveEvents: {p}:live-events:<part>
key ownEvents: {p}:own-events
key eventBell: {p}:event-bell
key delivery: {p}:delivery:<part>
key deliveryNumber: {p}:delivery-number
key deliveryLog: {p}:delivery-log:
key deliveries: {p}:deliveries:<part>:<part>
key liveDeliveries: {p}:live-deliveries:<part>
key deliveriesOfEvent: {p}:event-deliveries:<part>
key deliveriesSettled: {p}:deliveries-settled
key attempts: {p}:attempts:<part>
key deliveryCounts: {p}:ledger
key poolsDue: {p}:pools-due
key poolDue: {p}:pool-due:<part>
key dueBell: {p}:due-bell
key deliveryClaims: {p}:delivery-claims
key endpointState: {p}:endpoint-state:<part>
key endpointsInTrouble: {p}:endpoints-in-trouble
key endpointsUnwell: {p}:endpoints-unwell
key due: {p}:due:<part>
key taken: {p}:taken:<part>
key waiting: {p}:waiting:<part>
key slots: {p}:slots:<part>
key probe: {p}:probe:<part>
key hold: {p}:hold:<part>
key held: {p}:held:<part>
key parked: {p}:parked:<part>
key replays: {p}:replays
key replayLease: {p}:replay-lease
key ordering: {p}:lane:<source>/<run>:<endpoint>
key alertInbox: {p}:alert-inbox
key alertGroup: {p}:alert-group:<part>
key alertGroups: {p}:alert-groups:<part>
key alertsDue: {p}:alerts-due
key alertDeadlines: {p}:alert-deadlines
key alertLease: {p}:alert-lease
key alertSeen: {p}:alert-seen
key alertDeadlineRules: {p}:alert-deadline-rules
key alerts: {p}:alerts:<part>:<rule>:<source>
key resolvedAlert: {p}:alert:<part>
key alertsResolved: {p}:alerts-resolved
key alertCounts: {p}:alert-counts
key silences: {p}:silences
key alertMessage: {p}:alert-message:<part>:<part>
key batch: {p}:batch:<part>
key batchNames: {p}:batch-names
key batches: {p}:batches
key batchesDue: {p}:batches-due
key batchesIdle: {p}:batches-idle
key batchWebhooks: {p}:batch-webhooks
key batchSources: {p}:batch-sources
key runIds: {p}:run-ids:<part>:<part>
key runIdBlocks: {p}:run-id-blocks:<part>
key records: {p}:kept-answers
key expiries: {p}:kept-answers-expiry
key bytes: {p}:kept-answers-bytes
index of watch, GET /v1/watches?state: {p}:watches:state:active
index of watch, GET /v1/watches?source: {p}:watches:source:default
index of watch, GET /v1/watches?status: {p}:watches:status:awaiting_human_feedback
index of watch, GET /v1/watches?workflow_id: {p}:watches:workflow:workflow-1
index of watch, GET /v1/watches?since&until: {p}:watches:changed:20454
index of watch, GET /v1/attention: {p}:watches:attention:awaiting acknowledged, {p}:watches:attention:stalled acknowledged, {p}:watches:attention:unreachable acknowledged
index of watch, workflow.stalled: {p}:watches:stalled:default:workflow-1
index of watch, GET /v1/watches?metadata.<key>: {p}:watches:metadata:I4Th28kxsDfktWzi
index of watch, GET /v1/webhooks: {p}:watches:webhooks, {p}:watches:webhooks:ci
index of watch, max_watches of a token: {p}:watches:token:ci
index of watch, GET /v1/watches?batch: {p}:watches:batch:bat_1:awaiting_human_feedback
index of watch, runwatch_runs: {p}:watches:active:default:awaiting_human_feedback
index of event, GET /v1/events?type: {p}:events:type:run.failed
index of event, what a token for some sources may read: {p}:events:source:default
index of event, GET /v1/events?workflow_id: {p}:events:workflow:workflow-1
index of delivery, GET /v1/deliveries?state: {p}:deliveries:state:pending
index of delivery, what a token for some sources may read: {p}:deliveries:source:default,other
index of delivery, GET /v1/deliveries?endpoint: {p}:deliveries:endpoint:ops
fields of a watch: acknowledged attempt batches cadence changedAt doubt dwell endedAt formerWebhooks foundWaiting gone held isReopened lastPolledAt maxDelayMs metadata missing nextPollAt notice pastEnds phases pollHistory polls profile registeredAt registeredBy restartedAt run runAskedAt runId sequence source state subscriptions timeoutAt trouble unknownAt unknownStatuses unreachable waiting waits
head of a watch: "         8         c         6         0         x         y         1"
document of a watch, registeredBy: ["ci"]
document of a watch, run: {"id":"RUN-1","workflow_id":"workflow-1","group_id":"group-1","workflow_version_id":"version-1","status":"awaiting_human_feedback","progress":40,"created_at":"2026-01-01T00:00:00.000Z","started_at":"2026-01-01T00:00:01.000Z","finished_at":"2026-01-01T00:00:02.000Z","source":"api","user_id":"user-1","conversation_id":"conversation-1","source_status":"busy","attempt":35}
document of a watch, subscriptions: [{"kind":"webhook","receiver":"https://example.com/…#19f1352238b915338c91b6a9fdd2dd4b@default","sealed":"v1.…","events":["run.failed"],"registeredBy":["ci"]}]
document of a watch, formerWebhooks: [{"kind":"webhook","receiver":"https://example.com/…#815d893c70891e4e22038191822f55e7@default","sealed":"v1.…"}]
document of a watch, batches: ["bat_1"]
document of a watch, sequence: 7
document of a watch, attempt: 35
document of a watch, restartedAt: 36
document of a watch, pastEnds: ["run.failed"]
document of a watch, isReopened: true
document of a watch, held: ["ops"]
document of a watch, profile: "urgent"
document of a watch, maxDelayMs: 11
document of a watch, registeredAt: 1767225600000
document of a watch, timeoutAt: 604800000
document of a watch, endedAt: 13
document of a watch, trouble: {"kind":"unavailable","message":"status 502","since":1767225600014}
document of a watch, unreachable: true
document of a watch, missing: {"code":"not_found","message":"status 404","since":1767225600015,"count":16}
document of a watch, gone: {"code":"not_found","message":"status 404","since":1767225600017}
document of a watch, unknownStatuses: ["odd"]
document of a watch, unknownAt: [1767225600018]
document of a watch, notice: {"eventId":"evt_1","type":"run.awaiting_human_feedback"}
document of a watch, changedAt: 3
document of a watch, acknowledged: {"by":"ada","comment":"mine","at":1767225600004,"until":1767225600005}
document of a watch, waiting: {"since":1767225600019,"reminders":20,"reminderId":"evt_2"}
document of a watch, waits: {"place":{"progress":21,"startedAt":1767225600022,"executed":23},"notifiedAt":[1767225600024],"pending":{"since":1767225600025,"isAgain":true}}
document of a watch, foundWaiting: true
document of a watch, doubt: {"since":1767225600026,"at":1767225600027,"reads":28}
document of a watch, dwell: [29,2]
document of a watch, phases: [["queued",30,1,32]]
document of a watch, metadata: {"team":"ml"}
polls of a watch: "\t--------8---9-                                                                                                                                                          "
record of a delivery: {"source":"default","runId":"run-1","id":"dlv_1","eventId":"evt_1","eventType":"run.failed","alertId":"alt_1","subject":"source","batchId":"bat_1","sources":["default","other"],"endpoint":"ops","state":"pending","attemptCount":1,"step":2,"requested":false,"urgent":false,"foldMost":3,"nextAttemptAt":1767225600000,"createdAt":1767225600000,"deliveredAt":null,"last":{"at":1767225600000,"status":204,"error":null,"durationMs":1,"response":"","phases":[null,2,3]}}
form of a packed record: 2
`,
};

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
  const [is, was] = [form().split('\n'), (FORMS[SCHEMA] ?? '').trim().split('\n')];
  const changed = [
    ...was.filter((line) => !is.includes(line)).map((line) => `- ${line}`),
    ...is.filter((line) => !was.includes(line)).map((line) => `+ ${line}`),
  ];
  if (changed.length === 0) return;
  throw new Error(
    `the store is not of form ${SCHEMA} any more: raise SCHEMA in src/redis/migrations.ts where ` +
      'a record of that form would be misread, or an index lack records that are there, and write the new form ' +
      `here\n${changed.join('\n')}`,
  );
});

test('each index of the table has a key for the records that stand for all', () => {
  expect(form()).not.toMatch(/^index .*: $/m);
});
