import { PLAN_DELIVERIES, RAISE } from './outbox.ts';

/**
 * Turns a state on or off, and raises the event that says so. Of several processes that notice, one
 * reports it.
 *
 * KEYS  the state, those that the effects name.
 * ARGV  how long the state is kept while it is on, ms, 0 to turn it off; effects of the event as JSON
 *       or ''.
 * Returns false where the state was so already, else the pools at which deliveries are due now.
 */
export const TURN_STATE = `
${PLAN_DELIVERIES}
${RAISE}
if ARGV[1] == '0' then
  if redis.call('DEL', KEYS[1]) == 0 then return false end
elseif not redis.call('SET', KEYS[1], '1', 'PX', ARGV[1], 'NX') then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  return false
end
if ARGV[2] == '' then return {} end
return raise(cjson.decode(ARGV[2]))
`;

/**
 * KEYS  those that the effects name.
 * ARGV  effects as JSON.
 * Returns the pools at which deliveries are due now.
 */
export const RAISE_EVENT = `
${PLAN_DELIVERIES}
${RAISE}
return raise(cjson.decode(ARGV[1]))
`;

/**
 * Begins a new epoch and raises the event that says why, if the store is still in the epoch that
 * was seen. Of several processes that notice a loss, one reports it.
 *
 * KEYS  epochs, those that the effects name.
 * ARGV  the epochs that were seen, the new ones, effects of the event as JSON or ''.
 * Returns false where another process was first, else the pools at which deliveries are due now.
 */
export const RENEW_EPOCH = `
${PLAN_DELIVERIES}
${RAISE}
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] == '' then return {} end
return raise(cjson.decode(ARGV[3]))
`;
