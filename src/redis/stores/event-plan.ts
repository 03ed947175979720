import type { AlertEntry } from '../../core/alert/entry.ts';
import type { Delivery } from '../../core/delivery/delivery.ts';
import { poolOf } from '../../core/delivery/receiver.ts';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import { watchId } from '../../core/watch/watch.ts';
import type { OwnEvent } from '../../core/event/event.ts';
import { deliveryIndexes, ownEventIndexes, severalSources } from '../indexes.ts';
import { countField, PlanKeys, type Keys } from '../keys.ts';
import { STORE_NOW } from '../lua/clock.ts';
import { DELIVERY_ORDER } from '../lua/delivery-order.ts';
import { EVEN_IF_FULL } from '../lua/full.ts';
import { NUMBERS } from '../lua/numbers.ts';
import { script } from '../script.ts';

/** Entries that may wait to be judged. */
const MOST_ENTRIES = 1_000_000;

/** Lists of sources that are remembered of batches: the newest. */
export const MOST_SOURCE_LISTS = 1_000;

/**
 * Adds deliveries that are not there yet to store, counters and orders. One that is alone in its order
 * is due; its pool is worth asking, is added to `pools`, and the other processes are woken.
 */
export const PLAN_DELIVERIES = `
${STORE_NOW}
${NUMBERS}
${DELIVERY_ORDER}
-- A record of a watch begins with version and number, see watch-record.ts.
local numbers = {}
local function numberOf(watch)
  numbers[watch] = numbers[watch] or tonumber(redis.call('GETRANGE', watch, 13, 24))
  return numbers[watch]
end

local function plan(effects, pools)
  if #effects.deliveries == 0 then return end
  local now = storeNow(effects.clock)
  for _, delivery in ipairs(effects.deliveries) do
    if redis.call('HEXISTS', delivery.key, 'version') == 0 then
      local at = nextNumber(effects.deliveryNumber, effects.deliveryLog)
      local owner = delivery.watch and numberOf(delivery.watch) or delivery.id
      enterNumber(effects.deliveryLog, delivery.indexes, at, owner)
      redis.call('ZADD', delivery.live, at, delivery.id)
      enterOrder(delivery.ordering, delivery.id)
      if isFirst(delivery.ordering, delivery.id) then
        redis.call('ZADD', delivery.due, now, delivery.id)
        if delivery.poolDue then redis.call('ZADD', delivery.poolDue, 'LT', now, delivery.receiver) end
        redis.call('ZADD', effects.poolsDue, 'LT', now, delivery.pool)
        pools[#pools + 1] = delivery.pool
      end
      redis.call('HINCRBY', effects.deliveryCounts, 'planned', 1)
      redis.call('HINCRBY', effects.deliveryCounts, delivery.count, 1)
      redis.call('HSET', delivery.key, 'version', 1, 'number', at, 'doc', delivery.doc,
        'event', delivery.event)
    end
  end
  if #pools > 0 then redis.call('PUBLISH', effects.dueBell, table.concat(pools, '\\n')) end
end
`;

/** What {@link PLAN_DELIVERIES} needs to add deliveries; no key where there are none. */
export function deliveryPlan(planKeys: PlanKeys, deliveries: readonly Delivery[]) {
  if (deliveries.length === 0) return { deliveries };
  const { keys, declare } = planKeys;
  return {
    clock: declare(keys.clock),
    deliveryNumber: declare(keys.deliveryNumber),
    deliveryLog: keys.deliveryLog,
    deliveryCounts: declare(keys.deliveryCounts),
    poolsDue: declare(keys.poolsDue),
    dueBell: declare(keys.dueBell),
    deliveries: deliveries.map((delivery) => newDeliveryPlan(planKeys, delivery)),
  };
}

/** What belongs together with a delivery while it is live: those of its watch, or of a system event. */
export function liveDeliveriesOf(keys: Keys, delivery: Delivery): string {
  return delivery.runId === ''
    ? keys.deliveriesOfEvent(delivery.eventId)
    : keys.liveDeliveries(watchId(delivery));
}

function newDeliveryPlan({ keys, declare, declareAll }: PlanKeys, delivery: Delivery) {
  const receiver = delivery.endpoint;
  const pool = poolOf(receiver);
  return {
    id: delivery.id,
    key: declare(keys.delivery(delivery.id)),
    doc: JSON.stringify(delivery),
    event: delivery.eventId,
    ...(delivery.runId !== '' && { watch: declare(keys.watch(delivery)) }),
    live: declare(liveDeliveriesOf(keys, delivery)),
    indexes: declareAll(deliveryIndexes(keys, delivery)),
    count: countField(delivery),
    ordering: declare(keys.ordering(delivery)),
    receiver,
    pool,
    due: declare(keys.due(receiver)),
    ...(pool !== receiver && { poolDue: declare(keys.poolDue(pool)) }),
  };
}

/**
 * `enterInbox(plan)` adds what rules have to judge. A list beyond its bound takes no more, which is
 * counted.
 */
const ENTER_INBOX = `
local function enterInbox(plan)
  if not plan then return end
  if redis.call('LLEN', plan.inbox) >= plan.most then
    redis.call('HINCRBY', plan.counts, 'lost', #plan.entries)
    return
  end
  redis.call('RPUSH', plan.inbox, unpack(plan.entries))
end
`;

