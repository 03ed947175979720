import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Option } from 'commander';
import { withoutEndSlash } from '../core/end-slash.ts';
import type { CommandLine } from './command-line.ts';
import { EXIT } from './exit.ts';
import type { DaemonFlags } from './verb.ts';

/** A page of the dashboard that shows what a verb lists. */
export interface WebPage {
  /** Such as `/runs`. */
  path: string;
  /** What its address calls filters that the API calls otherwise, by their names there. */
  names?: Readonly<Record<string, string>>;
}

export interface WebFlags extends DaemonFlags {
  web?: boolean;
}

export function webFlag(): Option {
  return new Option('--web', 'open the page of the dashboard, and print its address').conflicts(
    'json',
  );
}

/**
 * Prints the address of a page of the dashboard, and opens it in the browser of this machine where it has one.
 * @param query filters, as the API has them
 */
export async function openWeb(
  cli: CommandLine,
  flags: WebFlags,
  { path, names = {} }: WebPage,
  query: object = {},
): Promise<number> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(names[name] ?? name, textOf(value));
  }
  const base = withoutEndSlash(flags.url ?? cli.env.publicUrl ?? cli.env.daemonUrl);
  const url = `${base}${path}${search.size === 0 ? '' : `?${search.toString()}`}`;
  cli.io.stdout.write(`${url}\n`);
  await openInBrowser(url, cli.env.hasDisplay);
  return EXIT.ok;
}

/** Several values stand in one, and pairs of metadata as words of a free filter. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .map(([key, one]) => `${key}=${one}`)
    .join(' ');
}

/** Programs that open a URL in the browser of the user, by the platform. */
const OPENERS: Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
};

/** Does nothing where there is no browser: the address is printed anyway. */
async function openInBrowser(url: string, hasDisplay: boolean): Promise<void> {
  const opener = OPENERS[process.platform] ?? (hasDisplay ? (['xdg-open'] as const) : null);
  if (opener === null) return;
  const [program, ...args] = opener;
  const opening = spawn(program, [...args, url], { stdio: 'ignore', detached: true });
  opening.unref();
  await once(opening, 'spawn').catch(() => undefined);
}
