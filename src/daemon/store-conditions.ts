import { isoTime } from '../core/event/event.ts';
import type { ServerTraits } from '../redis/server-check.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './fault-log.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/** How often Redis is asked, ms: a change is reported within a minute. */
const EVERY_MS = 20_000;

/** How long an eviction is reported, ms. */
const NAMED_MS = 3_600_000;

interface StoreConditionsDependencies {
  /** Null where Redis does not say. */
  traits: () => Promise<ServerTraits | null>;
  /** What a newer version made of the records; null while this version knows their form. */
  foreignForm: () => Promise<string | null>;
  now: () => number;
  log: Logger;
  everyMs?: number;
}

interface Evictions {
  keys: number;
  at: number;
}

/** What changes around the records while the daemon runs, and endangers them. */
export interface StoreConditions {
  start(): void;
  stop(): Promise<void>;
  /** What is wrong now, each with its cure. */
  troubles(): string[];
}

/** Detects that Redis evicts keys, may evict them from now on, or holds records of a newer version. */
export function createStoreConditions(deps: StoreConditionsDependencies): StoreConditions {
  const { now, log, everyMs = EVERY_MS } = deps;
  let first: ServerTraits | null = null;
  let last: ServerTraits | null = null;
  let evictions: Evictions | null = null;
  let form: string | null = null;
  let logged: readonly string[] = [];
  let periodic: Periodic | null = null;

  async function look(): Promise<void> {
    const [traits, foreign] = await Promise.all([deps.traits(), deps.foreignForm()]);
    form = foreign;
    if (traits !== null) {
      first ??= traits;
      const more = traits.evictedKeys - (last ?? traits).evictedKeys;
      if (more > 0) evictions = { keys: (evictions?.keys ?? 0) + more, at: now() };
      last = traits;
    }
    report(troubles());
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
  };
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
