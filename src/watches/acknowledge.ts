import type { AuditRecord } from '../core/audit.ts';
import { acknowledgedBy, inForce, type AcknowledgeRequest } from '../core/watch/acknowledgement.ts';
import type { Watch, WatchKey } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';

/**
 * The use case behind acknowledging a run, in whatever state its watch is, and taking that back. What that means and
 * when it ends is said by `core/watch/acknowledgement.ts`.
 * @param request null to take it back
 * @param audit what the audit log has of it; null for nothing
 * @returns null for an unknown watch
 */
export async function acknowledgeRun(
  { stores: { watches }, now }: Process,
  key: WatchKey,
  request: AcknowledgeRequest | null,
  audit: AuditRecord | null = null,
): Promise<Watch | null> {
  for (;;) {
    const before = await watches.get(key);
    if (before === null) return null;
    const at = now();
    const acknowledged = acknowledgedBy(inForce(before.watch.acknowledged, at), request, at);
    if (acknowledged === before.watch.acknowledged) return before.watch;
    const after = { ...before.watch, acknowledged };
    if (await watches.commit({ before, after, events: [], deliveries: [], audit })) return after;
  }
}
