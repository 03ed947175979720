import type { Redis } from 'ioredis';
import type { AuditRecord } from '../../core/audit.ts';
import type { Silence, SilenceRefusal } from '../../core/alert/silence.ts';
import { jsonOrNull } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { replaceField } from '../lua/replace-field.ts';
import { script } from '../script.ts';

/** Silences that may be in force or to come at a time. */
const MOST = 1_000;

/** How many of them one token may have created. */
const MOST_OF_TOKEN = MOST / 4;

/** Those that have expired included. */
const MOST_KEPT = 2 * MOST;

/**
 * Creates a silence, unless there is one of its id that has not expired: it takes the place of one that
 * has. Those that have expired count for nothing; the first of them to expire is forgotten where there are too many
 * of both. Returns the document that was there before, else 1; 0 where too many are live, -1 where too many of its
 * token are.
 */
const ADD_SILENCE = script(
  'rwAddSilence',
  {
    keys: ['silences'],
    args: ['id', 'doc', 'mostLive', 'mostOfToken', 'mostKept', 'now', 'audited?'],
    reply: (there: string | -1 | 0 | 1) => there,
  },
  `
${AUDIT}
local now, token = tonumber(args.now), cjson.decode(args.doc).token
local there = redis.call('HGET', keys.silences, args.id)
if there and cjson.decode(there)['until'] > now then return there end
local live, own, kept, oldest = 0, 0, 0, nil
local flat = redis.call('HGETALL', keys.silences)
for at = 1, #flat, 2 do
  local silence = cjson.decode(flat[at + 1])
  kept = kept + 1
  if silence['until'] > now then
    live = live + 1
    if token and silence.token == token then own = own + 1 end
  elseif not oldest or silence['until'] < oldest.at then
    oldest = {id = flat[at], at = silence['until']}
  end
end
if own >= tonumber(args.mostOfToken) then return -1 end
if live >= tonumber(args.mostLive) then return 0 end
if kept >= tonumber(args.mostKept) and oldest then redis.call('HDEL', keys.silences, oldest.id) end
if args.audited then audit(cjson.decode(args.audited)) end
redis.call('HSET', keys.silences, args.id, args.doc)
return 1
`,
);

/** Silences in Redis. Errors of the connection pass through. */
export class SilenceStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async all(): Promise<Silence[]> {
    const docs = await this.redis.hvals(this.keys.silences);
    return docs.map(parse);
  }

  async get(id: string): Promise<Silence | null> {
    return jsonOrNull(await this.redis.hget(this.keys.silences, id)) as Silence | null;
  }

  /**
   * Adds a silence, unless there is one of its id.
   * @returns the one that is there now; `full` where too many have not expired, `share` where too many of
   *   its token have not
   */
  async add(
    silence: Silence,
    audit: AuditRecord | null = null,
  ): Promise<{ silence: Silence; isNew: boolean } | SilenceRefusal> {
    const { audited, further } = auditArgument(this.keys, audit);
    const there = await ADD_SILENCE.run(
      this.redis,
      { silences: this.keys.silences },
      {
        id: silence.id,
        doc: JSON.stringify(silence),
        mostLive: MOST,
        mostOfToken: MOST_OF_TOKEN,
        mostKept: MOST_KEPT,
        now: silence.createdAt,
        audited,
      },
      { further },
    );
    if (there === 0) return 'full';
    if (there === -1) return 'share';
    return there === 1
      ? { silence, isNew: true }
      : { silence: JSON.parse(there) as Silence, isNew: false };
  }

  /** Writes a silence anew. @returns false where it is not as it was read any more */
  async replace(
    before: Silence,
    after: Silence,
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    const { redis, keys } = this;
    return replaceField(
      redis,
      { key: keys.silences, field: before.id },
      { was: JSON.stringify(before), is: JSON.stringify(after) },
      auditArgument(keys, audit),
    );
  }

  /** Forgets those that expired before a time; one that was created anew by its key meanwhile is kept. */
  async forget(before: number): Promise<number> {
    const { silences } = this.keys;
    const docs = await this.redis.hgetall(silences);
    const old = Object.entries(docs).filter(([, doc]) => parse(doc).until < before);
    const forgotten = await Promise.all(
      old.map(([id, doc]) => {
        return replaceField(this.redis, { key: silences, field: id }, { was: doc, is: '' });
      }),
    );
    return forgotten.filter(Boolean).length;
  }
}

function parse(doc: string): Silence {
  return JSON.parse(doc) as Silence;
}
