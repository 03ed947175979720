import type {
  Attempt,
  Delivery,
  DeliveryState,
  StoredDelivery,
  Wish,
} from '../../core/delivery/delivery.ts';
import { isOutstanding } from '../../core/delivery/state.ts';
import type { AuditRecord } from '../../core/audit.ts';
import type {
  EndpointLimits,
  EndpointState,
  StoredEndpoint,
} from '../../core/delivery/endpoint-state.ts';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import type { OriginPause } from '../../core/delivery/receiver.ts';
import { watchId } from '../../core/watch/watch.ts';
import { deliveryStateIndex } from '../indexes.ts';
import { countField, type PlanKeys } from '../keys.ts';
import { AUDIT, auditPlan } from '../lua/audit.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { COUNT } from '../lua/numbers.ts';
import { script } from '../script.ts';
import { stateWrite, WRITE_STATE } from './endpoint-record.ts';
import { PLAN_DELIVERIES, RAISE, raisedPlan } from './event-plan.ts';
import {
  CLAIM_DELIVERIES,
  claimArgs,
  readClaims,
  type ClaimReply,
  type NextClaims,
  type PoolClaims,
  type PoolPlan,
} from './pool-claims.ts';

/** A delivery to redeliver, to another endpoint if one is named. */
export interface ReplayRequest {
  id: string;
  to?: string | undefined;
}

/** The member of the requested replays. Neither ids nor names hold spaces. */
export function replayMember({ id, to }: ReplayRequest): string {
  return to === undefined ? id : `${id} ${to}`;
}

/** A step of a delivery: as it was read, and what it becomes. */
export interface DeliveryStep {
  before: StoredDelivery;
  after: Delivery;
  /** Proves the claim on it; absent where no process has one. */
  token?: string;
  limits: EndpointLimits;
  now: number;
  /** What the step claims for the slot that it frees; absent, nothing. */
  next?: NextClaims;
  /** What a user did, of a delivery that is made due for one. */
  audit?: AuditRecord | null;
  /** Nothing that a user wants of the delivery is left to do after this step. */
  meetsWish?: boolean;
  /** The requested replay that the step carries out; absent, none. */
  replay?: ReplayRequest | undefined;
}

/** The result of an attempt: the delivery is delivered, dead, or waits for its next attempt. */
export interface AttemptStep extends DeliveryStep {
  attempt: Attempt;
  /** What it shows about the endpoint and its pool; absent where another step writes that. */
  shows?: ReceiverChange;
}

/** What the result of an attempt changes besides its delivery. */
export interface ReceiverChange {
  endpoint: StoredEndpoint;
  stateAfter: EndpointState;
  /** What the slots of its pool become, as JSON; absent where they do not change. */
  slots?: string;
  /** Which receivers of its pool are paused; absent for none. */
  pause?: OriginPause;
  /** System events about the endpoint. */
  events: readonly PlannedEvent[];
}

/** Attempts kept of one delivery; older ones are dropped. */
const ATTEMPTS_KEPT = 50;

const NO_CLAIMS: NextClaims = { most: 0, token: '' };

/**
 * What the steps of a delivery are made of. A delivery is claimed, or stands among those that are due or
 * parked, or waits behind others of its order, or has settled. `d` is the delivery as it was read and what
 * it becomes, see {@link stepPlan}; `p` is the plan of its pool, see `pool-claims.ts`. By which rule
 * it becomes that stands in `core/delivery/retry.ts`.
 *
 * What a user wants of a delivery that is being attempted stands in its field `wish`: `now`, past breaker
 * and quiet, or `due`, as soon as its receiver takes it. A step that does not meet it writes nothing and
 * returns it.
 */
