import {
  claimRules,
  isWell,
  NEW_STATE,
  type EndpointState,
  type StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import { isWebhook, type Receiver } from '../../core/delivery/receiver.ts';
import type { Keys } from '../keys.ts';
import { newVersion } from '../versions.ts';

const DAY_MS = 86_400_000;

/** The state of a webhook of a watch that fails and is attempted no more is forgotten after this. */
const FAILING_KEPT_MS = 30 * DAY_MS;

/** States of webhooks of watches that are kept at the most. */
const UNWELL_KEPT = 10_000;

/** Results are counted by the minute; the rules look back this far. */
const MINUTES_KEPT = 5;

/** What the document says of a state; its results are counted beside it. */
type StateRecord = Omit<EndpointState, 'minutes'>;

/** Reads a state from the hash that it is kept in: see `lua/endpoint-state.ts`. */
export function readEndpoint(
  receiver: Receiver,
  hash: Readonly<Record<string, string>>,
): StoredEndpoint {
  const { version = '', doc } = hash;
  const record = doc === undefined ? NEW_STATE : (JSON.parse(doc) as StateRecord);
  return {
    receiver,
    state: { ...record, minutes: readMinutes(hash) },
    version,
  };
}

function readMinutes(hash: Readonly<Record<string, string>>): EndpointState['minutes'] {
  const minutes = new Map<number, EndpointState['minutes'][number]>();
  for (const [field, count] of Object.entries(hash)) {
    const [, kind, digits] = /^([df])(\d+)$/.exec(field) ?? [];
    if (digits === undefined) continue;
    const minute = Number(digits);
    const one = minutes.get(minute) ?? { minute, delivered: 0, failed: 0 };
    one[kind === 'd' ? 'delivered' : 'failed'] = Number(count);
    minutes.set(minute, one);
  }
  return [...minutes.values()].toSorted((one, other) => one.minute - other.minute);
}

/** What the script has to write of a state that has become another. */
export function stateWrite(keys: Keys, before: StoredEndpoint, after: EndpointState, now: number) {
  const { minutes: had } = before.state;
  const { minutes: has } = after;
  const last = has.at(-1);
  const counted = had.find(({ minute }) => minute === last?.minute);
  return {
    key: keys.endpointState(before.receiver),
    version: before.version,
    ...(!isCountedOnly(before.state, after) && {
      doc: docOf(after),
      newVersion: newVersion(),
      ...rulesOf(after),
    }),
    ...(has.length === 0 && had.length > 0 && { isCleared: true }),
    ...(last !== undefined && countOf(last, counted)),
    name: before.receiver,
    isWell: isWell(after, now),
    ...(isWebhook(before.receiver)
      ? {
          isWebhook: true,
          ...keptOf(after, now),
          states: keys.endpointState(''),
          unwell: keys.endpointsUnwell,
          unwellKept: UNWELL_KEPT,
        }
      : { inTrouble: keys.endpointsInTrouble }),
  };
}

/** True where no more than the counts has changed: that is all that most results do. */
function isCountedOnly(before: EndpointState, after: EndpointState): boolean {
  const fields = Object.keys(after) as (keyof EndpointState)[];
  return fields.every((field) => field === 'minutes' || after[field] === before[field]);
}

function docOf({ minutes: _counted, ...record }: EndpointState): string {
  return JSON.stringify(record);
}

function rulesOf(state: EndpointState) {
  const { from, parkedFrom, probes, isSlow } = claimRules(state);
  return { from, parkedFrom: parkedFrom ?? '-', probes: probes ? 1 : 0, slow: isSlow ? 1 : 0 };
}

/** For how long the state of a webhook of a watch is kept; what a user has to lift is kept for good. */
function keptOf(state: EndpointState, now: number) {
  if (state.paused || state.disabled !== null) return {};
  const quietMs = Math.max(0, (state.throttledUntil ?? 0) - now);
  const isFailing = state.breaker === 'open' || state.failures > 0;
  return { keptMs: isFailing ? FAILING_KEPT_MS : Math.ceil(quietMs + DAY_MS) };
}

type Minute = EndpointState['minutes'][number];

function countOf(has: Minute, had: Minute | undefined) {
  const field = has.delivered > (had?.delivered ?? 0) ? 'd' : 'f';
  const isCounted = field === 'd' || has.failed > (had?.failed ?? 0);
  return (
    isCounted && { count: `${field}${has.minute}`, forgottenMinute: has.minute - MINUTES_KEPT }
  );
}
