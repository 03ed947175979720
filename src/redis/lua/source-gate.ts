import { LEASE } from './leases.ts';

/** When a probe is answered is not known: the source is asked again this much later, ms. */
export const PROBED_MS = 500;

/**
 * Whether a source may be asked. While it is closed only probes are, one at a time, from `probeAt` on.
 * A probe has a lease for as long as a request can take, so that a killed process holds up the next one
 * no longer.
 *
 * `sourceAdmission(state, probe, request, leaseMs, now)` gives 0 where everything may be asked, 1 where
 * this request is the probe, else 2, and for how long nothing may be asked, ms. `rising(open, limit,
 * now, least)` is the limit of a source that has just answered again: a quarter of it, doubled each second.
 */
export const SOURCE_GATE = `
${LEASE}
local function sourceAdmission(state, probe, request, leaseMs, now)
  local probeAt = state and tonumber(string.match(state, '"probeAt":(%d+)'))
  if not probeAt then return 0, 0 end
  if now < probeAt then return 2, probeAt - now end
  local takenMs = takeLease(probe, request, now, tonumber(leaseMs))
  if takenMs then return 2, math.min(${PROBED_MS}, takenMs) end
  return 1, 0
end

local function rising(open, limit, now, least)
  local age = open and now - tonumber(open)
  if limit == 0 or not age or age < 0 or age >= 2000 then return limit end
  return math.max(least, math.floor(limit / (age < 1000 and 4 or 2)))
end
`;
