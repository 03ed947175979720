import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import type { Config, EndpointConfig } from './schema.ts';

interface Place {
  env: NodeJS.ProcessEnv;
  /** What relative paths start from. */
  cwd: string;
}

/** The configuration with absolute paths, so that it means the same wherever it is used. */
export function resolvePaths(config: Config, place: Place): Config {
  const endpoints = Object.entries(config.endpoints).map(
    ([name, endpoint]) => [name, resolveEndpoint(endpoint, place)] as const,
  );
  const sources = Object.entries(config.sources).map(([name, source]) => {
    const { ca_file: file } = source;
    return [
      name,
      file === undefined ? source : { ...source, ca_file: resolveUserPath(file, place) },
    ];
  });
  return {
    ...config,
    sources: Object.fromEntries(sources) as Config['sources'],
    data_dir: resolveUserPath(config.data_dir, place),
    endpoints: Object.fromEntries(endpoints),
  };
}

function resolveEndpoint(endpoint: EndpointConfig, place: Place): EndpointConfig {
  if (!('tls' in endpoint) || endpoint.tls === undefined) return endpoint;
  const paths = Object.entries(endpoint.tls).map(
    ([key, path]) => [key, path === undefined ? path : resolveUserPath(path, place)] as const,
  );
  return { ...endpoint, tls: Object.fromEntries(paths) };
}

/** `/` for a user that the system does not know, as in a container with an id of its own. */
function home(env: NodeJS.ProcessEnv): string {
  try {
    // An empty HOME makes an empty home directory.
    return env['HOME'] || homedir() || '/';
  } catch {
    return '/';
  }
}

/** `$XDG_DATA_HOME/runwatch`, else `~/.local/share/runwatch` (XDG Base Directory Specification 0.8). */
export function defaultDataDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_DATA_HOME'] ?? '';
  // The specification says to ignore relative paths.
  return join(isAbsolute(base) ? base : join(home(env), '.local', 'share'), 'runwatch');
}

/**
 * Directories of this user for files that only the next start has to find: in `$XDG_RUNTIME_DIR` if
 * set, else in `$XDG_CACHE_HOME` or `~/.cache`.
 */
export function privateDirectories(env: NodeJS.ProcessEnv = process.env): string[] {
  const cache = env['XDG_CACHE_HOME'] ?? '';
  const bases = [
    env['XDG_RUNTIME_DIR'] ?? '',
    isAbsolute(cache) ? cache : join(home(env), '.cache'),
  ];
  return bases.filter((base) => isAbsolute(base)).map((base) => join(base, 'runwatch'));
}

/** The absolute path of a file or directory as it was configured, where `~/` is the home directory. */
function resolveUserPath(
  configured: string,
  { env, cwd }: { env: NodeJS.ProcessEnv; cwd: string },
): string {
  return resolve(
    cwd,
    configured.replace(/^~(?=\/|$)/, () => home(env)),
  );
}
