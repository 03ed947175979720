import type { Redis } from 'ioredis';
import { matchesAudit, type AuditFilter, type AuditRecord } from '../../core/audit.ts';
import type { Page } from '../../core/page.ts';
import { isBeyond, openTimeCursor } from '../cursor.ts';
import type { Keys } from '../keys.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { script } from '../script.ts';

/** Records read by one command. */
const CHUNK = 500;

/** Adds what is done by more than one step, before the first of them; also in a Redis that is full. */
const APPEND_AUDIT = script(
  'rwAppendAudit',
  { keys: ['audit'], args: ['audited', 'instead?'] },
  `
${EVEN_IF_FULL}
${AUDIT}
evenIfFull(keys.audit)
local plan = cjson.decode(args.audited)
if args.instead and redis.call('ZREM', keys.audit, args.instead) == 0 then return end
audit(plan)
`,
);

/** What users did: the audit log. Errors of the connection pass through. */
export class AuditStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Records what no step in Redis is, or more than one. */
  async append(record: AuditRecord): Promise<void> {
    await this.write(record, null);
  }

  /** Replaces a record by one that says more. One that is kept no more stays away. */
  async replace(before: AuditRecord, after: AuditRecord): Promise<void> {
    await this.write(after, before);
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    filter: AuditFilter,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<AuditRecord>> {
    const { from, cursorAt } = await openTimeCursor(this.redis, this.keys, cursor);
    const { since = '-inf', until } = filter;
    const before = until === undefined ? '+inf' : `(${until}`;
    const latest = from !== null && (until === undefined || from.at < until) ? from.at : before;
    const items: AuditRecord[] = [];
    for (let skip = 0; items.length <= limit; skip += CHUNK) {
      const { audit } = this.keys;
      const docs = await this.redis.zrevrangebyscore(audit, latest, since, 'LIMIT', skip, CHUNK);
      const found = docs.map((doc) => JSON.parse(doc) as AuditRecord);
      items.push(
        ...found.filter((one) => isBeyond(one, from, 'newest') && matchesAudit(one, filter)),
      );
      if (docs.length < CHUNK) break;
    }
    const last = items[limit - 1];
    const isLast = items.length <= limit || last === undefined;
    return { items: items.slice(0, limit), nextCursor: isLast ? null : cursorAt(last) };
  }

  /** Forgets records from before a time. @returns how many */
  forget(before: number): Promise<number> {
    return this.redis.zremrangebyscore(this.keys.audit, '-inf', `(${before}`);
  }

  private async write(record: AuditRecord, instead: AuditRecord | null): Promise<void> {
    const { keys } = this;
    const { audited = '', further } = auditArgument(keys, record);
    const about = { audited, instead: instead === null ? undefined : JSON.stringify(instead) };
    await APPEND_AUDIT.run(this.redis, { audit: keys.audit }, about, { further });
  }
}
