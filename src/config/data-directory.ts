import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

function home(env: NodeJS.ProcessEnv): string {
  return env['HOME'] || homedir();
}

/** `$XDG_DATA_HOME/runwatch`, else `~/.local/share/runwatch` (XDG Base Directory Specification 0.8). */
export function defaultDataDirectory(env: NodeJS.ProcessEnv): string {
  const base = env['XDG_DATA_HOME'] ?? '';
  // The specification has relative paths ignored.
  return join(isAbsolute(base) ? base : join(home(env), '.local', 'share'), 'runwatch');
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