const STEPS = `
${PLAN_DELIVERIES}
${CLAIM_DELIVERIES}
${COUNT}
-- It is as it was read, and no other claim on it stands: an attempt that outlasted its lease has happened.
-- One with another number was forgotten and made again.
local function isUnchanged(d, p)
  local version, number, wish = unpack(redis.call('HMGET', d.key, 'version', 'number', 'wish'))
  local token = holder(p.claims, d.id)
  d.wish, d.isClaimed = wish, token ~= nil
  d.isCurrent = version == d.version and number == d.number
  d.isLost = not version and (not token or token == d.token)
  return d.isCurrent and (not token or token == d.token)
end

local function unmetWish(d)
  return not d.meetsWish and d.wish
end

-- Writes what it becomes, and counts it in its new state. The record comes last of a step: one that fails
-- before leaves it as it was, and is taken again.
local function write(d, doc)
  if d.leave ~= d.enter then
    leaveIndex(d.leave, d.number)
    enterIndex(d.enter, d.number)
    count(d.deliveryCounts, d.countFrom, -1)
    count(d.deliveryCounts, d.countTo, 1)
  end
  redis.call('HSET', d.key, 'version', d.version + 1, 'doc', doc)
  if d.wish then redis.call('HDEL', d.key, 'wish') end
end

-- Takes it from where it stands: its claim and slot are free. One whose claim was lost has its slot still.
local function takeOut(d, p)
  if d.isClaimed then redis.call('HDEL', p.claims, d.id) end
  local hadSlot = redis.call('ZREM', p.taken, d.id) == 1
  if p.isShared and (d.isClaimed or hadSlot) then leaveWebhook(p, d.receiver, d.id) end
  if not d.isClaimed then
    redis.call('ZREM', p.dues .. d.receiver, d.id)
    redis.call('ZREM', p.parked .. d.receiver, d.id)
  end
  if d.mayProbe then endLease(p.probes .. d.receiver, d.id) end
end

-- It waits for its next attempt, if no other of its order is before it.
local function requeue(d, p, now)
  if isFirst(d.ordering, d.id) then
    redis.call('ZADD', p.dues .. d.receiver, d.isUrgent and 0 or now + d.dueInMs, d.id)
  end
end

local function park(d, p, now)
  redis.call('ZADD', p.parked .. d.receiver, now, d.id)
end

-- It has come to its end: the next of its order is due, past whatever holds where a user wants it now.
local function settle(d, p, now)
  redis.call('ZADD', d.settled, now, d.id)
  if d.packDue then redis.call('ZADD', d.packDue, 'XX', now, d.watch) end
  local following = leaveOrder(d.ordering, d.id)
  if following and not redis.call('ZSCORE', p.parked .. d.receiver, following) then
    local doc = redis.call('HGET', p.deliveries .. following, 'doc')
    local isUrgent = doc and cjson.decode(doc).urgent
    redis.call('ZADD', p.dues .. d.receiver, isUrgent and 0 or now, following)
  end
end

-- One that had settled is outstanding again, behind the others of its order.
local function reopen(d)
  redis.call('ZREM', d.settled, d.id)
  reenterOrder(d.ordering, d.id)
end

local function place(d, p, now)
  if d.becomes == 'waiting' then
    requeue(d, p, now)
  elseif d.becomes == 'parked' then
    park(d, p, now)
  else
    settle(d, p, now)
  end
end

-- The slot that is free goes to what is due at the pool.
local function claimNext(d, p, now)
  if p.isShared then rescheduleWebhook(p, openReceiver(p, d.receiver, 0), false) end
  -- One that claims nothing goes by the token of its own claim.
  local token = d.most > 0 and args.token or d.token or ''
  return claimAndReschedule(p, now, d.most, token, args.turn)
end

-- What it took is free where its record was lost: no later step can tell whose that was.
local function freeLost(d, p)
  if not d.isLost then return end
  d.isClaimed, d.most = true, 0
  takeOut(d, p)
  claimNext(d, p, storeNow(keys.clock))
end
`;

