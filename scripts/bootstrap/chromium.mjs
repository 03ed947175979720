import { existsSync } from 'node:fs';
import { BootstrapError, findOnPath, run, say } from './shell.mjs';
import { rootPrefix } from './redis-server.mjs';

const BROWSERS = [
  'chromium-headless-shell',
  'chromium',
  'chromium-browser',
  'google-chrome-stable',
  'google-chrome',
];

const MANAGERS = [
  {
    command: 'apt-get',
    script:
      'export DEBIAN_FRONTEND=noninteractive; apt-get -q update; install() { apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$1"; }; install chromium-headless-shell || install chromium',
  },
  { command: 'apk', script: 'apk add chromium' },
  { command: 'dnf', script: 'dnf install -y chromium' },
  { command: 'brew', script: 'brew install --cask chromium', asUser: true },
];

/** Whether the tests find a browser, or are told by CHROMIUM_PATH where one is. */
export function isBrowserCovered() {
  const given = process.env.CHROMIUM_PATH ?? '';
  return given === '' ? findOnPath(...BROWSERS) !== null : existsSync(given);
}

/** Installs Chromium, which the dashboard's tests drive, or throws the sentence to say. */
export function ensureBrowser() {
  if (isBrowserCovered()) return;
  const manager = MANAGERS.find(({ command }) => findOnPath(command) !== null);
  if (manager === undefined) throw missing('there is no apt, apk, dnf or brew');
  const prefix = manager.asUser ? [] : rootPrefix(missing);
  say(`installing Chromium (${manager.command}), which the tests of the dashboard need`);
  const [command, ...args] = [...prefix, 'sh', '-c', manager.script];
  if (run(command, args) !== 0 || !isBrowserCovered()) {
    throw missing(`${manager.command} did not install it`);
  }
}

function missing(why) {
  return new BootstrapError(
    `The tests of the dashboard need Chromium, and ${why}: install the package chromium-headless-shell or chromium, or set CHROMIUM_PATH to a browser of its kind.`,
  );
}
