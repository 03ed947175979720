import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { closePage, launchBrowser, newContext, openPageIn } from '../support/browser.ts';
import { startDaemonProcess, stopAll, type DaemonProcess } from '../support/daemon-process.ts';

/** A port on which nothing listens. */
const NOWHERE = 'http://127.0.0.1:9';

const declared = (id: string, more: object = {}) => ({
  type: 'http',
  base_url: `${NOWHERE}/api`,
  id,
  run: { get: '/{run}', id: '$.id', status: '$.status' },
  states: { completed: ['done'] },
  ...more,
});

const SEVERAL = {
  default: { base_url: NOWHERE, api_key: 'k' },
  github: declared('{owner}/{repo}/{run}', {
    probe: '/status',
    states: { completed: ['done'], awaiting_human_feedback: ['waiting'] },
  }),
  jobs: declared('{run}'),
};

let browser: Browser;
let context: BrowserContext;
let several: DaemonProcess;
let only: DaemonProcess;

beforeAll(async () => {
  browser = await launchBrowser();
  context = await newContext(browser);
  several = await startDaemonProcess({ config: { sources: SEVERAL } });
  only = await startDaemonProcess({ config: { sources: { github: SEVERAL.github } } });
});

afterAll(async () => {
  await browser?.close();
  await stopAll([several, only]);
});

/** Opens a screen, and closes it after the work. */
async function onPage(
  { url }: DaemonProcess,
  { path, width }: { path: string; width: number },
  work: (page: Page) => Promise<void>,
): Promise<void> {
  const watched = await openPageIn(context, { url: `${url}${path}`, width });
  try {
    await work(watched.page);
    expect(watched.errors).toEqual([]);
  } finally {
    await closePage(watched);
  }
}

const commandsOf = async (page: Page) => {
  await page.getByText('No run is watched yet.').first().waitFor();
  return page.locator('.command code').allTextContents();
};

describe('dashboard without a run', () => {
  test.each([390, 1_280])(
    'at %s px, each source has a command with the form of its ids',
    async (width) => {
      await onPage(several, { path: '/runs', width }, async (page) => {
        const [first, second, third, post, tried] = await commandsOf(page);
        expect([first, second, third]).toEqual([
          "runwatch watch '<run-id>' --source default",
          "runwatch watch '<owner>/<repo>/<run>' --source github",
          "runwatch watch '<run-id>' --source jobs",
        ]);
        expect(post).toContain('{"run_id":"<run-id>","source":"default"}');
        expect(tried).toBe("runwatch try '<owner>/<repo>/<run>' --source github");
        await page.getByText('To watch every run of default by itself').waitFor();
        const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement);
        expect(scrollWidth ?? 0).toBeLessThanOrEqual(clientWidth ?? 0);
      });
    },
  );

  test('an only source is not named, and discovery is offered only where there are lists', async () => {
    await onPage(only, { path: '/', width: 1_280 }, async (page) => {
      const [first, post, tried, ...others] = await commandsOf(page);
      expect(first).toBe("runwatch watch '<owner>/<repo>/<run>'");
      expect(post).toContain('{"run_id":"<owner>/<repo>/<run>"}');
      expect(tried).toBe("runwatch try '<owner>/<repo>/<run>'");
      expect(others).toEqual([]);
      expect(await page.getByText('discover').count()).toBe(0);
    });
  });

  test('where no source is shown, both ways to begin are', async () => {
    await onPage(only, { path: '/runs', width: 1_280 }, async (page) => {
      await page.route('**/v1/sources', (route) => route.fulfill({ json: { data: [] } }));
      await page.reload();
      await page.getByText('No source is configured.').waitFor();
      expect(await page.locator('.command code').allTextContents()).toEqual([
        'NOXUS_API_KEY=… runwatch serve',
        'runwatch serve --config config/examples/sources/github-actions.yaml',
      ]);
      await page.getByText('docs/sources.md').waitFor();
    });
  });

  test('the system screen says what each source is and can do', async () => {
    await onPage(several, { path: '/system', width: 1_280 }, async (page) => {
      const card = (name: string) => page.getByRole('region', { name, exact: true });
      await card('default').getByText('Noxus at 127.0.0.1:9. It lists runs').waitFor();
      await card('github')
        .getByText('API at 127.0.0.1:9, run ids owner/repo/run. It shows which runs wait')
        .waitFor();
      await card('jobs').getByText('It has no probe').waitFor();
    });
  });
});
