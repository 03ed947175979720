import { isWebhook } from '../core/delivery/receiver.ts';
import { NEW_GATE, type Gate, type StoredGate } from '../core/gate.ts';
import type { Keys } from './keys.ts';

/**
 * The gate of a webhook of a watch is kept this long after the last attempt there: there may be any
 * number of them. Those of configured endpoints are kept for good.
 */
const WEBHOOK_KEPT_MS = 30 * 86_400_000;

/** Results are counted by the minute; the gate's rules look back this far. */
const MINUTES_KEPT = 5;

/** What the document says of a gate; its results are counted beside it. */
type GateRecord = Omit<Gate, 'minutes'>;

/** Reads a gate from the hash that it is kept in: `version`, `doc`, `d<minute>` and `f<minute>`. */
export function readGate(name: string, hash: Readonly<Record<string, string>>): StoredGate {
  const { version = '0', doc, ...counts } = hash;
  const record = doc === undefined ? NEW_GATE : (JSON.parse(doc) as GateRecord);
  return { name, gate: { ...record, minutes: readMinutes(counts) }, version: Number(version) };
}

function readMinutes(counts: Record<string, string>): Gate['minutes'] {
  const minutes = new Map<number, Gate['minutes'][number]>();
  for (const [field, count] of Object.entries(counts)) {
    const minute = Number(field.slice(1));
    const one = minutes.get(minute) ?? { minute, delivered: 0, failed: 0 };
    one[field.startsWith('d') ? 'delivered' : 'failed'] = Number(count);
    minutes.set(minute, one);
  }
  return [...minutes.values()].toSorted((one, other) => one.minute - other.minute);
}

/** What the script has to write of a gate that has become another. */
export function gateWrite(keys: Keys, before: StoredGate, after: Gate, now: number) {
  const { minutes: had, ...old } = before.gate;
  const { minutes: has, ...record } = after;
  const doc = JSON.stringify(record);
  const isSame = doc === JSON.stringify(old);
  const last = has.at(-1);
  const counted = had.find(({ minute }) => minute === last?.minute);
  return {
    key: keys.gate(before.name),
    version: before.version,
    ...(!isSame && { doc, ...holdOf(keys, before, after, now) }),
    ...(has.length === 0 && had.length > 0 && { isCleared: true }),
    ...(last !== undefined && countOf(last, counted)),
    ...(isWebhook(before.name) && { keptMs: WEBHOOK_KEPT_MS }),
  };
}

/** A quiet that the receiver asked for holds everything back, until somebody ends it by hand. */
function holdOf(keys: Keys, { name, gate }: StoredGate, { throttledUntil }: Gate, now: number) {
  const hold = keys.hold(name);
  if (throttledUntil !== null && throttledUntil > now) {
    return { hold, holdUntil: throttledUntil, holdMs: Math.ceil(throttledUntil - now) };
  }
  const isHoldOver = throttledUntil === null && gate.throttledUntil !== null;
  return isHoldOver && { hold, isHoldOver, gatesDue: keys.gatesDue, name, now };
}

type Minute = Gate['minutes'][number];

function countOf(has: Minute, had: Minute | undefined) {
  const field = has.delivered > (had?.delivered ?? 0) ? 'd' : 'f';
  const isCounted = field === 'd' || has.failed > (had?.failed ?? 0);
  return (
    isCounted && { count: `${field}${has.minute}`, forgottenMinute: has.minute - MINUTES_KEPT }
  );
}
