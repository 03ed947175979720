import type { AttemptOutcome, Delivery } from '../core/delivery/delivery.ts';
import {
  afterOriginSign,
  NO_TROUBLE,
  type OriginPause,
  type OriginSign,
  type OriginTrouble,
  isOrigin,
  poolOf,
  urlOf,
} from '../core/delivery/receiver.ts';
import { quietMs } from '../core/delivery/retry.ts';
import { afterAttemptAt, NEW_SLOTS, type SlotResult, type Slots } from '../core/delivery/slots.ts';

/** Pools that a process remembers; beyond them the least recently used are dropped. */
const REMEMBERED = 10_000;

/** Changes to a pool after an attempt, to be written with its result. */
interface PoolEffects {
  /** The slots as JSON; absent when unchanged. */
  slots?: string;
  /** Which of its receivers are paused; absent for none. */
  pause?: OriginPause;
}

interface Ended {
  delivery: Delivery;
  outcome: AttemptOutcome;
  hadWaiting: boolean;
  /** The most slots that the pool may have. */
  most: number;
  now: number;
}

/** The slots of pools as this process knows them; the store shares them among all processes. */
export interface PoolSlots {
  /** Takes over the slots that the store has, as JSON; '' when it has none. */
  adopt(pool: string, text: string): void;
  /** How many concurrent attempts a pool takes, as far as this process knows. */
  limitOf(pool: string): number;
  afterAttempt(ended: Ended): PoolEffects;
}

interface KnownPool {
  slots: Slots;
  trouble: OriginTrouble;
  adopted: string;
  /** How many slots the store knows of. */
  stored: number;
}

const UNKNOWN: KnownPool = {
  slots: NEW_SLOTS,
  trouble: NO_TROUBLE,
  adopted: '',
  stored: NEW_SLOTS.limit,
};

/** @param self the id of this process, by which it recognizes slots that it wrote itself */
export function createPoolSlots(self: string): PoolSlots {
  const known = new Map<string, KnownPool>();
  const isOwn = (text: string) => text.includes(`"by":"${self}"`);

  function of(pool: string) {
    const one = known.get(pool) ?? { ...UNKNOWN };
    known.delete(pool);
    known.set(pool, one);
    for (const oldest of known.keys()) {
      if (known.size <= REMEMBERED) break;
      known.delete(oldest);
    }
    return one;
  }

  return {
    adopt(pool, text) {
      const own = of(pool);
      // The store has dropped them after a quiet time: few at a time again.
      if (text === '') {
        own.slots = { ...own.slots, limit: Math.min(own.slots.limit, NEW_SLOTS.limit), wall: null };
        own.stored = NEW_SLOTS.limit;
        return;
      }
      // Slots that this process wrote, or has taken over already, are older than its own.
      if (isOwn(text) || text === own.adopted) return;
      own.adopted = text;
      const { by: _by, ...stored } = JSON.parse(text) as Slots & { by: string };
      own.stored = stored.limit;
      if (stored.cutAt >= own.slots.cutAt) own.slots = stored;
    },

    limitOf(pool) {
      const { slots } = known.get(pool) ?? UNKNOWN;
      return Math.max(1, Math.floor(slots.limit));
    },

    afterAttempt({ delivery, outcome, hadWaiting, most, now }) {
      const pool = poolOf(delivery.endpoint);
      const own = of(pool);
      const sharer = isOrigin(pool) ? urlOf(delivery.endpoint) : null;
      const before = own.slots;
      own.slots = afterAttemptAt(before, resultOf(outcome, hadWaiting, sharer), most);
      const effects: PoolEffects = {};
      if (isWorthWriting(own, before, most)) {
        own.stored = own.slots.limit;
        effects.slots = JSON.stringify({ ...own.slots, by: self });
      }
      if (sharer === null) return effects;
      const shown = { receiver: sharer, sign: signOf(outcome), now };
      const { trouble, pause } = afterOriginSign(own.trouble, shown);
      own.trouble = trouble;
      return pause === null ? effects : { ...effects, pause };
    },
  };
}

/** Growth below this share is not written yet: a write costs as much as a claim. */
const WRITTEN_SHARE = 1 / 8;

/** A change of the smoothed latency alone is not. */
function isWorthWriting({ slots, stored }: KnownPool, before: Slots, most: number): boolean {
  if (before.cutAt !== slots.cutAt || before.suspect !== slots.suspect) return true;
  const [has, had] = [Math.floor(slots.limit), Math.floor(stored)];
  if (has < had) return true;
  return has > had && (has - had >= had * WRITTEN_SHARE || has >= most);
}

function resultOf(outcome: AttemptOutcome, hadWaiting: boolean, sharer: string | null): SlotResult {
  const { at, durationMs } = outcome.attempt;
  return { kind: kindOf(outcome), beganAt: at, durationMs, hadWaiting, sharer };
}

function kindOf({ kind, attempt: { status, error } }: AttemptOutcome): SlotResult['kind'] {
  if (kind === 'delivered') return 'delivered';
  if (error?.code === 'timeout') return 'timeout';
  const isOverload = status === 429 || status === 503 || error?.code === 'refused';
  return isOverload ? 'overloaded' : 'failed';
}

const UNREACHED: ReadonlySet<string> = new Set(['timeout', 'refused', 'dns', 'unreachable']);

function signOf(outcome: AttemptOutcome): OriginSign {
  if (outcome.kind === 'delivered') return { kind: 'well' };
  if (outcome.kind === 'throttled') {
    return { kind: 'trouble', askedMs: quietMs(outcome.retryAfterMs) };
  }
  const { status, error } = outcome.attempt;
  const isTrouble = status === 429 || status === 503 || UNREACHED.has(error?.code ?? '');
  return isTrouble ? { kind: 'trouble', askedMs: null } : { kind: 'none' };
}

/** The claims that this process holds in the store, by the tokens that it issued. */
export interface ClaimTokens {
  /** A token to claim with; it counts as held until the store answers. */
  issue(): string;
  /** The store made so many claims by a token. */
  granted(token: string, claims: number): void;
  /** One of its claims has been written or released. */
  end(token: string): void;
  /** The store gave no answer: whatever it claimed is not held here. */
  discard(token: string): void;
  isHeld(token: string): boolean;
}

export function createClaimTokens(next: () => string): ClaimTokens {
  const held = new Map<string, number>();
  const hold = (token: string, claims: number) => {
    if (claims > 0) held.set(token, claims);
    else held.delete(token);
  };
  return {
    issue() {
      const token = next();
      hold(token, 1);
      return token;
    },
    granted: hold,
    end: (token) => hold(token, (held.get(token) ?? 0) - 1),
    discard: (token) => hold(token, 0),
    isHeld: (token) => held.has(token),
  };
}
