import type { Redis } from 'ioredis';
import { script } from '../script.ts';
import { AUDIT, NO_AUDIT, type AuditArgument } from './audit.ts';

const REPLACE_FIELD = script(
  'rwReplaceField',
  {
    keys: ['hash'],
    args: ['field', 'was', 'is', 'audited?'],
    reply: (replaced: number) => replaced === 1,
  },
  `
${AUDIT}
if (redis.call('HGET', keys.hash, args.field) or '') ~= args.was then return 0 end
if args.audited then audit(cjson.decode(args.audited)) end
if args.is == '' then redis.call('HDEL', keys.hash, args.field)
else redis.call('HSET', keys.hash, args.field, args.is) end
return 1
`,
);

/**
 * Replaces a field of a hash that is still as it was read; '' is none. @returns false where it has changed
 */
export function replaceField(
  redis: Redis,
  { key, field }: { key: string; field: string },
  { was, is }: { was: string; is: string },
  { audited, further }: AuditArgument = NO_AUDIT,
): Promise<boolean> {
  return REPLACE_FIELD.run(redis, { hash: key }, { field, was, is, audited }, { further });
}
