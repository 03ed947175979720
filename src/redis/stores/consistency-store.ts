import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import type { SourceConsistency } from '../../core/source/consistency.ts';
import { jsonOrNull } from '../connection.ts';
import type { Keys } from '../keys.ts';
import { script } from '../script.ts';
import { effectsOf, PLAN_DELIVERIES, RAISE } from './event-plan.ts';

/** Longer than any downtime: the end of an inconsistency has an event, too. */
const KEPT_MS = 30 * 86_400_000;

/** A record of how far a source's polls agree, to replace the one that was read. */
export interface ConsistencyWrite {
  source: string;
  /** The record's text when it was read; '' for none. */
  before: string;
  after: SourceConsistency | null;
}

/**
 * Replaces a state and raises the event that says so, unless another process has written it since.
 * Returns null where it had changed, else the pools at which deliveries are due now.
 */
const REPLACE_STATE = script(
  'rwReplaceState',
  {
    keys: ['state'],
    args: ['keptMs', 'before', 'after', 'effects?'],
    reply: (pools: string[] | null) => pools,
  },
  `
${PLAN_DELIVERIES}
${RAISE}
if (redis.call('GET', keys.state) or '') ~= args.before then return false end
if args.after == '' then
  redis.call('DEL', keys.state)
else
  redis.call('SET', keys.state, args.after, 'PX', args.keptMs)
end
if not args.effects then return {} end
return raise(cjson.decode(args.effects))
`,
);

/** How far polls of each source's runs agree. Errors of the connection pass through. */
export class ConsistencyStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** @returns `text`: what a write must find unchanged */
  async read(source: string): Promise<{ found: SourceConsistency | null; text: string }> {
    const text = await this.redis.get(this.keys.sourceConsistency(source));
    return { found: jsonOrNull(text) as SourceConsistency | null, text: text ?? '' };
  }

  /**
   * Writes a record, null for none, and raises its event in the same step.
   * @returns the pools at which deliveries are due now; null where another process has written since
   */
  put(
    { source, before, after }: ConsistencyWrite,
    event: PlannedEvent | null,
  ): Promise<string[] | null> {
    const state = this.keys.sourceConsistency(source);
    const { effects, named } = effectsOf(this.keys, event);
    return REPLACE_STATE.run(
      this.redis,
      { state },
      { keptMs: KEPT_MS, before, after: after === null ? '' : JSON.stringify(after), effects },
      { further: named },
    );
  }
}
