import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';

/** Commands with only keys as arguments, and those with two keys. Others have one, or none. */
const ALL_KEYS: ReadonlySet<string> = new Set(['del', 'unlink', 'exists', 'mget', 'touch']);
const TWO_KEYS: ReadonlySet<string> = new Set(['rename', 'rpoplpush', 'lmove', 'smove']);
const NO_KEYS: ReadonlySet<string> = new Set(['time', 'publish']);

/**
 * Watches our scripts in a Redis. A script may touch a key that is not among its KEYS only while
 * all keys are in one slot of one server.
 * @returns the names of the scripts, each with the kinds of keys that it does not declare
 */
export async function watchScriptKeys(url: string) {
  /** Script names by the hashes that Redis uses; each connection gives the text first. */
  const names = new Map<string, string>();
  const redis = new Redis(url, { disconnectTimeout: 100 });
  const monitor = await redis.monitor();
  const undeclared = new Map<string, Set<string>>();
  let running: { name: string; declared: Set<string> } | null = null;

  monitor.on('monitor', (_time: string, args: string[], source: string) => {
    const [command = '', ...rest] = args.map(String);
    const name = command.toLowerCase();
    if (source !== 'lua') running = scriptOf(name, rest, names);
    else if (running !== null) {
      const { declared, name: script } = running;
      for (const key of keysOf(name, rest).filter((one) => !declared.has(one))) {
        const kinds = undeclared.get(script) ?? new Set();
        undeclared.set(script, kinds.add(kindOf(key)));
      }
    }
  });
  return {
    undeclared: () =>
      Object.fromEntries([...undeclared].map(([name, kinds]) => [name, [...kinds].sort()])),
    stop() {
      monitor.disconnect();
      redis.disconnect();
    },
  };
}

function scriptOf(command: string, args: string[], names: Map<string, string>) {
  if (command !== 'evalsha' && command !== 'eval') return null;
  const [script = '', count = '0', ...rest] = args;
  const [, given] = /^-- (rw\w+)\n/.exec(script) ?? [];
  const sha = command === 'evalsha' ? script : createHash('sha1').update(script).digest('hex');
  if (given !== undefined) names.set(sha, given);
  const name = names.get(sha);
  return name === undefined ? null : { name, declared: new Set(rest.slice(0, Number(count))) };
}

function keysOf(command: string, args: string[]): string[] {
  if (NO_KEYS.has(command)) return [];
  if (ALL_KEYS.has(command)) return args;
  return args.slice(0, TWO_KEYS.has(command) ? 2 : 1);
}

/** `{prefix}:event:evt_…` is an `event`. */
function kindOf(key: string): string {
  return key.split(':')[1] ?? key;
}
