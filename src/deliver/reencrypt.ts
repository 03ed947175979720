import { RunwatchError } from '../core/errors.ts';
import { watchId, type StoredWatch, type Subscription, type Watch } from '../core/watch.ts';
import type { Sealer } from './seal.ts';

/** Watches read and written in one go. */
const CHUNK = 200;

interface WatchStore {
  list(
    filter: Record<string, never>,
    page: { limit: number; cursor?: string | undefined },
  ): Promise<{ items: Watch[]; nextCursor: string | null }>;
  getMany(keys: Watch[]): Promise<(StoredWatch | null)[]>;
  /** Null for each change that came too late. */
  commitMany(
    changes: { before: StoredWatch; after: Watch; events: []; deliveries: [] }[],
  ): Promise<(unknown[] | null)[]>;
}

interface SecretStore {
  get(endpoint: string): Promise<string | null>;
  all(): Promise<Map<string, string>>;
  replace(endpoint: string, before: string | null, after: string): Promise<boolean>;
}

interface ReencryptOptions {
  watches: WatchStore;
  secrets: SecretStore;
  /** Its first key encrypts. */
  sealer: Sealer;
}

/** What an encryption with the first key found. */
export interface ReencryptReport {
  /** Encrypted values: of watches, and of endpoints. */
  examined: number;
  reencrypted: number;
  /** What no key opens, by the name of its watch or endpoint. */
  unreadable: string[];
}

/**
 * Encrypts everything that another key has encrypted with the first one, so that the others can be
 * taken away. What is written meanwhile is looked at again, so it may run beside daemons, which must
 * have the first key already; it can be interrupted and repeated at any time.
 * Throws what the stores throw.
 */
export async function reencrypt(options: ReencryptOptions): Promise<ReencryptReport> {
  const report: ReencryptReport = { examined: 0, reencrypted: 0, unreadable: [] };
  let cursor: string | undefined;
  do {
    const page = await options.watches.list({}, { limit: CHUNK, cursor });
    await reencryptWatches(options, page.items, report);
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
  for (const endpoint of (await options.secrets.all()).keys()) {
    await reencryptSecret(options, endpoint, report);
  }
  return report;
}

async function reencryptWatches(
  { watches, sealer }: ReencryptOptions,
  listed: Watch[],
  report: ReencryptReport,
): Promise<void> {
  report.examined += listed.flatMap(sealedParts).length;
  const unreadable = new Set<string>();
  let open = listed.filter((watch) => sealedParts(watch).some((text) => !sealer.isCurrent(text)));
  while (open.length > 0) {
    const stored = (await watches.getMany(open)).filter((one) => one !== null);
    const changes = stored.flatMap((before) => {
      const { watch, changed } = resealWatch(before.watch, sealer, unreadable);
      return changed === 0
        ? []
        : [{ before, after: watch, changed, events: [] as [], deliveries: [] as [] }];
    });
    const written = await watches.commitMany(changes);
    for (const [at, { changed }] of changes.entries()) {
      if (written[at]) report.reencrypted += changed;
    }
    open = changes.flatMap(({ after }, at) => (written[at] ? [] : [after]));
  }
  report.unreadable.push(...unreadable);
}

function sealedParts({ subscriptions }: Watch): string[] {
  return subscriptions.flatMap((one) => (one.kind === 'webhook' ? [one.sealed] : []));
}

function resealWatch(
  watch: Watch,
  sealer: Sealer,
  unreadable: Set<string>,
): { watch: Watch; changed: number } {
  const context = watchId(watch);
  let changed = 0;
  const subscriptions = watch.subscriptions.map((one): Subscription => {
    if (one.kind !== 'webhook') return one;
    const sealed = reseal(sealer, one.sealed, context);
    if (sealed === null) unreadable.add(context);
    if (sealed === null || sealed === one.sealed) return one;
    changed += 1;
    return { ...one, sealed };
  });
  return { watch: { ...watch, subscriptions }, changed };
}

async function reencryptSecret(
  { secrets, sealer }: ReencryptOptions,
  endpoint: string,
  report: ReencryptReport,
): Promise<void> {
  report.examined += 1;
  for (;;) {
    const before = await secrets.get(endpoint);
    const after = before === null ? null : reseal(sealer, before, endpoint);
    if (before !== null && after === null) report.unreadable.push(endpoint);
    if (after === null || after === before) return;
    if (await secrets.replace(endpoint, before, after)) {
      report.reencrypted += 1;
      return;
    }
  }
}

/** The value under the first key, itself where that is so already; null when no key opens it. */
function reseal(sealer: Sealer, text: string, context: string): string | null {
  if (sealer.isCurrent(text)) return text;
  try {
    return sealer.seal(sealer.open(text, context) as object, context);
  } catch (error) {
    const isLost =
      error instanceof RunwatchError &&
      (error.code === 'sealed_by_unknown_key' || error.code === 'sealed_value_corrupt');
    if (isLost) return null;
    throw error;
  }
}
