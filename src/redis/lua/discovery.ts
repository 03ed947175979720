import { CLAIMS } from './leases.ts';

/**
 * Moves the cursor of a list, where the claim of its first page is still ours. One that remains where it
 * is does not make the append-only file grow by all that it holds.
 *
 * KEYS  claims, cursor.
 * ARGV  member, token, cursor as JSON, milliseconds for which it is kept.
 * Returns 1 when it was moved, 0 when another process has the claim.
 */
export const MOVE_CURSOR = `
${CLAIMS}
if holder(KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
else
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
end
return 1
`;