/** What {@link STEPS} need of a delivery. */
function stepPlan(planKeys: PlanKeys, step: DeliveryStep) {
  const { keys, declare } = planKeys;
  const { before, after, token, next, now, meetsWish = false } = step;
  return {
    id: after.id,
    key: declare(keys.delivery(after.id)),
    version: String(before.version),
    number: String(before.number),
    receiver: after.endpoint,
    ...(token !== undefined && { token }),
    becomes: PLACES[after.state],
    wasSettled: !isOutstanding(before.delivery.state),
    dueInMs: Math.max(0, (after.nextAttemptAt ?? now) - now),
    isUrgent: after.urgent,
    leave: declare(deliveryStateIndex(keys, before.delivery)),
    enter: declare(deliveryStateIndex(keys, after)),
    deliveryCounts: declare(keys.deliveryCounts),
    countFrom: countField(before.delivery),
    countTo: countField(after),
    ordering: declare(keys.ordering(after)),
    settled: declare(keys.deliveriesSettled),
    ...(after.runId !== '' && { packDue: declare(keys.packDue), watch: watchId(after) }),
    attempts: declare(keys.attempts(after.id)),
    attemptsKept: ATTEMPTS_KEPT,
    meetsWish: meetsWish || after.state === 'delivered',
    most: next?.most ?? 0,
    audited: auditPlan(planKeys, step.audit),
    ...(step.replay && {
      replays: declare(keys.replays),
      replay: replayMember(step.replay),
    }),
  };
}

/** Where a delivery stands in each of its states. */
const PLACES: Record<DeliveryState, 'waiting' | 'parked' | 'settled'> = {
  pending: 'waiting',
  parked: 'parked',
  delivered: 'settled',
  dead: 'settled',
  skipped: 'settled',
  superseded: 'settled',
};

/** What all steps take: the delivery and its pool as plans, and the next claim at the pool. */
const KEYS = ['clock', 'poolsDue', 'dueBell'] as const;
const ARGS = ['delivery', 'pool', 'token', 'turn', 'doc'] as const;

/**
 * Records the result of an attempt: the delivery is settled, or waits for its next attempt. In the same
 * step stand what the attempt shows about endpoint and pool, and the events about the endpoint; its
 * state must be as it was read, too.
 * Returns 'delivery' or 'endpoint', whichever had changed, or a wish that the step does not meet, else
 * what has been claimed at the pool.
 */
export const RECORD_ATTEMPT = script(
  'rwRecordAttempt',
  {
    keys: KEYS,
    args: [...ARGS, 'attempt', 'shows?'],
    reply: (reply: 'delivery' | 'endpoint' | Wish | ClaimReply) => reply,
  },
  `
${STEPS}
${WRITE_STATE}
${RAISE}
local d, p = cjson.decode(args.delivery), cjson.decode(args.pool)
local shows = args.shows and cjson.decode(args.shows)
if not isUnchanged(d, p) then
  freeLost(d, p)
  return 'delivery'
end
if unmetWish(d) then return d.wish end
if shows and not isStateKnown(shows.state) then return 'endpoint' end
local now = storeNow(keys.clock)

local function writeReceiver()
  writeState(shows.state, now)
  if shows.slots then redis.call('SET', p.slots, shows.slots, 'PX', p.slotsKeptMs) end
  if shows.pause then holdBack(p, shows.pause, now) end
end

if shows then writeReceiver() end
if redis.call('RPUSH', d.attempts, args.attempt) > d.attemptsKept then
  redis.call('LTRIM', d.attempts, -d.attemptsKept, -1)
end
takeOut(d, p)
place(d, p, now)
if shows and shows.raised then raise(shows.raised) end
write(d, args.doc)
return claimNext(d, p, now)
`,
);

/** What {@link RECORD_ATTEMPT} changes besides the delivery. */
export function receiverPlan(planKeys: PlanKeys, change: ReceiverChange, now: number) {
  const { endpoint, stateAfter, slots, pause, events } = change;
  return {
    state: stateWrite(planKeys, endpoint, stateAfter, now),
    ...(slots !== undefined && { slots }),
    ...(pause !== undefined && { pause: { receivers: pause.receivers, ms: Math.ceil(pause.ms) } }),
    ...(events.length > 0 && { raised: raisedPlan(planKeys, events) }),
  };
}

/**
 * Withholds a delivery without an attempt: it is postponed, parked, skipped or superseded.
 * Returns 'delivery' where it had changed, or a wish that the step does not meet, else what has been
 * claimed at the pool.
 */
