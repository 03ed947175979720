import { groupBy } from '../core/arrays.ts';
import { isoTime } from '../core/event/event.ts';
import { serverTraits, type ServerTraits } from '../redis/server-check.ts';
import type { Process } from '../process.ts';
import type { ProcessConfiguration, Processes } from './processes.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';

/** How often Redis is asked, ms: a change is reported within a minute. */
const EVERY_MS = 20_000;

/** How long an eviction is reported, ms. */
const NAMED_MS = 3_600_000;

interface Evictions {
  keys: number;
  at: number;
}

/** Sections of the configuration in which daemons of the store differ. */
interface Disagreement {
  sections: readonly string[];
  /** When it was noticed. */
  since: number;
  /** A sentence for people, with the cure. */
  text: string;
}

/**
 * What changes around the records while the daemon runs, and endangers them or how they are handled. Detects
 * that Redis evicts keys, may evict them from now on, or holds records of a newer version, and that daemons
 * differ in their configuration.
 */
export class StoreConditions {
  private first: ServerTraits | null = null;
  private last: ServerTraits | null = null;
  private evictions: Evictions | null = null;
  private form: string | null = null;
  private logged: readonly string[] = [];
  /** Sections in which daemons differed when they were compared last. */
  private suspected: readonly string[] = [];
  private found: Disagreement | null = null;
  private periodic: Periodic | null = null;

  constructor(
    private readonly process: Process,
    private readonly processes: Pick<Processes, 'configurations'>,
    private readonly everyMs = EVERY_MS,
  ) {}

  start(): void {
    const onError = faultLog(this.process.log, 'store_conditions');
    this.periodic = startPeriodic(() => this.check(), { everyMs: this.everyMs, onError });
  }

  async stop(): Promise<void> {
    await this.periodic?.stop();
  }

  /** What is wrong now, each with its cure. */
  troubles(): string[] {
    const { evictions, first, last, form } = this;
    const isRecent = evictions !== null && this.process.now() - evictions.at < NAMED_MS;
    return [
      isRecent ? evictionText(evictions) : [],
      first !== null && last !== null ? policyText(first, last) : [],
      form ?? [],
    ].flat();
  }

  /** Null while all daemons work by one configuration. */
  disagreement(): Disagreement | null {
    return this.found;
  }

  private async check(): Promise<void> {
    const { connections, stores, now } = this.process;
    const [traits, foreign, configurations] = await Promise.all([
      serverTraits(connections.commands),
      stores.forms.foreign(),
      this.processes.configurations(),
    ]);
    this.form = foreign;
    this.compare(configurations);
    if (traits !== null) {
      this.first ??= traits;
      const more = traits.evictedKeys - (this.last ?? traits).evictedKeys;
      if (more > 0) this.evictions = { keys: (this.evictions?.keys ?? 0) + more, at: now() };
      this.last = traits;
    }
    this.report(this.troubles());
  }

  /** What is seen twice counts: while a change is rolled out, daemons differ for a moment. */
  private compare(configurations: readonly ProcessConfiguration[]): void {
    const { log, now } = this.process;
    const found = differences(configurations);
    const sections = found.filter((section) => this.suspected.includes(section));
    this.suspected = found;
    if (sections.length === 0) {
      this.found = null;
      return;
    }
    const text = disagreementText(sections, configurations);
    if (this.found?.text !== text) log.warn({ sections, trouble: text }, 'daemons.differ');
    this.found = { sections, since: this.found?.since ?? now(), text };
  }

  private report(found: readonly string[]): void {
    for (const trouble of found) {
      if (!this.logged.includes(trouble)) this.process.log.error({ trouble }, 'store.endangered');
    }
    this.logged = found;
  }
}

function differences(configurations: readonly ProcessConfiguration[]): string[] {
  const names = new Set(configurations.flatMap(({ sections }) => Object.keys(sections)));
  return [...names].filter(
    (name) => new Set(configurations.map(({ sections }) => sections[name])).size > 1,
  );
}

/** The most daemons that one line names. */
const MOST_NAMED = 10;

function disagreementText(
  sections: readonly string[],
  configurations: readonly ProcessConfiguration[],
): string {
  const named = configurations.slice(0, MOST_NAMED);
  const alike = groupBy(named, (one) => sections.map((name) => one.sections[name]).join());
  const groups = [...alike.values()].map((group) => group.map(({ name }) => name).join(', '));
  const cure = 'give all of them the same file, and send each SIGHUP, or restart them';
  return `daemons differ in ${sections.join(', ')} (${groups.toSorted().join(' unlike ')}): ${cure}`;
}

const CURE = 'set maxmemory-policy noeviction, and raise maxmemory or lower watches.retention';

function evictionText({ keys, at }: Evictions): string {
  const some = keys === 1 ? '1 key' : `${keys.toLocaleString('en')} keys`;
  return `Redis has evicted ${some} by ${isoTime(at)}, and with them records: ${CURE}`;
}

/** A policy of before the start is a warning of the start. */
function policyText(first: ServerTraits, { policy }: ServerTraits): string[] {
  if (policy === 'noeviction' || policy === first.policy) return [];
  return [`maxmemory-policy is ${policy} now, so that Redis may drop records: ${CURE}`];
}
