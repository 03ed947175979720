import type { z } from 'zod';
import { formatSize } from '../core/byte-size.ts';
import { maskedUrl } from '../core/delivery/receiver.ts';
import { formatDuration } from '../core/time.ts';
import { childSchema, presentationOf, unwrap } from './schema-walk.ts';
import { configSchema, type Config } from './schema.ts';

/**
 * The configuration as operators may see it: in the shape of the file, durations as text, without
 * secrets. A setting that the schema does not know is hidden too.
 */
export function redactConfig(config: Config): Record<string, unknown> {
  return show(configSchema, config) as Record<string, unknown>;
}

/** How numbers are written that the file has as text. */
const WRITTEN = { duration: formatDuration, size: formatSize };

function show(schema: z.core.$ZodType, value: unknown): unknown {
  if (value === undefined) return undefined;
  const presentation = presentationOf(schema);
  switch (presentation) {
    case 'duration':
    case 'size':
      return typeof value === 'number' ? WRITTEN[presentation](value) : REDACTED;
    case 'secret':
      return REDACTED;
    case 'url':
    case 'webhook-url':
    case 'secret-url':
      return typeof value === 'string' ? showUrl(value, presentation) : REDACTED;
    case 'template':
    case null:
      return showInside(unwrap(schema), value);
  }
}

function showUrl(text: string, presentation: 'url' | 'webhook-url' | 'secret-url'): string {
  if (presentation !== 'secret-url') return maskUrl(text, { path: presentation === 'url' });
  return URL.canParse(text) ? maskedUrl(text) : REDACTED;
}

function showInside(schema: z.core.$ZodType, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => showChild(schema, value, [0, item]));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, child]) => child !== undefined);
  return Object.fromEntries(
    entries.map(([key, child]) => [key, showChild(schema, value, [key, child])]),
  );
}

function showChild(
  schema: z.core.$ZodType,
  parent: unknown,
  [key, value]: [string | number, unknown],
): unknown {
  const child = childSchema(schema, parent, key);
  return child === null ? REDACTED : show(child, value);
}

/** What stands in the place of a secret. */
export const REDACTED = '[redacted]';

interface MaskOptions {
  /** Whether the path is shown; where it may be the credential itself, it is not. */
  path: boolean;
}

/**
 * A URL without user name, password, query and fragment. What cannot be taken apart with certainty
 * is hidden altogether.
 */
export function maskUrl(text: string, { path }: MaskOptions): string {
  // The path of a unix socket, which is no URL.
  if (text.startsWith('/') && !/[?@#]/.test(text)) return text;
  const url = URL.canParse(text) ? new URL(text) : null;
  // A password with a slash or a # in it moves the @ out of its place, and the password with it.
  if (url === null || /@/.test(url.host + url.pathname + url.search + url.hash)) return REDACTED;
  const userinfo = `${url.username}${url.password}` === '' ? '' : `${REDACTED}@`;
  const pathname = path ? url.pathname : url.pathname.replace(/^\/.+/, `/${REDACTED}`);
  const query = `${url.search}${url.hash}` === '' ? '' : `?${REDACTED}`;
  const isUnchanged = userinfo === '' && query === '' && pathname === url.pathname;
  return isUnchanged ? text : `${url.protocol}//${userinfo}${url.host}${pathname}${query}`;
}