export const WITHHOLD_DELIVERY = script(
  'rwWithholdDelivery',
  {
    keys: KEYS,
    args: ARGS,
    reply: (reply: 'delivery' | Wish | ClaimReply) => reply,
  },
  `
${EVEN_IF_FULL}
${STEPS}
evenIfFull(keys.clock)
local d, p = cjson.decode(args.delivery), cjson.decode(args.pool)
if not isUnchanged(d, p) then
  freeLost(d, p)
  return 'delivery'
end
if unmetWish(d) then return d.wish end
local now = storeNow(keys.clock)
takeOut(d, p)
place(d, p, now)
write(d, args.doc)
return claimNext(d, p, now)
`,
);

/** The steps of the deliveries that one message covers. */
export type PostponedSteps = readonly [DeliveryStep, ...DeliveryStep[]];

/** What has been claimed after deliveries were postponed. */
export interface Postponed extends PoolClaims {
  /** Those that were not written, by their place: they had changed, or a user wants them now. */
  left: readonly number[];
}

/**
 * Postpones the deliveries of one message, for which nothing is sent: what it took of the endpoint's pace is free.
 * All are due at one moment of the store's clock, so that they are claimed together again. Their documents are
 * the arguments behind those with a name.
 */
export const POSTPONE_DELIVERIES = script(
  'rwPostponeDeliveries',
  {
    keys: KEYS,
    args: ['deliveries', 'pool', 'token', 'turn'],
    reply: ([left, claims]: [left: number[], claims: ClaimReply]) => ({ left, claims }),
  },
  `
${EVEN_IF_FULL}
${STEPS}
evenIfFull(keys.clock)
local all, p, left = cjson.decode(args.deliveries), cjson.decode(args.pool), {}
local now = storeNow(keys.clock)
if p.hold then redis.call('DEL', p.hold) end
for at, d in ipairs(all) do
  if isUnchanged(d, p) and not d.wish then
    takeOut(d, p)
    place(d, p, now)
    write(d, ARGV[rest + at - 1])
  else
    left[#left + 1] = at - 1
  end
end
return {left, claimNext(all[1], p, now)}
`,
);

/**
 * Makes a delivery due, also one that has settled. One that a process has claimed is due when its attempt
 * ends. A requested replay is requested no more: carried out again after a death, it would send twice. Says whether
 * the delivery was as it was read.
 */
export const REQUEUE_DELIVERY = script(
  'rwRequeueDelivery',
  { keys: KEYS, args: ARGS, reply: (isDue: number) => isDue === 1 },
  `
${STEPS}
${AUDIT}
local d, p = cjson.decode(args.delivery), cjson.decode(args.pool)
local function endReplay()
  if d.replay then redis.call('ZREM', d.replays, d.replay) end
end

if not isUnchanged(d, p) then
  if not d.isCurrent then return 0 end
  audit(d.audited)
  if d.wish ~= 'now' then redis.call('HSET', d.key, 'wish', d.isUrgent and 'now' or 'due') end
  endReplay()
  return 1
end
local now = storeNow(keys.clock)
takeOut(d, p)
audit(d.audited)
if d.wasSettled then reopen(d) end
requeue(d, p, now)
write(d, args.doc)
endReplay()
claimNext(d, p, now)
return 1
`,
);

/** The arguments of the script of a step. @param mayProbe whether it may hold the probe of its receiver */
export function stepArgs(
  planKeys: PlanKeys,
  { step, pool, mayProbe }: { step: DeliveryStep; pool: PoolPlan; mayProbe: boolean },
) {
  return {
    delivery: JSON.stringify({ ...stepPlan(planKeys, step), mayProbe }),
    pool: pool.json,
    ...claimArgs(step.next?.token ?? ''),
    doc: JSON.stringify(step.after),
  };
}

/** What a step has claimed, or why it wrote nothing. */
export function claimsOf<Changed extends string>(
  reply: Changed | ClaimReply,
  { next = NO_CLAIMS }: DeliveryStep,
  askedAt: number,
): Changed | PoolClaims {
  return typeof reply === 'string' ? reply : readClaims(reply, { token: next.token, askedAt });
}
