import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

function home(env: NodeJS.ProcessEnv): string {
  return env['HOME'] || homedir();
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
export function resolveUserPath(
  configured: string,
  { env, cwd }: { env: NodeJS.ProcessEnv; cwd: string },
): string {
  return resolve(
    cwd,
    configured.replace(/^~(?=\/|$)/, () => home(env)),
  );
}
