/**
 * Claims: what a process has taken to work on. They stand in one hash for each kind of work, from the
 * member's name to its token and the time since when it was due. A token names the process, which is
 * random at each of its starts, and a number of its own. Every write of claimed work compares the
 * token, so that a process which was given up for dead writes nothing.
 *
 * `hold(claims, member, token, dueAt)` notes a claim, in place of an earlier one. `holder(claims,
 * member)` returns its token and due time, or nil. `letGo(claims, member, token)` ends it and returns
 * the due time, or nil where another token holds it.
 */
export const CLAIMS = `
local function hold(claims, member, token, dueAt)
  redis.call('HSET', claims, member, string.format('%s %.0f', token, dueAt))
end

local function holder(claims, member)
  local token, dueAt = string.match(redis.call('HGET', claims, member) or '', '^(%S+) (%d+)')
  return token, tonumber(dueAt)
end

local function letGo(claims, member, token)
  local held, dueAt = holder(claims, member)
  if held ~= token then return nil end
  redis.call('HDEL', claims, member)
  return dueAt
end
`;