/** What {@link ENTER_INBOX} needs; null for nothing. */
export function inboxPlan({ keys, declare }: PlanKeys, entries: readonly AlertEntry[]) {
  if (entries.length === 0) return null;
  return {
    inbox: declare(keys.alertInbox),
    counts: declare(keys.alertCounts),
    most: MOST_ENTRIES,
    entries: entries.map((entry) => JSON.stringify(entry)),
  };
}

/**
 * `logOwnEvents(own, now)` writes events that are about no run: of alerts, and about runwatch itself. They
 * stand in the log by their own ids. Needs `NUMBERS`. `ringEvents(keys)` wakes the followers of the log.
 */
const LOG_OWN_EVENTS = `
local function ringEvents(keys)
  local place, epochs = unpack(redis.call('MGET', keys.eventPlace, keys.epochs))
  redis.call('PUBLISH', keys.eventBell, place .. ' ' .. (string.match(epochs or '', '^%S+') or ''))
end

local function logOwnEvents(own, now)
  if not own then return end
  for _, event in ipairs(own.events) do
    local place = nextNumber(own.eventPlace, own.eventLog)
    enterNumber(own.eventLog, event.indexes, place, event.id)
    redis.call('ZADD', own.ownEvents, now, event.id)
    redis.call('HSET', event.key, 'place', place, 'body', event.body)
    if event.sources then
      redis.call('ZADD', own.batchSources, now, event.sources)
      redis.call('ZREMRANGEBYRANK', own.batchSources, 0, -1 - own.mostSources)
    end
  end
  ringEvents(own)
end
`;

/** What {@link LOG_OWN_EVENTS} needs; nothing where there are no events. */
function ownEventsPlan(
  { keys, declare, declareAll }: PlanKeys,
  events: readonly { id: string; body: string }[],
) {
  if (events.length === 0) return {};
  const planned = events.map(({ id, body }) => {
    const event = JSON.parse(body) as OwnEvent;
    const sources = severalSources(event);
    return {
      id,
      key: declare(keys.event(id)),
      body,
      indexes: declareAll(ownEventIndexes(keys, event)),
      ...(sources !== null && { sources }),
    };
  });
  return {
    own: {
      eventLog: keys.eventLog,
      eventPlace: declare(keys.eventPlace),
      ownEvents: declare(keys.ownEvents),
      epochs: declare(keys.epochs),
      eventBell: declare(keys.eventBell),
      ...(planned.some(({ sources }) => sources !== undefined) && {
        batchSources: declare(keys.batchSources),
        mostSources: MOST_SOURCE_LISTS,
      }),
      events: planned,
    },
  };
}

/**
 * Writes events that are about no run, each with its deliveries. `raise(effects)` returns the pools at
 * which deliveries are due now. Needs {@link PLAN_DELIVERIES}.
 */
export const RAISE = `
${LOG_OWN_EVENTS}
${ENTER_INBOX}
local function raise(effects)
  local pools = {}
  logOwnEvents(effects.own, storeNow(effects.clock))
  plan(effects, pools)
  enterInbox(effects.judged)
  return pools
end
`;

/** What {@link RAISE} needs of system events, with what follows from them. */
export function raisedPlan(planKeys: PlanKeys, events: readonly PlannedEvent[]) {
  const entries = events.flatMap((event) => event.entries ?? []);
  return {
    clock: planKeys.declare(planKeys.keys.clock),
    ...ownEventsPlan(planKeys, events),
    ...(entries.length > 0 && { judged: inboxPlan(planKeys, entries) }),
    ...deliveryPlan(
      planKeys,
      events.flatMap(({ deliveries }) => deliveries),
    ),
  };
}

/** The effects of an event as the argument of a script, and the keys that they name; of none where there is none. */
export function effectsOf(keys: Keys, event: PlannedEvent | null) {
  if (event === null) return { effects: undefined, named: [] };
  const planKeys = new PlanKeys(keys);
  const effects = JSON.stringify(raisedPlan(planKeys, [event]));
  return { effects, named: planKeys.declared };
}

/** Does what a plan of {@link raisedPlan} says. Returns the pools at which deliveries are due now. */
export const RAISE_EVENT = script(
  'rwRaiseEvent',
  { keys: [], args: ['effects'], reply: (pools: string[]) => pools },
  `
${PLAN_DELIVERIES}
${RAISE}
return raise(cjson.decode(args.effects))
`,
);

/**
 * Turns a state on or off, and raises the event that says so. Of several processes that notice, one
 * reports it. The state is kept for `keptMs` while it is on, 0 turns it off.
 * Returns null where the state was so already, else the pools at which deliveries are due now.
 */
export const TURN_STATE = script(
  'rwTurnState',
  {
    keys: ['state'],
    args: ['keptMs', 'says', 'effects?'],
    reply: (pools: string[] | null) => pools,
  },
  `
${EVEN_IF_FULL}
${PLAN_DELIVERIES}
${RAISE}
local isOn, turnsOn = redis.call('EXISTS', keys.state) == 1, args.keptMs ~= '0'
if isOn == turnsOn then
  if isOn then redis.call('PEXPIRE', keys.state, args.keptMs) end
  return false
end
local effects = args.effects and cjson.decode(args.effects)
if effects and not turnsOn then evenIfFull(effects.clock) end
local pools = effects and raise(effects) or {}
-- Last, so that a step that fails before is taken again.
if turnsOn then
  redis.call('SET', keys.state, args.says, 'PX', args.keptMs)
else
  redis.call('DEL', keys.state)
end
return pools
`,
);
