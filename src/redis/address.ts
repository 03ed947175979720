/** Where a server listens. */
export interface Address {
  host: string;
  port: number;
}

/** Reads `host:port`, `host` or `[ipv6]:port`; null where it is none of them. */
export function parseAddress(text: string, defaultPort: number): Address | null {
  const found = /^(?:\[([0-9a-f:.]+)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/i.exec(text);
  const host = found?.[1] ?? found?.[2];
  const port = found?.[3] === undefined ? defaultPort : Number(found[3]);
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port };
}

export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
