import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Keys } from './keys.ts';
import { STORE_NOW } from './lua/clock.ts';
import { LEASE } from './lua/leases.ts';
import { script } from './script.ts';

/** Claims read by one command. */
const CHUNK = 500;

/** Something that a process has claimed; the token proves that it still may write it. */
export interface ClaimedMember {
  member: string;
  token: string;
}

/** Names a process: random at each start, so that no process is taken for the one before it. */
export function newProcessId(): string {
  return randomBytes(6).toString('base64url');
}

/** Makes the tokens of a process: its id, and a number that it gives once. */
export function tokensOf(process: string): () => string {
  let given = 0;
  return () => `${process}.${(given += 1).toString(36)}`;
}

const TAKE_LEASE = script(
  'rwTakeLease',
  { keys: ['clock', 'lease'], args: ['token', 'ms'], reply: (taken: number) => taken === 1 },
  `
${STORE_NOW}
${LEASE}
return takeLease(keys.lease, args.token, storeNow(keys.clock), tonumber(args.ms)) and 0 or 1
`,
);

/** Ends a lease that a token holds, or any token of a process. */
const END_LEASE = script(
  'rwEndLease',
  { keys: ['lease'], args: ['token?', 'process?'] },
  `
${LEASE}
local holder = readLease(keys.lease) or ''
local isMeant = holder == args.token or args.process and string.match(holder, '^[^.]+') == args.process
if isMeant then redis.call('DEL', keys.lease) end
`,
);

/** The right to do what one process at a time does; see `lua/leases.ts`. */
export class Lease {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Pick<Keys, 'clock'>,
    private readonly key: string,
  ) {}

  /** Takes the lease for so many ms, or renews it. @returns false while another token holds it */
  async take(token: string, ms: number): Promise<boolean> {
    const keys = { clock: this.keys.clock, lease: this.key };
    return TAKE_LEASE.run(this.redis, keys, { token, ms });
  }

  /** Ends the lease, if the token holds it. */
  async end(token: string): Promise<void> {
    await END_LEASE.run(this.redis, { lease: this.key }, { token });
  }

  /** Ends the lease, if a process that has died holds it. */
  async endOf(process: string): Promise<void> {
    await END_LEASE.run(this.redis, { lease: this.key }, { process });
  }
}

/** A claim with what the work has noted of it. */
interface NotedClaim extends ClaimedMember {
  notes: string[];
}

/** The claims of one kind of work; see `lua/leases.ts`. */
export class ClaimStore {
  constructor(
    private readonly redis: Redis,
    private readonly claims: string,
  ) {}

  /** All claims, a chunk at a time; those made meanwhile may be missing. */
  async *all(): AsyncIterable<NotedClaim[]> {
    let cursor = '0';
    do {
      const [next, flat] = await this.redis.hscan(this.claims, cursor, 'COUNT', CHUNK);
      cursor = next;
      if (flat.length > 0) yield claimsIn(flat);
    } while (cursor !== '0');
  }

  /** What a process holds, a chunk at a time. */
  async *heldBy(process: string): AsyncIterable<ClaimedMember[]> {
    for await (const chunk of this.all()) {
      const held = chunk.filter(({ token }) => token.startsWith(`${process}.`));
      if (held.length > 0) yield held.map(({ member, token }) => ({ member, token }));
    }
  }
}

function claimsIn(flat: readonly string[]): NotedClaim[] {
  return Array.from({ length: flat.length / 2 }, (_, at) => {
    const [token = '', , ...notes] = (flat[at * 2 + 1] ?? '').split(' ');
    return { member: flat[at * 2] ?? '', token, notes };
  });
}
