import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchBrowser, openPage } from '../support/browser.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

let stage: Stage;
let browser: Browser;
let running: string;
let delivery: string;

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage({ args: ['--no-deliver'], config: { rules: [] } });
  const runAt = (status: string) =>
    stage.run({ workflow_id: WORKFLOWS.invoices, steps: [{ after_ms: 1, status, progress: 40 }] });
  running = await runAt('running');
  await runAt('failed');
  delivery = await waitFor(async () => {
    const { body } = await stage.daemon.api('/v1/deliveries');
    return body.data[0]?.id;
  });
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

const VIEWS: readonly [path: () => string, sending: string[]][] = [
  [() => '/', []],
  [() => '/runs', []],
  [() => `/runs/default/${running}`, ['Stop run']],
  [() => '/deliveries', ['Redeliver matching']],
  [() => `/deliveries/${delivery}`, ['Retry now', 'Redeliver to …']],
  [() => '/endpoints', ['Test', 'Retry now']],
  [() => '/system/audit', []],
  [() => '/alerts', []],
  [() => '/batches', []],
  [() => '/workflows', []],
  [() => '/system', []],
];

test('each view says that nothing is sent, and its buttons that would send are disabled', async () => {
  for (const [path, sending] of VIEWS) {
    const opened = await openPage(browser, { url: stage.url + path() });
    const { page } = opened;
    const notice = page.getByRole('status').filter({ hasText: '--no-deliver' });
    await notice.waitFor();
    expect([path(), await notice.isVisible()]).toEqual([path(), true]);
    for (const name of sending) {
      const button = page.getByRole('button', { name, exact: true }).first();
      await button.waitFor();
      const state = [await button.isDisabled(), await button.getAttribute('title')];
      expect([path(), name, ...state]).toEqual([
        path(),
        name,
        true,
        'This daemon sends nothing (--no-deliver)',
      ]);
    }
    await opened.context.close();
  }
});
