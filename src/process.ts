import { randomInt } from 'node:crypto';
import type { RereadHeaders } from './config/header-files.ts';
import type { Config } from './config/schema.ts';
import { createPulse, type Pulse } from './core/dead-processes.ts';
import type { PlannedEvent } from './core/delivery/planned-event.ts';
import type { SystemEventType } from './core/event/event.ts';
import { newName, type NewMark } from './core/event/ids.ts';
import type { LinksOf } from './core/run/links.ts';
import { valueOf } from './core/records.ts';
import type { SourceTraits } from './core/source/traits.ts';
import type { AlertRules } from './alert/rules.ts';
import type { Clock } from './daemon/clock.ts';
import { Endpoints } from './deliver/endpoints.ts';
import { createHostShortages, type HostShortages } from './daemon/host-shortages.ts';
import type { WatchNotes } from './daemon/known-watches.ts';
import type { OwnSecrets } from './deliver/secrets/own-secrets.ts';
import type { Stores } from './daemon/stores.ts';
import type { Tracing } from './daemon/tracing.ts';
import { faultLog } from './fault-log.ts';
import type { KindOf } from './source/kinds.ts';
import { KnownNames } from './source/known-names.ts';
import { NodeNames } from './source/node-names.ts';
import { StatisticsCache } from './source/statistics-cache.ts';
import type { WorkflowNames } from './source/workflow-names.ts';
import type { Names } from './names.ts';
import { createSlotQueue, type SlotQueue } from './queue/slot-queue.ts';
import type { RedisConnections } from './redis/connection.ts';
import { tokensOf } from './redis/leases.ts';
import type { EventLog, Logger } from './telemetry/logger.ts';
import type { Metrics } from './telemetry/metrics.ts';

/** An event about runwatch itself. */
export interface SystemEvent {
  type: SystemEventType;
  /** Of the line in the log. */
  level: 'info' | 'warn' | 'error';
  /** What happened, since when, how many, and the remedy; snake_case, times as ISO 8601. */
  data: Record<string, unknown>;
  /** Endpoints that get it besides those that name its type: it stands for events that these would have had. */
  also?: readonly string[];
}

/**
 * Writes the state behind a system event in one step with the event, so that neither is lost.
 * @param planned the event with its deliveries; null where it is only logged
 * @returns the pools at which deliveries are due now; null where the event was raised before
 */
export type WriteWithEvent = (planned: PlannedEvent | null) => Promise<string[] | null>;

/** What has to be read or connected before there can be a process. */
export type ProcessOptions = Pick<
  Process,
  | 'config'
  | 'log'
  | 'eventLog'
  | 'version'
  | 'id'
  | 'connections'
  | 'stores'
  | 'clock'
  | 'metrics'
  | 'tracing'
  | 'names'
  | 'alertRules'
  | 'workflowNames'
  | 'linksOf'
  | 'watchNotes'
  | 'secrets'
  | 'kindOf'
  | 'headerFiles'
>;

/**
 * What every part may need. A part takes the process, and reads a setting when it uses it, since a reload
 * replaces settings. The process knows no part. What a part needs of others are three methods, which
 * `Daemon` answers: it may `raise` a system event, `dispatch` deliveries, and go by the `epoch` of the store.
 */
export abstract class Process {
  readonly config: Config;
  readonly log: Logger;
  /** Where `log` endpoints write. */
  readonly eventLog: EventLog;
  readonly version: string;
  /** Random at each start. */
  readonly id: string;
  readonly connections: RedisConnections;
  readonly stores: Stores;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  /** Host names, as they were resolved last. */
  readonly names: Names;
  readonly endpoints: Endpoints;
  readonly alertRules: AlertRules;
  readonly workflowNames: WorkflowNames;
  readonly nodeNames: NodeNames;
  /** The names of now, for messages and pages. */
  readonly knownNames: KnownNames;
  /** Statistics of dwell times, of all processes. */
  readonly statistics: StatisticsCache;
  /** The name of a run's workflow, and where users find the run. */
  readonly linksOf: LinksOf;
  readonly watchNotes: WatchNotes;
  readonly hostShortages: HostShortages;
  readonly secrets: OwnSecrets;
  /** Of what kind sources are. */
  readonly kindOf: KindOf;
  /** Reads headers of sources that come from files; a reload replaces it. */
  readonly headerFiles: { reread: RereadHeaders };
  /** Whether claims of this process surely stand. */
  readonly pulse: Pulse;

  constructor(options: ProcessOptions) {
    this.config = options.config;
    this.log = options.log;
    this.eventLog = options.eventLog;
    this.version = options.version;
    this.id = options.id;
    this.connections = options.connections;
    this.stores = options.stores;
    this.clock = options.clock;
    this.metrics = options.metrics;
    this.tracing = options.tracing;
    this.names = options.names;
    this.endpoints = new Endpoints(options.config);
    this.alertRules = options.alertRules;
    this.workflowNames = options.workflowNames;
    const { stores, log } = options;
    this.nodeNames = new NodeNames(stores.nodeNames, () => this.now());
    this.knownNames = new KnownNames(this);
    this.statistics = new StatisticsCache(stores.statistics, () => this.now(), log);
    this.linksOf = options.linksOf;
    this.watchNotes = options.watchNotes;
    this.hostShortages = createHostShortages({ log: options.log });
    this.secrets = options.secrets;
    this.kindOf = options.kindOf;
    this.headerFiles = options.headerFiles;
    this.pulse = createPulse(() => this.monotonic());
    this.newToken = tokensOf(options.id);
  }

  /**
   * Logs an event about runwatch itself, and has it delivered to the endpoints that name its type.
   * Without `write` it never throws; with it, it throws what `write` throws, and then nothing is logged.
   */
  abstract raise(event: SystemEvent, write?: WriteWithEvent): Promise<void>;

  /** Deliveries of these pools have become due. */
  abstract dispatch(pools: string[]): void;

  /** The epoch of the store. */
  abstract epoch(): string;

  /** Milliseconds since the epoch by the store's clock. */
  readonly now = (): number => this.clock.now();

  /** Milliseconds of a clock that only runs forward. */
  readonly monotonic = (): number => performance.now();

  /** At least 0, less than 1. */
  readonly random = (): number => Math.random();

  /** Starts to measure which share of its time this process does not wait. @returns what gives it */
  readonly measureBusy = (): (() => number) => {
    const before = performance.eventLoopUtilization();
    return () => performance.eventLoopUtilization(before).utilization;
  };

  /** Makes the tokens of this process's claims. */
  readonly newToken: () => string;

  /** Makes the part of an event's id that no other event has. */
  readonly newMark: NewMark = () => this.epoch() + newName(randomInt);

  get userAgent(): string {
    return `runwatch/${this.version}`;
  }

  /** What a source is and can be asked; null for one that is not configured any more. */
  traitsOf(source: string): SourceTraits | null {
    const config = valueOf(this.config.sources, source);
    return config === undefined ? null : this.kindOf(source, config).traits;
  }

  /** What texts call a source. */
  labelOf(source: string): string {
    return this.traitsOf(source)?.label ?? source;
  }

  /** A queue of slots; all share connections and prefix. */
  queueOf(name: string): SlotQueue {
    return createSlotQueue({
      name,
      process: this.id,
      prefix: this.stores.keys.queuePrefix,
      producer: this.connections.commands,
      consumer: this.connections.blocking,
      onError: faultLog(this.log, 'queue', { queue: name }),
    });
  }
}
