/**
 * Walks the first sorted set by score and keeps the members that are in all the others: filters are
 * answered from indexes alone. Scores are unique, so that a score is a place to go on from. Where
 * members are no more than their scores, their names are looked up in a directory.
 *
 * KEYS  indexes, the one to walk first; the sorted set to look up the names in, where there is one
 * ARGV  'newest' or 'oldest', score to go on from or '', most members wanted, most members looked at,
 *       how many of the keys are indexes
 * Returns [member, score, member, score, …], and last the score to go on from, or ''.
 */
export const READ_PAGE = `
local newest, from = ARGV[1] == 'newest', ARGV[2]
local wanted, budget, indexes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local directory = KEYS[indexes + 1]
local function nameOf(member, score)
  if not directory then return member end
  return redis.call('ZRANGEBYSCORE', directory, score, score)[1]
end
local found = {}
local walked
if newest then
  walked = redis.call('ZREVRANGEBYSCORE', KEYS[1], from == '' and '+inf' or '(' .. from, '-inf',
    'WITHSCORES', 'LIMIT', 0, budget)
else
  walked = redis.call('ZRANGEBYSCORE', KEYS[1], from == '' and '-inf' or '(' .. from, '+inf',
    'WITHSCORES', 'LIMIT', 0, budget)
end
for place = 1, #walked, 2 do
  local everywhere = true
  for index = 2, indexes do
    if not redis.call('ZSCORE', KEYS[index], walked[place]) then everywhere = false break end
  end
  if everywhere then
    if #found == wanted * 2 then
      found[#found + 1] = found[#found]
      return found
    end
    found[#found + 1] = nameOf(walked[place], walked[place + 1])
    found[#found + 1] = walked[place + 1]
  end
end
found[#found + 1] = #walked == budget * 2 and walked[#walked] or ''
return found
`;
