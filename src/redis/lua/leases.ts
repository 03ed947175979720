import { STORE_NOW } from './clock.ts';

/**
 * Leases: proofs that a process may work on something. All go by the store's clock and by tokens. A
 * token names its process, which is random at each start, and a number of its own. So a process that was
 * given up for dead, or was frozen, writes nothing: every write of leased work compares the token.
 *
 * There are two shapes. A lease is of one thing that one process at a time does, such as to judge alerts:
 * a string key of its token and its end. Claims are of the many members of a kind of work: see
 * {@link CLAIMS}. Runs that are streamed (`stream.ts`) and checks of gone runs (`source.ts`) are neither:
 * the first last until their process is dead, and doing the second twice changes nothing.
 *
 * `takeLease(key, token, now, ms)` takes a lease, or renews it. It returns nil, or for how many ms another
 * token holds it. `endLease(key, token)` ends it, if the token holds it. The key also expires, so that
 * nothing is left of a lease that nothing takes again.
 */
export const LEASE = `
local function readLease(key)
  return string.match(redis.call('GET', key) or '', '^(%S+) (%d+)$')
end

local function takeLease(key, token, now, ms)
  local holder, ends = readLease(key)
  if holder and holder ~= token and tonumber(ends) > now then return ends - now end
  redis.call('SET', key, string.format('%s %.0f', token, now + ms), 'PX', math.ceil(ms))
end

local function endLease(key, token)
  if readLease(key) == token then redis.call('DEL', key) end
end
`;

/**
 * KEYS  clock, lease.
 * ARGV  token, milliseconds.
 * Returns 1 where the token holds the lease now
 */
export const TAKE_LEASE = `
${STORE_NOW}
${LEASE}
return takeLease(KEYS[2], ARGV[1], storeNow(KEYS[1]), tonumber(ARGV[2])) and 0 or 1
`;

/**
 * Ends a lease that a token, or any token of a process, holds.
 *
 * KEYS  lease.
 * ARGV  'token' or 'process', its name
 */
export const END_LEASE = `
${LEASE}
local holder = readLease(KEYS[1]) or ''
local isMeant = ARGV[1] == 'token' and holder == ARGV[2] or ARGV[1] == 'process' and string.match(holder, '^[^.]+') == ARGV[2]
if isMeant then redis.call('DEL', KEYS[1]) end
`;

/**
 * Claims: what processes have taken to work on. One hash for each kind of work maps a member's name to
 * its token, the time since when it was due, and the notes of that work. Requests note the end of the
 * lease; that of deliveries is kept by the pool, which also counts its slots.
 *
 * `hold(claims, member, token, dueAt, notes)` notes a claim, in place of an earlier one. `holder(claims,
 * member)` returns its token, due time and notes, or nil. `letGo(claims, member, token)` ends it and
 * returns the due time and the notes, or nil where another token holds it.
 */
export const CLAIMS = `
local function hold(claims, member, token, dueAt, notes)
  redis.call('HSET', claims, member, string.format('%s %.0f %s', token, dueAt, notes or ''))
end

local function holder(claims, member)
  local entry = redis.call('HGET', claims, member) or ''
  local token, dueAt, notes = string.match(entry, '^(%S+) (%d+) ?(.*)$')
  return token, tonumber(dueAt), notes
end

local function letGo(claims, member, token)
  local held, dueAt, notes = holder(claims, member)
  if not held or held ~= token then return nil end
  redis.call('HDEL', claims, member)
  return dueAt, notes
end
`;

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
