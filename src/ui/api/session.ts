import { computed, signal } from '@preact/signals';
import { href, isKiosk, ROOT } from '../app/router.ts';

/**
 * The browser's session at the daemon. No token is kept here. The cookie, which scripts cannot read, opens
 * nothing without the value that sign-in gave: see `http/session.ts`.
 */
interface Session {
  /** open: the daemon has no token. unknown: it has not answered yet. */
  state: 'unknown' | 'open' | 'signed_in' | 'signed_out';
  /** The name of the token. */
  token: string | null;
  scopes: readonly string[];
  version: string | null;
  /** The daemon was started with --no-deliver. */
  sends_nothing?: boolean;
}

const UNKNOWN: Session = { state: 'unknown', token: null, scopes: [], version: null };

export const session = signal<Session>(UNKNOWN);

/** What the user may do, so that no action is shown that would be refused; on a wall nothing is done. */
export const may = {
  read: computed(() => session.value.scopes.includes('read')),
  /** The audit log and the configuration. */
  inspect: computed(() => session.value.scopes.includes('admin')),
  write: computed(() => !isKiosk.value && session.value.scopes.includes('write')),
  admin: computed(() => !isKiosk.value && session.value.scopes.includes('admin')),
};

/**
 * The attributes of a button that sends something: a daemon that sends nothing would refuse it.
 * @param isIdle whether there is nothing to send
 */
export function sendingButton(isIdle = false): { disabled: boolean; title?: string } {
  return session.value.sends_nothing === true
    ? { disabled: true, title: 'This daemon sends nothing (--no-deliver)' }
    : { disabled: isIdle };
}

/** Storage is an origin's, port included; daemons on one origin differ by their paths. */
const KEY = `runwatch.session.${window.location.port}.${ROOT}`;

/** Where storage is refused, the session is this page's alone. */
let own: string | null = null;

/** The value of the session, as a header; read anew each time, since other tabs sign in and out, too. */
export function sessionHeader(): Record<string, string> {
  const value = stored();
  return value === null ? {} : { 'x-runwatch-csrf': value };
}

function stored(): string | null {
  try {
    return window.localStorage.getItem(KEY) ?? own;
  } catch {
    return own;
  }
}

function store(value: string | null): void {
  own = value;
  try {
    if (value === null) window.localStorage.removeItem(KEY);
    else window.localStorage.setItem(KEY, value);
  } catch {
    // It lasts as long as the page.
  }
}

/** Reads the session from the daemon, which counts as its use. Throws where it does not answer. */
export async function loadSession(): Promise<void> {
  const response = await fetch(href('/session'), { cache: 'no-store', headers: sessionHeader() });
  if (!response.ok) throw new Error(`The daemon answers ${response.status}.`);
  session.value = (await response.json()) as Session;
}

/** @returns why it failed; null where it did not */
export async function signIn(token: string): Promise<string | null> {
  const response = await fetch(href('/session'), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, path: ROOT }),
  });
  if (response.ok) {
    const { csrf, ...given } = (await response.json()) as Session & { csrf: string };
    store(csrf);
    session.value = given;
    return null;
  }
  return response.status === 403
    ? 'The daemon does not know this token.'
    : `The daemon answers ${response.status}. Try again.`;
}

export async function signOut(): Promise<void> {
  try {
    await fetch(href('/session', { path: ROOT }), { method: 'DELETE', headers: sessionHeader() });
  } catch {
    // The daemon is away: without the value this browser has no session any more.
  }
  store(null);
  session.value = { ...UNKNOWN, state: 'signed_out' };
}

/** The daemon refused the session: it is asked what holds now, since another tab may have signed in anew. */
export function doubtSession(): void {
  session.value = UNKNOWN;
}
