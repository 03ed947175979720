/**
 * Leases: proofs that a process may work on something. All go by the store's clock and by tokens. A
 * token names its process, which is random at each start, and a number of its own. So a process that was
 * given up for dead, or was frozen, writes nothing: every write of leased work compares the token.
 *
 * There are two shapes. A lease is of one thing that one process at a time does, such as to judge alerts:
 * a string key of its token and its end. Claims are of the many members of a kind of work: see
 * {@link CLAIMS}. Runs that are streamed (`stream-store.ts`) and checks of gone runs (`times.ts`) are neither:
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
