/** The part of a URL that Node's `request` needs, as few fields as possible: it copies them. */
export interface RequestTarget {
  protocol: string;
  hostname: string;
  port: string;
  path: string;
}

/** The target of a request. The brackets around an IPv6 address belong to the URL, not to the host. */
export function requestTarget({ protocol, hostname, port, pathname, search }: URL): RequestTarget {
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return { protocol, hostname: host, port, path: pathname + search };
}
