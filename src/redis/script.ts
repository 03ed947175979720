/** What a call of a script hands to Redis: how many keys, the keys, the arguments. */
export type ScriptCall = [keyCount: number, ...given: (string | number)[]];

/** A script with keys and arguments by name. */
export interface Script<Key extends string, Argument extends string> {
  readonly lua: string;
  /**
   * @param further keys after those with a name, in the order in which the script reads them
   * @param given an argument that is absent, or empty, is nil in the script
   */
  call(
    keys: Readonly<Record<Key, string>>,
    further: readonly string[],
    given: Readonly<Partial<Record<Argument, string | number | undefined>>>,
  ): ScriptCall;
}

/**
 * Names the keys and arguments of a script, once for both sides. The Lua reads `keys.<name>` and `args.<name>`, texts
 * all of them, and finds its further keys from `KEYS[further]` on. Arguments that are often absent stand last: those
 * at the end are not sent.
 */
export function script<const Key extends string, const Argument extends string>(
  names: { keys: readonly Key[]; args: readonly Argument[] },
  lua: string,
): Script<Key, Argument> {
  return {
    lua: `${prelude(names)}${lua}`,
    call(keys, further, given) {
      const values = names.args.map((name) => given[name] ?? '');
      const last = values.findLastIndex((value) => value !== '');
      const byName = names.keys.map((name) => keys[name]);
      return [byName.length + further.length, ...byName, ...further, ...values.slice(0, last + 1)];
    },
  };
}

function prelude({ keys, args }: { keys: readonly string[]; args: readonly string[] }): string {
  const named = keys.map((name, at) => `${name} = KEYS[${at + 1}]`);
  const given = args.map((name, at) => `${name} = given(ARGV[${at + 1}])`);
  return `
local function given(text) if text ~= '' then return text end end
local keys = {${named.join(', ')}}
local args = {${given.join(', ')}}
local further = ${keys.length + 1}
`;
}
