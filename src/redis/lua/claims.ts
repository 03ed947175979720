/**
 * Claims: what a process has taken to work on. They stand in one hash for each kind of work, from the
 * member's name to its token, the time since when it was due, and whatever else the work notes. A
 * token names the process, which is random at each of its starts, and a number of its own. Every write
 * of claimed work compares the token, so that a process which was given up for dead writes nothing.
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
