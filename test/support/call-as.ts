/** An answer of the API: its text, and the same parsed, null where it is no JSON. */
export interface Called<Body> {
  status: number;
  text: string;
  body: Body;
}

/** Calls the API of a daemon with a token. */
export async function callAs<Body = any>(
  daemon: { url: string },
  token: string,
  method: string,
  path: string,
  given?: unknown,
): Promise<Called<Body>> {
  const response = await fetch(`${daemon.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(given !== undefined && { 'content-type': 'application/json' }),
    },
    ...(given !== undefined && { body: JSON.stringify(given) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') === true;
  return { status: response.status, text, body: isJson && text !== '' ? JSON.parse(text) : null };
}
