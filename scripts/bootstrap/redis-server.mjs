import { BootstrapError, findOnPath, output, run, say } from './shell.mjs';

const OLDEST = [6, 2];
const SERVERS = ['redis-server', 'valkey-server'];

/**
 * The package managers, in the order in which they are looked for, each with the packages that
 * may hold a server: distributions have gone different ways since Redis changed its licence.
 */
const MANAGERS = [
  { command: 'apt-get', packages: ['redis-server', 'valkey-server'], script: aptScript },
  { command: 'apk', packages: ['redis', 'valkey'], script: (name) => `apk add ${name}` },
  { command: 'dnf', packages: ['valkey', 'redis'], script: (name) => `dnf install -y ${name}` },
  // Homebrew refuses to run as root, and needs no rights for what is its own.
  {
    command: 'brew',
    packages: ['redis', 'valkey'],
    script: (name) => `brew install ${name}`,
    asUser: true,
  },
];

/** Whether there is nothing to do: a server that can be used, or a Redis elsewhere. */
export function isRedisCovered() {
  if (isRedisElsewhere()) return true;
  const server = findOnPath(...SERVERS);
  return server !== null && !isTooOld(server);
}

/** Installs a server where none is and `REDIS_URL` names none, or throws the sentence to say. */
export function ensureRedisServer() {
  if (isRedisElsewhere()) return;
  if (findOnPath(...SERVERS) === null) install();
  const server = findOnPath(...SERVERS);
  if (server !== null && isTooOld(server)) {
    throw new BootstrapError(
      `runwatch needs Redis ${OLDEST.join('.')} or later, and ${server} is ${versionOf(server)}: install a newer package redis-server, or set REDIS_URL to a Redis that runs already.`,
    );
  }
}

function install() {
  const manager = MANAGERS.find(({ command }) => findOnPath(command) !== null);
  if (manager === undefined) throw missing('redis-server', 'there is no apt, apk, dnf or brew');
  const [first] = manager.packages;
  const prefix = manager.asUser ? [] : rootPrefix((why) => missing(first, why));
  for (const name of manager.packages) {
    say(`installing the package ${name} (${manager.command})`);
    const [command, ...args] = [...prefix, 'sh', '-c', manager.script(name)];
    const status = run(command, args, { env: { HOMEBREW_NO_AUTO_UPDATE: '1' } });
    if (status === 0 && findOnPath(...SERVERS) !== null) return;
  }
  throw missing(first, `${manager.command} did not install it`);
}

/**
 * Installs without a question, and without starting a service on port 6379, now or at the next
 * boot: runwatch starts a server of its own. Debian asks policy-rc.d whether a service may start.
 */
function aptScript(name) {
  return `
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ] && printf '#!/bin/sh\\nexit 101\\n' > "$policy"; then
      trap 'rm -f "$policy"' EXIT
      trap 'exit 1' INT TERM
      chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends ${name} || exit 1
    if [ -d /run/systemd/system ]; then systemctl disable ${name} || true; fi
  `;
}

/** What to put before a command so that it runs as root; `refusal` makes the error where it cannot. */
export function rootPrefix(refusal) {
  if (process.getuid?.() === 0) return [];
  if (findOnPath('sudo') === null) throw refusal('this user is not root');
  if (run('sudo', ['-n', 'true']) !== 0) throw refusal('sudo asks for a password');
  return ['sudo', '-n'];
}

function missing(packageName, why) {
  return new BootstrapError(
    `runwatch needs a Redis server, and ${why}: install the package ${packageName}, or set REDIS_URL to a Redis that runs already.`,
  );
}

function isRedisElsewhere() {
  return (process.env.REDIS_URL ?? '') !== '' || (process.env.REDIS_URL_FILE ?? '') !== '';
}

function isTooOld(server) {
  const version = versionOf(server);
  if (version === null) return false;
  const [major, minor] = version.split('.').map(Number);
  return major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
}

function versionOf(server) {
  return /v=(\d+\.\d+[\d.]*)/.exec(output(server, ['--version']) ?? '')?.[1] ?? null;
}
