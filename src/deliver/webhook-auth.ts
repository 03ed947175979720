/** How a webhook proves itself to its receiver, besides the signature; one of the two is given. */
export interface WebhookAuth {
  bearer?: string | undefined;
  basic?: { username: string; password: string } | undefined;
}

/** The header of a proof; basic as UTF-8 (RFC 7617), bearer as it is (RFC 6750). */
export function authorizationOf({ bearer, basic }: WebhookAuth): Record<string, string> {
  if (bearer !== undefined) return { authorization: `Bearer ${bearer}` };
  if (basic === undefined) return {};
  const pair = Buffer.from(`${basic.username}:${basic.password}`).toString('base64');
  return { authorization: `Basic ${pair}` };
}
