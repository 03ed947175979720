import { script } from '../script.ts';
import { EVEN_IF_FULL } from './full.ts';

/** Takes members of a sorted set of times that are due, for the time of a lease. Returns them. */
export const TAKE_DUE = script(
  'rwTakeGone',
  {
    keys: ['times'],
    args: ['now', 'leaseMs', 'most'],
    reply: (members: string[]) => members,
  },
  `
${EVEN_IF_FULL}
evenIfFull(keys.times)
local ids = redis.call('ZRANGEBYSCORE', keys.times, '-inf', args.now, 'LIMIT', 0, args.most)
for _, id in ipairs(ids) do redis.call('ZADD', keys.times, args.now + args.leaseMs, id) end
return ids
`,
);

/** Gives a member of a sorted set of times another time, if it is there. */
export const PUT_OFF = script(
  'rwPutOff',
  { keys: ['times'], args: ['member', 'at'] },
  `
${EVEN_IF_FULL}
evenIfFull(keys.times)
redis.call('ZADD', keys.times, 'XX', args.at, args.member)
`,
);
