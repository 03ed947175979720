/**
 * `countRuns(plan)` counts an active watch at its workflow and status, or no more, and adds an ended run
 * to the figures of its workflow. Figures are JSON, in one hash for each span of time; spans expire, and
 * each has a bounded number of workflows.
 */
export const COUNT_RUNS = `
local function addRun(ended, figures)
  for kind, key in pairs(ended.adds) do
    figures[kind] = figures[kind] or {}
    figures[kind][key] = (figures[kind][key] or 0) + 1
  end
  if ended.requests then
    figures.requests = (figures.requests or 0) + ended.requests
    figures.polled = (figures.polled or 0) + 1
  end
  return cjson.encode(figures)
end

local function countRuns(plan)
  for _, one in ipairs(plan.counts) do
    if redis.call('HINCRBY', plan.activeRuns, one.field, one.by) <= 0 then
      redis.call('HDEL', plan.activeRuns, one.field)
    end
  end
  local ended = plan.ended
  for _, span in ipairs(ended and ended.spans or {}) do
    local text = redis.call('HGET', span.key, ended.name)
    if text or redis.call('HLEN', span.key) < ended.mostWorkflows then
      redis.call('HSET', span.key, ended.name, addRun(ended, text and cjson.decode(text) or {}))
      redis.call('EXPIRE', span.key, span.keptS)
    end
  end
end
`;
