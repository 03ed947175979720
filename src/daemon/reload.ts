import { isDeepStrictEqual } from 'node:util';
import type { InvalidConfig, LoadedConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import type { Config } from '../config/schema.ts';
import { messageOf } from '../core/errors.ts';
import { isoTime } from '../core/event/event.ts';
import type { Logger } from '../telemetry/logger.ts';

/** The settings that a running daemon takes; `*` stands for any one key. */
export const RELOADED_SETTINGS = [
  'endpoints',
  'delivery.per_endpoint',
  'sources.*.api_key',
  'sources.*.rate_limit',
  'rules',
  'time_intervals',
  'inhibit_rules',
  'workflows',
  'auth.tokens',
  'log.level',
] as const;

/** A part of the daemon that takes new settings while it runs. */
export interface Reloadable {
  settings: readonly (typeof RELOADED_SETTINGS)[number][];
  /**
   * Makes what the new settings need. What it throws refuses the whole configuration.
   * @returns puts it in force; must not throw
   */
  prepare: (config: Config) => () => void;
}

interface ReloadDependencies {
  /** The configuration that the daemon started with. */
  config: Config;
  parts: readonly Reloadable[];
  /** Counts the result. */
  count: (isInForce: boolean) => void;
  /** Gets the configuration in force after each change: what needs a restart is as it was at the start. */
  changed: (inForce: Config) => void;
  now: () => number;
  log: Pick<Logger, 'info' | 'warn' | 'error'>;
}

/** Reads the configuration again. */
export interface Reload {
  /** Puts a configuration in force as far as it can be; one that is wrong changes nothing. */
  apply(loaded: LoadedConfig | InvalidConfig): void;
  /** The configuration that was accepted last. */
  current(): Config;
  /** The line of readiness after a refusal; null once a configuration was accepted. */
  trouble(): string | null;
}

/** The most settings that one line names. */
const MOST_NAMED = 50;

export function createReload(deps: ReloadDependencies): Reload {
  const { parts, log } = deps;
  // Parts may change the maps of their configuration.
  const started = structuredClone(deps.config);
  const taken = parts.flatMap(({ settings }) => settings.map((one) => one.split('.')));
  const isTaken = (path: string) => taken.some((pattern) => matches(pattern, path.split('.')));
  let current = started;
  let trouble: string | null = null;

  function refuse(problems: readonly string[]): void {
    const at = isoTime(deps.now());
    trouble = `the configuration that was read at ${at} is wrong, and the one before it remains in force: correct what the log says and send SIGHUP again`;
    deps.count(false);
    const line = 'the configuration is wrong; the one before it remains in force';
    log.error({ problems: problems.slice(0, MOST_NAMED) }, line);
  }

  function accept(next: Config): void {
    const changed = differences(current, next).filter(isTaken);
    const restart = differences(started, next).filter((path) => !isTaken(path));
    current = next;
    trouble = null;
    deps.count(true);
    deps.changed(overlay(started, next, taken) as Config);
    log.info({ changed: changed.slice(0, MOST_NAMED) }, 'configuration read again');
    if (restart.length === 0) return;
    const line = 'the configuration has changes that need a restart';
    log.warn({ settings: restart.slice(0, MOST_NAMED) }, line);
  }

  return {
    apply(loaded) {
      for (const warning of loaded.warnings) log.warn(`configuration: ${formatProblem(warning)}`);
      if (loaded.kind === 'invalid') return refuse(loaded.problems.map(formatProblem));
      let commits: (() => void)[];
      try {
        commits = parts.map((part) => part.prepare(loaded.config));
      } catch (error) {
        return refuse([messageOf(error)]);
      }
      for (const commit of commits) commit();
      accept(loaded.config);
    },
    current: () => current,
    trouble: () => trouble,
  };
}

/** Gives a map that many parts hold the entries of another. */
export function replaceEntries<Entry>(
  held: Record<string, Entry>,
  next: Readonly<Record<string, Entry>>,
): void {
  for (const name of Object.keys(held)) delete held[name];
  Object.assign(held, next);
}

/** A pattern covers a setting and all that is under it. */
function matches(pattern: readonly string[], path: readonly string[]): boolean {
  return pattern.every((key, at) => key === '*' || key === path[at]);
}

/** A value with what another one has at the places of the patterns. */
function overlay(before: unknown, after: unknown, patterns: readonly string[][]): unknown {
  if (patterns.some(({ length }) => length === 0)) return after;
  if (patterns.length === 0 || !isMap(before) || !isMap(after)) return before;
  const entries = Object.entries(before).map(([key, value]) => {
    const below = patterns.flatMap(([first, ...rest]) =>
      first === '*' || first === key ? [rest] : [],
    );
    return [key, overlay(value, after[key], below)];
  });
  return Object.fromEntries(entries);
}

/** The settings that differ, as dotted paths; lists count as a whole. */
function differences(before: unknown, after: unknown, path = ''): string[] {
  if (!isMap(before) || !isMap(after)) return isDeepStrictEqual(before, after) ? [] : [path];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) =>
    differences(before[key], after[key], path === '' ? key : `${path}.${key}`),
  );
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
