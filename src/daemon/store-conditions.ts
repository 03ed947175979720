import { groupBy } from '../core/arrays.ts';
import { isoTime } from '../core/event/event.ts';
import type { ServerTraits } from '../redis/server-check.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { ProcessConfiguration } from './processes.ts';
import { faultLog } from '../fault-log.ts';
import { startPeriodic, type Periodic } from '../periodic.ts';

/** How often Redis is asked, ms: a change is reported within a minute. */
const EVERY_MS = 10_000;

/** How long an eviction is reported, ms. */
const NAMED_MS = 3_600_000;

interface StoreConditionsDependencies {
  /** Null where Redis does not say. */
  traits: () => Promise<ServerTraits | null>;
  /** What a newer version made of the records; null while this version knows their form. */
  foreignForm: () => Promise<string | null>;
  /** Of all daemons on the store, this one among them. */
  configurations: () => Promise<readonly ProcessConfiguration[]>;
  now: () => number;
  log: Logger;
  everyMs?: number;
}

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

/** What changes around the records while the daemon runs, and endangers them or how they are handled. */
export interface StoreConditions {
  start(): void;
  stop(): Promise<void>;
  /** What is wrong now, each with its cure. */
  troubles(): string[];
  /** Null while all daemons work by one configuration. */
  disagreement(): Disagreement | null;
}

/**
 * Detects that Redis evicts keys, may evict them from now on, or holds records of a newer version, and that
 * daemons differ in their configuration.
 */
export function createStoreConditions(deps: StoreConditionsDependencies): StoreConditions {
  const { now, log, everyMs = EVERY_MS } = deps;
  let first: ServerTraits | null = null;
  let last: ServerTraits | null = null;
  let evictions: Evictions | null = null;
  let form: string | null = null;
  let logged: readonly string[] = [];
  /** Sections in which daemons differed when they were compared last. */
  let suspected: readonly string[] = [];
  let disagreement: Disagreement | null = null;
  let periodic: Periodic | null = null;

  async function look(): Promise<void> {
    const [traits, foreign, configurations] = await Promise.all([
      deps.traits(),
      deps.foreignForm(),
      deps.configurations(),
    ]);
    form = foreign;
    compare(configurations);
    if (traits !== null) {
      first ??= traits;
      const more = traits.evictedKeys - (last ?? traits).evictedKeys;
      if (more > 0) evictions = { keys: (evictions?.keys ?? 0) + more, at: now() };
      last = traits;
    }
    report(troubles());
  }

  /** What is seen twice counts: while a change is rolled out, daemons differ for a moment. */
  function compare(configurations: readonly ProcessConfiguration[]): void {
    const found = differences(configurations);
    const sections = found.filter((section) => suspected.includes(section));
    suspected = found;
    if (sections.length === 0) return void (disagreement = null);
    const text = disagreementText(sections, configurations);
    if (disagreement?.text !== text) log.warn({ sections, trouble: text }, 'daemons.differ');
    disagreement = { sections, since: disagreement?.since ?? now(), text };
  }

  function troubles(): string[] {
    const isRecent = evictions !== null && now() - evictions.at < NAMED_MS;
    return [
      isRecent && evictions !== null ? evictionText(evictions) : [],
      first !== null && last !== null ? policyText(first, last) : [],
      form ?? [],
    ].flat();
  }

  function report(found: readonly string[]): void {
    for (const trouble of found) {
      if (!logged.includes(trouble)) log.error({ trouble }, 'store.endangered');
    }
    logged = found;
  }

  return {
    start() {
      const onError = faultLog(log, 'store_conditions');
      periodic = startPeriodic(look, { everyMs, onError });
    },
    stop: async () => periodic?.stop(),
    troubles,
    disagreement: () => disagreement,
  };
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
