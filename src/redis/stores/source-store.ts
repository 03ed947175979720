import type { Redis } from 'ioredis';
import type { AuditRecord } from '../../core/audit.ts';
import { holdMs, paceOf, type PermitRequest } from '../../core/source/rate-limit.ts';
import type { SourceRecord, SourceState } from '../../core/source/throttle.ts';
import { jsonOrNull } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { storeNow } from '../store-clock.ts';
import { Lease } from '../leases.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { RATE_LIMIT } from '../lua/rate-limit.ts';
import { SOURCE_GATE } from '../lua/source-gate.ts';
import { countNumbers } from '../numbers.ts';
import { script } from '../script.ts';

/** For how long it is known when a source answered, or did again, ms. */
const KEPT_MS = 86_400_000;

/** Writes what is known of a source, unless another process has since it was read. */
const PUT_SOURCE = script(
  'rwPutSource',
  {
    keys: ['state', 'probe', 'open'],
    args: ['keptMs', 'before?', 'after?', 'endsProbe?', 'openSince?', 'audited?'],
    reply: (written: number) => written === 1,
  },
  `
${AUDIT}
if (redis.call('GET', keys.state) or '') ~= (args.before or '') then return 0 end
if args.audited then audit(cjson.decode(args.audited)) end
if args.after then redis.call('SET', keys.state, args.after) else redis.call('DEL', keys.state) end
if args.endsProbe then redis.call('DEL', keys.probe) end
if args.openSince then redis.call('SET', keys.open, args.openSince, 'PX', args.keptMs) end
return 1
`,
);

/** How the state of a source is written. */
export interface SourceWrite {
  /** Lets go of the probe. */
  isProbe: boolean;
  /** Since when it answers again; else null. */
  openSince: number | null;
  /** With which the state was found. */
  access: string;
  /** What a user did; absent where no user did it. */
  audit?: AuditRecord | null;
}

/** What all processes know of sources: whether they answer, and may be asked. */
export class SourceStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async read(source: string): Promise<SourceRecord> {
    const { state: key, open } = this.keys.sourceAdmission(source);
    const [text = null, answered = null, openSince = null] = await this.redis.mget(
      key,
      this.keys.sourceAnswered(source),
      open,
    );
    const stored = jsonOrNull(text) as (SourceState & { access: string }) | null;
    const state = stored && withoutAccess(stored);
    return {
      state,
      text: text ?? '',
      access: stored?.access ?? null,
      ...answerIn(answered),
      openSince: numberOrNull(openSince),
    };
  }

  /** Writes what became of a source, unless another process was first. */
  async put(
    source: string,
    before: Pick<SourceRecord, 'text'>,
    after: SourceState | null,
    { isProbe, openSince, access, audit = null }: SourceWrite,
  ): Promise<boolean> {
    const { audited, further } = auditArgument(this.keys, audit);
    const about = {
      keptMs: KEPT_MS,
      before: before.text,
      after: after === null ? undefined : JSON.stringify({ ...after, access }),
      endsProbe: isProbe ? 1 : undefined,
      openSince: openSince === null ? undefined : Math.round(openSince),
      audited,
    };
    return PUT_SOURCE.run(this.redis, this.keys.sourceAdmission(source), about, { further });
  }

  /** The right to probe a source that is closed, of one request at a time. */
  probeLease(source: string): Lease {
    const { probe } = this.keys.sourceAdmission(source);
    return new Lease(this.redis, this.keys, probe);
  }

  /** Notes that a source has given a valid answer. */
  async answered(source: string, now: number, access: string): Promise<void> {
    const text = `${Math.round(now)} ${access}`;
    await this.redis.set(this.keys.sourceAnswered(source), text, 'PX', KEPT_MS);
  }
}

function withoutAccess(stored: SourceState & { access: string }): SourceState {
  const state: SourceState & { access?: string } = { ...stored };
  delete state.access;
  return state;
}

function answerIn(text: string | null): Pick<SourceRecord, 'answeredAt' | 'answeredBy'> {
  const [at, by = null] = text?.split(' ') ?? [];
  return { answeredAt: at === undefined ? null : Number(at), answeredBy: by };
}

function numberOrNull(text: string | null): number | null {
  return text === null ? null : Number(text);
}

/** Which sources daemons have had configured, and when last. Errors of the connection pass through. */
export class SourceNamesStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Notes that a daemon has these sources configured now, milliseconds since the epoch. */
  async note(names: readonly string[], now: number): Promise<void> {
    const fields = names.flatMap((name) => [name, now]);
    if (fields.length > 0) await this.redis.hset(this.keys.sourceNames, ...fields);
  }

  /** When each was configured last, by name. */
  async all(): Promise<Map<string, number>> {
    const found = await this.redis.hgetall(this.keys.sourceNames);
    return new Map(Object.entries(found).map(([name, at]) => [name, Number(at)]));
  }

  async forget(name: string): Promise<void> {
    await this.redis.hdel(this.keys.sourceNames, name);
  }

  /** How many active watches a source has. */
  async countActive(source: string): Promise<number> {
    const { watches } = this.keys;
    return countNumbers(this.redis, watches('state', 'active'), watches('source', source));
  }
}

