import type { Redis } from 'ioredis';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import { poolOf, type Receiver } from '../../core/delivery/receiver.ts';
import { createPoolPlans, receiverKeys } from './outbox-plan.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { readEndpoint, stateWrite } from './endpoint-record.ts';
import { replies } from '../connection.ts';

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
  async write(
    before: StoredEndpoint,
    after: EndpointState,
    { limits, now }: { limits: EndpointLimits; now: number },
  ): Promise<boolean> {
    const { receiver } = before;
    const { clock, poolsDue, dueBell } = this.keys;
    const write = stateWrite(this.keys, before, after, now);
    const { json, named } = this.planOf(poolOf(receiver), limits);
    const byPlace = [clock, poolsDue, dueBell, ...named, ...receiverKeys(this.keys, receiver)];
    const written = await this.redis.rwWriteEndpoint(
      ...declaredKeys(this.keys, byPlace, write),
      JSON.stringify(write),
      json,
      receiver,
    );
    return written === 1;
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
