import { countedReceiver } from '../core/delivery/receiver.ts';
import { watchId, type WatchKey } from '../core/watch/watch.ts';
import type { Delivery, DeliveryState } from '../core/delivery/delivery.ts';
import type { RunList } from '../core/feed/run-list.ts';
import { REQUEST_KINDS } from '../core/source/request-order.ts';

/** What is about the store as a whole. */
function storeKeys(key: (name: string) => string) {
  return {
    /** String: the number of the form that records have; `<from>><to>` during a migration. */
    schema: key('schema'),
    /** Hash: the version that first wrote records of that form; how far a migration is. See `form-store.ts`. */
    form: key('form'),
    /** String: the lease of the process that migrates; see `lua/leases.ts`. */
    migrationLease: key('migration-lease'),
    /** String: the store's epoch, and those before it, which lost data; 8 letters and digits each. */
    epochs: key('epochs'),
    /** Hash: how many records were found missing, by kind, until an event says so. */
    damage: key('damage'),
    /** Pub/sub channel: watches that were registered or have ended; see `channels.ts`. */
    watchChannel: key('watch-channel'),
    /** Sorted set of `<time> <bytes>`, the memory in use, by the time at which it was noted. */
    memoryNotes: key('memory-notes'),
    /** Sorted set of the JSON of audit records by time: what users did; see `stores/audit-store.ts`. */
    audit: key('audit'),
    /** String that is written to find out whether Redis takes writes; expires. */
    writeProbe: key('write-probe'),
    /** Taken for a moment at start, to try the rights that are needed. */
    rightsProbe: key('rights-probe'),
  };
}

/**
 * Every key in Redis, each named once. All of them, and BullMQ's, share one hash tag, so that they
 * live in one slot of a cluster and scripts may touch several at a time.
 */
