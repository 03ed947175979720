import type { Complete } from '../core/records.ts';
import { canonicalRunId } from '../core/run/snapshot.ts';
import type { Process } from '../process.ts';
import type { LookupRequest } from '../redis/stores/lookup-store.ts';
import { sourcesMeant, sourcesOf } from './auth.ts';
import type { Requests, Slice } from './routing.ts';
import type { Routes } from './schemas/routes.ts';

type Own = Routes['lookup'];

/** Finds ids by their beginnings. */
export class LookupService implements Slice<Own> {
  constructor(private readonly process: Process) {}

  async find({ query, token }: Requests<Own>['find']) {
    const { kind, prefix, limit, ...rest } = query;
    rest satisfies Record<string, never>;
    // Ids of events and deliveries do not say which source they belong to.
    if (sourcesOf(token) !== undefined && kind !== 'run') return { data: [], more: false };
    const meant: Complete<LookupRequest> = {
      kind,
      prefix: canonicalPrefix(kind, prefix),
      limit,
      sources: sourcesMeant(token).sources,
    };
    const { found, more } = await this.process.stores.lookup.find(meant);
    return { data: found, more };
  }
}

/** UUIDs are kept in lower case, and so are their beginnings. */
function canonicalPrefix(kind: LookupRequest['kind'], prefix: string): string {
  if (kind !== 'run') return prefix;
  return /^[0-9a-f]{8}(-[0-9a-f-]*)?$/i.test(prefix)
    ? prefix.toLowerCase()
    : canonicalRunId(prefix);
}
