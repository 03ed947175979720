import type { Redis } from 'ioredis';

/** What an argument is given as; the Lua reads it as a text. */
type Value = string | number | Buffer;

/** The value of each argument by its name; one with a question mark behind its name may be absent. */
type Given<Argument extends string> = {
  readonly [Name in Argument as Name extends `${string}?` ? never : Name]: Value;
} & {
  readonly [Name in Argument as Name extends `${infer Bare}?` ? Bare : never]?: Value | undefined;
};

/** Keys and arguments behind those with a name. */
interface Behind {
  /** Keys, from `KEYS[further]` on: those that the script reads in this order, or that a plan names. */
  further?: readonly string[];
  /** Arguments, from `ARGV[rest]` on. */
  rest?: readonly Value[];
}

interface Names<Key extends string, Argument extends string> {
  readonly keys: readonly Key[];
  readonly args?: readonly Argument[];
}

type Command = (...call: ScriptCall) => Promise<unknown>;

/** What a call hands to Redis: how many keys, the keys, the arguments. */
type ScriptCall = [keyCount: number, ...given: Value[]];

/** A script of Redis, with its keys and arguments by name. */
export interface Script<Key extends string, Argument extends string, Result> {
  readonly lua: string;
  /** Runs it by its hash; by its text where Redis does not know that yet. */
  run(
    redis: Redis,
    keys: Readonly<Record<Key, string>>,
    given: Given<Argument>,
    behind?: Behind,
  ): Promise<Result>;
  /** What {@link run} hands to Redis. */
  call(keys: Readonly<Record<Key, string>>, given: Given<Argument>, behind?: Behind): ScriptCall;
}

/**
 * Names the keys and arguments of a script, once for both sides. The Lua reads `keys.<name>` and `args.<name>`, texts
 * all of them. An argument with a question mark behind its name is nil where it is absent or empty; those that are
 * often absent stand last, since those at the end are not sent.
 * @param name of the command that ioredis makes of it
 * @param names.reply makes of the reply of Redis what {@link Script.run} returns
 * @param names.isBytes whether texts of the reply are left as bytes
 */
export function script<
  const Key extends string,
  const Argument extends string = never,
  Reply = unknown,
  Result = Reply,
>(
  name: string,
  names: Names<Key, Argument> & { reply?: (reply: Reply) => Result; isBytes?: boolean },
  body: string,
): Script<Key, Argument, Result> {
  const { keys: keyNames, args = [], isBytes = false } = names;
  const given = args.map(bare);
  const reply = names.reply ?? ((it: Reply) => it as unknown as Result);
  const lua = prelude(name, keyNames, args) + body;
  const command = isBytes ? `${name}Buffer` : name;

  function call(
    keys: Readonly<Record<Key, string>>,
    values: Given<Argument>,
    { further = [], rest = [] }: Behind = {},
  ): ScriptCall {
    const byName = values as Readonly<Record<string, Value | undefined>>;
    const sent = given.map((one) => byName[one] ?? '');
    if (rest.length === 0) {
      while (sent.at(-1) === '' && args[sent.length - 1]?.endsWith('?') === true) sent.pop();
    }
    const named = keyNames.map((one) => keys[one]);
    return [named.length + further.length, ...named, ...further, ...sent, ...rest];
  }

  return {
    lua,
    call,
    async run(redis, ...about) {
      const commands = redis as unknown as Record<string, Command | undefined>;
      if (commands[command] === undefined) redis.defineCommand(name, { lua });
      return reply((await commands[command]?.(...call(...about))) as Reply);
    },
  };
}

/** The name of a script is its first line: so Redis shows which script it is, as in its slow log. */
function prelude(name: string, keys: readonly string[], args: readonly string[]): string {
  const named = keys.map((one, at) => `${one} = KEYS[${at + 1}]`);
  const given = args.map((one, at) => {
    const value = `ARGV[${at + 1}]`;
    return `${bare(one)} = ${one.endsWith('?') ? `given(${value})` : value}`;
  });
  return `-- ${name}
local function given(text) if text ~= '' then return text end end
local keys = {${named.join(', ')}}
local args = {${given.join(', ')}}
local further, rest = ${keys.length + 1}, ${args.length + 1}
`;
}

function bare(name: string): string {
  return name.endsWith('?') ? name.slice(0, -1) : name;
}
