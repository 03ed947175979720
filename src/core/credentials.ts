/** A shorter text is no credential, and would match ordinary words. */
export const LEAST_CREDENTIAL = 8;

/** The same of headers whose names do not say that they hold one: versions and regions are shorter. */
const LEAST_ELSEWHERE = 16;

const NAMES_OF_CREDENTIALS = /auth|cookie|key|pass|secret|session|token/i;

export const REDACTED = '[redacted]';

/** Each value, and the part after a scheme such as `Bearer`. */
export function credentialsIn(values: readonly string[]): string[] {
  return values
    .flatMap((value) => [value, value.slice(value.indexOf(' ') + 1)])
    .filter((value) => value.length >= LEAST_CREDENTIAL);
}

/**
 * What may be a credential in the headers of a request: values, their parts, and what Basic authentication
 * encodes. The longest comes first, so that no part is taken out of a longer one.
 */
export function credentialsOfHeaders(headers: Readonly<Record<string, string>>): string[] {
  const found = Object.entries(headers).flatMap(([name, value]) => {
    const least = NAMES_OF_CREDENTIALS.test(name) ? LEAST_CREDENTIAL : LEAST_ELSEWHERE;
    const all = [...credentialsIn([value]), ...value.split(/[\s,;="']+/), ...basicParts(value)];
    return all.filter(({ length }) => length >= least);
  });
  return [...new Set(found)].sort((a, b) => b.length - a.length);
}

/** The user name with the password of Basic authentication, and the password. */
function basicParts(value: string): string[] {
  const [, encoded] = /^basic +(\S+)$/i.exec(value) ?? [];
  if (encoded === undefined) return [];
  const pair = Buffer.from(encoded, 'base64').toString();
  return [pair, pair.slice(pair.indexOf(':') + 1)];
}

export function withoutCredentials(text: string, credentials: readonly string[]): string {
  return credentials.reduce((rest, credential) => rest.replaceAll(credential, REDACTED), text);
}
