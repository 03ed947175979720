/**
 * Redis judges whether its memory is full at the first write of a script, and not again. Where it is full, a
 * first write that may take memory fails, and the script with it. After any other first write a script runs
 * to its end. So each script that frees memory, or that freeing or reading needs, begins with one that takes
 * none. Else a full Redis would never be free again.
 *
 * `evenIfFull(key)` is such a write. It changes nothing: the key, which need not be there, never expires.
 */
export const EVEN_IF_FULL = `
local function evenIfFull(key) redis.call('PERSIST', key) end
`;