/**
 * A permit for one request beyond those of claims, unless the source is closed. Only a request with a lease, in ms, may
 * be its probe. Returns how many requests count with this one; null where there is no permit now.
 */
const ADMIT_REQUEST = script(
  'rwAdmitRequest',
  {
    keys: ['clock', 'permits', 'pace', 'state', 'probe', 'open'],
    args: [
      'request',
      'limit',
      'holdMs',
      'leaseMs?',
      'secondHoldMs?',
      'longestHoldMs?',
      'spacingMs?',
      'burst?',
    ],
    reply: (count: number | null) => count,
  },
  `
${STORE_NOW}
${RATE_LIMIT}
${SOURCE_GATE}
local now = storeNow(keys.clock)
local state, open = unpack(redis.call('MGET', keys.state, keys.open))
local isClosed = state and string.find(state, '"probeAt"', 1, true)
if isClosed and not args.leaseMs then return nil end
local gate = 0
if isClosed then gate = sourceAdmission(state, keys.probe, args.request, args.leaseMs, now) end
if gate == 2 then return nil end
local limit = openLimit(keys, rising(open, tonumber(args.limit), now, permitsOf(args)), args, now)
if not limit.isUsedUp() then
  local count = limit.take(args.request)
  limit.save()
  return count
end
if gate == 1 then redis.call('DEL', keys.probe) end
return nil
`,
);

/** Notes that a request was answered: it arrived by now, and counts no longer than the limit's time. */
const SETTLE_REQUEST = script(
  'rwSettleRequest',
  { keys: ['clock', 'permits'], args: ['request', 'limitMs'] },
  `
${STORE_NOW}
redis.call('ZADD', keys.permits, 'XX', 'LT', storeNow(keys.clock) + args.limitMs + 1, args.request)
`,
);

/** Keeps the permit of a request that is sent only now, for as long as a new one, also where it had ended. */
const RENEW_PERMIT = script(
  'rwRenewPermit',
  { keys: ['clock', 'permits'], args: ['request', 'holdMs'] },
  `
${STORE_NOW}
redis.call('ZADD', keys.permits, 'GT', storeNow(keys.clock) + args.holdMs, args.request)
`,
);

/** Frees the permit of a request that was not sent, and its place in the pace. */
const GIVE_BACK_PERMIT = script(
  'rwGiveBackPermit',
  { keys: ['permits', 'pace'], args: ['request', 'spacingMs?'] },
  `
if redis.call('ZREM', keys.permits, args.request) == 0 or not args.spacingMs then return end
local nextAt = redis.call('GET', keys.pace)
if nextAt then redis.call('SET', keys.pace, string.format('%.3f', nextAt - args.spacingMs), 'KEEPTTL') end
`,
);

/** The requests that count against the rate limits of sources, in all processes. */
export class BudgetStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** A permit for one request; while a source is closed, only for a probe. */
  admit(
    source: string,
    { request, limit, probeMs, secondHoldMs, longestHoldMs }: PermitRequest,
  ): Promise<number | null> {
    const { clock, budget, sourceAdmission } = this.keys;
    return ADMIT_REQUEST.run(
      this.redis,
      { clock, permits: budget(source), pace: this.keys.pace(source), ...sourceAdmission(source) },
      {
        request,
        limit: limit.requests,
        holdMs: holdMs(limit),
        leaseMs: probeMs,
        secondHoldMs,
        longestHoldMs,
        ...paceOf(limit),
      },
    );
  }

  /** Notes that a request was answered just now. */
  async settle(source: string, { request, limit }: PermitRequest): Promise<void> {
    const { clock, budget } = this.keys;
    const keys = { clock, permits: budget(source) };
    await SETTLE_REQUEST.run(this.redis, keys, { request, limitMs: limit.perMs });
  }

  /** Notes that a request is sent only now: it counts for as long as if its permit were new. */
  async renew(
    source: string,
    { request, limit, secondHoldMs }: Omit<PermitRequest, 'probeMs'>,
  ): Promise<void> {
    const { clock, budget } = this.keys;
    const keys = { clock, permits: budget(source) };
    await RENEW_PERMIT.run(this.redis, keys, { request, holdMs: secondHoldMs ?? holdMs(limit) });
  }

  /** How many requests count now. */
  async used(source: string): Promise<number> {
    const now = await storeNow(this.redis, this.keys);
    return this.redis.zcount(this.keys.budget(source), now, '+inf');
  }

  /** Gives back the permit of a request that was not sent. */
  async giveBack(source: string, { request, limit }: PermitRequest): Promise<void> {
    const keys = { permits: this.keys.budget(source), pace: this.keys.pace(source) };
    await GIVE_BACK_PERMIT.run(this.redis, keys, { request, spacingMs: paceOf(limit)?.spacingMs });
  }
}
