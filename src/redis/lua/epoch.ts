import { RAISE } from './system-event.ts';

/**
 * Begins a new epoch and raises the event that says why, if the store is still in the epoch that
 * was seen. Of several processes that notice a loss, one reports it.
 *
 * KEYS  epochs, those that the effects name.
 * ARGV  the epochs that were seen, the new ones, effects of the event as JSON or ''.
 * Returns false where another process was first, else the pools at which deliveries are due now.
 */
export const RENEW_EPOCH = `
${RAISE}
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] == '' then return {} end
return raise(cjson.decode(ARGV[3]))
`;
