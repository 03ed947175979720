import { isIP } from 'node:net';
import type { FetchTrouble } from '../core/run/snapshot.ts';

/** Why there is no whole answer. Nothing of the request or of what was received is in it. */
export interface Failure {
  /** For humans, such as `backend.noxus.ai refuses connections`. */
  message: string;
  /** True where the same request may well succeed a moment later. */
  transient: boolean;
}

/** What it comes to that there is no whole answer. */
export function troubleOfFailure({ message }: Failure): FetchTrouble {
  return { kind: 'unavailable', message };
}

/** The part of an error of got that is read. */
interface FailedRequest {
  /** Error code of Node or got. */
  code: string;
  /** There once the headers of an answer had come. */
  response?: unknown;
}

/** The part of got's request timings that shows how far a request came; milliseconds, once known. */
export interface Progress {
  socket?: number | undefined;
  lookup?: number | undefined;
  connect?: number | undefined;
  secureConnect?: number | undefined;
  response?: number | undefined;
}

/** Network trouble that comes and goes, by the error codes of Node. */
const TRANSIENT_CODES: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EPIPE',
  'ERR_HTTP_CONTENT_LENGTH_MISMATCH',
]);

/** What to say of an error code; the host goes before it. */
const SAYINGS: Readonly<Record<string, string>> = {
  EAI_AGAIN: 'cannot be looked up: no name server answers',
  ECONNREFUSED: 'refuses connections',
  EHOSTUNREACH: 'cannot be reached: no route to it',
  ENETUNREACH: 'cannot be reached: no route to its network',
  ENOTFOUND: 'is not a host that the name servers know',
  ETIMEDOUT: 'does not take connections: connecting timed out',
  HPE_HEADER_OVERFLOW: 'sends response headers that are too large',
  Z_BUF_ERROR: 'sends a compressed body that is cut off',
  Z_DATA_ERROR: 'sends a body that is not compressed as it says',
};

/**
 * The checks of a certificate that fail in practice.
 * Source: `X509_V_ERR_*` in OpenSSL's X509_STORE_CTX_get_error(3), as Node names them.
 */
const CERTIFICATE_SAYINGS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  CERT_REVOKED: 'it was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed (NODE_EXTRA_CA_CERTS can name it as trusted)',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another host name',
  SELF_SIGNED_CERT_IN_CHAIN:
    'its authority is not trusted here (NODE_EXTRA_CA_CERTS can name it as trusted)',
  UNABLE_TO_GET_ISSUER_CERT: 'its issuer is unknown here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its issuer is unknown here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its issuer is unknown here',
};

/** Reads a failed request by its error code alone: got's errors carry the API key in their options. */
export function networkFailure(error: FailedRequest, url: URL): Failure {
  const transient = TRANSIENT_CODES.has(error.code);
  return { message: saying(error, url.host), transient };
}

function saying(error: FailedRequest, host: string): string {
  const code = /^[A-Z0-9_]{1,64}$/.test(error.code) ? error.code : 'unknown error';
  const certificate = CERTIFICATE_SAYINGS[code];
  if (certificate !== undefined) {
    return `the certificate of ${host} is not accepted: ${certificate} (${code})`;
  }
  const known = SAYINGS[code];
  if (known !== undefined) return `${host} ${known} (${code})`;
  if (/^(CERT_|ERR_SSL_|ERR_TLS_|UNABLE_TO_|EPROTO$)/.test(code)) {
    return `no secure connection to ${host}: TLS failed (${code})`;
  }
  if (code.startsWith('HPE_')) return `what ${host} sends is not HTTP (${code})`;
  if (!TRANSIENT_CODES.has(code)) return `the request to ${host} failed (${code})`;
  const moment =
    error.response === undefined ? 'before it answered' : 'in the middle of its answer';
  return `${host} closed the connection ${moment} (${code})`;
}

/** Names the phase in which the deadline struck. */
export function timedOutPhase(progress: Progress | undefined, url: URL): string {
  if (progress?.socket === undefined) return 'waiting for a free connection';
  if (progress.response !== undefined) return 'reading the body of the answer';
  if (progress.connect === undefined) {
    const isLookingUp = progress.lookup === undefined && isIP(bareHost(url)) === 0;
    return isLookingUp ? 'looking up the host name' : 'connecting';
  }
  const isShakingHands = url.protocol === 'https:' && progress.secureConnect === undefined;
  return isShakingHands ? 'in the TLS handshake' : 'waiting for the answer';
}

/** The host without a port and without the brackets of an IPv6 address. */
function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}
