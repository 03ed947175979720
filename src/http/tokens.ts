import { createHash, timingSafeEqual } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { TokenConfig } from '../config/schema.ts';

/** The API tokens in force. A reload of the configuration replaces them. */
export interface Tokens {
  /** False leaves the API open; see `hostGuard` for what protects it then. */
  areNeeded(): boolean;
  all(): readonly TokenConfig[];
  /** The token that was presented; null where this server does not know it. */
  find(presented: string): TokenConfig | null;
  /** Whether a token is in force as it was when it was found. */
  isInForce(token: TokenConfig): boolean;
  replace(tokens: readonly TokenConfig[]): void;
  /** @param listener called after each replacement, for as long as the process runs */
  onReplaced(listener: () => void): void;
}

export function createTokens(tokens: readonly TokenConfig[]): Tokens {
  let known = tokens.map(withDigest);
  const listeners: (() => void)[] = [];
  return {
    areNeeded: () => known.length > 0,
    all: () => known.map(({ token }) => token),
    find: (presented) => findToken(known, presented),
    isInForce: (token) => known.some((one) => isDeepStrictEqual(one.token, token)),
    replace(next) {
      known = next.map(withDigest);
      for (const listener of listeners) listener();
    },
    onReplaced: (listener) => void listeners.push(listener),
  };
}

interface KnownToken {
  token: TokenConfig;
  digest: Buffer;
}

function withDigest(token: TokenConfig): KnownToken {
  return { token, digest: sha256(token.token) };
}

/**
 * Compares digests of one length with every token. The time that this takes shows neither the
 * length of a token, nor its place in the list, nor how much of it was guessed.
 */
function findToken(known: readonly KnownToken[], presented: string): TokenConfig | null {
  const digest = sha256(presented);
  let match: TokenConfig | null = null;
  for (const one of known) {
    if (timingSafeEqual(one.digest, digest)) match = one.token;
  }
  return match;
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
