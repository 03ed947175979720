import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

/** The first that is found is used. Chromium without windows needs less than half of the CPU. */
const NAMES = [
  'chromium-headless-shell',
  'chromium',
  'chromium-browser',
  'google-chrome-stable',
  'google-chrome',
];

function pathOf(name: string): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The Chromium of the system, which `npm test` installs where it is missing. */
export function launchBrowser(): Promise<Browser> {
  const given = process.env['CHROMIUM_PATH'];
  const executablePath = given ?? NAMES.map(pathOf).find((path) => path !== null);
  if (executablePath === undefined)
    throw new Error('there is no Chromium: npm run bootstrap -- --tests');
  return chromium.launch({ executablePath, args: FLAGS, headless: true });
}

/** What functions of a test call that are evaluated in a page: the loader of TypeScript has names kept so. */
const NAMES_FUNCTIONS = 'globalThis.__name = (named) => named;';

/** A page that keeps account of what no page may do. */
export interface WatchedPage {
  page: Page;
  context: BrowserContext;
  /** Errors of the console and of scripts; answers of the API that are refusals are left out. */
  errors: string[];
  /** Addresses of other origins that were asked. */
  foreign: string[];
}

interface PageOptions {
  url: string;
  width?: number;
  height?: number;
  theme?: 'light' | 'dark';
  reducedMotion?: boolean;
}

/** Pages that were closed and wait for the next test. */
const idle = new WeakMap<BrowserContext, Page[]>();

/** A context for several pages, one after the other: each page with a context of its own takes three times as long. */
export async function newContext(browser: Browser): Promise<BrowserContext> {
  const context = await browser.newContext({ timezoneId: 'UTC', locale: 'en-GB' });
  await context.addInitScript(NAMES_FUNCTIONS);
  // Only for what hangs: a busy machine may take seconds.
  context.setDefaultTimeout(120_000);
  return context;
}

/**
 * Opens a page in a context of its own, which the caller closes.
 * @param script is there before the page's own; the page's policy does not hold it back
 */
export async function openPage(
  browser: Browser,
  { script, ...options }: PageOptions & { script?: string },
): Promise<WatchedPage> {
  const context = await newContext(browser);
  if (script !== undefined) await context.addInitScript(script);
  return openPageIn(context, options);
}

/**
 * Opens a page in a context; {@link closePage} closes it. A page that was closed before is used again where there is
 * one: with a process of its own, in which nothing of the dashboard is compiled yet, it takes twice as much CPU.
 */
export async function openPageIn(
  context: BrowserContext,
  { url, width = 1_400, height = 900, theme = 'light', reducedMotion = false }: PageOptions,
): Promise<WatchedPage> {
  const page = idle.get(context)?.pop() ?? (await context.newPage());
  await page.setViewportSize({ width, height });
  await page.emulateMedia({
    colorScheme: theme,
    reducedMotion: reducedMotion ? 'reduce' : 'no-preference',
  });
  const errors: string[] = [];
  const foreign: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => {
    const asked = request.url();
    if (!asked.startsWith(new URL(url).origin) && !asked.startsWith('data:')) foreign.push(asked);
  });
  await page.goto(url);
  return { page, context, errors, foreign };
}

/** Closes a page and forgets what it stored, so that the next page of its context begins as anew. */
export async function closePage({ page, context }: WatchedPage): Promise<void> {
  page.removeAllListeners();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.evaluate('localStorage.clear(); sessionStorage.clear()');
  await context.clearCookies();
  // Of the same origin: for any other, and for none, Chromium would begin a process.
  await page.goto(new URL('/livez', page.url()).href);
  await page.mouse.move(0, 0);
  idle.set(context, [...(idle.get(context) ?? []), page]);
}

/** Resolves once what the page's last answer changes is drawn: by the second frame after it. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))',
  );
}

/** Requests that are held. */
export interface Held {
  /** Those that came, as method and path with its query. */
  requests: string[];
  letGo: () => void;
}

/**
 * Holds requests of a page until they are let go, and go to the daemon.
 * @param options.isAnswered whether the daemon answers them before
 * @param options.json what they get instead of an answer of the daemon
 */
export async function hold(
  page: Page,
  url: Parameters<Page['route']>[0],
  { isAnswered = false, json }: { isAnswered?: boolean; json?: object } = {},
): Promise<Held> {
  const requests: string[] = [];
  let letGo = () => {};
  const isLetGo = new Promise<void>((resolve) => (letGo = resolve));
  await page.route(url, async (route) => {
    const given = isAnswered ? { response: await route.fetch() } : json && { json };
    const { pathname, search } = new URL(route.request().url());
    requests.push(`${route.request().method()} ${pathname}${search}`);
    await isLetGo;
    await (given === undefined ? route.continue() : route.fulfill(given));
  });
  return { requests, letGo };
}

/** What of a page breaks a rule of accessibility: the rule, and the first element that breaks it. */
export async function violationsOf(page: Page): Promise<string[]> {
  const script = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
  // Evaluated, and not loaded, for which the page's policy would not allow it.
  await page.evaluate(await readFile(script, 'utf8'));
  return page.evaluate(async () => {
    const { violations } = await (globalThis as any).axe.run();
    return violations.map(({ id, nodes }: any) => `${id}: ${nodes[0].html.slice(0, 160)}`);
  });
}
