import { isDeepStrictEqual } from 'node:util';
import type { InvalidConfig, LoadedConfig } from '../config/load.ts';
import { formatProblem } from '../config/problems.ts';
import type { Config } from '../config/schema.ts';
import { messageOf } from '../core/errors.ts';
import { isoTime } from '../core/event/event.ts';
import type { Process } from '../process.ts';

/** The settings that a running daemon takes; `*` stands for any one key. */
export const RELOADED_SETTINGS = [
  'endpoints',
  'delivery.per_endpoint',
  'sources.*.api_key',
  'sources.*.headers',
  'sources.*.rate_limit',
  'rules',
  'time_intervals',
  'inhibit_rules',
  'workflows',
  'auth.tokens',
  'log.level',
  'redis.maxmemory',
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

/** The most settings that one line names. */
const MOST_NAMED = 50;

/**
 * Puts a configuration in force that was loaded again: at a SIGHUP, which `lifecycle.ts` hears, `cli/local/serve.ts`
 * loads it.
 */
export class Reload {
  /** The configuration that the daemon started with. */
  private readonly started: Config;
  /** Paths of the settings that are taken. */
  private readonly taken: readonly string[][];
  private accepted: Config;
  private refused: string | null = null;

  /**
   * @param changed gets the configuration in force after each change: what needs a restart is as it was at
   * the start
   */
  constructor(
    private readonly process: Process,
    private readonly parts: readonly Reloadable[],
    private readonly changed: (inForce: Config) => void,
  ) {
    // Parts may change the maps of their configuration.
    this.started = structuredClone(process.config);
    this.accepted = this.started;
    this.taken = parts.flatMap(({ settings }) => settings.map((one) => one.split('.')));
  }

  /** Puts a configuration in force as far as it can be; one that is wrong changes nothing. */
  apply(loaded: LoadedConfig | InvalidConfig): void {
    const { log } = this.process;
    for (const warning of loaded.warnings) log.warn(`configuration: ${formatProblem(warning)}`);
    if (loaded.kind === 'invalid') return this.refuse(loaded.problems.map(formatProblem));
    let commits: (() => void)[];
    try {
      commits = this.parts.map((part) => part.prepare(loaded.config));
    } catch (error) {
      return this.refuse([messageOf(error)]);
    }
    this.process.headerFiles.reread = loaded.rereadHeaders;
    for (const commit of commits) commit();
    this.accept(loaded.config);
  }

  /** The configuration that was accepted last. */
  current(): Config {
    return this.accepted;
  }

  /** The line of readiness after a refusal; null once a configuration was accepted. */
  trouble(): string | null {
    return this.refused;
  }

  private refuse(problems: readonly string[]): void {
    const { metrics, log, now } = this.process;
    const at = isoTime(now());
    this.refused = `the configuration that was read at ${at} is wrong, and the one before it remains in force: correct what the log says and send SIGHUP again`;
    metrics.reloaded(false);
    const line = 'the configuration is wrong; the one before it remains in force';
    log.error({ problems: problems.slice(0, MOST_NAMED) }, line);
  }

  private accept(next: Config): void {
    const { metrics, log } = this.process;
    const isTaken = (path: string) =>
      this.taken.some((pattern) => matches(pattern, path.split('.')));
    const changed = differences(this.accepted, next).filter(isTaken);
    const restart = differences(this.started, next).filter((path) => !isTaken(path));
    this.accepted = next;
    this.refused = null;
    metrics.reloaded(true);
    this.changed(overlay(this.started, next, this.taken) as Config);
    log.info({ changed: changed.slice(0, MOST_NAMED) }, 'configuration read again');
    if (restart.length === 0) return;
    const line = 'the configuration has changes that need a restart';
    log.warn({ settings: restart.slice(0, MOST_NAMED) }, line);
  }
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
