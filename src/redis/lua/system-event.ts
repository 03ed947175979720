import { ENTER_INBOX } from './alert.ts';
import { PLAN_DELIVERIES } from './plan-deliveries.ts';

/**
 * Writes events that are about no run, each with its deliveries. `raise(effects)` returns the pools at
 * which deliveries are due now.
 */
export const RAISE = `
${PLAN_DELIVERIES}
${ENTER_INBOX}
local function raise(effects)
  local pools = {}
  if #effects.deliveries > 0 then redis.call('HSET', effects.event, 'place', 0, 'body', effects.body) end
  plan(effects, pools)
  enterInbox(effects.judged)
  return pools
end
`;

/**
 * KEYS  those that the effects name.
 * ARGV  effects as JSON.
 * Returns the pools at which deliveries are due now.
 */
export const RAISE_EVENT = `
${RAISE}
return raise(cjson.decode(ARGV[1]))
`;
