import type { LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { callbackify } from 'node:util';
import { RunwatchError } from '../../core/errors.ts';
import { answerLookup, isLocalName, Names, type Resolve } from '../../names.ts';
import {
  parseAllowList,
  type AllowList,
  forbiddenRange,
  isMetadataName,
  parseAddress,
  specialRange,
  type SpecialRange,
} from './addresses.ts';

/** The rule that denies a connection: a kind of address, or a property of the URL. */
type EgressRule = SpecialRange | 'https_required' | 'scheme' | 'unreadable_address';

type EgressVerdict = { allowed: true } | { allowed: false; rule: EgressRule; message: string };

/** The target of a connection. `host` is a name or an address, `secure` means TLS. */
interface EgressTarget {
  secure: boolean;
  host: string;
  port: number;
}

interface EgressOptions {
  /** CIDRs, addresses and `host:port` that are reachable although private or plain http. */
  allow: readonly string[];
  requireHttps: boolean;
  /** Whether a proxy resolves names. */
  isProxied?: boolean;
  /** As {@link Names.ofReceiver} unless given. */
  resolve?: Resolve | undefined;
}

/** Decides what webhooks may connect to. */
export interface EgressGuard {
  /**
   * Judges a URL at registration, without resolving its name. The connection is checked again, with
   * the addresses that it uses.
   */
  check(url: URL): EgressVerdict;
  /** The same, right before a connection is opened. */
  checkTarget(target: EgressTarget): EgressVerdict;
  /**
   * A lookup that yields only allowed addresses. The connection uses exactly these, so a name that
   * changes its address between check and connection gains nothing.
   * Fails with RunwatchError `egress_blocked` when no address is left.
   */
  lookup(target: EgressTarget): LookupFunction;
}

interface Policy {
  list: AllowList;
  requireHttps: boolean;
  /** True for targets that the operator configured: they may be private and plain http. */
  chosen: boolean;
  /** A proxy resolves names, so that they are judged as they are. */
  isProxied: boolean;
}

const ALLOWED: EgressVerdict = { allowed: true };
const LOOPBACK = ['127.0.0.1', '::1'];

/**
 * The guard of webhooks that come with a watch. By default it denies plain http and every host that is
 * not public (see `addresses.ts`).
 * @throws RunwatchError `invalid_egress_rule`
 */
export function createEgressGuard(options: EgressOptions): EgressGuard {
  const { allow, requireHttps, isProxied = false, resolve } = options;
  return guardBy({ list: parseAllowList(allow), requireHttps, chosen: false, isProxied }, resolve);
}

/** Guards configured endpoints: only link-local addresses and metadata services are denied. */
export function createEndpointGuard({ resolve }: Pick<EgressOptions, 'resolve'> = {}): EgressGuard {
  const list = parseAllowList([]);
  return guardBy({ list, requireHttps: false, chosen: true, isProxied: false }, resolve);
}

function guardBy(policy: Policy, resolve: Resolve = new Names().ofReceiver): EgressGuard {
  return {
    check: (url) => checkUrl(url, policy),
    checkTarget: (target) => checkTarget(target, policy),
    lookup: (target) => guardedLookup(target, policy, resolve),
  };
}

/** The error that a denied connection fails with. */
export function egressBlocked(message: string): RunwatchError {
  return new RunwatchError(message, { code: 'egress_blocked' });
}

function checkUrl(url: URL, policy: Policy): EgressVerdict {
  const secure = url.protocol === 'https:';
  if (!secure && url.protocol !== 'http:') {
    return deny('scheme', `${url.protocol} URLs cannot be delivered to`);
  }
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return checkTarget({ secure, host: url.hostname, port }, policy);
}

function checkTarget(target: EgressTarget, policy: Policy): EgressVerdict {
  const { host, port, secure } = target;
  if (isIP(host) !== 0 || parseAddress(host) !== null) return checkAddress(host, target, policy);
  if (isMetadataName(host)) {
    return deny('metadata', `${host} is a host that runwatch never connects to (metadata)`);
  }
  if (policy.chosen || policy.list.hasHost(host, port)) return ALLOWED;
  if (isLocalName(host)) {
    const verdicts = LOOPBACK.map((address) => checkAddress(address, target, policy));
    return verdicts.find(({ allowed }) => allowed) ?? verdicts[0] ?? ALLOWED;
  }
  // The name may yet resolve into a range that is allowed, which only the connection can tell.
  const mayResolve = policy.list.hasRanges && !policy.isProxied;
  return secure || mayResolve ? ALLOWED : checkPlainHttp(target, policy);
}

/** `address` is the target itself, or what it resolves to. */
function checkAddress(address: string, target: EgressTarget, policy: Policy): EgressVerdict {
  const parsed = parseAddress(address);
  const subject =
    address === target.host ? address : `${target.host} resolves to ${address}, which`;
  if (parsed === null) return deny('unreadable_address', `${subject} cannot be read as an address`);
  const forbidden = forbiddenRange(parsed);
  if (forbidden !== null) {
    return deny(
      forbidden,
      `${subject} is an address that runwatch never connects to (${forbidden})`,
    );
  }
  if (policy.chosen || policy.list.hasHost(target.host, target.port)) return ALLOWED;
  if (policy.list.hasAddress(parsed)) return ALLOWED;
  const range = specialRange(parsed);
  if (range === null) return checkPlainHttp(target, policy);
  return deny(range, `${subject} is not a public address (${range}): ${cure(target)}`);
}

function checkPlainHttp(target: EgressTarget, policy: Policy): EgressVerdict {
  if (target.secure || !policy.requireHttps) return ALLOWED;
  const message = `plain http to ${entryFor(target)} is not allowed (https_required)`;
  return deny('https_required', `${message}: ${cure(target)}`);
}

/** What the operator can do about it. */
function cure(target: EgressTarget): string {
  return `add "${entryFor(target)}" to egress.allow`;
}

/** The entry of `egress.allow` that admits this one target. */
function entryFor({ host, port }: EgressTarget): string {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return isIP(bare) === 6 ? `[${bare}]:${port}` : `${host}:${port}`;
}

function deny(rule: EgressRule, message: string): EgressVerdict {
  return { allowed: false, rule, message };
}

function guardedLookup(target: EgressTarget, policy: Policy, resolve: Resolve): LookupFunction {
  const resolveAllowed = callbackify(async (hostname: string) =>
    selectAllowed(await resolve(hostname), target, policy),
  );
  return (hostname, options, callback) => {
    resolveAllowed(hostname, (error, allowed) => {
      if (error !== null) return callback(error, '');
      answerLookup(allowed, { hostname, options, callback });
    });
  };
}

function selectAllowed(
  found: readonly LookupAddress[],
  target: EgressTarget,
  policy: Policy,
): LookupAddress[] {
  const judged = found.map((entry) => ({
    entry,
    verdict: checkAddress(entry.address, target, policy),
  }));
  const allowed = judged.filter(({ verdict }) => verdict.allowed).map(({ entry }) => entry);
  const denied = judged.find(({ verdict }) => !verdict.allowed)?.verdict;
  if (allowed.length === 0 && denied?.allowed === false) throw egressBlocked(denied.message);
  return allowed;
}
