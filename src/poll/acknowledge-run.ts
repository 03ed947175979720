import {
  acknowledgedBy,
  inForce,
  type AcknowledgeRequest,
  type Watch,
  type WatchKey,
} from '../core/watch/watch.ts';
import type { WatchStore } from './ports.ts';

interface AcknowledgeRunDependencies {
  watches: Pick<WatchStore, 'get' | 'commit'>;
  now: () => number;
}

/**
 * The use case behind acknowledging a run, in whatever state its watch is, and taking that back.
 * Returns a function that takes null to take it back, and resolves with null for an unknown watch.
 */
export function createAcknowledgeRun({ watches, now }: AcknowledgeRunDependencies) {
  return async function acknowledgeRun(
    key: WatchKey,
    request: AcknowledgeRequest | null,
  ): Promise<Watch | null> {
    for (;;) {
      const before = await watches.get(key);
      if (before === null) return null;
      const at = now();
      const acknowledged = acknowledgedBy(inForce(before.watch.acknowledged, at), request, at);
      if (acknowledged === before.watch.acknowledged) return before.watch;
      const after = { ...before.watch, acknowledged };
      if (await watches.commit({ before, after, events: [], deliveries: [] })) return after;
    }
  };
}
