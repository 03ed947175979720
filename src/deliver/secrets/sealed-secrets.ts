import { RunwatchError } from '../../core/errors.ts';
import { batchSealContext } from '../../core/batch.ts';
import { watchId, type Subscription, type Watch } from '../../core/watch/watch.ts';
import type { BatchStore, StoredBatch } from '../../redis/stores/batch-store.ts';
import type { SecretStore } from '../../redis/stores/secret-store.ts';
import type { WatchStore } from '../../redis/stores/watch-store.ts';
import { sealedBy, type Sealer } from './seal.ts';

/** Watches read and written by one step. */
const CHUNK = 200;

/** The result of an encryption with the first key. */
export interface ReencryptReport {
  /** Sealed secrets: of watches, of batches, and of endpoints. */
  examined: number;
  reencrypted: number;
  /** Watches, batches and endpoints with secrets that no key opens. */
  unreadable: string[];
  /** How many of those were deleted. */
  discarded: number;
}

/** The secrets that are sealed in Redis: of webhooks of watches and batches, and rotated ones of endpoints. */
export class SealedSecrets {
  constructor(
    private readonly watches: Pick<WatchStore, 'list' | 'getMany' | 'commitMany'>,
    private readonly secrets: Pick<SecretStore, 'get' | 'all' | 'replace' | 'remove'>,
    private readonly batches: Pick<BatchStore, 'list' | 'read' | 'replace'>,
  ) {}

  /** How many each key has sealed, by its id. Reads every watch. Throws what the stores throw. */
  async countByKey(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    const count = (sealed: string) => {
      const keyId = sealedBy(sealed);
      counts.set(keyId, (counts.get(keyId) ?? 0) + 1);
    };
    for await (const page of this.pages()) page.flatMap(sealedParts).forEach(count);
    for await (const id of this.batchIds()) {
      const stored = await this.batches.read(id);
      if (stored !== null) sealedParts(webhooksOf(stored)).forEach(count);
    }
    for (const sealed of (await this.secrets.all()).values()) count(sealed);
    return counts;
  }

  /**
   * Encrypts all that other keys sealed with the first key of the sealer, so that the others can be removed.
   * It checks again what changed meanwhile, so it may run beside daemons that have the first key. It can be
   * interrupted and repeated at any time.
   * Throws what the stores throw.
   * @param discard deletes webhooks of watches, and rotated secrets of endpoints, that no key opens
   */
  async reencrypt(sealer: Sealer, discard = false): Promise<ReencryptReport> {
    const report: ReencryptReport = { examined: 0, reencrypted: 0, unreadable: [], discarded: 0 };
    for await (const page of this.pages()) {
      report.examined += page.flatMap(sealedParts).length;
      await this.resealWatches(page, { sealer, discard }, report);
    }
    for await (const id of this.batchIds()) {
      await this.resealBatch(id, { sealer, discard }, report);
    }
    for (const endpoint of (await this.secrets.all()).keys()) {
      report.examined += 1;
      await this.resealEndpoint(endpoint, { sealer, discard }, report);
    }
    return report;
  }

