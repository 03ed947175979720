/** The settings that variables of runwatch and flags of the command line make, with those of the file. */
import type { Environment } from './environment.ts';
import { NOXUS_URL } from './hosts.ts';
import { ancestry, pathKey } from './problems.ts';
import { type Path, childValue, valueAt } from './schema-walk.ts';
import { proxyFor } from './proxy.ts';

/** The settings while layers are merged, before they are checked. */
export interface Draft {
  root: unknown;
  /** The variables and flags that settings came from, by `pathKey`. */
  labels: Map<string, string>;
}

/**
 * Lays one setting over the draft.
 * @param label the variable or flag that it came from
 */
function put(draft: Draft, path: Path, { value, label }: { value: unknown; label: string }): void {
  draft.root = withValue(draft.root, path, value);
  if (valueAt(draft.root, path) === value) draft.labels.set(pathKey(path), label);
}

/**
 * A copy with one value replaced. Where the file has no map on the path, it is kept, for the check
 * to report.
 */
function withValue(root: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value;
  const base = root ?? (typeof key === 'number' ? [] : {});
  const child = withValue(childValue(base, key), rest, value);
  if (Array.isArray(base)) return typeof key === 'number' ? base.toSpliced(key, 1, child) : root;
  return typeof base === 'object' ? { ...base, [key]: child } : root;
}

/** The variable or flag that a setting, or the map around it, came from. */
export function labelOf({ labels }: Draft, path: Path): string | null {
  for (const ancestor of ancestry(path)) {
    const label = labels.get(pathKey(ancestor));
    if (label !== undefined) return label;
  }
  return null;
}

/** Settings from the command line. None of them is a secret: those are visible in process lists. */
export interface ConfigFlags {
  host?: string | undefined;
  port?: string | number | undefined;
  dataDir?: string | undefined;
  logLevel?: string | undefined;
}

const FLAGS: { flag: keyof ConfigFlags; label: string; path: Path }[] = [
  { flag: 'host', label: '--host', path: ['server', 'host'] },
  { flag: 'port', label: '--port', path: ['server', 'port'] },
  { flag: 'dataDir', label: '--data-dir', path: ['data_dir'] },
  { flag: 'logLevel', label: '--log-level', path: ['log', 'level'] },
];

const VARIABLES: { name: string; path: Path }[] = [
  { name: 'REDIS_URL', path: ['redis', 'url'] },
  { name: 'RUNWATCH_DATA_DIR', path: ['data_dir'] },
  { name: 'RUNWATCH_HOST', path: ['server', 'host'] },
  { name: 'RUNWATCH_PORT', path: ['server', 'port'] },
  { name: 'RUNWATCH_LOG_LEVEL', path: ['log', 'level'] },
  { name: 'RUNWATCH_PUBLIC_URL', path: ['server', 'public_url'] },
  { name: 'RUNWATCH_SIGNING_SECRET', path: ['delivery', 'signing_secret'] },
];

/** Variables that hold a list, separated by commas. */
const LISTS: { name: string; path: Path }[] = [
  { name: 'RUNWATCH_EGRESS_ALLOW', path: ['egress', 'allow'] },
  { name: 'RUNWATCH_ENCRYPTION_KEY', path: ['encryption', 'keys'] },
];

/** Lays the flags over the draft. */
export function applyFlags(draft: Draft, flags: ConfigFlags): void {
  for (const { flag, label, path } of FLAGS) {
    const value = flags[flag];
    if (value !== undefined) put(draft, path, { value, label });
  }
}

/** Lays the environment over the draft. */
export function applyEnvironment(draft: Draft, environment: Environment): void {
  const layer: Layer = {
    draft,
    read(name) {
      const found = environment.lookup(name);
      return found.kind === 'found' ? found.text : null;
    },
  };
  for (const { name, path } of VARIABLES) set(layer, { name, path });
  applySource(layer);
  applyProxy(layer);
  applyToken(layer);
  applyWebhook(layer);
  for (const { name, path } of LISTS) setList(layer, { name, path });
}

interface Layer {
  draft: Draft;
  read: (name: string) => string | null;
}

function set({ draft, read }: Layer, { name, path }: { name: string; path: Path }): void {
  const value = read(name);
  if (value !== null) put(draft, path, { value, label: name });
}

function setList({ draft, read }: Layer, { name, path }: { name: string; path: Path }): void {
  const items = read(name)?.split(',');
  if (items === undefined) return;
  const value = items.map((item) => item.trim()).filter((item) => item !== '');
  put(draft, path, { value, label: name });
}

/** The entry of a map of the draft that holds a value under a key: what the file calls it. */
function nameOf(
  { root }: Draft,
  map: string,
  [key, value]: [string, string | null],
): string | null {
  if (value === null) return null;
  const entries = Object.entries(valueAt(root, [map]) ?? {});
  return entries.find(([, entry]) => childValue(entry, key) === value)?.[0] ?? null;
}

/** A key that the file gives to a source by another name does not make a second source. */
function applySource(layer: Layer): void {
  const named = nameOf(layer.draft, 'sources', ['api_key', layer.read('NOXUS_API_KEY')]);
  const path = ['sources', named ?? 'default'];
  set(layer, { name: 'NOXUS_API_KEY', path: [...path, 'api_key'] });
  set(layer, { name: 'NOXUS_BACKEND_URL', path: [...path, 'base_url'] });
}

/** The proxy of the environment, for sources that name none. */
function applyProxy({ draft, read }: Layer): void {
  for (const [name, source] of Object.entries(valueAt(draft.root, ['sources']) ?? {})) {
    if (childValue(source, 'proxy') !== undefined) continue;
    const url = childValue(source, 'base_url') ?? NOXUS_URL;
    const found = typeof url === 'string' ? proxyFor(url, read) : null;
    if (found === null) continue;
    put(draft, ['sources', name, 'proxy'], { value: found.proxy, label: found.variable });
  }
}

/** A token that the file lists already keeps the name and the scopes that it has there. */
function applyToken({ draft, read }: Layer): void {
  const token = read('RUNWATCH_API_TOKEN');
  const tokens = valueAt(draft.root, ['auth', 'tokens']) ?? [];
  if (token === null || !Array.isArray(tokens)) return;
  if (tokens.some((entry) => childValue(entry, 'token') === token)) return;
  const value = { name: 'env', token, scopes: ['read', 'write', 'admin'] };
  put(draft, ['auth', 'tokens', tokens.length], { value, label: 'RUNWATCH_API_TOKEN' });
}

/** The secret also signs webhooks that come with a watch, where nothing else is said to do so. */
function applyWebhook(layer: Layer): void {
  const { draft, read } = layer;
  const [value, label] = [read('RUNWATCH_WEBHOOK_URL'), 'RUNWATCH_WEBHOOK_URL'];
  if (value !== null) {
    const path = ['endpoints', nameOf(draft, 'endpoints', ['url', value]) ?? 'default'];
    const isWebhook = valueAt(draft.root, [...path, 'type']) === 'webhook';
    if (isWebhook) put(draft, [...path, 'url'], { value, label });
    else put(draft, path, { value: { type: 'webhook', url: value }, label });
    set(layer, { name: 'RUNWATCH_WEBHOOK_SECRET', path: [...path, 'secret'] });
  }
  const signing = ['delivery', 'signing_secret'];
  if (valueAt(draft.root, signing) === undefined) {
    set(layer, { name: 'RUNWATCH_WEBHOOK_SECRET', path: signing });
  }
}