export function createKeys(prefix: string) {
  const tag = `{${prefix}}`;
  const key = (...parts: string[]) => parts.reduce((joined, part) => `${joined}:${part}`, tag);
  return {
    /** Where BullMQ puts its queues: `{prefix}:<queue>:…`; queue names are `poll-…`. */
    queuePrefix: tag,
    ...storeKeys(key),
    /** String `<offset> <highest> <steps>`: the store's clock; see `lua/clock.ts`. */
    clock: key('clock'),
    /** Hash: `<ms> <at>` of steps that were taken out of the clock, until due times follow, by number. */
    clockSteps: key('clock-steps'),
    /** Hash: the counter that each process raises, by the process's id. */
    processes: key('processes'),
    /** Hash: what each process says of itself, as JSON, by the process's id. */
    processInfo: key('process-info'),
    ...requestKeys(key),
    /** String of a head and a document: one watch; see `watch-record.ts`. */
    watch: (watch: WatchKey) => key('watch', watchId(watch)),
    /** Counter that numbers watches in the order of their registration. */
    watchNumber: key('watch-number'),
    /** Log of the ids of watches by number; see `lua/numbers.ts`. */
    watchNames: key('watch-names', ''),
    /** Indexes of watches by number, one for each value of a field; see `indexes.ts`. */
    watches: (...filter: string[]) => key('watches', ...filter),
    /** Hash: how many watches each source has, by its name. */
    watchSources: key('watch-sources'),
    /** Sorted set of numbers of ended watches by the time of their end: what retention goes by. */
    watchesEnded: key('watches-ended'),
    /** Sorted set of numbers of watches by the time of their last change: the order `changed`. */
    watchesChanged: key('watches-changed'),
    /** Sorted set of ids of ended watches that are not packed, by since when they may be. */
    packDue: key('pack-due'),
    /** Hash `watches`, `bytes`: how many watches are packed, and the size of their records. */
    packed: key('packed'),
    /** Hash: what was learned of a workflow, named `<source>/<workflow>`; see `stores/statistics-store.ts`. */
    statistics: (workflow: string) => key('statistics', workflow),
    /** Sorted sets of the names of workflows of which something is known, by when it first was. */
    workflows: (...filter: string[]) => key('workflows', ...filter),
    /** Sorted set of the same names by when they were used last. */
    workflowsUsed: key('workflows-used'),
    /** Counter: the clock of both. */
    workflowClock: key('workflow-clock'),
    /** Hash, from the name of a token to how many active watches it registered. */
    watchesOfTokens: key('watches-of-tokens'),
    /** Hash, from `<source>/<workflow> <status>` to how many active watches that is. */
    activeRuns: key('active-runs'),
    /** Hash of the names of a source's workflows by their ids; expires when unused. */
    workflowNames: (source: string) => key('workflow-names', source),
    /** String, set while the list of a source's workflows need not be read; expires. */
    workflowNamesRead: (source: string) => key('workflow-names-read', source),
    /** Hash, from workflow to JSON: the figures of its runs in a span of time; expires. */
    runFigures: (span: string, at: number) => key('run-figures', span, String(at)),
    /** Counter of the tables of states in all of those hashes. */
    tablesKnown: key('tables-known'),
    /** String with the JSON of how the lists of a source are read; expires when unused. */
    listPlan: (source: string) => key('list-plan', source),
    /** Hash: what the feed keeps of a list, see `feed-store.ts`; expires when unused. */
    list: (list: RunList) => key('list', ...listName(list)),
    /** Hash, from run to JSON: hints of lists that no single poll has judged; expires when unused. */
    listHints: (source: string) => key('list-hints', source),
    /** String with the JSON of how far discovery has come with a list; expires when unused. */
    discoveryCursor: (list: RunList) => key('discovery-cursor', ...listName(list)),
    /** String with the JSON of why a list cannot be read; set while it cannot. */
    discoveryTrouble: (list: RunList) => key('discovery-trouble', ...listName(list)),
    sourceAdmission: (source: string) => sourceAdmission(key, source),
    /** String with the JSON of how far polls of a source's runs agree; set after a contradiction; expires. */
    sourceConsistency: (source: string) => key('source-consistency', source),
    /** String, when a source last gave a valid answer, ms since the epoch, and by which access. */
    sourceAnswered: (source: string) => key('answered', source),
    /** Sorted set of the ids of watches of gone runs, by when they are checked again. */
    goneChecks: key('gone-checks'),
    /** Sorted set of the requests that count against a source's rate limit, by until when they do. */
    budget: (source: string) => key('budget', source),
    pace: (source: string) => key('pace', source),
    /** Hash, from run to the process that streams it; see `stream-store.ts`. */
    streams: (source: string) => key('streams', source),
    /** Hash: how many streams there may be as JSON, and counts of transitions by what reported them first. */
    streamState: (source: string) => key('stream-state', source),
    /** Hash, from workflow to the names of its nodes as JSON; expires. */
    nodeNames: (source: string) => key('node-names', source),
    /** Hash, from workflow and kind of transition to whether streams reported the last ones; expires. */
    streamTrust: (source: string) => key('stream-trust', source),
    ...secretKeys(key),
    /** Hash: when each source was configured last, by its name. */
    sourceNames: key('source-names'),
    /** Hash `place`, `body`: one event, its body the exact text that is sent. */
    event: (id: string) => key('event', id),
    /** Counter that gives events their place in the log. */
    eventPlace: key('event-place'),
    /**
     * Log by the places of events: of the numbers of their watches, or of the ids of those that are about
     * no run; see `lua/numbers.ts`.
     */
    eventLog: key('event-log', ''),
    /** Indexes of events by place, one for each value of a field; see `indexes.ts`. */
    events: (...filter: string[]) => key('events', ...filter),
    /** Sorted set of ids of a live watch's events by place. */
    liveEvents: (watch: string) => key('live-events', watch),
    /** Sorted set of ids of events that are about no run by when they were written; see `event-plan.ts`. */
    ownEvents: key('own-events'),
    /** Pub/sub channel that rings when events were appended. */
    eventBell: key('event-bell'),
    ...deliveryKeys(key),
    ...alertKeys(key),
    ...batchKeys(key),
    ...runIdKeys(key),
  };
}

