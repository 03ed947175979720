import type { AuditRecord } from '../core/audit.ts';
import { MOST_WEBHOOKS, newBatch, type Batch, type BatchName } from '../core/batch.ts';
import { formerWebhooks, withoutToken } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';

/** What users set of a batch. */
export type BatchSettings = Pick<Batch, 'expected' | 'maxFailed' | 'subscriptions'>;

/**
 * The use case behind setting up a batch: it sets what is given and takes back the rest. Where its name stands for
 * none, or for one that has completed, a new one begins.
 * @param settingsOf makes the settings of the batch that they are for
 * @returns `closed` where it takes no other number of runs any more; `full` where there are too many
 */
export async function writeBatch(
  process: Process,
  name: BatchName,
  settingsOf: (batch: Batch) => BatchSettings,
): Promise<{ batch: Batch; isNew: boolean } | 'closed' | 'full'> {
  const { batches } = process.stores;
  for (;;) {
    const [stored = null] = await batches.named([name]);
    if (stored === null || stored.batch.state === 'completed') {
      const batch = newBatch(process.newMark(), name, process.now());
      const begun = withExpected({ ...batch, ...settingsOf(batch) });
      if (!(await batches.hasRoom())) return 'full';
      if (await batches.begin(begun, stored?.batch.id ?? '')) return { batch: begun, isNew: true };
      continue;
    }
    const { batch } = stored;
    const after = withExpected(withSettings(batch, settingsOf(batch)));
    if (batch.state === 'closed' && after.expected !== batch.expected) return 'closed';
    if (await batches.replace(stored, after)) return { batch: after, isNew: false };
  }
}

/** The batch as it is set up. What an event of it waits to be sent to, it keeps. */
function withSettings(batch: Batch, settings: BatchSettings): Batch {
  if (batch.failedAt === null || batch.subscriptions === null) return { ...batch, ...settings };
  const before = { subscriptions: batch.subscriptions, formerWebhooks: batch.inherited };
  const inherited = formerWebhooks(before, settings.subscriptions ?? [], MOST_WEBHOOKS);
  return { ...batch, ...settings, inherited };
}

/** A batch that has as many runs as are expected is closed. */
function withExpected(batch: Batch): Batch {
  const { state, expected, joined } = batch;
  if (state !== 'open' || expected === null || joined < expected) return batch;
  return { ...batch, state: 'closed', closedBy: 'expected' };
}

/**
 * The use case behind closing a batch, after which no run joins. One that is not open does not change.
 * @param audit what the audit log has of it; null where a list of runs closes it
 * @returns null where there is none
 */
export async function closeBatch(
  { stores: { batches } }: Process,
  id: string,
  audit: AuditRecord | null,
): Promise<Batch | null> {
  for (;;) {
    const stored = await batches.read(id);
    if (stored === null || stored.batch.state !== 'open') return stored?.batch ?? null;
    const after = { ...stored.batch, state: 'closed' as const, closedBy: 'closed' as const };
    if (await batches.replace(stored, after, audit)) return after;
  }
}

/**
 * The use case behind ending webhooks of a batch that has not completed: those that a token registered, or all. Where
 * it has nothing else that hears of it, what hears of its runs does.
 * @returns how many have ended
 */
export async function endWebhooksOfBatch(
  { stores: { batches } }: Process,
  id: string,
  token: string | undefined,
): Promise<number> {
  for (;;) {
    const stored = await batches.read(id);
    if (stored === null || stored.batch.state === 'completed') return 0;
    const { subscriptions: had, expected, maxFailed } = stored.batch;
    const left = (had ?? []).flatMap((one) => withoutToken(one, token));
    const ended = (had?.length ?? 0) - left.length;
    if (ended === 0) return 0;
    const settings = { expected, maxFailed, subscriptions: left.length === 0 ? null : left };
    if (await batches.replace(stored, withSettings(stored.batch, settings))) return ended;
  }
}
