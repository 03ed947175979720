import { PLAN_DELIVERIES } from './plan-deliveries.ts';

/**
 * Writes events that are about no run, each with its deliveries. `raise(effects)` returns the gates at
 * which deliveries are due now.
 */
export const RAISE = `
${PLAN_DELIVERIES}
local function raise(effects)
  local gates = {}
  redis.call('HSET', effects.event, 'place', 0, 'body', effects.body)
  plan(effects, gates)
  return gates
end
`;

/**
 * KEYS  those that the effects name
 * ARGV  effects as JSON
 * Returns the gates at which deliveries are due now.
 */
export const RAISE_EVENT = `
${RAISE}
return raise(cjson.decode(ARGV[1]))
`;
