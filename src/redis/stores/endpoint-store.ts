import type { Redis } from 'ioredis';
import type { AuditRecord } from '../../core/audit.ts';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import { poolOf, type Receiver } from '../../core/delivery/receiver.ts';
import { PlanKeys, type Keys } from '../keys.ts';
import { AUDIT, auditArgument } from '../lua/audit.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { script } from '../script.ts';
import { readEndpoint, stateWrite, WRITE_STATE } from './endpoint-record.ts';
import { CLAIM_DELIVERIES, createPoolPlans, keysOfReceiver } from './pool-claims.ts';
import { replies } from '../connection.ts';

/**
 * Writes the state of an endpoint, if it is still what was read, and notes that its pool may be worth
 * asking now.
 */
const WRITE_ENDPOINT = script(
  'rwWriteEndpoint',
  {
    keys: ['clock', 'poolsDue', 'dueBell'],
    args: ['state', 'pool', 'receiver', 'audited?'],
    reply: (written: number) => written === 1,
  },
  `
${STORE_NOW}
${CLAIM_DELIVERIES}
${WRITE_STATE}
${AUDIT}
local write, p, now = cjson.decode(args.state), cjson.decode(args.pool), storeNow(keys.clock)
if not isStateKnown(write) then return 0 end
if args.audited then audit(cjson.decode(args.audited)) end
writeState(write, now)
if p.isShared then rescheduleWebhook(p, openReceiver(p, args.receiver, 0), false) end
reschedule(p, now)
redis.call('PUBLISH', keys.dueBell, p.pool)
return 1
`,
);

/** How the state of an endpoint is written. */
interface EndpointWrite {
  limits: EndpointLimits;
  now: number;
  /** What a user did; absent where no user did it. */
  audit?: AuditRecord | null;
}

/** The states of endpoints, shared by all processes. */
export class EndpointStore {
  private readonly planOf: ReturnType<typeof createPoolPlans>;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {
    this.planOf = createPoolPlans(keys);
  }

  async get(receiver: Receiver): Promise<StoredEndpoint> {
    return readEndpoint(receiver, await this.redis.hgetall(this.keys.endpointState(receiver)));
  }

  async getMany(receivers: readonly Receiver[]): Promise<StoredEndpoint[]> {
    const pipeline = this.redis.pipeline();
    for (const receiver of receivers) pipeline.hgetall(this.keys.endpointState(receiver));
    const found = await replies<Record<string, string>>(pipeline);
    return receivers.map((receiver, at) => readEndpoint(receiver, found[at] ?? {}));
  }

  /** Writes a state. @returns false when it is not what was read any more */
  write(
    before: StoredEndpoint,
    after: EndpointState,
    { limits, now, audit = null }: EndpointWrite,
  ): Promise<boolean> {
    const { receiver } = before;
    const planKeys = new PlanKeys(this.keys);
    const state = JSON.stringify(stateWrite(planKeys, before, after, now));
    const pool = this.planOf(poolOf(receiver), limits);
    const { audited, further } = auditArgument(this.keys, audit);
    return WRITE_ENDPOINT.run(
      this.redis,
      this.keys,
      { state, pool: pool.json, receiver, audited },
      {
        further: [...keysOfReceiver(this.keys, receiver, pool), ...planKeys.declared, ...further],
      },
    );
  }

  /** Those of some configured endpoints that may not be well. */
  async inTrouble(names: readonly string[]): Promise<StoredEndpoint[]> {
    const noted = new Set(await this.redis.smembers(this.keys.endpointsInTrouble));
    return this.getMany(names.filter((name) => noted.has(name)));
  }

  /** Webhooks of watches that are not well, those that changed last first. */
  async unwell(limit: number): Promise<StoredEndpoint[]> {
    const { endpointsUnwell } = this.keys;
    const names = await this.redis.zrevrange(endpointsUnwell, 0, limit - 1);
    const found = await this.getMany(names);
    const gone = found.filter(({ version }) => version === '').map(({ receiver }) => receiver);
    if (gone.length > 0) await this.redis.zrem(endpointsUnwell, ...gone);
    return found.filter(({ version }) => version !== '');
  }
}
