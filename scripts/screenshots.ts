// Takes the pictures of the dashboard in docs/images, of a daemon with a simulated Noxus.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launchBrowser, openPage } from '../test/support/browser.ts';
import { openStage, type Stage } from '../test/support/dashboard-stage.ts';
import { MANY, playHour, playMany, playOneRun } from '../test/support/dashboard-story.ts';
import { waitFor } from '../test/support/wait-for.ts';

const DOCS = join(import.meta.dirname, '../docs/images');

/**
 * With `--all <folder>`, every screen in both themes and at two widths, to be looked at; also while nothing
 * is watched, with long names and many silences, without its daemon, and on a bad night.
 */
const [flag, folder] = process.argv.slice(2);

const LISTS = {
  now: '/',
  runs: '/runs',
  batches: '/batches',
  deliveries: '/deliveries',
  endpoints: '/endpoints',
  alerts: '/alerts',
  workflows: '/workflows?since=1h',
  system: '/system',
  audit: '/system/audit',
};

let stage = await openStage();
const browser = await launchBrowser();
try {
  if (flag === '--all' && folder !== undefined) {
    await takeAll(join(folder, 'empty'), LISTS);
    await takeAll(join(folder, 'usual'), await playScreens());
    await takeAll(join(folder, 'long'), await playLong());
    await takeLost(join(folder, 'lost'));
    await stage.close();
    stage = await openStage({ config: MANY });
    await takeAll(join(folder, 'many'), await playBadNight());
  } else {
    await takeDocs(await playScreens());
  }
} finally {
  await browser.close();
  await stage.close();
}

/** A usual hour. */
async function playScreens(): Promise<Record<string, string>> {
  await playHour(stage);
  const run = await playOneRun(stage);
  await waitFor(() => isOver(stage, run), { timeoutMs: 40_000 });
  await batch('month-end', 'limit=40');
  await batch('invoices-of-monday', 'status=completed&limit=20');
  return {
    ...LISTS,
    batch: '/batches/month-end',
    completed: '/batches/invoices-of-monday',
    failed: '/runs?status=failed&since=1h',
    run: `/runs/default/${run}`,
    delivery: `/deliveries/${await failedDelivery(stage)}?attempt=1`,
    none: '/runs?status=stopped&q=team%3Dnobody',
    missing: '/runs/default/00000000-0000-4000-8000-000000000000',
    nowhere: '/no-such-screen',
  };
}

/** Has runs that are watched waited for together. */
async function batch(name: string, which: string, open = false): Promise<void> {
  const { data } = (await stage.daemon.api(`/v1/watches?${which}`)).body;
  const watches = data.map((watch: { run_id: string }) => ({ run_id: watch.run_id, batch: name }));
  await stage.daemon.api('/v1/watches/batch', { watches, open });
}

/** What strains the layout: names of the greatest length, and more silences than fit a screen. */
async function playLong(): Promise<Record<string, string>> {
  const id = `run_${'x'.repeat(120)}.end`;
  await stage.run(
    { id, age_ms: 60_000, steps: [{ after_ms: 1, status: 'failed', progress: 50 }] },
    {
      metadata: Object.fromEntries(
        Array.from({ length: 12 }, (_, at) => [`a-rather-long-key-${at}`, 'v'.repeat(90)]),
      ),
      webhook: { url: `https://example.com/hooks/${'path/'.repeat(60)}`, events: ['run.failed'] },
    },
  );
  for (let at = 0; at < 30; at += 1) {
    await stage.daemon.api('/v1/silences', {
      matchers: { workflow_id: `${at}${'0'.repeat(35)}`, event: 'run.failed' },
      until: '8h',
      by: `somebody-with-a-long-name-${at}`,
      comment: `${'maintenance of the invoice system, '.repeat(4)}${at}`,
    });
  }
  await waitFor(() => isOver(stage, id));
  return { ...LISTS, run: `/runs/default/${id}` };
}

/** 300 runs with long names, a hundred alerts: one of them acknowledged, one silenced. */
async function playBadNight(): Promise<Record<string, string>> {
  await playMany(stage);
  const { daemon } = stage;
  const alerts = async () => (await daemon.api('/v1/alerts?state=firing&limit=200')).body.data;
  await waitFor(async () => (await alerts()).length === 100, { timeoutMs: 60_000 });
  const [first, second] = await alerts();
  await daemon.api(`/v1/alerts/${first.id}/acknowledge`, {
    by: 'ana',
    comment: 'The bank is down.',
  });
  const matchers = { workflow_id: second.labels.workflow_id };
  await daemon.api('/v1/silences', { matchers, until: '8h', by: 'ana', comment: 'a migration' });
  const failed = (await daemon.api('/v1/watches?status=failed&limit=1')).body.data[0];
  const together = `reconciliation-${'of-the-northern-region-'.repeat(5)}`.slice(0, 60);
  for (const status of ['failed', 'awaiting_human_feedback', 'running']) {
    await batch(together, `status=${status}&limit=200`, true);
  }
  const deliveries = (await daemon.api('/v1/deliveries?endpoint=flaky&limit=1')).body.data;
  return {
    ...LISTS,
    batch: `/batches/${together}`,
    run: `/runs/default/${failed.run_id}`,
    acknowledged: `/alerts/${first.id}`,
    silenced: `/alerts/${second.id}`,
    delivery: `/deliveries/${deliveries[0].id}`,
  };
}

/** A page that was open when its daemon went away. */
async function takeLost(into: string): Promise<void> {
  await mkdir(into, { recursive: true });
  for (const width of [390, 1_280]) {
    const { page, context } = await openPage(browser, { url: `${stage.url}/`, width });
    await page.getByText('Live', { exact: true }).waitFor();
    const restarted = stage.restart({ afterMs: 12_000 });
    await page.getByText(/Reconnecting/).waitFor();
    await page.waitForTimeout(6_000);
    await page.screenshot({ path: join(into, `now-${width}.png`) });
    await context.close();
    await restarted;
  }
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
      for (const width of [390, 1_280]) {
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