/** What belongs to batches. */
function batchKeys(key: (...parts: string[]) => string) {
  return {
    /** Hash `version`, `state`, `joined`, `expected`, `max_failed`, `closed_by`, `idle`, `doc`: one batch. */
    batch: (id: string) => key('batch', id),
    /** Hash, from sources and name to the id of the batch that they stand for. */
    batchNames: key('batch-names'),
    /** Sorted set of the ids of batches by when they began. */
    batches: key('batches'),
    /** Sorted set of the ids of batches that have to be judged, by when. */
    batchesDue: key('batches-due'),
    /** Sorted set of the ids of batches without an active member that have not completed, by since when. */
    batchesIdle: key('batches-idle'),
    /** Sorted set of the ids of batches with a webhook of their own that have not completed, by when they began. */
    batchWebhooks: key('batch-webhooks'),
    /**
     * Sorted set of the lists of sources, with commas, that events and deliveries of batches belong to, by when the
     * newest was written.
     */
    batchSources: key('batch-sources'),
  };
}

/** What belongs to alerts. */
function alertKeys(key: (...parts: string[]) => string) {
  return {
    /** List of the JSON of what rules have yet to judge, oldest first; see `core/alert/entry.ts`. */
    alertInbox: key('alert-inbox'),
    /** Hash `version`, `doc`: one group of a rule; expires where it has no alert. */
    alertGroup: (group: string) => key('alert-group', group),
    /**
     * Sorted set of the groups of a rule, or of a rule and a source, by when they expire, `inf` for those
     * that do not.
     */
    alertGroups: (owner: string) => key('alert-groups', owner),
    /** Sorted set of groups by when they are due. */
    alertsDue: key('alerts-due'),
    /** Sorted set of `<rule> <watch>` by when the run is beyond its deadline. */
    alertDeadlines: key('alert-deadlines'),
    /** String: the lease of the process that judges; see `lua/leases.ts`. */
    alertLease: key('alert-lease'),
    /** Hash `at`, `seen <source>`: for how long sources were seen while some process judged, ms. */
    alertSeen: key('alert-seen'),
    /** Hash: the form of each deadline rule that was applied to the runs that go on. */
    alertDeadlineRules: key('alert-deadline-rules'),
    /**
     * Sorted sets of ids of alerts by start: of a state, also with a rule, a source, or both. Only those
     * that are grouped by source have one.
     */
    alerts: (
      state: string,
      { rule = '*', source = '*' }: { rule?: string | undefined; source?: string } = {},
    ) => key('alerts', state, rule, source),
    /** String, the JSON of an alert that has resolved. */
    resolvedAlert: (id: string) => key('alert', id),
    /** Sorted set of ids of resolved alerts by when they resolved: what retention goes by. */
    alertsResolved: key('alerts-resolved'),
    /** Hash: what became of matching events; see `AlertCounts`. */
    alertCounts: key('alert-counts'),
    /** Hash of the JSON of silences by id. */
    silences: key('silences'),
    /** String: which message at an endpoint shows an alert; expires. */
    alertMessage: (endpoint: string, alertId: string) => key('alert-message', endpoint, alertId),
  };
}

/** What the ordering key of a delivery is made of. */
type OrderedDelivery = Pick<Delivery, 'endpoint' | 'source' | 'runId' | 'alertId' | 'subject'>;

