import { computed, signal } from '@preact/signals';
import { href, ROOT } from '../app/router.ts';

/** The browser's session at the daemon. No token is kept here: the cookie cannot be read by scripts. */
interface Session {
  /** open: the daemon has no token. unknown: it has not answered yet. */
  state: 'unknown' | 'open' | 'signed_in' | 'signed_out';
  /** The name of the token. */
  token: string | null;
  scopes: readonly string[];
  csrf: string | null;
  version: string | null;
}

const UNKNOWN: Session = {
  state: 'unknown',
  token: null,
  scopes: [],
  csrf: null,
  version: null,
};

export const session = signal<Session>(UNKNOWN);

/** What the user may do, so that no action is shown that would be refused. */
export const may = {
  read: computed(() => session.value.scopes.includes('read')),
  write: computed(() => session.value.scopes.includes('write')),
  admin: computed(() => session.value.scopes.includes('admin')),
};

/** Reads the session from the daemon. Throws where it does not answer. */
export async function loadSession(): Promise<void> {
  const response = await fetch(href('/session'), { cache: 'no-store' });
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
    session.value = (await response.json()) as Session;
    return null;
  }
  return response.status === 403
    ? 'The daemon does not know this token.'
    : `The daemon answers ${response.status}. Try again.`;
}

export async function signOut(): Promise<void> {
  const { csrf } = session.peek();
  await fetch(href('/session', { path: ROOT }), {
    method: 'DELETE',
    headers: csrf === null ? {} : { 'x-runwatch-csrf': csrf },
  });
  signOutHere();
}

/** The daemon takes the session no more. */
export function signOutHere(): void {
  session.value = { ...UNKNOWN, state: 'signed_out' };
}
