import {
  claimRules,
  isWell,
  NEW_STATE,
  type EndpointState,
  type StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import { isWebhook, type Receiver } from '../../core/delivery/receiver.ts';
import type { PlanKeys } from '../keys.ts';
import { newVersion } from '../versions.ts';

const DAY_MS = 86_400_000;

/** The state of a webhook of a watch that fails and is attempted no more is forgotten after this. */
const FAILING_KEPT_MS = 30 * DAY_MS;

/** States of webhooks of watches that are kept at the most. */
export const UNWELL_KEPT = 10_000;

/** Results are counted by the minute; the rules look back this far. */
const MINUTES_KEPT = 5;

/** What the document says of a state; its results are counted beside it. */
type StateRecord = Omit<EndpointState, 'minutes'>;

/** Reads a state from the hash that it is kept in. */
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

/**
 * Writes what a result or a user made of an endpoint's state. Its document goes with a version, which
 * must be as it was when read. Results that change nothing but the counts are only counted, in a field
 * per minute. So attempts at a healthy endpoint do not conflict. Beside the document stand the fields
 * that claims go by.
 *
 * A webhook of a watch has a hash only while it is not well, and for a day after. Their number is
 * limited: beyond it the one that changed longest ago is forgotten.
 *
 * `isStateKnown(write)` compares the version, `writeState(write, now)` does the writing.
 */
export const WRITE_STATE = `
local function isStateKnown(write)
  return not write.doc or (redis.call('HGET', write.key, 'version') or '') == write.version
end

local function forgetMinutes(write, isOld)
  for _, field in ipairs(redis.call('HKEYS', write.key)) do
    local minute = tonumber(string.match(field, '^[df](%d+)$'))
    if minute and isOld(minute) then redis.call('HDEL', write.key, field) end
  end
end

local function keepWebhook(write, now)
  if redis.call('EXISTS', write.key) == 0 then return end
  if write.keptMs then redis.call('PEXPIRE', write.key, write.keptMs) else redis.call('PERSIST', write.key) end
  if write.isWell then
    redis.call('ZREM', write.unwell, write.name)
    return
  end
  redis.call('ZADD', write.unwell, now, write.name)
  if redis.call('ZCARD', write.unwell) > write.unwellKept then
    local oldest = redis.call('ZPOPMIN', write.unwell)[1]
    redis.call('DEL', write.states .. oldest)
  end
end

local function writeState(write, now)
  if write.doc then
    redis.call('HSET', write.key, 'version', write.newVersion, 'doc', write.doc, 'from', write.from,
      'parkedFrom', write.parkedFrom, 'probes', write.probes, 'slow', write.slow)
    if write.inTrouble then redis.call(write.isWell and 'SREM' or 'SADD', write.inTrouble, write.name) end
  end
  if write.isCleared then
    forgetMinutes(write, function() return true end)
  elseif write.count and (not write.isWebhook or redis.call('EXISTS', write.key) == 1)
    and redis.call('HINCRBY', write.key, write.count, 1) == 1 then
    forgetMinutes(write, function(minute) return minute <= write.forgottenMinute end)
  end
  if write.isWebhook then keepWebhook(write, now) end
end
`;

/** What {@link WRITE_STATE} has to write of a state that has become another. */
export function stateWrite(
  { keys, declare }: PlanKeys,
  before: StoredEndpoint,
  after: EndpointState,
  now: number,
) {
  const { minutes: had } = before.state;
  const { minutes: has } = after;
  const last = has.at(-1);
  const counted = had.find(({ minute }) => minute === last?.minute);
  return {
    key: declare(keys.endpointState(before.receiver)),
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
          unwell: declare(keys.endpointsUnwell),
          unwellKept: UNWELL_KEPT,
        }
      : { inTrouble: declare(keys.endpointsInTrouble) }),
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
