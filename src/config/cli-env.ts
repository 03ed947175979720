import { userInfo } from 'node:os';
import { RunwatchError } from '../core/errors.ts';
import { NOXUS_URL } from './hosts.ts';
import { proxyFor } from './proxy.ts';
import { MAX_SECRET_BYTES, readRegularFile } from './read-file.ts';

/**
 * What the command line takes from the environment. Secrets are functions: an unreadable key file
 * is an error of the verb that needs it, not of `--help`.
 */
export interface CliEnv {
  /** The daemon's URL by the environment; its form is not checked. */
  daemonUrl: string;
  /** Where users find the dashboard; undefined where the environment does not say so. Its form is not checked. */
  publicUrl: string | undefined;
  /** Whether programs with windows can be shown, of systems with X11 or Wayland. */
  hasDisplay: boolean;
  /** True where `NO_COLOR` asks for plain text (no-color.org: set, and not empty). */
  noColor: boolean;
  /** True where the output is kept (`CI`), or the terminal cannot be drawn on (`TERM=dumb`). */
  isDumb: boolean;
  /** The width of tables off a terminal, by `COLUMNS`, as watch(1) sets it; undefined for any. */
  columns: number | undefined;
  noxusBaseUrl: string;
  /** The user at the terminal, also behind sudo. */
  user: string;
  /** The proxy of the environment for a URL, if any. */
  proxyFor(url: string): string | undefined;
  /** Bearer token of the daemon's API; undefined where none is set. Throws `config_invalid`. */
  apiToken(): string | undefined;
  /** Throws `config_invalid`. */
  noxusApiKey(): string | undefined;
  /** Secret of the endpoint that the environment configures. Throws `config_invalid`. */
  webhookSecret(): string | undefined;
}

type Env = Record<string, string | undefined>;

export function readCliEnv(env: Env = process.env): CliEnv {
  return {
    daemonUrl: present(env['RUNWATCH_URL']) ?? localUrl(env),
    publicUrl: present(env['RUNWATCH_PUBLIC_URL']),
    hasDisplay: present(env['DISPLAY'] ?? env['WAYLAND_DISPLAY']) !== undefined,
    noColor: present(env['NO_COLOR']) !== undefined,
    isDumb: env['TERM'] === 'dumb' || !['', '0', 'false'].includes(env['CI']?.trim() ?? ''),
    columns: /^[1-9]\d{0,4}$/.test(env['COLUMNS'] ?? '') ? Number(env['COLUMNS']) : undefined,
    noxusBaseUrl: present(env['NOXUS_BACKEND_URL']) ?? NOXUS_URL,
    proxyFor: (url) => proxyFor(url, (name) => present(env[name]))?.proxy,
    user: present(env['SUDO_USER']) ?? present(env['USER']) ?? userOfProcess(),
    apiToken: () => secret(env, 'RUNWATCH_API_TOKEN'),
    noxusApiKey: () => secret(env, 'NOXUS_API_KEY'),
    webhookSecret: () => secret(env, 'RUNWATCH_WEBHOOK_SECRET'),
  };
}

/** A process in a container may belong to a user that has no name. */
function userOfProcess(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}

/** A daemon that listens on every address is reached by the loopback one. */
function localUrl(env: Env): string {
  const host = present(env['RUNWATCH_HOST']) ?? '127.0.0.1';
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const literal = reachable.includes(':') ? `[${reachable}]` : reachable;
  return `http://${literal}:${portOf(env) ?? '8787'}`;
}

/** Kubernetes sets `RUNWATCH_PORT=tcp://…` in every pod when a Service is named runwatch. */
function portOf(env: Env): string | undefined {
  const port = present(env['RUNWATCH_PORT']);
  return port?.startsWith('tcp://') === true ? undefined : port;
}

function present(value: string | undefined): string | undefined {
  const text = value?.trim();
  return text === '' ? undefined : text;
}

function secret(env: Env, name: string): string | undefined {
  const given = present(env[name]);
  const path = present(env[`${name}_FILE`]);
  if (given !== undefined || path === undefined) return given;
  const read = readRegularFile(path, { maxBytes: MAX_SECRET_BYTES });
  if (read.kind === 'read') return present(read.text);
  throw new RunwatchError(`${name}_FILE: ${read.message}`, { code: 'config_invalid' });
}
