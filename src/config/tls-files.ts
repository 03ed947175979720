import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { RunwatchError } from '../core/errors.ts';
import type { TlsOptions } from '../core/tls.ts';
import type { ConfigProblem } from './problems.ts';
import type { Path } from './schema-walk.ts';
import { readRegularFile } from './read-file.ts';
import type { Config, SourceConfig, WebhookEndpointConfig } from './schema.ts';

/** A bundle of all authorities that browsers trust has 250 KiB. */
const MAX_PEM_BYTES = 1024 * 1024;

type TlsConfig = NonNullable<WebhookEndpointConfig['tls']>;

/** What is wrong with the files that sources, endpoints and `redis` name. */
export function checkTlsFiles({ sources, endpoints, redis }: Config): ConfigProblem[] {
  const sections = Object.entries(endpoints).flatMap(([name, endpoint]) =>
    'tls' in endpoint ? [{ path: ['endpoints', name], tls: endpoint.tls }] : [],
  );
  const ofSources = Object.entries(sources).flatMap(([name, { ca_file }]) => {
    const read = readTlsFiles({ ca_file });
    return 'wrong' in read ? read.wrong.map((problem) => beneath(['sources', name], problem)) : [];
  });
  const others = [...sections, { path: ['redis'], tls: redis.tls }].flatMap(({ path, tls }) => {
    const read = readTlsFiles(tls ?? {});
    return 'wrong' in read ? read.wrong.map((problem) => under(path, problem)) : [];
  });
  return [...ofSources, ...others];
}

/**
 * The files of a section, such as an endpoint, that has passed the check.
 * @throws RunwatchError `tls_files_unusable` where they have changed since then
 */
export function loadTlsFiles(section: Path, tls: TlsConfig): TlsOptions {
  const read = readTlsFiles(tls);
  if ('material' in read) return read.material;
  throw unusable(read.wrong.map((problem) => under(section, problem)));
}

/**
 * The authorities of a source that has passed the check; undefined where it names none.
 * @throws RunwatchError `tls_files_unusable` where the file has changed since then
 */
export function loadSourceAuthorities(
  name: string,
  { ca_file }: Pick<SourceConfig, 'ca_file'>,
): string | undefined {
  const read = readTlsFiles({ ca_file });
  if ('material' in read) return read.material.ca;
  throw unusable(read.wrong.map((problem) => beneath(['sources', name], problem)));
}

function unusable(found: readonly ConfigProblem[]): RunwatchError {
  const message = found.map(({ path, message: what }) => `${path.join('.')}: ${what}`).join('; ');
  return new RunwatchError(message, { code: 'tls_files_unusable' });
}

function under(section: Path, problem: ConfigProblem): ConfigProblem {
  return beneath([...section, 'tls'], problem);
}

function beneath(section: Path, { path, message }: ConfigProblem): ConfigProblem {
  return { path: [...section, ...path], message };
}

type Read = { material: TlsOptions } | { wrong: ConfigProblem[] };

function readTlsFiles({ ca_file, cert_file, key_file }: TlsConfig): Read {
  const wrong: ConfigProblem[] = [];
  const ca = readPem(['ca_file'], ca_file, { as: certificateIn, wrong });
  const certificate = readPem(['cert_file'], cert_file, { as: certificateIn, wrong });
  const key = readPem(['key_file'], key_file, { as: keyIn, wrong });
  if (certificate && key && !certificate.content.checkPrivateKey(key.content)) {
    wrong.push({ path: ['key_file'], message: `the key is not that of the certificate` });
  }
  if (wrong.length > 0) return { wrong };
  return {
    material: {
      ...(ca && { ca: ca.text }),
      ...(certificate && { certificate: certificate.text }),
      ...(key && { key: key.text }),
    },
  };
}

interface Reading<Content> {
  /** Throws when the text holds nothing of the kind. */
  as: { read: (text: string) => Content; expected: string };
  wrong: ConfigProblem[];
}

/** Nothing of what a file holds gets into a message: it may be a key. */
function readPem<Content>(
  path: Path,
  file: string | undefined,
  { as, wrong }: Reading<Content>,
): { text: string; content: Content } | null {
  if (file === undefined) return null;
  const read = readRegularFile(file, { maxBytes: MAX_PEM_BYTES });
  if (read.kind === 'unreadable') {
    wrong.push({ path, message: read.message });
    return null;
  }
  try {
    return { text: read.text, content: as.read(read.text) };
  } catch {
    wrong.push({ path, message: `expected ${as.expected} in PEM in ${file}` });
    return null;
  }
}

const certificateIn = {
  read: (text: string) => new X509Certificate(text),
  expected: 'a certificate',
};

const keyIn = {
  read: (text: string): KeyObject => createPrivateKey(text),
  expected: 'a private key without a passphrase',
};