  private async *pages(): AsyncGenerator<Watch[]> {
    let cursor: string | undefined;
    do {
      const page = await this.watches.list({}, { limit: CHUNK, cursor });
      yield page.items;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  private async *batchIds(): AsyncGenerator<string> {
    let cursor: string | undefined;
    do {
      const page = await this.batches.list({}, { limit: CHUNK, cursor });
      for (const { id } of page.items) yield id;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  private async resealBatch(id: string, by: Resealing, report: ReencryptReport): Promise<void> {
    const { batches } = this;
    for (let isFirst = true; ; isFirst = false) {
      const stored = await batches.read(id);
      if (stored === null) return;
      const webhooks = webhooksOf(stored);
      if (isFirst) report.examined += sealedParts(webhooks).length;
      const { after, resealed, lost, discarded } = resealOwned(
        webhooks,
        batchSealContext(stored.batch),
        by,
      );
      const isChanged = resealed + discarded > 0;
      const { subscriptions, formerWebhooks: inherited } = after;
      const batch = {
        ...stored.batch,
        subscriptions: stored.batch.subscriptions && subscriptions,
        inherited,
      };
      if (isChanged && !(await batches.replace(stored, batch))) continue;
      if (lost > 0) report.unreadable.push(stored.batch.name);
      report.reencrypted += resealed;
      report.discarded += discarded;
      return;
    }
  }

  private async resealWatches(
    listed: Watch[],
    by: Resealing,
    report: ReencryptReport,
  ): Promise<void> {
    const { watches } = this;
    const unreadable = new Set<string>();
    const isOld = (text: string) => !by.sealer.isCurrent(text);
    let open = listed.filter((watch) => sealedParts(watch).some(isOld));
    while (open.length > 0) {
      const stored = (await watches.getMany(open)).filter((one) => one !== null);
      const changes = stored.flatMap((before) => {
        const { watch } = before;
        const { after: webhooks, lost, ...counts } = resealOwned(watch, watchId(watch), by);
        const after = { ...watch, ...webhooks };
        if (lost > 0) unreadable.add(watchId(after));
        const isChanged = counts.resealed + counts.discarded > 0;
        return isChanged ? [{ before, after, counts, events: [] as [], deliveries: [] as [] }] : [];
      });
      const written = await watches.commitMany(changes);
      for (const [at, { counts }] of changes.entries()) {
        if (!written[at]) continue;
        report.reencrypted += counts.resealed;
        report.discarded += counts.discarded;
      }
      open = changes.flatMap(({ after }, at) => (written[at] ? [] : [after]));
    }
    report.unreadable.push(...unreadable);
  }

  private async resealEndpoint(
    endpoint: string,
    { sealer, discard }: Resealing,
    report: ReencryptReport,
  ): Promise<void> {
    const { secrets } = this;
    for (;;) {
      const before = await secrets.get(endpoint);
      if (before === null) return;
      const after = reseal(sealer, before, endpoint);
      if (after === before) return;
      if (after === null) {
        report.unreadable.push(endpoint);
        if (discard && (await secrets.remove(endpoint, before))) report.discarded += 1;
        return;
      }
      if (await secrets.replace(endpoint, before, after)) {
        report.reencrypted += 1;
        return;
      }
    }
  }
}

interface Resealing {
  /** Its first key encrypts. */
  sealer: Sealer;
  /** Deletes what no key opens. */
  discard: boolean;
}

/** The webhooks of a watch or a batch, among its subscriptions and beside them. */
type Webhooks = Pick<Watch, 'subscriptions' | 'formerWebhooks'>;

function webhooksOf({ batch: { subscriptions, inherited } }: StoredBatch): Webhooks {
  return { subscriptions: subscriptions ?? [], formerWebhooks: inherited };
}

function sealedParts({ subscriptions, formerWebhooks }: Webhooks): string[] {
  return [...subscriptions, ...formerWebhooks].flatMap((one) =>
    one.kind === 'webhook' ? [one.sealed] : [],
  );
}

/**
 * Webhooks with all values sealed by the first key. Those with a value that no key opens are discarded,
 * for nothing can be sent to them, or do not change.
 * @param context what they are sealed for
 */
function resealOwned(owned: Webhooks, context: string, { sealer, discard }: Resealing) {
  const counts = { resealed: 0, lost: 0, discarded: 0 };
  const resealOne = <One extends Subscription>(one: One): One[] => {
    const sealed = one.kind === 'webhook' ? reseal(sealer, one.sealed, context) : undefined;
    if (sealed === null) {
      counts.lost += 1;
      if (discard) counts.discarded += 1;
      return discard ? [] : [one];
    }
    if (one.kind !== 'webhook' || sealed === one.sealed) return [one];
    counts.resealed += 1;
    return [{ ...one, sealed }];
  };
  const subscriptions = owned.subscriptions.flatMap(resealOne);
  const formerWebhooks = owned.formerWebhooks.flatMap(resealOne);
  return { after: { subscriptions, formerWebhooks }, ...counts };
}

/** The value sealed by the first key, unchanged if it is already; null when no key opens it. */
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
