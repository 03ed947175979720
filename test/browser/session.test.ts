import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { waitFor } from '../support/wait-for.ts';
import { launchBrowser, openPage } from '../support/browser.ts';
import { openStage, type Stage } from '../support/dashboard-stage.ts';

const TOKEN = 'a-token-that-may-do-everything';
const READER = 'a-token-that-may-only-read';

let stage: Stage;
let browser: Browser;
let proxy: Server;
let proxied: string;

beforeAll(async () => {
  const tokens = [{ name: 'wall', token: READER, scopes: ['read'] }];
  browser = await launchBrowser();
  stage = await openStage({
    env: { RUNWATCH_API_TOKEN: TOKEN },
    config: {
      auth: { tokens, public: [] },
      server: { public_url: 'http://localhost/tools/runwatch' },
    },
  });
  await stage.run({ age_ms: 60_000, steps: [{ after_ms: 1, status: 'failed', progress: 5 }] });
  proxy = createServer((asked, answer) => {
    // As nginx does with a location that ends in a slash.
    const path = asked.url?.replace(/^\/tools\/runwatch\//, '/') ?? '/';
    if (path === asked.url) return void answer.writeHead(404).end();
    const passed = request(`${stage.url}${path}`, { method: asked.method, headers: asked.headers });
    passed.on('response', (given) => {
      answer.writeHead(given.statusCode ?? 502, given.headers);
      given.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    answer.on('close', () => passed.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve);
  });
  proxied = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/tools/runwatch`;
});

afterAll(async () => {
  await browser?.close();
  proxy?.closeAllConnections();
  proxy?.close();
  await stage?.close();
});

async function signIn(page: Page): Promise<void> {
  await page.getByLabel('Token').fill(TOKEN);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('tr[data-key]').first().waitFor();
}

describe('sign-in', () => {
  test('a command for the first run names the token where the daemon wants one', async () => {
    const { page, context } = await openPage(browser, { url: `${stage.url}/runs` });
    await signIn(page);
    await page.route('**/v1/watches?*', (route) =>
      route.fulfill({ json: { data: [], next_cursor: null, total: 0, total_capped: false } }),
    );
    await page.reload();
    const command = page.locator('code', { hasText: 'curl -X POST' });
    const text = await command.innerText();
    expect(text).toContain('-H "authorization: Bearer $RUNWATCH_API_TOKEN"');
    await context.close();
  });

  test('a token is asked for once and is in no storage, cookie, address or log', async () => {
    const { page, context, foreign } = await openPage(browser, { url: `${stage.url}/runs` });
    const addresses: string[] = [];
    page.on('request', (asked) => addresses.push(asked.url()));
    page.on('framenavigated', (frame) => addresses.push(frame.url()));
    await page.getByLabel('Token').fill('not-a-token-of-this-server');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The daemon does not know this token.').waitFor();
    await page.getByLabel('Token').fill(TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('tr[data-key]').first().waitFor();
    await page.reload();
    await page.locator('tr[data-key]').first().waitFor();

    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict', path: '/' });
    expect(JSON.stringify(await context.storageState())).not.toContain(TOKEN);
    expect(foreign).toEqual([]);
    expect(addresses.length).toBeGreaterThan(0);
    expect(addresses.join(' ')).not.toContain(TOKEN);
    expect(JSON.stringify(stage.daemon.log()) + stage.daemon.stderr()).not.toContain(TOKEN);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    await context.close();
  });

  test('a new tab goes on in the session, links included, and signing out ends it in all', async () => {
    const { page, context } = await openPage(browser, { url: `${stage.url}/runs` });
    await signIn(page);
    const tab = await context.newPage();
    await tab.goto(`${stage.url}/runs`);
    await tab.locator('tr[data-key]').first().waitFor();
    for (const path of ['/docs', '/openapi.json', '/metrics']) {
      const link = await context.newPage();
      expect((await link.goto(`${stage.url}${path}`))?.status()).toBe(200);
      await link.close();
    }
    await tab.getByRole('button', { name: 'Sign out' }).click();
    await tab.getByLabel('Token').waitFor();
    await page.reload();
    await page.getByLabel('Token').waitFor();
    expect(await page.evaluate(() => JSON.stringify(window.localStorage))).not.toContain('session');
    await context.close();
  });

  test('an open event stream is use of the session', async () => {
    // Half an hour passes in a tenth of a second.
    const script = `const every = window.setInterval;
      window.setInterval = (work, ms) => every(work, ms === 1_800_000 ? 100 : ms);`;
    const { page, context } = await openPage(browser, { url: `${stage.url}/runs`, script });
    let uses = 0;
    page.on('request', (asked) => {
      if (asked.method() === 'GET' && asked.url() === `${stage.url}/session`) uses += 1;
    });
    await signIn(page);
    await waitFor(() => uses >= 3, { describe: 'uses of the session' });
    await context.close();
  });

  test('a page on another port of the host gets the cookie, and opens nothing with it', async () => {
    const cookies: string[] = [];
    const stranger = createServer((asked, answer) => {
      cookies.push(asked.headers.cookie ?? '');
      answer.writeHead(200, { 'content-type': 'text/html' }).end('<p>hello</p>');
    });
    await new Promise<void>((resolve) => {
      stranger.listen(0, '127.0.0.1', resolve);
    });
    const { page, context } = await openPage(browser, { url: `${stage.url}/runs` });
    try {
      await signIn(page);
      await page.goto(`http://127.0.0.1:${(stranger.address() as AddressInfo).port}/`);
      const cookie = cookies.find((one) => one.startsWith('runwatch_session_')) ?? '';
      expect(cookie).not.toBe('');
      expect(await page.evaluate(() => window.localStorage.length)).toBe(0);
      const steal = (path: string, method = 'GET') =>
        fetch(`${stage.url}${path}`, { method, headers: { cookie } });
      expect(await (await steal('/session')).json()).toMatchObject({ state: 'signed_out' });
      for (const path of ['/v1/watches', '/v1/events/stream', '/configuration']) {
        expect([path, (await steal(path)).status]).toEqual([path, 403]);
      }
      expect((await steal('/v1/endpoints/ops/pause', 'POST')).status).toBe(403);
      expect((await steal('/session?path=/', 'DELETE')).status).toBe(403);
      await page.goto(`${stage.url}/runs`);
      await page.locator('tr[data-key]').first().waitFor();
    } finally {
      await context.close();
      stranger.closeAllConnections();
      stranger.close();
    }
  });

  test('a token that may only read sees no action', async () => {
    const { page, context } = await openPage(browser, { url: `${stage.url}/endpoints` });
    await page.getByLabel('Token').fill(READER);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'flaky' }).waitFor();
    // `Pause` of the live updates alone.
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await page.getByRole('button', { name: /Test|Pause$|Rotate/ }).count()).toBe(1);
    await page.goto(`${stage.url}/runs`);
    await page.locator('tr[data-key]').first().click();
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    expect(await page.getByRole('button', { name: /Acknowledge|Poll now|Unwatch/ }).count()).toBe(
      0,
    );
    await context.close();
  });

  test("a change with a session's cookie and without its value is refused", async () => {
    const signedIn = await fetch(`${stage.url}/session`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token: TOKEN, path: '/' }),
    });
    const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? '';
    const { csrf } = (await signedIn.json()) as { csrf: string };
    const pause = (headers: Record<string, string>) =>
      fetch(`${stage.url}/v1/endpoints/ops/resume`, {
        method: 'POST',
        headers: { cookie, ...headers },
      });
    expect((await pause({})).status).toBe(403);
    expect((await pause({ 'x-runwatch-csrf': 'wrong' })).status).toBe(403);
    expect((await pause({ 'x-runwatch-csrf': csrf })).status).toBe(200);
  });
});

describe('below a path of a proxy', () => {
  test('the dashboard, its assets, links and session work below the path of a proxy', async () => {
    const url = `${proxied}/runs?since=1h`;
    const { page, context, errors } = await openPage(browser, { url });
    await page.getByLabel('Token').fill(TOKEN);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('tr[data-key]').first().click();
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    expect(page.url()).toMatch(new RegExp(`^${proxied}/runs/default/`));
    await page.reload();
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    const [cookie] = await context.cookies();
    expect(cookie?.path).toBe('/tools/runwatch/');
    expect(errors).toEqual([]);
    await context.close();
  });

  test('a proxy that leaves its path on reaches the same', async () => {
    const answer = await fetch(`${stage.url}/tools/runwatch/runs/default/x`);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('<base href="../../"');
    expect(answer.headers.get('content-security-policy')).not.toContain('unsafe');
  });
});
