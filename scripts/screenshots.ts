// Takes the pictures of the dashboard in docs/images, of a daemon with a simulated Noxus.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launchBrowser, openPage } from '../test/support/browser.ts';
import { openStage, type Stage } from '../test/support/dashboard-stage.ts';
import { playHour, playOneRun } from '../test/support/dashboard-story.ts';
import { waitFor } from '../test/support/wait-for.ts';

const DOCS = join(import.meta.dirname, '../docs/images');

/** With `--all <folder>`, every screen in both themes and at two widths, to be looked at. */
const [flag, folder] = process.argv.slice(2);

const stage = await openStage();
const browser = await launchBrowser();
try {
  await playHour(stage);
  const run = await playOneRun(stage);
  await waitFor(() => isOver(stage, run), { timeoutMs: 40_000 });
  const screens: Record<string, string> = {
    now: '/',
    runs: '/runs',
    failed: '/runs?status=failed&since=1h',
    run: `/runs/default/${run}`,
    deliveries: '/deliveries',
    delivery: `/deliveries/${await failedDelivery(stage)}?attempt=1`,
    endpoints: '/endpoints',
    alerts: '/alerts',
    workflows: '/workflows?since=1h',
    system: '/system',
  };
  if (flag === '--all' && folder !== undefined) await takeAll(folder, screens);
  else await takeDocs(screens);
} finally {
  await browser.close();
  await stage.close();
}

async function isOver({ daemon }: Stage, id: string): Promise<boolean> {
  const { body } = await daemon.api(`/v1/watches/${id}`);
  return body.state === 'finished';
}

async function failedDelivery({ daemon }: Stage): Promise<string> {
  const { body } = await daemon.api('/v1/deliveries?endpoint=flaky&limit=50');
  return body.data.find((one: { attempt_count: number }) => one.attempt_count > 0).id;
}

async function takeDocs(screens: Record<string, string>): Promise<void> {
  await mkdir(DOCS, { recursive: true });
  for (const theme of ['light', 'dark'] as const) {
    for (const name of ['now', 'run']) {
      const suffix = theme === 'light' ? '' : '-dark';
      await take(join(DOCS, `${name}${suffix}.png`), screens[name] ?? '/', { theme, width: 1_280 });
    }
  }
}

async function takeAll(into: string, screens: Record<string, string>): Promise<void> {
  await mkdir(into, { recursive: true });
  for (const [name, path] of Object.entries(screens)) {
    for (const theme of ['light', 'dark'] as const) {
      for (const width of [360, 1_400]) {
        await take(join(into, `${name}-${width}-${theme}.png`), path, { theme, width });
      }
    }
  }
}

async function take(
  path: string,
  screen: string,
  { theme, width }: { theme: 'light' | 'dark'; width: number },
): Promise<void> {
  const height = width < 600 ? 780 : 860;
  const { page, context } = await openPage(browser, {
    url: `${stage.url}${screen}`,
    width,
    height,
    theme,
  });
  await waitFor(async () => (await page.locator('.loading').count()) === 0);
  await page.waitForTimeout(900);
  await page.screenshot({ path });
  console.log(path);
  await context.close();
}
