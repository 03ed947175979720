/**
 * Finds watches in their log by a prefix of their run ids, some chunks at a time, the newest first.
 *
 * ARGV  log, chunk to begin at or '', most chunks, prefix of run ids, most watches.
 * Returns the chunk to go on with or '', then the ids of watches.
 */
export const FIND_WATCHES = `
local log, edge, budget, prefix, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local chunks = redis.call(
  'ZREVRANGEBYSCORE', log .. 'chunks', edge == '' and '+inf' or edge, '-inf', 'LIMIT', 0, budget + 1
)
local reply = {chunks[budget + 1] or ''}
for at = 1, math.min(#chunks, budget) do
  for _, name in ipairs(redis.call('HVALS', log .. chunks[at])) do
    local slash = string.find(name, '/', 1, true)
    if slash and string.sub(name, slash + 1, slash + #prefix) == prefix then
      reply[#reply + 1] = name
      if #reply > most then return reply end
    end
  end
end
return reply
`;