/** What belongs to deliveries, and to the endpoints that they go to. */
function deliveryKeys(key: (...parts: string[]) => string) {
  return {
    /** Hash `version`, `number`, `doc`, `event` (its id): one delivery. */
    delivery: (id: string) => key('delivery', id),
    /** Counter that numbers deliveries in the order of their creation. */
    deliveryNumber: key('delivery-number'),
    /**
     * Log by the numbers of deliveries: of the numbers of their watches, or of the ids of those that
     * belong to none; see `lua/numbers.ts`.
     */
    deliveryLog: key('delivery-log', ''),
    /** Indexes of deliveries by number, one for each value of a field; see `indexes.ts`. */
    deliveries: (...filter: string[]) => key('deliveries', ...filter),
    /** Sorted set of ids of a live watch's deliveries by number. */
    liveDeliveries: (watch: string) => key('live-deliveries', watch),
    /** The same of a system event. */
    deliveriesOfEvent: (id: string) => key('event-deliveries', id),
    /**
     * Sorted set by the time of settling, what retention goes by: of ids of live deliveries, and of
     * numbers of packed watches by the first of theirs.
     */
    deliveriesSettled: key('deliveries-settled'),
    /** List of attempts of one delivery, oldest first. */
    attempts: (id: string) => key('attempts', id),
    /** Hash: how many deliveries there are for each `<state> <endpoint>`, and `planned`. */
    deliveryCounts: key('ledger'),
    /** Sorted set of pools by when it is worth asking them for deliveries to attempt. */
    poolsDue: key('pools-due'),
    /** Sorted set of the webhooks of an origin by when it is worth asking them. */
    poolDue: (pool: string) => key('pool-due', pool),
    /** Pub/sub channel on which pools are named that have become worth asking. */
    dueBell: key('due-bell'),
    /** Hash, from delivery to token and due time: what processes have claimed; see `lua/leases.ts`. */
    deliveryClaims: key('delivery-claims'),
    /** Hash `version`, `doc`, what claims go by, and results per minute: an endpoint's state. */
    endpointState: (receiver: string) => key('endpoint-state', receiver),
    /** Set of the configured endpoints that are not well, or were not at their last change. */
    endpointsInTrouble: key('endpoints-in-trouble'),
    /** Sorted set of the webhooks of watches that are not well, by when their state changed. */
    endpointsUnwell: key('endpoints-unwell'),
    /** Sorted set of delivery ids by due time: the first of each order, unless attempted or parked. */
    due: (receiver: string) => key('due', receiver),
    /** Sorted set of delivery ids that are being attempted, at a pool or a URL, by end of lease. */
    taken: (poolOrUrl: string) => key('taken', poolOrUrl),
    /** Set of the receivers at a URL at which something is due, and no slot of the URL is free. */
    waiting: (url: string) => key('waiting', url),
    /** String, the JSON of how many attempts a pool takes at a time; expires when it was quiet. */
    slots: (pool: string) => key('slots', pool),
    /** String: the lease of the delivery that probes a failing endpoint, by its id; see `lua/leases.ts`. */
    probe: (receiver: string) => key('probe', receiver),
    /** String, before when nothing is claimed: the rate of an endpoint. */
    hold: (endpoint: string) => key('hold', endpoint),
    /** Sorted set of the URLs that a pause of their origin holds back, by its end; expires then. */
    held: (origin: string) => key('held', origin),
    /** Sorted set of parked delivery ids by when they were parked. */
    parked: (receiver: string) => key('parked', receiver),
    /**
     * Sorted set of ids of deliveries that are to be sent again, by their number; after a space the
     * endpoint that gets the event instead.
     */
    replays: key('replays'),
    /** String: the lease of the process that redelivers these; see `lua/leases.ts`. */
    replayLease: key('replay-lease'),
    /**
     * List of delivery ids of one run, alert, or subject of system events, and endpoint, oldest first;
     * only the first may be attempted.
     */
    ordering: ({ alertId, subject, endpoint, ...watch }: OrderedDelivery) =>
      key('lane', alertId ?? subject ?? watchId(watch), endpoint),
  };
}

function secretKeys(key: (...parts: string[]) => string) {
  return {
    /** Set of the ids of keys that sealed values may be encrypted by. */
    sealingKeys: key('sealing-keys'),
    /** Hash: for each endpoint with a rotated secret, the JSON of its rotation. */
    endpointSecrets: key('endpoint-secrets'),
    /** Sorted set of a token's sessions that sign-outs ended, by until when they are kept. */
    endedSessions: (owner: string) => key('ended-sessions', owner),
  };
}

/** Answers to requests with a key: records, when they expire, bytes by owner; see `answer-store.ts`. */
export function answerKeys({ queuePrefix: tag }: Keys) {
  return {
    records: `${tag}:kept-answers`,
    expiries: `${tag}:kept-answers-expiry`,
    bytes: `${tag}:kept-answers-bytes`,
  };
}

/** The schedule of a source's requests. */
function requestKeys(key: (...parts: string[]) => string) {
  const requestsDue = (source: string) =>
    [...REQUEST_KINDS, 'spare'].map((kind) => key('requests', source, kind));
  const requestClaims = (source: string) => key('request-claims', source);
  return {
    /**
     * A source's sorted sets of requests by when they are due, one for each kind of request. Members are
     * the ids of runs, and the names of lists. The last set has watches with a widened interval, by
     * when the configured one is over.
     */
    requestsDue,
    /** What scripts of a schedule take, beside its due sets. */
    schedule: (source: string) => ({ clock: key('clock'), claims: requestClaims(source) }),
    /** String: which kinds of requests were claimed last, while several are due; expires. */
    requestShares: (source: string) => key('request-shares', source),
    /** Hash: which requests of a source are claimed, and by which token; see `lua/schedule.ts`. */
    requestClaims,
    /** String, set while the polls of a source are overdue: of these, one event was raised. */
    pollsOverdue: (source: string) => key('polls-overdue', source),
    /** Pub/sub channel: names of sources of which something is due now that was not before. */
    wake: key('wake'),
  };
}

/** Three strings that say whether a source may be asked. */
function sourceAdmission(key: (...parts: string[]) => string, source: string) {
  return {
    /** The JSON of what is known of a source that does not simply answer. */
    state: key('source', source),
    /** The lease of the request that probes it. */
    probe: key('source-probe', source),
    /** When it answered again after an outage, ms since the epoch. */
    open: key('source-open', source),
  };
}

/** What look-ups go by. */
function runIdKeys(key: (...parts: string[]) => string) {
  return {
    /** Sorted sets of the ids of a source's runs in the order of their letters; see `run-ids.ts`. */
    runIds: (source: string, ...first: string[]) => key('run-ids', source, ...first),
    /** Sorted set of the ids that begin one of these. */
    runIdBlocks: (source: string) => key('run-id-blocks', source),
  };
}

/** The list of all workflows has no name of its own, which no workflow can have. */
function listName({ source, workflowId }: RunList): string[] {
  return [source, workflowId ?? ''];
}

export type Keys = ReturnType<typeof createKeys>;

/** How the keys of watches begin; the id of one follows. */
export function beginningOfWatches(keys: Keys): string {
  // The id of no watch is the mark between source and run.
  return keys.watch({ source: '', runId: '' }).slice(0, -1);
}

/** The field of the delivery counters that counts a delivery. */
export function countField(delivery: Pick<Delivery, 'state' | 'endpoint'>): string {
  return `${delivery.state} ${countedReceiver(delivery.endpoint)}`;
}

/** The reverse of {@link countField}. */
export function parseCountField(field: string): { state: DeliveryState; endpoint: string } {
  const space = field.indexOf(' ');
  return { state: field.slice(0, space) as DeliveryState, endpoint: field.slice(space + 1) };
}

/**
 * The keys that the plan of a script names, which it declares. How keys begin that the script finds by what it
 * reads, such as the delivery that is due next, cannot be declared.
 */
export class PlanKeys {
  private readonly names = new Set<string>();

  constructor(readonly keys: Keys) {}

  /** Those that were named so far. */
  get declared(): string[] {
    return [...this.names];
  }

  /** Notes a key, and returns it. */
  readonly declare = (key: string): string => {
    this.names.add(key);
    return key;
  };

  /** {@link declare} for several. */
  readonly declareAll = (keys: string[]): string[] => keys.map(this.declare);
}
